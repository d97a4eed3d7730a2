//! A model that answers from a function, for tests of exact flows.

use futures::future::BoxFuture;

use crate::{Delta, DeltaSink, Model, Request, Response, Result, Usage};

type Script = dyn Fn(&Request) -> Result<Response> + Send + Sync;

/// A model whose answers a function gives.
pub struct Scripted {
    name: String,
    script: Box<Script>,
}

impl Scripted {
    /// A model called `name` that answers each request with what `script` returns.
    pub fn new(
        name: &str,
        script: impl Fn(&Request) -> Result<String> + Send + Sync + 'static,
    ) -> Scripted {
        Scripted::with_calls(name, move |request| {
            Ok(Response {
                text: script(request)?,
                ..Response::default()
            })
        })
    }

    /// The same with whole answers, which may call tools. Its usage is counted in words where the answer
    /// says nothing of it.
    pub fn with_calls(
        name: &str,
        script: impl Fn(&Request) -> Result<Response> + Send + Sync + 'static,
    ) -> Scripted {
        Scripted {
            name: name.to_owned(),
            script: Box::new(script),
        }
    }
}

impl Model for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> Option<u32> {
        None
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let mut response = (self.script)(request)?;
            let text = response.text.clone();
            if let Some(sink) = sink.filter(|_| !text.is_empty()) {
                // Whoever reads the stream may have gone.
                let _ = sink.send(Delta::Text { text: text.clone() });
            }
            let count = |text: &str| u32::try_from(self.count_tokens(text)).unwrap_or(u32::MAX);
            let prompt_tokens = request
                .messages
                .iter()
                .map(|message| count(&message.text()))
                .sum();
            if response.usage == Usage::default() {
                response.usage = Usage {
                    prompt_tokens,
                    output_tokens: count(&text),
                    ..Usage::default()
                };
            }
            Ok(response)
        })
    }
}
