//! Providers in their own protocols, through `genai`: Anthropic, Gemini, OpenAI's Responses, Ollama.
//! One request here; what stands around it is in [`crate::remote`].

mod answer;
mod ask;

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use genai::adapter::AdapterKind;
use genai::resolver::{AuthData, Endpoint, ProviderConfig};
use genai::{Client, ModelIden, ServiceTarget};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::http::Failure;
use crate::learned::Learned;
use crate::providers::Key;
use crate::refusal::Refusal;
use crate::remote::Wire;
use crate::{DeltaSink, Embedded, Error, Model, Output, Request, Response, Result};

use answer::Answer;

/// A model of a provider that has a protocol of its own.
pub(crate) struct Native {
    name: String,
    provider: String,
    kind: AdapterKind,
    key: Option<Key>,
    target: ServiceTarget,
    client: Client,
    takes: Learned<Takes>,
}

/// What a model takes.
#[derive(Clone, Copy)]
struct Takes {
    temperature: bool,
    /// A schema under which the provider decodes.
    schema: bool,
}

impl Native {
    /// `model` of `provider`, which speaks the protocol of `kind` at `base_url`.
    ///
    /// # Errors
    /// [`Error::Setting`] when the address is none, or not on this machine where calls are forbidden.
    pub(crate) fn new(
        provider: &str,
        model: &str,
        kind: AdapterKind,
        base_url: &str,
        key: Option<Key>,
    ) -> Result<Native> {
        let base_url = format!("{}/", base_url.trim_end_matches('/'));
        crate::offline::check(&base_url)?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            // A key is not carried to another address.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Unreachable {
                provider: provider.to_owned(),
                message: error.without_url().to_string(),
            })?;
        Ok(Native {
            name: format!("{provider}:{model}"),
            provider: provider.to_owned(),
            kind,
            target: ServiceTarget {
                endpoint: Endpoint::from_owned(base_url),
                auth: AuthData::from_single(
                    key.as_ref()
                        .map_or_else(String::new, |key| key.value.clone()),
                ),
                model: ModelIden::new(kind, model),
            },
            key,
            client: Client::builder()
                .with_reqwest(http)
                .build()
                .map_err(|error| Error::Setting {
                    message: format!("{provider} cannot be used: {error}"),
                    hint: "name another provider".to_owned(),
                })?,
            takes: Learned::new(Takes {
                temperature: true,
                schema: true,
            }),
        })
    }

    async fn once(
        &self,
        takes: Takes,
        request: &Request,
        sink: Option<&DeltaSink>,
    ) -> std::result::Result<Response, Failure> {
        let way = ask::Way {
            provider: &self.provider,
            kind: self.kind,
            temperature: takes.temperature,
            schema: takes.schema,
        };
        let (asked, options) = way.ask(request)?;
        let call = self
            .client
            .exec_chat_stream(self.target.clone(), asked, Some(&options));
        let mut stream = call.await.map_err(|error| self.error(&error))?.stream;
        let mut answer = Answer::default();
        while let Some(event) = stream.next().await {
            let pieces = answer.take(event.map_err(|error| self.error(&error))?);
            if let (Some(sink), Some(piece)) = (sink, pieces) {
                // Whoever reads the stream may have gone; the answer still comes whole.
                let _ = sink.send(piece);
            }
        }
        let finished = answer.finish();
        Ok(finished.map_err(|message| Error::Unreachable {
            provider: self.provider.clone(),
            message,
        })?)
    }

    async fn models(&self) -> Result<Vec<String>> {
        let asked = ProviderConfig::from_endpoint(self.target.endpoint.clone())
            .with_auth(self.target.auth.clone());
        let names = self.client.all_model_names(self.kind, asked).await;
        names.map_err(|error| self.error(&error))
    }

    async fn vectors(&self, texts: &[String]) -> Result<Embedded> {
        if !matches!(
            self.kind,
            AdapterKind::Gemini | AdapterKind::Ollama | AdapterKind::OpenAIResp
        ) {
            return Err(self.unsupported("texts to turn into vectors"));
        }
        let target = match self.kind {
            // The same paths beside the other protocol.
            AdapterKind::OpenAIResp => ServiceTarget {
                model: ModelIden::new(AdapterKind::OpenAI, self.target.model.model_name.clone()),
                ..self.target.clone()
            },
            _ => self.target.clone(),
        };
        let asked = self.client.embed_batch(target, texts.to_vec(), None).await;
        let answer = asked.map_err(|error| self.error(&error))?;
        let tokens = answer.usage.prompt_tokens.or(answer.usage.total_tokens);
        let mut vectors = answer.embeddings;
        vectors.sort_by_key(|vector| vector.index);
        Ok(Embedded {
            vectors: vectors.into_iter().map(|vector| vector.vector).collect(),
            tokens: tokens.and_then(|tokens| u32::try_from(tokens).ok()),
            cost_micros: None,
        })
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::Unsupported {
            provider: self.provider.clone(),
            what: what.to_owned(),
        }
    }

    fn error(&self, error: &genai::Error) -> Error {
        let none = HeaderMap::new();
        let refused = |status: u16, headers: &HeaderMap, body: &str| {
            Refusal {
                provider: &self.provider,
                model: &self.target.model.model_name,
                status,
                headers,
                body,
                key: self.key.as_ref(),
            }
            .error()
        };
        // A stream carries the refusal of its own request as the cause of its failure.
        if let genai::Error::WebStream { error: cause, .. } = error
            && let Some(inner) = cause.downcast_ref::<genai::Error>()
        {
            return self.error(inner);
        }
        let status = error.status().map(|status| status.as_u16());
        let headers = error.headers().cloned().unwrap_or_default();
        match (status, error) {
            (Some(status), genai::Error::HttpError { body, .. }) => refused(status, &headers, body),
            (
                Some(status),
                genai::Error::WebModelCall {
                    webc_error: genai::webc::Error::ResponseFailedStatus { body, .. },
                    ..
                }
                | genai::Error::WebAdapterCall {
                    webc_error: genai::webc::Error::ResponseFailedStatus { body, .. },
                    ..
                },
            ) => refused(status, &headers, body),
            (_, genai::Error::ChatResponse { body, .. }) => {
                refused(status_in_stream(body), &none, &body.to_string())
            }
            (
                _,
                genai::Error::AdapterNotSupported { .. }
                | genai::Error::MessageContentTypeNotSupported { .. }
                | genai::Error::MessageRoleNotSupported { .. },
            ) => Error::Unsupported {
                provider: self.provider.clone(),
                what: self.short(error),
            },
            _ => Error::Unreachable {
                provider: self.provider.clone(),
                message: self.short(error),
            },
        }
    }

    /// The error's words without the key and without whole bodies.
    fn short(&self, error: &genai::Error) -> String {
        let text = error.to_string();
        let text = match &self.key {
            Some(key) => key.hidden_in(&text),
            None => text,
        };
        text.chars().take(300).collect()
    }
}

