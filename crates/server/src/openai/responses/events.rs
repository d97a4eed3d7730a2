//! The events of a streamed response.

use model::{Delta, Reasoning, Response, ToolCall};
use serde_json::{Value, json};

use super::super::stream::Writer;
use super::super::{content, new_id};
use super::{Frame, call_item, message_item, status, text_part, thought_item};
use crate::error::ApiError;

/// An item that is being written.
enum Open {
    Text {
        id: String,
        text: String,
    },
    Thought {
        id: String,
        text: String,
    },
    Call {
        id: String,
        index: usize,
        call: ToolCall,
        arguments: String,
    },
}

/// Writes the events of a response.
pub(super) struct Events {
    frame: Frame,
    sequence: u64,
    open: Option<Open>,
    /// Items that are whole.
    output: Vec<Value>,
    /// Calls of tools that have been begun.
    calls: usize,
}

impl Events {
    pub(super) fn new(frame: Frame) -> Events {
        Events {
            frame,
            sequence: 0,
            open: None,
            output: Vec::new(),
            calls: 0,
        }
    }

    fn event(&mut self, kind: &str, fields: Value) -> Value {
        let mut event = json!({"type": kind, "sequence_number": self.sequence});
        self.sequence += 1;
        if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
            event.extend(fields);
        }
        event
    }

    /// Begins an item, with the events that say so.
    fn begin_item(&mut self, open: Open, events: &mut Vec<Value>) {
        let place = self.output.len();
        let item = match &open {
            Open::Text { id, .. } => {
                let mut item = message_item(id, "in_progress", "");
                item["content"] = json!([]);
                item
            }
            Open::Thought { id, .. } => thought_item(id, &Reasoning::default()),
            Open::Call { id, call, .. } => {
                let mut item = call_item(id, "in_progress", call);
                item["arguments"] = "".into();
                item
            }
        };
        events.push(self.event(
            "response.output_item.added",
            json!({"output_index": place, "item": item}),
        ));
        match &open {
            Open::Text { id, .. } => events.push(self.event(
                "response.content_part.added",
                json!({"item_id": id, "output_index": place, "content_index": 0, "part": text_part("")}),
            )),
            Open::Thought { id, .. } => events.push(self.event(
                "response.reasoning_summary_part.added",
                json!({"item_id": id, "output_index": place, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
            )),
            Open::Call { .. } => {}
        }
        self.open = Some(open);
    }

    /// Ends the item that is being written.
    fn end_item(&mut self, status: &str, events: &mut Vec<Value>) {
        let place = self.output.len();
        let item = match self.open.take() {
            None => return,
            Some(Open::Text { id, text }) => {
                let at = |extra: Value| {
                    let mut fields =
                        json!({"item_id": id, "output_index": place, "content_index": 0});
                    if let (Some(fields), Value::Object(extra)) = (fields.as_object_mut(), extra) {
                        fields.extend(extra);
                    }
                    fields
                };
                let (done, part) = (
                    at(json!({"text": text, "logprobs": []})),
                    at(json!({"part": text_part(&text)})),
                );
                events.push(self.event("response.output_text.done", done));
                events.push(self.event("response.content_part.done", part));
                message_item(&id, status, &text)
            }
            Some(Open::Thought { id, text }) => {
                let at =
                    json!({"item_id": id, "output_index": place, "summary_index": 0, "text": text});
                events.push(self.event("response.reasoning_summary_text.done", at));
                let part = json!({"item_id": id, "output_index": place, "summary_index": 0, "part": {"type": "summary_text", "text": text}});
                events.push(self.event("response.reasoning_summary_part.done", part));
                thought_item(
                    &id,
                    &Reasoning {
                        text,
                        ..Reasoning::default()
                    },
                )
            }
            Some(Open::Call {
                id,
                call,
                arguments,
                ..
            }) => {
                let mut item = call_item(&id, status, &call);
                item["arguments"] = arguments.as_str().into();
                let done = json!({"item_id": id, "output_index": place, "name": call.name, "arguments": arguments});
                events.push(self.event("response.function_call_arguments.done", done));
                item
            }
        };
        events.push(self.event(
            "response.output_item.done",
            json!({"output_index": place, "item": item}),
        ));
        self.output.push(item);
    }

    /// Adds what is to be handed back with thoughts and calls, which comes only at the end.
    fn sign(&mut self, response: &Response, events: &mut Vec<Value>) {
        let mut thoughts = response.reasoning.iter();
        let mut calls = response.tool_calls.iter();
        for item in &mut self.output {
            match item["type"].as_str() {
                Some("reasoning") => {
                    let shown = thoughts.by_ref().find(|thought| !thought.text.is_empty());
                    if let Some(secret) = shown.and_then(content::secret) {
                        item["encrypted_content"] = secret.into();
                    }
                }
                Some("function_call") => {
                    let _ = calls.next().map(|call| content::sign(item, call));
                }
                _ => {}
            }
        }
        let unseen =
            |thought: &&Reasoning| thought.text.is_empty() && content::secret(thought).is_some();
        for thought in response.reasoning.iter().filter(unseen) {
            let item = thought_item(&new_id("rs_"), thought);
            let place = json!({"output_index": self.output.len(), "item": item});
            events.push(self.event("response.output_item.added", place.clone()));
            events.push(self.event("response.output_item.done", place));
            self.output.push(item);
        }
    }

    fn text(&mut self, more: &str, events: &mut Vec<Value>) {
        if !matches!(self.open, Some(Open::Text { .. })) {
            self.end_item("completed", events);
            let id = new_id("msg_");
            self.begin_item(
                Open::Text {
                    id,
                    text: String::new(),
                },
                events,
            );
        }
        let Some(Open::Text { id, text }) = &mut self.open else {
            return;
        };
        text.push_str(more);
        let fields = json!({"item_id": id, "output_index": self.output.len(), "content_index": 0, "delta": more, "logprobs": []});
        events.push(self.event("response.output_text.delta", fields));
    }

    fn thought(&mut self, more: &str, events: &mut Vec<Value>) {
        if !matches!(self.open, Some(Open::Thought { .. })) {
            self.end_item("completed", events);
            let id = new_id("rs_");
            self.begin_item(
                Open::Thought {
                    id,
                    text: String::new(),
                },
                events,
            );
        }
        let Some(Open::Thought { id, text }) = &mut self.open else {
            return;
        };
        text.push_str(more);
        let fields = json!({"item_id": id, "output_index": self.output.len(), "summary_index": 0, "delta": more});
        events.push(self.event("response.reasoning_summary_text.delta", fields));
    }

    fn call(&mut self, index: usize, call: ToolCall, more: &str, events: &mut Vec<Value>) {
        let goes_on = matches!(&self.open, Some(Open::Call { index: open, .. }) if *open == index);
        if !goes_on {
            self.end_item("completed", events);
            let id = new_id("fc_");
            self.calls = self.calls.max(index + 1);
            let arguments = String::new();
            self.begin_item(
                Open::Call {
                    id,
                    index,
                    call,
                    arguments,
                },
                events,
            );
        }
        let Some(Open::Call { id, arguments, .. }) = &mut self.open else {
            return;
        };
        arguments.push_str(more);
        let fields = json!({"item_id": id, "output_index": self.output.len(), "delta": more});
        events.push(self.event("response.function_call_arguments.delta", fields));
    }
}

impl Writer for Events {
    fn begin(&mut self) -> Vec<Value> {
        let object = self.frame.object("in_progress", Vec::new());
        ["response.created", "response.in_progress"]
            .map(|kind| self.event(kind, json!({"response": object})))
            .to_vec()
    }

    fn delta(&mut self, delta: Delta) -> Vec<Value> {
        let mut events = Vec::new();
        match delta {
            Delta::Text { text } => self.text(&text, &mut events),
            Delta::Reasoning { text } => self.thought(&text, &mut events),
            Delta::ToolCall {
                index,
                id,
                name,
                arguments,
            } => {
                let call = ToolCall {
                    id,
                    name,
                    arguments: Value::Null,
                    signature: None,
                };
                self.call(index, call, &arguments, &mut events);
            }
        }
        events
    }

    fn end(&mut self, response: &Response) -> Vec<Value> {
        let mut events = Vec::new();
        // An answer of nothing is a message without text all the same.
        if self.open.is_none() && self.output.is_empty() && response.tool_calls.is_empty() {
            self.text(&response.text, &mut events);
        }
        // Calls that did not come in pieces come whole.
        for (index, call) in response.tool_calls.iter().enumerate().skip(self.calls) {
            self.call(
                index,
                call.clone(),
                &call.arguments.to_string(),
                &mut events,
            );
        }
        self.end_item(status(response), &mut events);
        self.sign(response, &mut events);
        let output = std::mem::take(&mut self.output);
        let object = self.frame.done(response, output);
        let kind = match object["status"].as_str() {
            Some("incomplete") => "response.incomplete",
            _ => "response.completed",
        };
        events.push(self.event(kind, json!({"response": object})));
        events
    }

    fn failed(&mut self, error: &ApiError) -> Vec<Value> {
        let mut object = self
            .frame
            .object("failed", std::mem::take(&mut self.output));
        object["error"] = json!({"code": error.code(), "message": error.message()});
        vec![self.event("response.failed", json!({"response": object}))]
    }

    fn names_events(&self) -> bool {
        true
    }

    fn last(&self) -> Option<&'static str> {
        Some("[DONE]")
    }
}
