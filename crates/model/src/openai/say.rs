//! Messages and tools in the words of OpenAI's chat completions.

use serde_json::{Value, json};

use crate::{Content, Error, Media, MediaSource, Message, Part, Result, Role, Tool, ToolChoice};

/// The messages; each result of a tool is one of its own.
///
/// # Errors
/// [`Error::Unsupported`] for a part that the protocol has no place for.
pub(super) fn messages(provider: &str, messages: &[Message]) -> Result<Vec<Value>> {
    let mut said = Vec::new();
    for message in messages {
        match &message.content {
            Content::Text(text) => {
                said.push(json!({"role": message.role.as_str(), "content": text}));
            }
            Content::Parts(parts) => of_parts(provider, message.role, parts, &mut said)?,
        }
    }
    Ok(said)
}

fn of_parts(provider: &str, role: Role, parts: &[Part], said: &mut Vec<Value>) -> Result<()> {
    let mut content = Vec::new();
    let mut calls = Vec::new();
    let mut thought = String::new();
    for part in parts {
        match part {
            Part::Text { text } => content.push(json!({"type": "text", "text": text})),
            Part::Media(media) => content.push(self::media(provider, media)?),
            // DeepSeek and others want it back beside a call, and OpenAI itself gives none.
            Part::Reasoning(reasoning) => thought.push_str(&reasoning.text),
            Part::ToolCall(call) => calls.push(json!({"id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments.to_string()}})),
            Part::ToolResult(result) => {
                // There is no place for a failure but the words.
                let content = match result.is_error {
                    true => format!("Error: {}", result.content),
                    false => result.content.clone(),
                };
                said.push(json!({"role": "tool", "tool_call_id": result.id, "content": content}));
            }
        }
    }
    if content.is_empty() && calls.is_empty() {
        return Ok(());
    }
    // Text alone is understood by every server, a list of parts only by some.
    let only_text = content.iter().all(|part| part["type"] == "text");
    let content = match only_text {
        true => Value::String(
            content
                .iter()
                .filter_map(|part| part["text"].as_str())
                .collect(),
        ),
        false => Value::Array(content),
    };
    let mut message = json!({"role": role.as_str(), "content": content});
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
        if !thought.is_empty() {
            message["reasoning_content"] = Value::String(thought);
        }
    }
    said.push(message);
    Ok(())
}

fn media(provider: &str, media: &Media) -> Result<Value> {
    let kind = media.media_type.as_str();
    let data_url = |data: &str| format!("data:{kind};base64,{data}");
    match (kind.split_once('/'), &media.source) {
        (Some(("image", _)), MediaSource::Url(url)) => {
            Ok(json!({"type": "image_url", "image_url": {"url": url}}))
        }
        (Some(("image", _)), MediaSource::Data(data)) => {
            Ok(json!({"type": "image_url", "image_url": {"url": data_url(data)}}))
        }
        (Some(("application", "pdf")), MediaSource::Data(data)) => {
            let name = media.name.as_deref().unwrap_or("document.pdf");
            Ok(json!({"type": "file", "file": {"filename": name, "file_data": data_url(data)}}))
        }
        (Some(("audio", format @ ("wav" | "mp3" | "mpeg"))), MediaSource::Data(data)) => {
            let format = if format == "wav" { "wav" } else { "mp3" };
            Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
        }
        (_, source) => Err(Error::Unsupported {
            provider: provider.to_owned(),
            what: match source {
                MediaSource::Data(_) => format!("{kind} as an input"),
                MediaSource::Url(_) => format!("{kind} by its address"),
            },
        }),
    }
}

/// The tools.
pub(super) fn tools(tools: &[Tool]) -> Value {
    let tool = |tool: &Tool| {
        json!({"type": "function", "function": {"name": tool.name, "description": tool.description,
            "parameters": tool.parameters}})
    };
    Value::Array(tools.iter().map(tool).collect())
}

/// Whether tools are to be called.
pub(super) fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Named(name) => json!({"type": "function", "function": {"name": name}}),
    }
}
