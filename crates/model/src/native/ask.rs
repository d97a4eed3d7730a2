//! Our requests in the words of `genai`.

use genai::adapter::AdapterKind;
use genai::chat::{
    Binary, CacheControl, ChatMessage, ChatOptions, ChatRequest, ChatRole, ContentPart, CustomPart,
    JsonSpec, MessageContent, ReasoningEffort, Tool as GenaiTool, ToolCall as GenaiCall,
    ToolChoice as GenaiChoice, ToolResponse,
};
use serde_json::{Value, json};

use crate::{
    Content, Effort, Error, Media, MediaSource, Message, Output, Part, Reasoning, Request, Result,
    Role, Tool, ToolCall, ToolChoice, ToolResult, quotes,
};

/// How a provider is asked.
pub(super) struct Way<'a> {
    pub provider: &'a str,
    pub kind: AdapterKind,
    /// Whether it takes a temperature.
    pub temperature: bool,
    /// Whether it decodes under a schema.
    pub schema: bool,
}

impl Way<'_> {
    /// The request and its options.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a part that the provider does not take.
    pub(super) fn ask(&self, request: &Request) -> Result<(ChatRequest, ChatOptions)> {
        let mut messages = Vec::new();
        for message in &request.messages {
            messages.push(self.message(message)?);
        }
        let mut tools: Vec<GenaiTool> = request.tools.iter().map(tool).collect();
        self.mark_prefix(&mut messages, &mut tools);
        let mut options = self.options(request)?;
        if let Output::Json(schema) = &request.output {
            let schema = quotes::without_extensions(schema);
            if self.schema {
                options = options.with_response_format(JsonSpec::new("answer", schema));
            } else {
                messages.push(ChatMessage::user(format!(
                    "Answer with JSON alone that fits this JSON schema:\n{schema}"
                )));
            }
        }
        let mut asked = ChatRequest::new(messages);
        // That protocol has no word for the choice.
        let choice = match (self.kind, &request.tool_choice) {
            (AdapterKind::Ollama, ToolChoice::None) => {
                tools.clear();
                &ToolChoice::Auto
            }
            (AdapterKind::Ollama, ToolChoice::Required | ToolChoice::Named(_))
                if !tools.is_empty() =>
            {
                return Err(self.unsupported("a call of a tool as a duty"));
            }
            (_, choice) => choice,
        };
        if !tools.is_empty() {
            asked = asked.with_tools(tools);
            options = options.with_tool_choice(match choice {
                ToolChoice::Auto => GenaiChoice::Auto,
                ToolChoice::None => GenaiChoice::None,
                ToolChoice::Required => GenaiChoice::Required,
                ToolChoice::Named(name) => GenaiChoice::tool(name),
            });
        }
        if self.kind == AdapterKind::OpenAIResp {
            asked = asked.with_store(false);
        }
        Ok((asked, options))
    }

    /// Limits, chances, and how hard to think.
    fn options(&self, request: &Request) -> Result<ChatOptions> {
        // The tokens of thinking are among those of the answer there.
        let is_anthropic = self.kind == AdapterKind::Anthropic;
        let budget = request
            .effort
            .filter(|_| is_anthropic)
            .and_then(Effort::budget);
        let mut options = ChatOptions::default()
            .with_max_tokens(request.max_tokens.saturating_add(budget.unwrap_or(0)))
            .with_capture_usage(true)
            .with_capture_content(true)
            .with_capture_reasoning_content(true)
            .with_capture_tool_calls(true);
        // A model that thinks takes no temperature there.
        if self.temperature && budget.is_none() {
            options = options.with_temperature(f64::from(request.temperature));
        }
        if let Some(effort) = request.effort {
            options = options.with_reasoning_effort(self::effort(effort));
        }
        if let Some(top_p) = request.top_p {
            options = options.with_top_p(f64::from(top_p));
        }
        if !request.stop.is_empty() {
            if self.kind == AdapterKind::OpenAIResp {
                return Err(self.unsupported("texts to stop at"));
            }
            options = options.with_stop_sequences(request.stop.clone());
        }
        if !matches!(self.kind, AdapterKind::Anthropic | AdapterKind::OpenAIResp) {
            options = options.with_seed(request.seed);
        }
        Ok(options)
    }

    /// Marks what the next call will begin with, so that the provider keeps it: instructions and tools,
    /// and in a conversation that goes on everything so far. The others do this by themselves.
    fn mark_prefix(&self, messages: &mut [ChatMessage], tools: &mut [GenaiTool]) {
        if self.kind != AdapterKind::Anthropic {
            return;
        }
        let mark =
            |message: &mut ChatMessage| message.options = Some(CacheControl::Ephemeral.into());
        let is_system = |message: &&mut ChatMessage| message.role == ChatRole::System;
        let goes_on = !tools.is_empty()
            || messages
                .iter()
                .any(|message| message.role == ChatRole::Assistant);
        match messages.iter_mut().rfind(is_system) {
            // Tools stand before the instructions.
            Some(system) => mark(system),
            None => {
                if let Some(tool) = tools.last_mut() {
                    tool.cache_control = Some(CacheControl::Ephemeral);
                }
            }
        }
        if let Some(last) = messages
            .last_mut()
            .filter(|last| goes_on && last.role != ChatRole::System)
        {
            mark(last);
        }
    }

    fn message(&self, message: &Message) -> Result<ChatMessage> {
        let role = match message.role {
            Role::System => ChatRole::System,
            Role::User => ChatRole::User,
            Role::Assistant => ChatRole::Assistant,
            Role::Tool => ChatRole::Tool,
        };
        let content = match &message.content {
            Content::Text(text) => MessageContent::from_text(text),
            Content::Parts(parts) => {
                let mut out = Vec::new();
                for part in parts {
                    self.part(part, &mut out)?;
                }
                MessageContent::from_parts(out)
            }
        };
        Ok(ChatMessage::new(role, content))
    }

    fn part(&self, part: &Part, out: &mut Vec<ContentPart>) -> Result<()> {
        match part {
            Part::Text { text } => out.push(ContentPart::Text(text.clone())),
            Part::Media(media) => out.push(self.media(media)?),
            Part::Reasoning(reasoning) => self.reasoning(reasoning, out),
            Part::ToolCall(call) => out.push(ContentPart::ToolCall(tool_call(call))),
            Part::ToolResult(result) => out.push(self.result(result)),
        }
        Ok(())
    }

    fn media(&self, media: &Media) -> Result<ContentPart> {
        let kind = media.media_type.as_str();
        let takes = match self.kind {
            AdapterKind::Gemini => true,
            AdapterKind::Anthropic | AdapterKind::OpenAIResp => {
                kind.starts_with("image/") || kind == "application/pdf"
            }
            AdapterKind::Ollama => {
                kind.starts_with("image/") && matches!(media.source, MediaSource::Data(_))
            }
            _ => kind.starts_with("image/"),
        };
        if !takes {
            let how = match media.source {
                MediaSource::Data(_) => "an input",
                MediaSource::Url(_) => "an address",
            };
            return Err(self.unsupported(&format!("{kind} as {how}")));
        }
        let name = media.name.clone();
        Ok(match &media.source {
            MediaSource::Data(data) => Binary::from_base64(kind, data.as_str(), name).into(),
            // The library leaves pictures by their address out.
            MediaSource::Url(url)
                if self.kind == AdapterKind::Anthropic && kind.starts_with("image/") =>
            {
                self.raw(json!({"type": "image", "source": {"type": "url", "url": url}}))
            }
            MediaSource::Url(url) => Binary::from_url(kind, url, name).into(),
        })
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::Unsupported {
            provider: self.provider.to_owned(),
            what: what.to_owned(),
        }
    }

    /// Thoughts go back where they are signed; Anthropic takes no others.
    fn reasoning(&self, reasoning: &Reasoning, out: &mut Vec<ContentPart>) {
        if let Some(sealed) = &reasoning.sealed {
            out.push(self.raw(sealed.clone()));
            return;
        }
        if let Some(signature) = &reasoning.signature {
            out.push(ContentPart::ThoughtSignature(signature.clone()));
        }
        if reasoning.signature.is_some() || self.kind != AdapterKind::Anthropic {
            out.push(ContentPart::ReasoningContent(reasoning.text.clone()));
        }
    }

    fn result(&self, result: &ToolResult) -> ContentPart {
        if !result.is_error {
            let response = ToolResponse::new(&result.id, &result.content);
            return response.with_fn_name(&result.name).into();
        }
        if self.kind == AdapterKind::Anthropic {
            return self.raw(json!({"type": "tool_result", "tool_use_id": result.id,
                "content": result.content, "is_error": true}));
        }
        // The others have no place for it but the words.
        let said = format!("Error: {}", result.content);
        ToolResponse::new(&result.id, said)
            .with_fn_name(&result.name)
            .into()
    }

    /// A part in the provider's own words.
    fn raw(&self, data: Value) -> ContentPart {
        ContentPart::Custom(CustomPart {
            model_iden: None,
            data,
        })
    }
}

fn effort(effort: Effort) -> ReasoningEffort {
    match effort {
        Effort::None => ReasoningEffort::Zero,
        Effort::Minimal => ReasoningEffort::Minimal,
        Effort::Low => ReasoningEffort::Low,
        Effort::Medium => ReasoningEffort::Medium,
        Effort::High => ReasoningEffort::High,
    }
}

fn tool(tool: &Tool) -> GenaiTool {
    GenaiTool::new(tool.name.as_str())
        .with_description(&tool.description)
        .with_schema(tool.parameters.clone())
}

fn tool_call(call: &ToolCall) -> GenaiCall {
    GenaiCall {
        call_id: call.id.clone(),
        fn_name: call.name.clone(),
        fn_arguments: call.arguments.clone(),
        thought_signatures: call.signature.clone().map(|signature| vec![signature]),
    }
}
