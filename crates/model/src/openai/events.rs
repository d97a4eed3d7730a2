//! The stream of one answer: server-sent events, as they are cut into pieces by the network.

use serde_json::Value;

use crate::{Stop, Usage};

/// The longest line of a stream, in bytes.
const LONGEST_LINE: usize = 1 << 20;
/// The longest answer, in bytes.
const LONGEST_ANSWER: usize = 1 << 22;

/// The server-sent events of one answer.
#[derive(Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// The text so far.
    pub text: String,
    /// What the call took, where the server says.
    pub usage: Usage,
    /// Why it ended.
    pub stop: Stop,
    /// Whether the stream came to its end.
    pub ended: bool,
}

impl Events {
    /// Takes bytes of the stream; returns the text in them.
    ///
    /// # Errors
    /// What is wrong with the stream, or what the server says went wrong.
    pub(super) fn take(&mut self, bytes: &[u8]) -> std::result::Result<String, String> {
        self.buffer.extend_from_slice(bytes);
        let mut fresh = String::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let Some(data) = line.trim().strip_prefix("data:") else {
                continue;
            };
            match data.trim() {
                "[DONE]" => self.ended = true,
                data => fresh.push_str(&self.event(data)?),
            }
        }
        self.text.push_str(&fresh);
        if self.buffer.len() > LONGEST_LINE || self.text.len() > LONGEST_ANSWER {
            return Err("the stream does not end".to_owned());
        }
        Ok(fresh)
    }

    fn event(&mut self, data: &str) -> std::result::Result<String, String> {
        let event: Value =
            serde_json::from_str(data).map_err(|e| format!("the stream is not JSON: {e}"))?;
        if let Some(message) = event.pointer("/error/message").and_then(Value::as_str) {
            return Err(message.to_owned());
        }
        let count = |pointer: &str| {
            let count = event.pointer(pointer).and_then(Value::as_u64);
            count.and_then(|count| u32::try_from(count).ok())
        };
        if let Some(prompt_tokens) = count("/usage/prompt_tokens") {
            self.usage = Usage {
                prompt_tokens,
                cached_tokens: count("/usage/prompt_tokens_details/cached_tokens").unwrap_or(0),
                output_tokens: count("/usage/completion_tokens").unwrap_or(0),
                ..Usage::default()
            };
        }
        match event
            .pointer("/choices/0/finish_reason")
            .and_then(Value::as_str)
        {
            Some("length") => (self.stop, self.ended) = (Stop::Length, true),
            Some(_) => self.ended = true,
            None => {}
        }
        let text = event
            .pointer("/choices/0/delta/content")
            .and_then(Value::as_str);
        Ok(text.unwrap_or_default().to_owned())
    }
}
