//! The events of `genai` as an answer of ours.

use genai::chat::{ChatStreamEvent, ContentPart, StopReason, StreamEnd, Usage as GenaiUsage};
use serde_json::Value;

use crate::{Delta, Reasoning, Response, Stop, ToolCall, Usage};

/// An answer as it arrives.
#[derive(Default)]
pub(super) struct Answer {
    text: String,
    /// Of each call: its id and the text of its arguments so far.
    calls: Vec<(String, String)>,
    end: Option<StreamEnd>,
}

impl Answer {
    /// Takes an event; gives what of it goes on.
    pub(super) fn take(&mut self, event: ChatStreamEvent) -> Option<Delta> {
        match event {
            ChatStreamEvent::Start
            | ChatStreamEvent::Heartbeat
            | ChatStreamEvent::ThoughtSignatureChunk(_) => None,
            ChatStreamEvent::Chunk(chunk) => {
                self.text.push_str(&chunk.content);
                Some(Delta::Text {
                    text: chunk.content,
                })
            }
            ChatStreamEvent::ReasoningChunk(chunk) => Some(Delta::Reasoning {
                text: chunk.content,
            }),
            ChatStreamEvent::ToolCallChunk(chunk) => Some(self.call(chunk.tool_call)),
            ChatStreamEvent::End(end) => {
                self.end = Some(end);
                None
            }
        }
    }

    /// The library gives the arguments so far each time; what is new of them goes on.
    fn call(&mut self, call: genai::chat::ToolCall) -> Delta {
        let whole = match call.fn_arguments {
            Value::String(text) => text,
            value => value.to_string(),
        };
        let known = self.calls.iter().position(|known| known.0 == call.call_id);
        let index = known.unwrap_or(self.calls.len());
        if known.is_none() {
            self.calls.push((call.call_id.clone(), String::new()));
        }
        let before = self.calls.get_mut(index).map(|known| &mut known.1);
        let fresh = before.map(|before| {
            let fresh = whole
                .strip_prefix(before.as_str())
                .unwrap_or_default()
                .to_owned();
            *before = whole;
            fresh
        });
        Delta::ToolCall {
            index,
            id: call.call_id,
            name: call.fn_name,
            arguments: fresh.unwrap_or_default(),
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// What is wrong with the stream.
    pub(super) fn finish(self) -> Result<Response, String> {
        let Some(end) = self.end else {
            return Err("the stream was cut off".to_owned());
        };
        let mut tool_calls = Vec::new();
        let mut reasoning: Vec<Reasoning> = Vec::new();
        for part in end.captured_content.into_iter().flatten() {
            match part {
                ContentPart::ToolCall(call) => tool_calls.push(call),
                ContentPart::ThoughtSignature(signature) => reasoning.push(Reasoning {
                    signature: Some(signature),
                    ..Reasoning::default()
                }),
                // It follows its signature.
                ContentPart::ReasoningContent(text) => match reasoning.last_mut() {
                    Some(last) if last.signature.is_some() && last.text.is_empty() => {
                        last.text = text
                    }
                    _ => reasoning.push(Reasoning {
                        text,
                        ..Reasoning::default()
                    }),
                },
                ContentPart::Custom(part) => reasoning.push(Reasoning {
                    sealed: Some(part.data),
                    ..Reasoning::default()
                }),
                // The text is here already; the rest is no answer.
                ContentPart::Text(_) | ContentPart::Binary(_) | ContentPart::ToolResponse(_) => {}
            }
        }
        if let Some(text) = end
            .captured_reasoning_content
            .filter(|text| !text.is_empty())
            && reasoning.iter().all(|thought| thought.text.is_empty())
        {
            match reasoning
                .first_mut()
                .filter(|first| first.signature.is_some())
            {
                Some(first) => first.text = text,
                None => reasoning.insert(
                    0,
                    Reasoning {
                        text,
                        ..Reasoning::default()
                    },
                ),
            }
        }
        let tool_calls: Vec<ToolCall> = tool_calls
            .into_iter()
            .map(|call| tool_call(call, &reasoning))
            .collect();
        let stop = match tool_calls.is_empty() {
            true => stop(end.captured_stop_reason.as_ref()),
            false => Stop::ToolCalls,
        };
        Ok(Response {
            text: self.text,
            tool_calls,
            reasoning,
            usage: end.captured_usage.as_ref().map(usage).unwrap_or_default(),
            stop,
            ..Response::default()
        })
    }
}

fn stop(reason: Option<&StopReason>) -> Stop {
    match reason {
        Some(StopReason::MaxTokens(_)) => Stop::Length,
        Some(StopReason::ContentFilter(_)) => Stop::Refused,
        Some(
            StopReason::ToolCall(_)
            | StopReason::Completed(_)
            | StopReason::StopSequence(_)
            | StopReason::Other(_),
        )
        | None => Stop::End,
    }
}

fn tool_call(call: genai::chat::ToolCall, reasoning: &[Reasoning]) -> ToolCall {
    let signed = |signature: &String| {
        let known = |thought: &Reasoning| thought.signature.as_ref() == Some(signature);
        !reasoning.iter().any(known)
    };
    ToolCall {
        id: call.call_id,
        name: call.fn_name,
        arguments: match call.fn_arguments {
            Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
            value => value,
        },
        // The library repeats the signatures of thoughts at the first call.
        signature: call.thought_signatures.into_iter().flatten().find(signed),
    }
}

fn usage(usage: &GenaiUsage) -> Usage {
    let count = |count: Option<i32>| {
        count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0)
    };
    let prompt = usage.prompt_tokens_details.as_ref();
    let answer = usage.completion_tokens_details.as_ref();
    Usage {
        prompt_tokens: count(usage.prompt_tokens),
        cached_tokens: count(prompt.and_then(|details| details.cached_tokens)),
        cache_write_tokens: count(prompt.and_then(|details| details.cache_creation_tokens)),
        output_tokens: count(usage.completion_tokens),
        reasoning_tokens: count(answer.and_then(|details| details.reasoning_tokens)),
    }
}
