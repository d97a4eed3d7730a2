//! `/v1/chat/completions`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use model::{Delta, Request, Response, Stop, ToolCall, Usage};
use serde_json::{Value, json};

use super::options::{self, Fields};
use super::stream::{self, Writer};
use super::{Body, content, new_id, now};
use crate::Server;
use crate::error::ApiError;

/// A chat completion, streamed or whole.
pub(crate) async fn complete(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<HttpResponse, ApiError> {
    let asked = read(body)?;
    let model = server.pool.get(&asked.model).await?;
    let mut request = asked.request;
    request.max_tokens = asked
        .most
        .unwrap_or_else(|| options::room(model.as_ref(), &request));
    let answer = Completion {
        id: new_id("chatcmpl-"),
        created: now(),
        model: model.name().to_owned(),
        with_usage: asked.with_usage,
        calls: 0,
    };
    if asked.stream {
        return stream::respond(model, request, answer).await;
    }
    let response = model.generate(&request, None).await?;
    Ok(Json(answer.whole(&response)).into_response())
}

struct Asked {
    model: String,
    request: Request,
    most: Option<u32>,
    stream: bool,
    with_usage: bool,
}

fn read(body: Value) -> Result<Asked, ApiError> {
    let mut fields = Fields::of(body)?;
    let model = fields.text("model")?.unwrap_or_default();
    let Some(messages) = fields.take("messages") else {
        return Err(ApiError::parameter("messages", "messages is missing"));
    };
    let tools = options::tools(fields.take("tools"), true)?;
    let request = Request {
        messages: content::messages(messages)?,
        output: options::output(fields.take("response_format"), true, "response_format")?,
        tool_choice: options::tool_choice(fields.take("tool_choice"), true, &tools)?,
        tools,
        max_tokens: 1,
        temperature: fields.temperature()?,
        seed: fields.seed()?,
        top_p: fields.top_p()?,
        stop: fields.stop()?,
        effort: options::effort(fields.take("reasoning_effort"), "reasoning_effort")?,
        stable: 0,
    };
    let most = fields.most_tokens(&["max_completion_tokens", "max_tokens"])?;
    let stream = fields.flag("stream")?;
    let with_usage = fields
        .take("stream_options")
        .is_some_and(|options| options["include_usage"] == true);
    for (name, accepted) in [
        ("n", json!([1])),
        ("frequency_penalty", json!([0, 0.0])),
        ("presence_penalty", json!([0, 0.0])),
        ("logprobs", json!([false])),
        ("logit_bias", json!([{}])),
        ("modalities", json!([["text"]])),
        ("parallel_tool_calls", json!([true])),
    ] {
        let accepted = accepted.as_array().cloned().unwrap_or_default();
        fields.only(name, &accepted)?;
    }
    fields.drop(&[
        "user",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "safety_identifier",
        "verbosity",
    ]);
    fields.finish()?;
    Ok(Asked {
        model,
        request,
        most,
        stream,
        with_usage,
    })
}

/// An answer on its way, whole or as chunks.
struct Completion {
    id: String,
    created: u64,
    model: String,
    with_usage: bool,
    /// Calls of tools that have been begun in the stream.
    calls: usize,
}

impl Completion {
    fn whole(&self, response: &Response) -> Value {
        let text = match response.text.is_empty() && !response.tool_calls.is_empty() {
            true => Value::Null,
            false => response.text.as_str().into(),
        };
        let mut message = json!({"role": "assistant", "content": text, "refusal": null});
        if !response.tool_calls.is_empty() {
            let calls = response.tool_calls.iter().map(call);
            message["tool_calls"] = calls.collect();
        }
        let thought: String = response
            .reasoning
            .iter()
            .map(|thought| thought.text.as_str())
            .collect();
        if !thought.is_empty() {
            message["reasoning_content"] = thought.into();
        }
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": response.model.as_ref().unwrap_or(&self.model),
            "choices": [{
                "index": 0,
                "message": message,
                "logprobs": null,
                "finish_reason": reason(response),
            }],
            "usage": usage(&response.usage),
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        let mut chunk = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "delta": delta,
                "logprobs": null,
                "finish_reason": finish_reason,
            }],
        });
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

impl Writer for Completion {
    fn begin(&mut self) -> Vec<Value> {
        vec![self.chunk(&json!({"role": "assistant", "content": ""}), None)]
    }

    fn delta(&mut self, delta: Delta) -> Vec<Value> {
        let delta = match delta {
            Delta::Text { text } => json!({"content": text}),
            Delta::Reasoning { text } => json!({"reasoning_content": text}),
            Delta::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let mut call = json!({"index": index, "function": {"arguments": arguments}});
                // Name and id stand in the first piece only.
                if index >= self.calls {
                    self.calls = index + 1;
                    call["id"] = id.into();
                    call["type"] = "function".into();
                    call["function"]["name"] = name.into();
                }
                json!({"tool_calls": [call]})
            }
        };
        vec![self.chunk(&delta, None)]
    }

    fn end(&mut self, response: &Response) -> Vec<Value> {
        let mut chunks = Vec::new();
        // Calls that did not come in pieces come whole.
        for (index, call) in response.tool_calls.iter().enumerate().skip(self.calls) {
            let mut call = self::call(call);
            call["index"] = index.into();
            chunks.push(self.chunk(&json!({"tool_calls": [call]}), None));
        }
        chunks.push(self.chunk(&json!({}), Some(reason(response))));
        if self.with_usage {
            let mut last = self.chunk(&json!({}), None);
            last["choices"] = json!([]);
            last["usage"] = usage(&response.usage);
            chunks.push(last);
        }
        chunks
    }

    fn failed(&mut self, error: &ApiError) -> Vec<Value> {
        vec![error.body()]
    }

    fn names_events(&self) -> bool {
        false
    }

    fn last(&self) -> Option<&'static str> {
        Some("[DONE]")
    }
}

fn call(call: &ToolCall) -> Value {
    let mut written = json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments.to_string()},
    });
    content::sign(&mut written, call);
    written
}

fn reason(response: &Response) -> &'static str {
    match response.stop {
        Stop::Length => "length",
        Stop::Refused => "content_filter",
        _ if !response.tool_calls.is_empty() => "tool_calls",
        Stop::End | Stop::ToolCalls => "stop",
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": u64::from(usage.prompt_tokens) + u64::from(usage.output_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    })
}
