//! Any server that speaks OpenAI's chat completions, streaming.
//!
//! JSON is asked for by the server's own schema mode; a server that does not know it is asked in words.
//! One request here; what stands around it is in [`crate::remote`] and [`crate::checked`].

mod dialect;
mod events;
mod say;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::json;

use crate::http::{Failure, Http};
use crate::learned::Learned;
use crate::providers::Key;
use crate::remote::Wire;
use crate::{Delta, DeltaSink, Embedded, Model, Request, Response, Result};

use dialect::Dialect;
use events::Events;

/// A model of an OpenAI-compatible server.
pub(crate) struct OpenAi {
    name: String,
    http: Http,
    dialect: Learned<Dialect>,
}

impl OpenAi {
    /// The model called `model` of `provider` at `base_url`, with this key.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub(crate) fn new(
        provider: &str,
        model: &str,
        base_url: &str,
        key: Option<Key>,
    ) -> Result<OpenAi> {
        Ok(OpenAi {
            name: format!("{provider}:{model}"),
            http: Http::new(provider, model, base_url, key)?,
            dialect: Learned::new(Dialect::default()),
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
        let response = self.http.send(None, "models").await?;
        let list: List = response
            .json()
            .await
            .map_err(|error| self.http.broken(&error))?;
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
        let body = json!({"model": self.http.model, "input": texts, "encoding_format": "float"});
        let response = self.http.send(Some(&body), "embeddings").await?;
        let mut list: List = response
            .json()
            .await
            .map_err(|error| self.http.broken(&error))?;
        // What is not numbered is in order.
        list.data.sort_by_key(|item| item.index.unwrap_or(0));
        let usage = list.usage;
        Ok(Embedded {
            vectors: list.data.into_iter().map(|item| item.embedding).collect(),
            tokens: usage.and_then(|usage| usage.prompt_tokens.or(usage.total_tokens)),
            cost_micros: None,
        })
    }

    /// One answer, streamed.
    async fn once(
        &self,
        dialect: Dialect,
        request: &Request,
        sink: Option<&DeltaSink>,
    ) -> std::result::Result<Response, Failure> {
        let body = dialect.body(&self.http.provider, &self.http.model, request)?;
        let broken = |message: String| self.http.unreachable(message);
        let response = self.http.send(Some(&body), "chat/completions").await?;
        let mut events = Events::default();
        let pass = |pieces: Vec<Delta>| {
            let Some(sink) = sink else { return };
            for piece in pieces {
                // Whoever reads the stream may have gone; the answer still comes whole.
                let _ = sink.send(piece);
            }
        };
        // Some servers do not know streams and answer whole.
        let is_whole = is_json(response.headers());
        let mut stream = response.bytes_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.http.broken(&error))?;
            match is_whole {
                true => events.keep(&bytes).map_err(broken)?,
                false => pass(events.take(&bytes).map_err(broken)?),
            }
        }
        if is_whole {
            pass(events.whole().map_err(broken)?);
        }
        Ok(events.finish().map_err(broken)?)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
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
            let once = |dialect| self.once(dialect, request, sink.as_ref());
            let simpler = |dialect: &Dialect, failure: &Failure| dialect.without(failure, request);
            self.dialect.ask(once, simpler).await
        })
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
