//! Any server that speaks OpenAI's chat completions, streaming.
//!
//! JSON is asked for by the server's own schema mode; a server that does not know it is asked in words.
//! Either way the answer is held against the schema, and asked for again with what is wrong with it.

mod dialect;
mod events;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response as HttpResponse, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::quotes;
use crate::{Delta, DeltaSink, Error, Message, Model, Output, Request, Response, Result, Usage};

use dialect::Dialect;
use events::Events;

/// How often a call is tried when the server is down or overloaded.
const TRIES: u32 = 4;
/// How often an answer is asked for again when it does not fit its schema.
const REPAIRS: u32 = 2;
/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest silence before the server counts as down.
const SILENCE: Duration = Duration::from_secs(120);
/// The most that is read of a refusal, in bytes.
const LONGEST_REFUSAL: usize = 1 << 16;

/// A model of an OpenAI-compatible server.
pub struct OpenAi {
    name: String,
    model: String,
    base_url: String,
    /// The address without what a user may have put in for authentication.
    shown_url: String,
    key: Option<String>,
    client: Client,
    dialect: Mutex<Dialect>,
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
        let Ok(mut shown) = reqwest::Url::parse(&base_url) else {
            return Err(Error::Setting {
                message: "the address of the server is none".to_owned(),
                hint: "write it like http://127.0.0.1:8080/v1".to_owned(),
            });
        };
        // These fail for addresses that cannot have them.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        let shown_url = shown.as_str().trim_end_matches('/').to_owned();
        let builder = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE);
        let client = builder.build().map_err(|error| Error::Unreachable {
            provider: shown_url.clone(),
            message: error.without_url().to_string(),
        })?;
        Ok(OpenAi {
            name: format!("openai:{model}"),
            model: model.to_owned(),
            base_url,
            shown_url,
            key,
            client,
            dialect: Mutex::default(),
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
    async fn send(
        &self,
        body: Option<&Value>,
        path: &str,
    ) -> std::result::Result<HttpResponse, Failure> {
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
            let (failure, wait) = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let wait = retry_after(&response);
                    (self.refused(response).await, wait)
                }
                Err(error) => (Failure::from(self.broken(&error)), None),
            };
            if attempt == TRIES || !may_pass(&failure.error) {
                return Err(failure);
            }
            tokio::time::sleep(wait.unwrap_or_else(|| backoff(attempt)).min(LONGEST_WAIT)).await;
            attempt += 1;
        }
    }

    async fn refused(&self, mut response: HttpResponse) -> Failure {
        let status = response.status();
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > LONGEST_REFUSAL {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        let said: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        let message = said
            .pointer("/error/message")
            .or_else(|| said.get("message"));
        let message = message.and_then(Value::as_str).unwrap_or(&body);
        let message: String = message.chars().take(300).collect();
        let message = match &self.key {
            // Some servers repeat the key that they refuse.
            Some(key) => message.replace(key.as_str(), "[key]"),
            None => message,
        };
        let parameter = said.pointer("/error/param").and_then(Value::as_str);
        Failure {
            error: Error::Refused {
                provider: self.shown_url.clone(),
                status: status.as_u16(),
                message,
            },
            parameter: parameter.map(str::to_owned),
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
            provider: self.shown_url.clone(),
            message,
        }
    }

    /// One answer in the dialect that the server understands, which may take some tries to find out.
    async fn answer(
        &self,
        messages: &[Message],
        request: &Request,
        sink: Option<&DeltaSink>,
    ) -> Result<Response> {
        loop {
            let dialect = self.dialect().clone();
            let body = dialect.body(&self.model, messages, request);
            let failure = match self.stream(&body, sink).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            match dialect.without(&failure, request) {
                Some(simpler) => *self.dialect() = simpler,
                None => return Err(failure.error),
            }
        }
    }

    fn dialect(&self) -> MutexGuard<'_, Dialect> {
        self.dialect
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One answer, streamed; asked for again when the stream is cut before anyone has seen of it.
    async fn stream(
        &self,
        body: &Value,
        sink: Option<&DeltaSink>,
    ) -> std::result::Result<Response, Failure> {
        let mut attempt = 1;
        loop {
            let response = self.send(Some(body), "chat/completions").await?;
            let mut events = Events::default();
            match self.read(response, &mut events, sink).await {
                Ok(()) => {
                    return Ok(Response {
                        text: events.text,
                        usage: events.usage,
                        stop: events.stop,
                        ..Response::default()
                    });
                }
                Err(error) => {
                    let seen = sink.is_some() && !events.text.is_empty();
                    if attempt == TRIES || seen {
                        return Err(error.into());
                    }
                }
            }
            tokio::time::sleep(backoff(attempt)).await;
            attempt += 1;
        }
    }

    async fn read(
        &self,
        response: HttpResponse,
        events: &mut Events,
        sink: Option<&DeltaSink>,
    ) -> Result<()> {
        let broken = |message: String| Error::Unreachable {
            provider: self.shown_url.clone(),
            message,
        };
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.broken(&error))?;
            let text = events.take(&bytes).map_err(broken)?;
            if let Some(sink) = sink.filter(|_| !text.is_empty()) {
                // Whoever reads the stream may have gone; the answer still comes whole.
                let _ = sink.send(Delta::Text { text });
            }
        }
        match events.ended {
            true => Ok(()),
            false => Err(broken("the stream was cut off".to_owned())),
        }
    }

    /// JSON that fits `schema`: asked for again with what is wrong with it. What is streamed may then
    /// be more than one answer.
    async fn json(
        &self,
        request: &Request,
        schema: &Value,
        sink: Option<&DeltaSink>,
    ) -> Result<Response> {
        let mut messages = request.messages.clone();
        let mut usage = Usage::default();
        for repair in 0.. {
            let mut response = self.answer(&messages, request, sink).await?;
            usage.prompt_tokens += response.usage.prompt_tokens;
            usage.cached_tokens += response.usage.cached_tokens;
            usage.output_tokens += response.usage.output_tokens;
            response.usage = usage;
            response.text = unfenced(&response.text).to_owned();
            match quotes::check(schema, &response.text) {
                Ok(()) => return Ok(response),
                Err(message) if repair == REPAIRS => return Err(Error::Malformed { message }),
                Err(message) => {
                    messages.push(Message::assistant(response.text));
                    messages.push(Message::user(format!(
                        "That is not right: {message}. Answer again with the JSON alone."
                    )));
                }
            }
        }
        Err(Error::Malformed {
            message: "it was asked for too often".to_owned(),
        })
    }
}

/// Why a request failed.
struct Failure {
    error: Error,
    /// The parameter that the server blames.
    parameter: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            error,
            parameter: None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
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
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            match &request.output {
                Output::Text => self.answer(&request.messages, request, sink.as_ref()).await,
                Output::Json(schema) => self.json(request, schema, sink.as_ref()).await,
            }
        })
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

/// The wait after the given attempt, counted from 1.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(500 * 2_u64.pow(attempt - 1) + jitter_ms())
}

/// Up to a quarter of a second, so that many callers do not come back together.
fn jitter_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()) % 250)
}

#[cfg(test)]
mod tests;
