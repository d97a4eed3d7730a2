//! Bedrock's Converse, streaming, with a key for its bearer authentication.
//!
//! One request here; what stands around it is in [`crate::remote`]. JSON is asked for in words: the
//! protocol has no form for it.

mod events;
mod frames;
mod say;

use std::fmt::Write as _;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::http::{Failure, Http};
use crate::learned::Learned;
use crate::providers::Key;
use crate::remote::Wire;
use crate::{DeltaSink, Embedded, Error, Model, Request, Response, Result};

use events::Events;
use frames::Frames;

/// A model of Bedrock.
pub(crate) struct Bedrock {
    name: String,
    http: Http,
    takes: Learned<Takes>,
}

/// What a model takes.
#[derive(Clone, Copy)]
struct Takes {
    /// Marks of what is to be cached.
    marks: bool,
    temperature: bool,
}

impl Bedrock {
    /// # Errors
    /// As [`Http::new`].
    pub(crate) fn new(
        provider: &str,
        model: &str,
        base_url: &str,
        key: Option<Key>,
    ) -> Result<Bedrock> {
        let caches = model.contains("anthropic.") || model.contains("amazon.nova");
        Ok(Bedrock {
            name: format!("{provider}:{model}"),
            http: Http::new(provider, model, base_url, key)?,
            takes: Learned::new(Takes {
                marks: caches,
                temperature: true,
            }),
        })
    }

    async fn once(
        &self,
        takes: Takes,
        request: &Request,
        sink: Option<&DeltaSink>,
    ) -> std::result::Result<Response, Failure> {
        let way = say::Way {
            http: &self.http,
            marks: takes.marks,
            temperature: takes.temperature,
        };
        let body = way.body(request)?;
        let path = format!("model/{}/converse-stream", encoded(&self.http.model));
        let response = self.http.send(Some(&body), &path).await?;
        let mut stream = response.bytes_stream();
        let (mut frames, mut events) = (Frames::default(), Events::default());
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|error| self.http.broken(&error))?;
            let broken = |message: String| self.http.unreachable(message);
            for frame in frames.take(&bytes).map_err(broken)? {
                if let Some(exception) = &frame.exception {
                    return Err(self.exception(exception, &frame.payload).into());
                }
                let pieces = events.take(&frame.kind, &frame.payload).map_err(broken)?;
                if let (Some(sink), Some(piece)) = (sink, pieces) {
                    // Whoever reads the stream may have gone; the answer still comes whole.
                    let _ = sink.send(piece);
                }
            }
        }
        let finished = events.finish();
        Ok(finished.map_err(|message| self.http.unreachable(message))?)
    }

    /// A failure within the stream, which itself had 200.
    fn exception(&self, kind: &str, payload: &Value) -> Error {
        let status = match kind {
            "throttlingException" => 429,
            "validationException" => 400,
            "serviceUnavailableException" => 503,
            _ => 500,
        };
        let none = HeaderMap::new();
        self.http
            .refusal(status, &none, &payload.to_string())
            .error()
    }
}

impl Takes {
    /// What is left without what the model may have refused; none where there was nothing to leave out.
    fn without(&self, failure: &Failure) -> Option<Takes> {
        let Error::Refused {
            status: 400,
            message,
            ..
        } = &failure.error
        else {
            return None;
        };
        // There is no code for this; a needless second request is all that a wrong guess costs.
        let message = message.to_lowercase();
        if self.marks && message.contains("cache") {
            return Some(Takes {
                marks: false,
                ..*self
            });
        }
        (self.temperature && message.contains("temperature")).then_some(Takes {
            temperature: false,
            ..*self
        })
    }
}

/// A model's identifier in a path.
fn encoded(model: &str) -> String {
    let mut path = String::new();
    for byte in model.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => path.push(byte.into()),
            // Writing to a string does not fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    path
}

impl Model for Bedrock {
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
            let once = |takes| self.once(takes, request, sink.as_ref());
            self.takes.ask(once, Takes::without).await
        })
    }
}

impl Wire for Bedrock {
    /// Its list is at another place than its models.
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Err(self.http.unsupported("a question for its models")) })
    }

    fn embed<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Embedded>> {
        Box::pin(async { Err(self.http.unsupported("texts to turn into vectors")) })
    }
}
