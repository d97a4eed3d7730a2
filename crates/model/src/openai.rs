//! Any server that speaks OpenAI's chat completions, streaming.
//!
//! JSON is asked for by the server's own schema mode; a server that does not know it is asked in words.
//! Either way the answer is held against the schema, and asked for again with what is wrong with it.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response as HttpResponse, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::quotes;
use crate::{
    Error, Message, Model, Output, Request, Response, Result, Role, Stop, TextSink, Usage,
};

/// How often a call is tried when the server is down or overloaded.
const TRIES: u32 = 4;
/// How often an answer is asked for again when it does not fit its schema.
const REPAIRS: u32 = 2;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest silence before the server counts as down.
const SILENCE: Duration = Duration::from_secs(120);

/// A model of an OpenAI-compatible server.
pub struct OpenAi {
    name: String,
    model: String,
    base_url: String,
    key: Option<String>,
    client: Client,
}

impl OpenAi {
    /// The model called `model` at `base_url`, else at `$OPENAI_BASE_URL`, else at OpenAI itself; the
    /// key is `$OPENAI_API_KEY`.
    ///
    /// # Errors
    /// [`Error::Setting`] when OpenAI itself is meant and there is no key.
    pub fn new(model: &str, base_url: Option<&str>) -> Result<OpenAi> {
        let variable = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let key = variable("OPENAI_API_KEY");
        let base_url = base_url
            .map(str::to_owned)
            .or_else(|| variable("OPENAI_BASE_URL"));
        if base_url.is_none() && key.is_none() {
            return Err(Error::Setting {
                message: "OPENAI_API_KEY is not set".to_owned(),
                hint: "set it, or name another server with --base-url".to_owned(),
            });
        }
        OpenAi::with_key(
            model,
            &base_url.unwrap_or_else(|| "https://api.openai.com/v1".to_owned()),
            key,
        )
    }

    /// The model called `model` at `base_url`, with this key.
    ///
    /// # Errors
    /// [`Error::Setting`] when the address is none.
    pub fn with_key(model: &str, base_url: &str, key: Option<String>) -> Result<OpenAi> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        if reqwest::Url::parse(&base_url).is_err() {
            return Err(Error::Setting {
                message: format!("`{base_url}` is not an address"),
                hint: "write it like http://127.0.0.1:8080/v1".to_owned(),
            });
        }
        let builder = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE);
        let client = builder.build().map_err(|error| Error::Unreachable {
            provider: base_url.clone(),
            message: error.without_url().to_string(),
        })?;
        Ok(OpenAi {
            name: format!("openai:{model}"),
            model: model.to_owned(),
            base_url,
            key,
            client,
        })
    }

    /// The names of the models that the server offers.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`] or [`Error::Malformed`].
    pub async fn models(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            id: String,
        }
        let response = self.send(None, "models").await?;
        let list: List = response.json().await.map_err(|error| self.broken(&error))?;
        Ok(list.data.into_iter().map(|item| item.id).collect())
    }

    /// One request, tried again while the server is down or overloaded.
    async fn send(&self, body: Option<&Value>, path: &str) -> Result<HttpResponse> {
        let url = format!("{}/{path}", self.base_url);
        let mut attempt = 1;
        loop {
            let request = match body {
                Some(body) => self.client.post(&url).json(body),
                None => self.client.get(&url),
            };
            let request = match &self.key {
                Some(key) => request.bearer_auth(key),
                None => request,
            };
            let (error, wait) = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let wait = retry_after(&response);
                    (self.refused(response).await, wait)
                }
                Err(error) => (self.broken(&error), None),
            };
            if attempt == TRIES || !may_pass(&error) {
                return Err(error);
            }
            let backoff = Duration::from_millis(500 * 2_u64.pow(attempt - 1) + jitter_ms());
            tokio::time::sleep(wait.unwrap_or(backoff).min(LONGEST_WAIT)).await;
            attempt += 1;
        }
    }

    async fn refused(&self, response: HttpResponse) -> Error {
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let said = serde_json::from_str::<Value>(&body).ok();
        let said = said
            .as_ref()
            .and_then(|v| v.pointer("/error/message").or_else(|| v.get("message")));
        let message: String = said
            .and_then(Value::as_str)
            .unwrap_or(&body)
            .chars()
            .take(300)
            .collect();
        let message = match &self.key {
            // Some servers repeat the key that they refuse.
            Some(key) => message.replace(key.as_str(), "[key]"),
            None => message,
        };
        Error::Refused {
            provider: self.base_url.clone(),
            status: status.as_u16(),
            message,
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Error {
        let mut message = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            message = error.to_string();
            cause = error.source();
        }
        Error::Unreachable {
            provider: self.base_url.clone(),
            message,
        }
    }

    /// One answer, streamed.
    async fn answer(
        &self,
        messages: &[Message],
        request: &Request,
        mode: Mode,
        sink: Option<&TextSink>,
    ) -> Result<Response> {
        let mut body = json!({
            "model": self.model,
            "messages": messages.iter().map(|m| json!({"role": m.role, "content": m.content})).collect::<Vec<_>>(),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        if let (Output::Json(schema), Mode::Schema) = (&request.output, mode) {
            let schema = quotes::without_extensions(schema);
            body["response_format"] =
                json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
        }
        let response = self.send(Some(&body), "chat/completions").await?;
        let mut stream = response.bytes_stream();
        let mut events = Events::default();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.broken(&error))?;
            let text = events
                .take(&bytes)
                .map_err(|message| Error::Malformed { message })?;
            if let Some(sink) = sink.filter(|_| !text.is_empty()) {
                // Whoever reads the stream may have gone; the answer still comes whole.
                let _ = sink.send(text);
            }
        }
        if !events.ended {
            let message = "the stream was cut off".to_owned();
            return Err(Error::Unreachable {
                provider: self.base_url.clone(),
                message,
            });
        }
        Ok(Response {
            text: events.text,
            choices: Vec::new(),
            usage: events.usage,
            stop: events.stop,
        })
    }

    /// JSON that fits `schema`: asked for again with what is wrong with it.
    async fn json(
        &self,
        request: &Request,
        schema: &Value,
        sink: Option<&TextSink>,
    ) -> Result<Response> {
        let mut messages = request.messages.clone();
        let mut mode = Mode::Schema;
        let mut usage = Usage::default();
        let mut repairs = 0;
        loop {
            let answer = self.answer(&messages, request, mode, sink).await;
            let mut response = match answer {
                // The server does not know the schema mode: say it in words.
                Err(Error::Refused {
                    status: 400 | 404 | 415 | 422,
                    ..
                }) if mode == Mode::Schema => {
                    mode = Mode::Words;
                    messages.push(user(format!(
                        "Answer with JSON alone that fits this JSON schema:\n{}",
                        quotes::without_extensions(schema)
                    )));
                    continue;
                }
                other => other?,
            };
            usage.prompt_tokens += response.usage.prompt_tokens;
            usage.cached_tokens += response.usage.cached_tokens;
            usage.output_tokens += response.usage.output_tokens;
            response.usage = usage;
            response.text = unfenced(&response.text).to_owned();
            match quotes::check(schema, &response.text) {
                Ok(()) => return Ok(response),
                Err(message) if repairs == REPAIRS => return Err(Error::Malformed { message }),
                Err(message) => {
                    repairs += 1;
                    messages.push(Message {
                        role: Role::Assistant,
                        content: response.text,
                    });
                    messages.push(user(format!(
                        "That is not right: {message}. Answer again with the JSON alone."
                    )));
                }
            }
        }
    }
}

