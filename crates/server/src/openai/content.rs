//! Messages and their parts, as both dialects of the API write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Media, MediaSource, Message, Part, Reasoning, Role, ToolCall, ToolResult};
use serde_json::{Value, json};

use crate::error::ApiError;

/// The conversation of a chat completion.
pub(crate) fn messages(messages: Value) -> Result<Vec<Message>, ApiError> {
    let Value::Array(messages) = messages else {
        return Err(ApiError::parameter("messages", "messages is no array"));
    };
    if messages.is_empty() {
        return Err(ApiError::parameter("messages", "messages is empty"));
    }
    let mut read: Vec<Message> = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let place = format!("messages[{index}]");
        let said = match message["role"].as_str() {
            Some("system" | "developer") => {
                Message::of(Role::System, parts(&message["content"], &place)?)
            }
            Some("user") => Message::of(Role::User, parts(&message["content"], &place)?),
            Some("assistant") => assistant(message, &place)?,
            Some("tool") => tool(message, &read, &place)?,
            _ => {
                let message = format!("{place}.role is system, developer, user, assistant or tool");
                return Err(ApiError::parameter(place, message));
            }
        };
        push(&mut read, simple(said));
    }
    Ok(read)
}

/// Adds a message; what several tools answered is one message.
pub(crate) fn push(conversation: &mut Vec<Message>, message: Message) {
    if message.role == Role::Tool
        && let Some(last) = conversation
            .last_mut()
            .filter(|last| last.role == Role::Tool)
    {
        let together = last.parts().into_iter().chain(message.parts()).collect();
        *last = Message::of(Role::Tool, together);
        return;
    }
    conversation.push(message);
}

/// A message whose only part is text, as text.
pub(crate) fn simple(message: Message) -> Message {
    match message.parts().as_slice() {
        [Part::Text { text }] => Message::new(message.role, text.clone()),
        _ => message,
    }
}

fn assistant(message: &Value, place: &str) -> Result<Message, ApiError> {
    let mut parts = match &message["content"] {
        Value::Null => Vec::new(),
        content => self::parts(content, place)?,
    };
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        let mut said = tool_call(
            &call["id"],
            &function["name"],
            &function["arguments"],
            place,
        )?;
        said.signature = signature(call);
        parts.push(Part::ToolCall(said));
    }
    Ok(Message::of(Role::Assistant, parts))
}

/// What begins a thought that a provider keeps to itself, where it stands for a signature.
const SEALED: &str = "sealed:";

/// What of a thought is to be handed back as it is.
pub(crate) fn secret(thought: &Reasoning) -> Option<String> {
    match (&thought.sealed, &thought.signature) {
        (Some(sealed), _) => Some(format!("{SEALED}{}", STANDARD.encode(sealed.to_string()))),
        (None, signature) => signature.clone(),
    }
}

/// The thought in a [`secret`], unless it is a signature.
pub(crate) fn unsealed(secret: &str) -> Option<Value> {
    let bytes = STANDARD.decode(secret.strip_prefix(SEALED)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a call's signature beside it, where Google's own version of this API has it.
pub(crate) fn sign(written: &mut Value, call: &ToolCall) {
    if let Some(signature) = &call.signature {
        written["extra_content"] = json!({"google": {"thought_signature": signature}});
    }
}

/// The signature beside a call.
pub(crate) fn signature(written: &Value) -> Option<String> {
    let signature = written.pointer("/extra_content/google/thought_signature")?;
    signature.as_str().map(str::to_owned)
}

/// A call that the model has made before.
pub(crate) fn tool_call(
    id: &Value,
    name: &Value,
    arguments: &Value,
    place: &str,
) -> Result<ToolCall, ApiError> {
    let (Some(id), Some(name), Some(arguments)) = (id.as_str(), name.as_str(), arguments.as_str())
    else {
        let message =
            format!("{place}: a call of a tool has an id, a name and arguments, all of them text");
        return Err(ApiError::parameter(place, message));
    };
    Ok(ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        // What is no JSON is what the model wrote: it stays as it is.
        arguments: serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into()),
        signature: None,
    })
}

