//! JSON from models that cannot be held to a schema while they write: held against it afterwards, and
//! asked for again with what is wrong with it.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::{DeltaSink, Error, Message, Model, Output, Request, Response, Result, Stop, quotes};

/// How often an answer is asked for again when it does not fit its schema.
const REPAIRS: u32 = 2;

/// A model whose JSON always fits its schema.
pub(crate) struct Checked {
    inner: Arc<dyn Model>,
}

impl Checked {
    /// Holds the answers of `inner` against their schemas.
    pub(crate) fn new(inner: Arc<dyn Model>) -> Checked {
        Checked { inner }
    }

    /// What is streamed may be more than one answer.
    async fn json(
        &self,
        request: &Request,
        schema: &Value,
        sink: Option<DeltaSink>,
    ) -> Result<Response> {
        let mut request = request.clone();
        let mut before = Response::default();
        let mut repairs = 0;
        loop {
            let mut response = self.inner.generate(&request, sink.clone()).await?;
            add(&mut response, &before, repairs > 0);
            if !response.tool_calls.is_empty() {
                return Ok(response);
            }
            if response.stop == Stop::Refused {
                return Err(Error::Withheld {
                    provider: self.name().to_owned(),
                    message: "it refused to answer".to_owned(),
                });
            }
            response.text = unfenced(&response.text).to_owned();
            let Err(message) = quotes::check(schema, &response.text) else {
                return Ok(response);
            };
            if repairs == REPAIRS {
                return Err(Error::Malformed { message });
            }
            repairs += 1;
            request.messages.push(response.message());
            request.messages.push(Message::user(format!(
                "That is not right: {message}. Answer again with the JSON alone."
            )));
            before = response;
        }
    }
}

/// Adds what the calls before took. A price that is not known once is not known.
fn add(response: &mut Response, before: &Response, again: bool) {
    response.usage = response.usage.plus(&before.usage);
    if again {
        let costs = response.cost_micros.zip(before.cost_micros);
        response.cost_micros = costs.map(|(cost, earlier)| cost + earlier);
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

impl Model for Checked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn context_tokens(&self) -> Option<u32> {
        self.inner.context_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            match &request.output {
                Output::Text => self.inner.generate(request, sink).await,
                Output::Json(schema) => self.json(request, schema, sink).await,
                Output::Given(_) => Ok(Response::default()),
            }
        })
    }
}