/// How JSON is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Schema,
    Words,
}

impl Model for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> Option<u32> {
        None
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len().div_ceil(4)
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<TextSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            match &request.output {
                Output::Text => {
                    self.answer(&request.messages, request, Mode::Words, sink.as_ref())
                        .await
                }
                Output::Json(schema) => self.json(request, schema, sink.as_ref()).await,
            }
        })
    }
}

fn user(content: String) -> Message {
    Message {
        role: Role::User,
        content,
    }
}

/// What stands inside a Markdown code fence, as small models write JSON.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
    else {
        return text;
    };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

fn may_pass(error: &Error) -> bool {
    match error {
        Error::Refused { status, .. } => {
            *status == StatusCode::TOO_MANY_REQUESTS.as_u16() || (500..600).contains(status)
        }
        Error::Unreachable { .. } => true,
        _ => false,
    }
}

fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Up to a quarter of a second, so that many callers do not come back together.
fn jitter_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()) % 250)
}

/// The server-sent events of one answer.
#[derive(Default)]
struct Events {
    buffer: Vec<u8>,
    text: String,
    usage: Usage,
    stop: Stop,
    ended: bool,
}

impl Events {
    /// Takes bytes of the stream; returns the text in them.
    fn take(&mut self, bytes: &[u8]) -> std::result::Result<String, String> {
        self.buffer.extend_from_slice(bytes);
        let mut fresh = String::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let Some(data) = line.trim().strip_prefix("data:") else {
                continue;
            };
            match data.trim() {
                "[DONE]" => self.ended = true,
                data => fresh.push_str(&self.event(data)?),
            }
        }
        self.text.push_str(&fresh);
        Ok(fresh)
    }

    fn event(&mut self, data: &str) -> std::result::Result<String, String> {
        let event: Value =
            serde_json::from_str(data).map_err(|e| format!("the stream is not JSON: {e}"))?;
        if let Some(message) = event.pointer("/error/message").and_then(Value::as_str) {
            return Err(message.to_owned());
        }
        let count = |pointer: &str| {
            let count = event.pointer(pointer).and_then(Value::as_u64);
            count.and_then(|count| u32::try_from(count).ok())
        };
        if let Some(prompt_tokens) = count("/usage/prompt_tokens") {
            self.usage = Usage {
                prompt_tokens,
                cached_tokens: count("/usage/prompt_tokens_details/cached_tokens").unwrap_or(0),
                output_tokens: count("/usage/completion_tokens").unwrap_or(0),
            };
        }
        match event
            .pointer("/choices/0/finish_reason")
            .and_then(Value::as_str)
        {
            Some("length") => (self.stop, self.ended) = (Stop::Length, true),
            Some(_) => self.ended = true,
            None => {}
        }
        let text = event
            .pointer("/choices/0/delta/content")
            .and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests;