fn tool(message: &Value, before: &[Message], place: &str) -> Result<Message, ApiError> {
    let Some(id) = message["tool_call_id"].as_str() else {
        let message = format!("{place} has no tool_call_id");
        return Err(ApiError::parameter(place, message));
    };
    let text = Message::of(Role::Tool, parts(&message["content"], place)?)
        .text()
        .into_owned();
    result(id, text, before, place)
}

/// What a tool answered to a call that stands before it.
pub(crate) fn result(
    id: &str,
    content: String,
    before: &[Message],
    place: &str,
) -> Result<Message, ApiError> {
    let name = before
        .iter()
        .rev()
        .flat_map(Message::parts)
        .find_map(|part| match part {
            Part::ToolCall(call) if call.id == id => Some(call.name),
            _ => None,
        });
    let Some(name) = name else {
        let message = format!("{place} answers the call {id}, which is not before it");
        return Err(ApiError::parameter(place, message));
    };
    Ok(Message::results([ToolResult {
        id: id.to_owned(),
        name,
        content,
        is_error: false,
    }]))
}

/// The parts of a content: text, or an array of parts.
pub(crate) fn parts(content: &Value, place: &str) -> Result<Vec<Part>, ApiError> {
    match content {
        Value::String(text) => Ok(vec![Part::Text { text: text.clone() }]),
        Value::Array(parts) => {
            let read = parts.iter().enumerate();
            read.map(|(index, item)| part(item, &format!("{place}.content[{index}]")))
                .collect()
        }
        _ => {
            let message = format!("{place} has no content");
            Err(ApiError::parameter(place, message))
        }
    }
}

fn part(part: &Value, place: &str) -> Result<Part, ApiError> {
    let missing = |what: &str| ApiError::parameter(place, format!("{place} has no {what}"));
    match part["type"].as_str() {
        Some("text" | "input_text" | "output_text") => {
            let text = part["text"].as_str().ok_or_else(|| missing("text"))?;
            Ok(Part::Text {
                text: text.to_owned(),
            })
        }
        Some("refusal") => {
            let text = part["refusal"].as_str().ok_or_else(|| missing("refusal"))?;
            Ok(Part::Text {
                text: text.to_owned(),
            })
        }
        Some("image_url" | "input_image") => {
            // One dialect has an object there, the other the address.
            let url = part["image_url"]["url"]
                .as_str()
                .or(part["image_url"].as_str());
            media(
                url.ok_or_else(|| missing("image_url"))?,
                "image/*",
                None,
                place,
            )
        }
        Some("file" | "input_file") => {
            let file = if part["file"].is_object() {
                &part["file"]
            } else {
                part
            };
            let data = file["file_data"]
                .as_str()
                .ok_or_else(|| missing("file_data"))?;
            media(data, "application/pdf", file["filename"].as_str(), place)
        }
        Some("input_audio") => {
            let audio = &part["input_audio"];
            let data = audio["data"]
                .as_str()
                .ok_or_else(|| missing("input_audio.data"))?;
            let format = audio["format"].as_str().unwrap_or("wav");
            media(data, &format!("audio/{format}"), None, place)
        }
        _ => {
            let message = format!("{place}: no part of the type {}", part["type"]);
            Err(ApiError::parameter(place, message))
        }
    }
}

/// A picture, document or sound: an address, a data URL, or base64 alone.
fn media(text: &str, media_type: &str, name: Option<&str>, place: &str) -> Result<Part, ApiError> {
    let wrong = |what: &str| ApiError::parameter(place, format!("{place}: {what}"));
    let data = |data: &str| match STANDARD.decode(data) {
        Ok(bytes) if !bytes.is_empty() => Ok(MediaSource::Data(data.to_owned())),
        Ok(_) => Err(wrong("the data is empty")),
        Err(error) => Err(wrong(&format!("the data is no base64: {error}"))),
    };
    let (media_type, source) = if let Some(after) = text.strip_prefix("data:") {
        let (kind, encoded) = after
            .split_once(";base64,")
            .ok_or_else(|| wrong("a data: address is written data:TYPE;base64,DATA"))?;
        (kind, data(encoded)?)
    } else if text.starts_with("http://") || text.starts_with("https://") {
        (media_type, MediaSource::Url(text.to_owned()))
    } else {
        (media_type, data(text)?)
    };
    Ok(Part::Media(Media {
        media_type: media_type.to_owned(),
        source,
        name: name.map(str::to_owned),
    }))
}
