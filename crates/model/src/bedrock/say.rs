//! Our requests in the words of Converse.

use serde_json::{Map, Value, json};

use crate::http::Http;
use crate::{
    Content, Media, MediaSource, Message, Output, Part, Request, Result, Role, Tool, ToolChoice,
    quotes,
};

/// How a model is asked.
pub(super) struct Way<'a> {
    pub http: &'a Http,
    /// Whether it takes marks of what is to be cached.
    pub marks: bool,
    /// Whether it takes a temperature.
    pub temperature: bool,
}

impl Way<'_> {
    /// The body of a request.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] for what the protocol has no place for.
    pub(super) fn body(&self, request: &Request) -> Result<Value> {
        let mut system = Vec::new();
        let mut turns: Vec<(Role, Vec<Value>)> = Vec::new();
        for message in &request.messages {
            let blocks = self.blocks(message)?;
            match message.role {
                Role::System => system.extend(blocks),
                Role::Assistant => turn(&mut turns, Role::Assistant, blocks),
                Role::User | Role::Tool => turn(&mut turns, Role::User, blocks),
            }
        }
        if let Output::Json(schema) = &request.output {
            let schema = quotes::without_extensions(schema);
            let said = format!("Answer with JSON alone that fits this JSON schema:\n{schema}");
            turn(&mut turns, Role::User, vec![json!({"text": said})]);
        }
        let tools = self.tools(request)?;
        self.mark(&mut system, &mut turns, !request.tools.is_empty());
        let messages = turns
            .into_iter()
            .map(|(role, content)| json!({"role": role.as_str(), "content": content}));
        let mut body = json!({"messages": messages.collect::<Value>(), "inferenceConfig": self.limits(request)});
        if !system.is_empty() {
            body["system"] = Value::Array(system);
        }
        if let Some(tools) = tools {
            body["toolConfig"] = tools;
        }
        if let Some(budget) = self.budget(request) {
            body["additionalModelRequestFields"] =
                json!({"thinking": {"type": "enabled", "budget_tokens": budget}});
        }
        Ok(body)
    }

    fn limits(&self, request: &Request) -> Value {
        let mut limits = Map::new();
        let budget = self.budget(request);
        // The tokens of thinking are among those of the answer.
        let most = request.max_tokens.saturating_add(budget.unwrap_or(0));
        limits.insert("maxTokens".to_owned(), most.into());
        // A model that thinks takes no temperature.
        if self.temperature && budget.is_none() {
            limits.insert("temperature".to_owned(), json!(request.temperature));
        }
        if let Some(top_p) = request.top_p {
            limits.insert("topP".to_owned(), json!(top_p));
        }
        if !request.stop.is_empty() {
            limits.insert("stopSequences".to_owned(), json!(request.stop));
        }
        Value::Object(limits)
    }

    /// The most tokens of thinking; only Anthropic's models are told.
    fn budget(&self, request: &Request) -> Option<u32> {
        let effort = request
            .effort
            .filter(|_| self.http.model.contains("anthropic."))?;
        effort.budget()
    }

    fn tools(&self, request: &Request) -> Result<Option<Value>> {
        if request.tools.is_empty() {
            return Ok(None);
        }
        let calls_before = request
            .messages
            .iter()
            .flat_map(Message::parts)
            .any(|part| matches!(part, Part::ToolCall(_) | Part::ToolResult(_)));
        let choice = match &request.tool_choice {
            ToolChoice::Auto => json!({"auto": {}}),
            ToolChoice::Required => json!({"any": {}}),
            ToolChoice::Named(name) => json!({"tool": {"name": name}}),
            // A model that must call none is told of none; but calls that it made need their tools.
            ToolChoice::None if !calls_before => return Ok(None),
            ToolChoice::None => {
                return Err(self.http.unsupported("no tools after it has called some"));
            }
        };
        let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
        if self.marks
            && !request
                .messages
                .iter()
                .any(|message| message.role == Role::System)
        {
            tools.push(mark());
        }
        Ok(Some(json!({"tools": tools, "toolChoice": choice})))
    }

    /// Marks what the next call will begin with: the instructions, and in a conversation that goes on
    /// everything so far. Tools stand before the instructions.
    fn mark(&self, system: &mut Vec<Value>, turns: &mut [(Role, Vec<Value>)], has_tools: bool) {
        if !self.marks {
            return;
        }
        if !system.is_empty() {
            system.push(mark());
        }
        let goes_on = has_tools || turns.iter().any(|turn| turn.0 == Role::Assistant);
        if let Some(last) = turns.last_mut().filter(|_| goes_on) {
            last.1.push(mark());
        }
    }

    fn blocks(&self, message: &Message) -> Result<Vec<Value>> {
        let parts = match &message.content {
            Content::Text(text) => return Ok(vec![json!({"text": text})]),
            Content::Parts(parts) => parts,
        };
        let mut blocks = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            blocks.extend(self.block(part, index)?);
        }
        Ok(blocks)
    }

    fn block(&self, part: &Part, index: usize) -> Result<Option<Value>> {
        Ok(match part {
            Part::Text { text } => Some(json!({"text": text})),
            Part::Media(media) => Some(self.media(media, index)?),
            Part::Reasoning(thought) => match (&thought.sealed, &thought.signature) {
                (Some(sealed), _) => Some(json!({"reasoningContent": {"redactedContent": sealed}})),
                (None, Some(signature)) => Some(json!({"reasoningContent":
                    {"reasoningText": {"text": thought.text, "signature": signature}}})),
                // What is not signed is not taken back.
                (None, None) => None,
            },
            Part::ToolCall(call) => Some(json!({"toolUse":
                {"toolUseId": call.id, "name": call.name, "input": call.arguments}})),
            Part::ToolResult(result) => {
                let status = if result.is_error { "error" } else { "success" };
                Some(json!({"toolResult": {"toolUseId": result.id,
                    "content": [{"text": result.content}], "status": status}}))
            }
        })
    }

    fn media(&self, media: &Media, index: usize) -> Result<Value> {
        let kind = media.media_type.as_str();
        match (&media.source, kind) {
            (MediaSource::Data(data), "image/png" | "image/jpeg" | "image/gif" | "image/webp") => {
                let format = kind.trim_start_matches("image/");
                Ok(json!({"image": {"format": format, "source": {"bytes": data}}}))
            }
            // A name may be an instruction in disguise, and has to be another one each time.
            (MediaSource::Data(data), "application/pdf") => {
                Ok(json!({"document": {"format": "pdf",
                "name": format!("document {}", index + 1), "source": {"bytes": data}}}))
            }
            (MediaSource::Data(_), _) => Err(self.http.unsupported(&format!("{kind} as an input"))),
            (MediaSource::Url(_), _) => {
                Err(self.http.unsupported(&format!("{kind} as an address")))
            }
        }
    }
}

/// Adds to the conversation, in which the roles take turns.
fn turn(turns: &mut Vec<(Role, Vec<Value>)>, role: Role, blocks: Vec<Value>) {
    match turns.last_mut().filter(|last| last.0 == role) {
        Some(last) => last.1.extend(blocks),
        None => turns.push((role, blocks)),
    }
}

fn mark() -> Value {
    json!({"cachePoint": {"type": "default"}})
}

fn tool(tool: &Tool) -> Value {
    let mut said = json!({"name": tool.name, "inputSchema": {"json": tool.parameters}});
    // An empty one is refused.
    if !tool.description.is_empty() {
        said["description"] = tool.description.as_str().into();
    }
    json!({"toolSpec": said})
}
