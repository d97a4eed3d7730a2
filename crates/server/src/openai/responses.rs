//! `/v1/responses`.
//!
//! Nothing is kept between requests: the whole conversation comes with each one. A WebSocket keeps its
//! last response while it is open.

pub(crate) mod compact;
mod events;
pub(crate) mod socket;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response as HttpResponse};
use model::{Message, Model, Part, Reasoning, Request, Response, Role, Stop, ToolCall, Usage};
use serde_json::{Map, Value, json};

use self::events::Events;
use super::options::{self, Fields};
use super::{Body, content, new_id, now, stream};
use crate::Server;
use crate::error::ApiError;

/// A response, streamed or whole.
pub(crate) async fn respond(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<HttpResponse, ApiError> {
    let asked = read(body, None)?;
    let stream = asked.stream;
    let (model, request, frame) = asked.open(&server).await?;
    if stream {
        return stream::respond(model, request, Events::new(frame)).await;
    }
    let response = model.generate(&request, None).await?;
    let output = items(&response);
    Ok(Json(frame.done(&response, output)).into_response())
}

struct Asked {
    model: String,
    request: Request,
    most: Option<u32>,
    stream: bool,
    /// Fields of the request that the response repeats.
    echoed: Map<String, Value>,
}

impl Asked {
    /// The model, what it is asked, and what every form of the response has.
    async fn open(self, server: &Server) -> Result<(Arc<dyn Model>, Request, Frame), ApiError> {
        let model = server.pool.get(&self.model).await?;
        let mut request = self.request;
        let most = self.most;
        request.max_tokens = most.unwrap_or_else(|| options::room(model.as_ref(), &request));
        let frame = Frame {
            id: new_id("resp_"),
            created: now(),
            model: model.name().to_owned(),
            echoed: self.echoed,
        };
        Ok((model, request, frame))
    }
}

/// A response that may be gone on with: its identifier, and the conversation up to its end, without
/// the instructions.
pub(crate) struct Past {
    id: String,
    conversation: Vec<Message>,
}

fn read(body: Value, past: Option<&Past>) -> Result<Asked, ApiError> {
    let echoed = echoed(&body);
    let mut fields = Fields::of(body)?;
    let model = fields.text("model")?.unwrap_or_default();
    let mut messages = Vec::new();
    if let Some(instructions) = fields.text("instructions")? {
        messages.push(Message::system(instructions));
    }
    if let Some(id) = fields.text("previous_response_id")? {
        match past.filter(|past| past.id == id) {
            Some(past) => messages.extend(past.conversation.clone()),
            None => return Err(ApiError::no_such_response(&id)),
        }
    }
    match fields.take("input") {
        Some(Value::String(text)) => messages.push(Message::user(text)),
        Some(Value::Array(items)) => conversation(&items, &mut messages)?,
        _ => {
            return Err(ApiError::parameter(
                "input",
                "input is a text or an array of items",
            ));
        }
    }
    let format = fields.take("text").map(|mut text| text["format"].take());
    let format = format.filter(|format| !format.is_null());
    let effort = fields
        .take("reasoning")
        .map(|mut reasoning| reasoning["effort"].take());
    let effort = effort.filter(|effort| !effort.is_null());
    let tools = options::tools(fields.take("tools"), false)?;
    let request = Request {
        messages,
        output: options::output(format, false, "text.format")?,
        tool_choice: options::tool_choice(fields.take("tool_choice"), false, &tools)?,
        tools,
        max_tokens: 1,
        temperature: fields.temperature()?,
        seed: fields.seed()?,
        top_p: fields.top_p()?,
        stop: Vec::new(),
        effort: options::effort(effort, "reasoning.effort")?,
        stable: 0,
    };
    let most = fields.most_tokens(&["max_output_tokens"])?;
    let stream = fields.flag("stream")?;
    refuse_others(fields)?;
    Ok(Asked {
        model,
        request,
        most,
        stream,
        echoed,
    })
}

/// Refuses what cannot be honoured.
fn refuse_others(mut fields: Fields) -> Result<(), ApiError> {
    for (name, accepted) in [
        ("top_logprobs", json!([0])),
        ("presence_penalty", json!([0, 0.0])),
        ("frequency_penalty", json!([0, 0.0])),
        ("background", json!([false])),
        ("truncation", json!(["disabled"])),
        ("parallel_tool_calls", json!([true])),
        ("include", json!([[], ["reasoning.encrypted_content"]])),
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
        "stream_options",
    ]);
    fields.finish()
}

