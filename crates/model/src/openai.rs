//! Any server that speaks OpenAI's chat completions, streaming.
//!
//! JSON is asked for by the server's own schema mode; a server that does not know it is asked in words.
//! One request here; what stands around it is in [`crate::remote`] and [`crate::checked`].

mod dialect;
mod events;
mod say;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use reqwest::{Client, Response as HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::providers::Key;
use crate::refusal::Refusal;
use crate::remote::Wire;
use crate::{DeltaSink, Embedded, Error, Model, Request, Response, Result};

use dialect::Dialect;
use events::Events;

/// The longest silence of a connection before it counts as dead.
const SILENCE: Duration = Duration::from_secs(600);
/// The most that is read of a refusal, in bytes.
const LONGEST_REFUSAL: usize = 1 << 16;

/// A model of an OpenAI-compatible server.
pub(crate) struct OpenAi {
    name: String,
    provider: String,
    model: String,
    base_url: String,
    /// The address without what a user may have put in for authentication.
    shown_url: String,
    key: Option<Key>,
    client: Client,
    dialect: Mutex<Dialect>,
}

impl OpenAi {
    /// The model called `model` of `provider` at `base_url`, with this key.
    ///
    /// # Errors
    /// [`Error::Setting`] when the address is none, or not on this machine where calls are forbidden.
    pub(crate) fn new(
        provider: &str,
        model: &str,
        base_url: &str,
        key: Option<Key>,
    ) -> Result<OpenAi> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        crate::offline::check(&base_url)?;
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
            name: format!("{provider}:{model}"),
            provider: provider.to_owned(),
            model: model.to_owned(),
            base_url,
            shown_url,
            key,
            client,
            dialect: Mutex::default(),
        })
    }

    /// The names of the models that the server offers.
    async fn models(&self) -> Result<Vec<String>> {
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

    async fn vectors(&self, texts: &[String]) -> Result<Embedded> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Item>,
            #[serde(default)]
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Item {
            embedding: Vec<f32>,
            index: Option<usize>,
        }
        #[derive(Deserialize)]
        struct Usage {
            prompt_tokens: Option<u32>,
            total_tokens: Option<u32>,
        }
        let body = json!({"model": self.model, "input": texts, "encoding_format": "float"});
        let response = self.send(Some(&body), "embeddings").await?;
        let mut list: List = response.json().await.map_err(|error| self.broken(&error))?;
        // What is not numbered is in order.
        list.data.sort_by_key(|item| item.index.unwrap_or(0));
        let usage = list.usage;
        Ok(Embedded {
            vectors: list.data.into_iter().map(|item| item.embedding).collect(),
            tokens: usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens)),
            cost_micros: None,
        })
    }

    /// One request.
    async fn send(
        &self,
        body: Option<&Value>,
        path: &str,
    ) -> std::result::Result<HttpResponse, Failure> {
        let url = format!("{}/{path}", self.base_url);
        let request = match body {
            Some(body) => self.client.post(&url).json(body),
            None => self.client.get(&url),
        };
        let request = match &self.key {
            Some(key) => request.bearer_auth(&key.value),
            None => request,
        };
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => Err(self.refused(response).await),
            Err(error) => Err(self.broken(&error).into()),
        }
    }

    async fn refused(&self, mut response: HttpResponse) -> Failure {
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > LONGEST_REFUSAL {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        let said: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        let parameter = said.pointer("/error/param").and_then(Value::as_str);
        Failure {
            error: Refusal {
                provider: &self.provider,
                model: &self.model,
                status: response.status().as_u16(),
                headers: response.headers(),
                body: &body,
                key: self.key.as_ref(),
            }
            .error(),
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
        self.unreachable(message)
    }

    fn unreachable(&self, message: String) -> Error {
        Error::Unreachable {
            provider: format!("{} at {}", self.provider, self.shown_url),
            message,
        }
    }

    /// One answer in the dialect that the server understands, which may take some tries to find out.
    async fn answer(&self, request: &Request, sink: Option<&DeltaSink>) -> Result<Response> {
        loop {
            let dialect = self.dialect().clone();
            let body = dialect.body(&self.provider, &self.model, request)?;
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

    /// One answer, streamed.
    async fn stream(
        &self,
        body: &Value,
        sink: Option<&DeltaSink>,
    ) -> std::result::Result<Response, Failure> {
        let broken = |message: String| self.unreachable(message);
        let response = self.send(Some(body), "chat/completions").await?;
        let mut events = Events::default();
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.broken(&error))?;
            for piece in events.take(&bytes).map_err(broken)? {
                if let Some(sink) = sink {
                    // Whoever reads the stream may have gone; the answer still comes whole.
                    let _ = sink.send(piece);
                }
            }
        }
        Ok(events.finish().map_err(broken)?)
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
        Box::pin(async move { self.answer(request, sink.as_ref()).await })
    }
}

impl Wire for OpenAi {
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.models())
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Embedded>> {
        Box::pin(self.vectors(texts))
    }
}

#[cfg(test)]
mod tests;
