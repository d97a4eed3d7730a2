//! The events of Converse as an answer.

use serde_json::Value;

use crate::{Delta, Reasoning, Response, Stop, ToolCall, Usage};

/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 1 << 22;
/// The most blocks of one answer.
const MOST_BLOCKS: usize = 1024;

/// A block of an answer, as it arrives.
#[derive(Default)]
struct Block {
    text: String,
    thought: Reasoning,
    thinks: bool,
    call: Option<Call>,
}

struct Call {
    /// Which call of the answer.
    index: usize,
    id: String,
    name: String,
    arguments: String,
}

/// An answer as it arrives.
#[derive(Default)]
pub(super) struct Events {
    blocks: Vec<Block>,
    calls: usize,
    usage: Usage,
    stop: Option<Stop>,
    length: usize,
}

impl Events {
    /// Takes an event; gives what of it goes on.
    ///
    /// # Errors
    /// When the answer does not end.
    pub(super) fn take(&mut self, kind: &str, payload: &Value) -> Result<Option<Delta>, String> {
        match kind {
            "contentBlockStart" => Ok(self.begin(payload)?),
            "contentBlockDelta" => self.more(payload),
            "messageStop" => {
                self.stop = Some(match payload["stopReason"].as_str() {
                    Some("max_tokens") => Stop::Length,
                    Some("guardrail_intervened" | "content_filtered") => Stop::Refused,
                    _ => Stop::End,
                });
                Ok(None)
            }
            "metadata" => {
                self.usage = usage(&payload["usage"]);
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn block(&mut self, payload: &Value) -> Result<&mut Block, String> {
        let index = payload["contentBlockIndex"].as_u64().unwrap_or(0);
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= MOST_BLOCKS {
            return Err("the answer has too many blocks".to_owned());
        }
        if self.blocks.len() <= index {
            self.blocks.resize_with(index + 1, Block::default);
        }
        let block = self.blocks.get_mut(index);
        block.ok_or_else(|| "a block has no place".to_owned())
    }

    fn begin(&mut self, payload: &Value) -> Result<Option<Delta>, String> {
        let tool = &payload["start"]["toolUse"];
        let (Some(id), Some(name)) = (tool["toolUseId"].as_str(), tool["name"].as_str()) else {
            return Ok(None);
        };
        let index = self.calls;
        self.calls += 1;
        self.block(payload)?.call = Some(Call {
            index,
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
        });
        Ok(Some(Delta::ToolCall {
            index,
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
        }))
    }

    fn more(&mut self, payload: &Value) -> Result<Option<Delta>, String> {
        let delta = &payload["delta"];
        let thought = &delta["reasoningContent"];
        let block = self.block(payload)?;
        let (length, piece) = if let Some(text) = delta["text"].as_str() {
            block.text.push_str(text);
            let text = text.to_owned();
            (text.len(), Some(Delta::Text { text }))
        } else if let Some(text) = thought["text"].as_str() {
            block.thinks = true;
            block.thought.text.push_str(text);
            let text = text.to_owned();
            (text.len(), Some(Delta::Reasoning { text }))
        } else if let Some(signature) = thought["signature"].as_str() {
            block.thinks = true;
            let before = block.thought.signature.get_or_insert_default();
            before.push_str(signature);
            (signature.len(), None)
        } else if let Some(sealed) = thought["redactedContent"].as_str() {
            block.thinks = true;
            block.thought.sealed = Some(sealed.into());
            (sealed.len(), None)
        } else if let (Some(more), Some(call)) =
            (delta["toolUse"]["input"].as_str(), &mut block.call)
        {
            call.arguments.push_str(more);
            let piece = Delta::ToolCall {
                index: call.index,
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: more.to_owned(),
            };
            (more.len(), Some(piece))
        } else {
            (0, None)
        };
        self.length += length;
        match self.length > LONGEST_ANSWER {
            true => Err("the stream does not end".to_owned()),
            false => Ok(piece),
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// When the stream did not come to its end.
    pub(super) fn finish(self) -> Result<Response, String> {
        let Some(stop) = self.stop else {
            return Err("the stream was cut off".to_owned());
        };
        let mut response = Response {
            usage: self.usage,
            stop,
            ..Response::default()
        };
        for block in self.blocks {
            response.text.push_str(&block.text);
            if block.thinks {
                response.reasoning.push(block.thought);
            }
            response.tool_calls.extend(block.call.map(Call::finish));
        }
        if !response.tool_calls.is_empty() {
            response.stop = Stop::ToolCalls;
        }
        Ok(response)
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

/// What is in a cache is not among the tokens of the input here.
fn usage(usage: &Value) -> Usage {
    let count = |name: &str| {
        let count = usage[name]
            .as_u64()
            .and_then(|count| u32::try_from(count).ok());
        count.unwrap_or(0)
    };
    let (cached, written) = (
        count("cacheReadInputTokens"),
        count("cacheWriteInputTokens"),
    );
    Usage {
        prompt_tokens: count("inputTokens")
            .saturating_add(cached)
            .saturating_add(written),
        cached_tokens: cached,
        cache_write_tokens: written,
        output_tokens: count("outputTokens"),
        reasoning_tokens: 0,
    }
}