impl Takes {
    /// What is left without what the model may have refused; none where there was nothing to leave out.
    fn without(&self, failure: &Failure, request: &Request) -> Option<Takes> {
        let Error::Refused {
            status: 400 | 422,
            message,
            ..
        } = &failure.error
        else {
            return None;
        };
        // No provider gives a code for this; a needless second request is all that a wrong guess costs.
        if self.temperature && message.contains("temperature") {
            return Some(Takes {
                temperature: false,
                ..*self
            });
        }
        (self.schema && matches!(request.output, Output::Json(_))).then_some(Takes {
            schema: false,
            ..*self
        })
    }
}

/// The status that an error within a stream stands for: the stream itself had 200.
fn status_in_stream(body: &Value) -> u16 {
    let kind = body
        .pointer("/error/type")
        .or_else(|| body.pointer("/error/status"))
        .or_else(|| body.pointer("/error/code"));
    match kind.and_then(Value::as_str) {
        Some("overloaded_error") => 529,
        Some("rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED") => 429,
        Some("invalid_request_error" | "INVALID_ARGUMENT") => 400,
        Some("authentication_error") => 401,
        _ => 500,
    }
}

impl Model for Native {
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
            let simpler = |takes: &Takes, failure: &Failure| takes.without(failure, request);
            self.takes.ask(once, simpler).await
        })
    }
}

impl Wire for Native {
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.models())
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Embedded>> {
        Box::pin(self.vectors(texts))
    }
}

#[cfg(test)]
mod tests;
