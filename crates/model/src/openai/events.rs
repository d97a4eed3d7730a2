//! The stream of one answer: server-sent events, as they are cut into pieces by the network.

use serde_json::Value;

use crate::{Delta, Reasoning, Response, Stop, ToolCall, Usage};

/// The longest line of a stream, in bytes.
const LONGEST_LINE: usize = 1 << 20;
/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 1 << 22;
/// The most calls of tools in one answer.
const MOST_CALLS: usize = 128;

/// The server-sent events of one answer.
#[derive(Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    text: String,
    thought: String,
    calls: Vec<Call>,
    usage: Usage,
    stop: Stop,
    ended: bool,
    /// Whether there was any event.
    begun: bool,
    length: usize,
}

/// A call as it arrives.
#[derive(Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

impl Events {
    /// Takes bytes of the stream; returns the pieces of the answer in them.
    ///
    /// # Errors
    /// What is wrong with the stream, or what the server says went wrong.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Delta>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let Some(data) = line.trim().strip_prefix("data:") else {
                continue;
            };
            match data.trim() {
                "[DONE]" => self.ended = true,
                data => {
                    self.length += data.len();
                    self.event(data, &mut pieces)?;
                }
            }
        }
        self.buffer = rest.to_vec();
        // Events are much longer than what they carry.
        if self.buffer.len() > LONGEST_LINE || self.length > 64 * LONGEST_ANSWER {
            return Err("the stream does not end".to_owned());
        }
        Ok(pieces)
    }

    /// Takes bytes of an answer that a server gives whole, though it was asked for a stream.
    ///
    /// # Errors
    /// When it is too long.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() > 2 * LONGEST_ANSWER {
            true => Err("the answer does not end".to_owned()),
            false => Ok(()),
        }
    }

    /// The pieces of the answer that was kept.
    ///
    /// # Errors
    /// What is wrong with it, or what the server says went wrong.
    pub(super) fn whole(&mut self) -> Result<Vec<Delta>, String> {
        let body = std::mem::take(&mut self.buffer);
        let mut answer: Value = serde_json::from_slice(&body)
            .map_err(|error| format!("the answer is not JSON: {error}"))?;
        let has_failed = !answer["error"].is_null();
        // What an event calls `delta` is called `message` here.
        let choice = answer.pointer_mut("/choices/0");
        match choice.and_then(Value::as_object_mut) {
            Some(choice) if choice.contains_key("message") => {
                let message = choice.remove("message").unwrap_or_default();
                choice.insert("delta".to_owned(), message);
            }
            // What went wrong is said as in a stream.
            _ if has_failed => {}
            _ => return Err("the answer is no chat completion".to_owned()),
        }
        let mut pieces = Vec::new();
        self.take_event(&answer, &mut pieces)?;
        self.ended = true;
        Ok(pieces)
    }

    fn event(&mut self, data: &str, pieces: &mut Vec<Delta>) -> Result<(), String> {
        let event: Value =
            serde_json::from_str(data).map_err(|e| format!("the stream is not JSON: {e}"))?;
        self.take_event(&event, pieces)
    }

    fn take_event(&mut self, event: &Value, pieces: &mut Vec<Delta>) -> Result<(), String> {
        self.begun = true;
        if let Some(message) = event["error"]["message"].as_str() {
            return Err(message.to_owned());
        }
        if let Some(usage) = usage(event) {
            self.usage = usage;
        }
        // Not by JSON pointers, which are taken apart anew each time.
        let choice = &event["choices"][0];
        let delta = &choice["delta"];
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        match choice["finish_reason"].as_str() {
            Some("length") => (self.stop, self.ended) = (Stop::Length, true),
            Some("content_filter") => (self.stop, self.ended) = (Stop::Refused, true),
            Some(reason) if !reason.is_empty() => self.ended = true,
            _ => {}
        }
        let thought = text(&delta["reasoning_content"]).or_else(|| text(&delta["reasoning"]));
        if let Some(text) = thought {
            self.thought.push_str(&text);
            pieces.push(Delta::Reasoning { text });
        }
        if let Some(text) = text(&delta["refusal"]) {
            self.stop = Stop::Refused;
            self.text.push_str(&text);
            pieces.push(Delta::Text { text });
        }
        if let Some(text) = text(&delta["content"]) {
            self.text.push_str(&text);
            pieces.push(Delta::Text { text });
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            pieces.push(self.call(call)?);
        }
        match self.text.len() + self.thought.len() > LONGEST_ANSWER {
            true => Err("the stream does not end".to_owned()),
            false => Ok(()),
        }
    }

    fn call(&mut self, piece: &Value) -> Result<Delta, String> {
        let text = |pointer: &str| piece.pointer(pointer).and_then(Value::as_str);
        let index = match piece.get("index").and_then(Value::as_u64) {
            Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
            // Some servers number nothing and send every call whole.
            None => self.calls.len(),
        };
        if index >= MOST_CALLS {
            return Err("the answer has too many calls of tools".to_owned());
        }
        if self.calls.len() <= index {
            self.calls.resize_with(index + 1, Call::default);
        }
        let Some(call) = self.calls.get_mut(index) else {
            return Err("a call has no place".to_owned());
        };
        let arguments = text("/function/arguments").unwrap_or_default();
        call.arguments.push_str(arguments);
        if call.id.is_empty() {
            // What has no name gets one, so that its result can be matched.
            let given = text("/id").filter(|id| !id.is_empty());
            call.id = given.map_or_else(|| format!("call_{index}"), str::to_owned);
        }
        if call.name.is_empty() {
            text("/function/name")
                .unwrap_or_default()
                .clone_into(&mut call.name);
        }
        if call.arguments.len() > LONGEST_ANSWER {
            return Err("the stream does not end".to_owned());
        }
        Ok(Delta::ToolCall {
            index,
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: arguments.to_owned(),
        })
    }

    /// The whole answer.
    ///
    /// # Errors
    /// When the stream did not come to its end.
    pub(super) fn finish(self) -> Result<Response, String> {
        if !self.begun && !self.ended {
            return Err("it did not answer with a stream of events".to_owned());
        }
        if !self.ended {
            return Err("the stream was cut off".to_owned());
        }
        let tool_calls: Vec<ToolCall> = self.calls.into_iter().map(Call::finish).collect();
        let stop = match tool_calls.is_empty() {
            true => self.stop,
            false => Stop::ToolCalls,
        };
        let thought = (!self.thought.is_empty()).then_some(Reasoning {
            text: self.thought,
            ..Reasoning::default()
        });
        Ok(Response {
            text: self.text,
            tool_calls,
            reasoning: thought.into_iter().collect(),
            usage: self.usage,
            stop,
            ..Response::default()
        })
    }
}

impl Call {
    /// Arguments that are no JSON stay text, which fits no tool's schema: the model hears of it.
    fn finish(self) -> ToolCall {
        let arguments = match self.arguments.trim() {
            "" => Value::Object(serde_json::Map::new()),
            text => serde_json::from_str(text).unwrap_or(Value::String(self.arguments)),
        };
        ToolCall {
            id: self.id,
            name: self.name,
            arguments,
            signature: None,
        }
    }
}

fn usage(event: &Value) -> Option<Usage> {
    if event["usage"].is_null() {
        return None;
    }
    let count = |pointer: &str| {
        let count = event.pointer(pointer).and_then(Value::as_u64);
        count.and_then(|count| u32::try_from(count).ok())
    };
    Some(Usage {
        prompt_tokens: count("/usage/prompt_tokens")?,
        cached_tokens: count("/usage/prompt_tokens_details/cached_tokens")
            // DeepSeek.
            .or_else(|| count("/usage/prompt_cache_hit_tokens"))
            .unwrap_or(0),
        output_tokens: count("/usage/completion_tokens").unwrap_or(0),
        reasoning_tokens: count("/usage/completion_tokens_details/reasoning_tokens").unwrap_or(0),
        ..Usage::default()
    })
}
