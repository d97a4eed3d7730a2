//! A model that answers from a function, for tests of exact flows.

use futures::future::BoxFuture;

use crate::{Model, Request, Response, Result, Stop, TextSink, Usage};

type Script = dyn Fn(&Request) -> Result<String> + Send + Sync;

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
        sink: Option<TextSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let text = (self.script)(request)?;
            if let Some(sink) = sink {
                // Whoever reads the stream may have gone.
                let _ = sink.send(text.clone());
            }
            let count = |text: &str| u32::try_from(self.count_tokens(text)).unwrap_or(u32::MAX);
            let prompt_tokens = request
                .messages
                .iter()
                .map(|message| count(&message.content))
                .sum();
            let usage = Usage {
                prompt_tokens,
                cached_tokens: 0,
                output_tokens: count(&text),
            };
            Ok(Response {
                text,
                choices: Vec::new(),
                usage,
                stop: Stop::End,
            })
        })
    }
}
