//! What a server understands of the protocol. One begins with all of it, and leaves out what the server
//! refuses; that is remembered, so that it is found out once.

use serde_json::{Value, json};

use super::say;
use crate::http::Failure;
use crate::quotes;
use crate::{Error, Output, Request, Result};

/// How JSON is asked for, from the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The server decodes under the schema.
    Strict,
    /// The server is shown the schema, of which strict decoding knows only a part.
    Schema,
    /// The server writes some JSON; the schema stands in the prompt.
    Object,
    /// The schema stands in the prompt.
    Words,
}

/// What a server understands.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    mode: Mode,
    /// Newer models take `max_completion_tokens`, everything else `max_tokens`.
    has_max_tokens: bool,
    /// Models that think take no temperature.
    has_temperature: bool,
    has_seed: bool,
    has_stream_options: bool,
    /// Models that do not think cannot be told how hard to.
    has_effort: bool,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            mode: Mode::Strict,
            has_max_tokens: true,
            has_temperature: true,
            has_seed: true,
            has_stream_options: true,
            has_effort: true,
        }
    }
}

impl Dialect {
    /// The body of a request.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a part that the protocol has no place for.
    pub(super) fn body(&self, provider: &str, model: &str, request: &Request) -> Result<Value> {
        let mut shown = say::messages(provider, &request.messages)?;
        let mut body = json!({"model": model, "stream": true});
        if self.has_stream_options {
            body["stream_options"] = json!({"include_usage": true});
        }
        if self.has_temperature {
            body["temperature"] = json!(request.temperature);
        }
        if self.has_seed {
            body["seed"] = json!(request.seed);
        }
        if let Some(top_p) = request.top_p {
            body["top_p"] = json!(top_p);
        }
        if !request.stop.is_empty() {
            body["stop"] = json!(request.stop);
        }
        if let Some(effort) = request.effort.filter(|_| self.has_effort) {
            body["reasoning_effort"] = effort.as_str().into();
        }
        let limit = match self.has_max_tokens {
            true => "max_tokens",
            false => "max_completion_tokens",
        };
        body[limit] = json!(request.max_tokens);
        if let Output::Json(schema) = &request.output {
            let schema = quotes::without_extensions(schema);
            let named = |strict: bool| json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": schema}});
            match self.mode {
                Mode::Strict => body["response_format"] = named(true),
                Mode::Schema => body["response_format"] = named(false),
                Mode::Object => body["response_format"] = json!({"type": "json_object"}),
                Mode::Words => {}
            }
            if matches!(self.mode, Mode::Object | Mode::Words) {
                let said = format!("Answer with JSON alone that fits this JSON schema:\n{schema}");
                shown.push(json!({"role": "user", "content": said}));
            }
        }
        if !request.tools.is_empty() {
            body["tools"] = say::tools(&request.tools);
            body["tool_choice"] = say::tool_choice(&request.tool_choice);
        }
        body["messages"] = Value::Array(shown);
        Ok(body)
    }

    /// The dialect without what the server refused; `None` when leaving out will not help.
    pub(super) fn without(&self, failure: &Failure, request: &Request) -> Option<Dialect> {
        let Error::Refused {
            status: 400 | 404 | 415 | 422 | 501,
            ..
        } = failure.error
        else {
            return None;
        };
        let mut simpler = self.clone();
        let blamed = match failure.parameter.as_deref() {
            Some("max_tokens") => Some(&mut simpler.has_max_tokens),
            Some("temperature") => Some(&mut simpler.has_temperature),
            Some("seed") => Some(&mut simpler.has_seed),
            Some("reasoning_effort") => Some(&mut simpler.has_effort),
            Some("stream_options") => Some(&mut simpler.has_stream_options),
            // Another parameter, or a server that does not say: it may be the form of JSON.
            _ => None,
        };
        if let Some(has) = blamed {
            return std::mem::replace(has, false).then_some(simpler);
        }
        if request.output == Output::Text {
            return None;
        }
        simpler.mode = match self.mode {
            Mode::Strict => Mode::Schema,
            Mode::Schema => Mode::Object,
            Mode::Object => Mode::Words,
            Mode::Words => return None,
        };
        Some(simpler)
    }
}