/// The fields of a request that its response repeats, with what holds where they are not said.
fn echoed(body: &Value) -> Map<String, Value> {
    let defaults = json!({
        "instructions": null,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "prompt_cache_key": null,
        "safety_identifier": null,
        "reasoning": {"effort": null, "summary": null},
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "top_logprobs": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "truncation": "disabled",
        "service_tier": "default",
        "text": {"format": {"type": "text"}},
    });
    let mut echoed = Map::new();
    for (name, default) in defaults.as_object().into_iter().flatten() {
        let said = body.get(name).filter(|value| !value.is_null());
        echoed.insert(name.clone(), said.unwrap_or(default).clone());
    }
    if echoed["text"].get("format").is_none() {
        echoed["text"]["format"] = json!({"type": "text"});
    }
    for tool in echoed["tools"].as_array_mut().into_iter().flatten() {
        for (name, default) in [
            ("description", Value::Null),
            ("parameters", Value::Null),
            ("strict", true.into()),
        ] {
            if tool.get(name).is_none() {
                tool[name] = default;
            }
        }
    }
    echoed
}

/// The items of an input as messages.
fn conversation(items: &[Value], messages: &mut Vec<Message>) -> Result<(), ApiError> {
    for (index, item) in items.iter().enumerate() {
        let place = format!("input[{index}]");
        match item["type"].as_str().unwrap_or("message") {
            "message" => {
                let role = match item["role"].as_str() {
                    Some("system" | "developer") => Role::System,
                    Some("user") => Role::User,
                    Some("assistant") => Role::Assistant,
                    _ => {
                        let message =
                            format!("{place}.role is system, developer, user or assistant");
                        return Err(ApiError::parameter(place, message));
                    }
                };
                let said = Message::of(role, content::parts(&item["content"], &place)?);
                messages.push(content::simple(said));
            }
            "function_call" => {
                let mut call = content::tool_call(
                    &item["call_id"],
                    &item["name"],
                    &item["arguments"],
                    &place,
                )?;
                call.signature = content::signature(item);
                said_by_model(messages, Part::ToolCall(call));
            }
            "function_call_output" => {
                let Some(id) = item["call_id"].as_str() else {
                    return Err(ApiError::parameter(
                        &place,
                        format!("{place} has no call_id"),
                    ));
                };
                let output = match &item["output"] {
                    Value::String(text) => text.clone(),
                    parts => Message::of(Role::Tool, content::parts(parts, &place)?)
                        .text()
                        .into_owned(),
                };
                let result = content::result(id, output, messages, &place)?;
                content::push(messages, result);
            }
            "compaction" => messages.push(compact::summary(item, &place)?),
            "reasoning" => said_by_model(messages, Part::Reasoning(reasoning(item))),
            other => {
                let message = format!("{place}: no item of the type {other}");
                return Err(ApiError::parameter(place, message));
            }
        }
    }
    Ok(())
}

fn reasoning(item: &Value) -> Reasoning {
    let texts = |name: &str| -> String {
        let parts = item[name].as_array().into_iter().flatten();
        parts.filter_map(|part| part["text"].as_str()).collect()
    };
    let text = match texts("content") {
        text if text.is_empty() => texts("summary"),
        text => text,
    };
    let secret = item["encrypted_content"].as_str();
    let sealed = secret.and_then(content::unsealed);
    Reasoning {
        text,
        signature: secret.filter(|_| sealed.is_none()).map(str::to_owned),
        sealed,
    }
}

