//! A model made of several, tried in order.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{DeltaSink, Error, Model, Request, Response, Result, watch};

/// Several models, tried in order. [`Response::model`] says which one answered.
pub struct Fallback {
    name: String,
    first: Arc<dyn Model>,
    others: Vec<Arc<dyn Model>>,
}

impl Fallback {
    /// `first`, and when it cannot answer, the others one after the other.
    pub fn new(first: Arc<dyn Model>, others: Vec<Arc<dyn Model>>) -> Fallback {
        let names = std::iter::once(&first).chain(&others);
        Fallback {
            name: names
                .map(|model| model.name())
                .collect::<Vec<_>>()
                .join(","),
            first,
            others,
        }
    }
}

/// Whether another model may do better. What a provider does not want to answer is not carried to the
/// next one, and an answer of the wrong form is an answer.
pub(crate) fn another_may(error: &Error) -> bool {
    match error {
        Error::Withheld { .. } | Error::Malformed { .. } | Error::Schema { .. } => false,
        Error::Unknown { .. }
        | Error::Missing { .. }
        | Error::Unfit { .. }
        | Error::Setting { .. }
        | Error::Key { .. }
        | Error::Unsupported { .. }
        | Error::Overflow { .. }
        | Error::TooLong { .. }
        | Error::Busy { .. }
        | Error::Resting { .. }
        | Error::TimedOut { .. }
        | Error::Denied { .. }
        | Error::Refused { .. }
        | Error::Unreachable { .. }
        | Error::Engine { .. }
        | Error::File { .. }
        | Error::Checksum { .. }
        | Error::Fetch { .. } => true,
    }
}

impl Model for Fallback {
    fn name(&self) -> &str {
        &self.name
    }

    /// The first one's: what does not fit there goes to the next.
    fn context_tokens(&self) -> Option<u32> {
        self.first.context_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.first.count_tokens(text)
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let mut others = self.others.iter();
            let mut model = &self.first;
            let mut seen = false;
            loop {
                let answer =
                    watch::call(model.as_ref(), request, sink.as_ref(), None, &mut seen).await;
                let error = match answer {
                    Ok(mut response) => {
                        let name = || model.name().to_owned();
                        response.model = Some(response.model.unwrap_or_else(name));
                        return Ok(response);
                    }
                    Err(error) => error,
                };
                match others.next().filter(|_| !seen && another_may(&error)) {
                    Some(next) => {
                        tracing::warn!(from = model.name(), to = next.name(), %error, "the next model is asked");
                        model = next;
                    }
                    None => return Err(error),
                }
            }
        })
    }
}