/// Adds a part to what the model said last, or begins a message of its. What it thought comes first.
fn said_by_model(messages: &mut Vec<Message>, part: Part) {
    match messages
        .last_mut()
        .filter(|last| last.role == Role::Assistant)
    {
        Some(last) => {
            let mut parts = last.parts();
            let is_thought = |part: &Part| matches!(part, Part::Reasoning(_));
            let place = match is_thought(&part) {
                true => parts.iter().take_while(|part| is_thought(part)).count(),
                false => parts.len(),
            };
            parts.insert(place, part);
            *last = Message::of(Role::Assistant, parts);
        }
        None => messages.push(Message::of(Role::Assistant, vec![part])),
    }
}

/// What every form of a response has.
struct Frame {
    id: String,
    created: u64,
    model: String,
    echoed: Map<String, Value>,
}

impl Frame {
    fn has_instructions(&self) -> bool {
        self.echoed
            .get("instructions")
            .is_some_and(Value::is_string)
    }

    fn object(&self, status: &str, output: Vec<Value>) -> Value {
        let mut object = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": null,
            "status": status,
            "background": false,
            "store": false,
            "error": null,
            "incomplete_details": null,
            "model": self.model,
            "output": output,
            "usage": null,
        });
        if let Some(fields) = object.as_object_mut() {
            fields.extend(self.echoed.clone());
        }
        object
    }

    /// The response at its end.
    fn done(&self, response: &Response, output: Vec<Value>) -> Value {
        let (status, why) = match response.stop {
            Stop::Length => ("incomplete", json!({"reason": "max_output_tokens"})),
            Stop::Refused => ("incomplete", json!({"reason": "content_filter"})),
            Stop::End | Stop::ToolCalls => ("completed", Value::Null),
        };
        let mut object = self.object(status, output);
        object["incomplete_details"] = why;
        object["usage"] = usage(&response.usage);
        if status == "completed" {
            object["completed_at"] = now().into();
        }
        if let Some(model) = &response.model {
            object["model"] = model.as_str().into();
        }
        object
    }
}

/// An answer as items.
fn items(response: &Response) -> Vec<Value> {
    let thought = response
        .reasoning
        .iter()
        .map(|thought| thought_item(&new_id("rs_"), thought));
    let has_text = !response.text.is_empty() || response.tool_calls.is_empty();
    let said = has_text.then(|| message_item(&new_id("msg_"), status(response), &response.text));
    let calls = response
        .tool_calls
        .iter()
        .map(|call| call_item(&new_id("fc_"), "completed", call));
    thought.chain(said).chain(calls).collect()
}

fn status(response: &Response) -> &'static str {
    match response.stop {
        Stop::Length | Stop::Refused => "incomplete",
        Stop::End | Stop::ToolCalls => "completed",
    }
}

fn thought_item(id: &str, thought: &Reasoning) -> Value {
    let summary = match thought.text.is_empty() {
        true => json!([]),
        false => json!([{"type": "summary_text", "text": thought.text}]),
    };
    let mut item = json!({"type": "reasoning", "id": id, "summary": summary});
    if let Some(secret) = content::secret(thought) {
        item["encrypted_content"] = secret.into();
    }
    item
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message_item(id: &str, status: &str, text: &str) -> Value {
    json!({
        "type": "message",
        "id": id,
        "status": status,
        "role": "assistant",
        "content": [text_part(text)],
    })
}

fn call_item(id: &str, status: &str, call: &ToolCall) -> Value {
    let mut item = json!({
        "type": "function_call",
        "id": id,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments.to_string(),
        "status": status,
    });
    content::sign(&mut item, call);
    item
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": u64::from(usage.prompt_tokens) + u64::from(usage.output_tokens),
    })
}
