//! Messages of a conversation, and the parts that they are made of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instructions.
    System,
    /// The user, or a program in the user's place.
    User,
    /// The model.
    Assistant,
    /// What tools answered.
    Tool,
}

impl Role {
    /// The word that providers and chat templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Content,
}

/// What is said: mostly text, which is written as text alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Text and nothing else: a chat template's control tokens in it stay text.
    Text(String),
    /// Parts in their order.
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// It.
        text: String,
    },
    /// A picture, a PDF or a sound.
    Media(Media),
    /// What the model thought before it answered. Providers that sign it want it back unchanged.
    Reasoning(Reasoning),
    /// A tool that the model wants called.
    ToolCall(ToolCall),
    /// What a tool answered.
    ToolResult(ToolResult),
}

/// A picture, a PDF or a sound, as an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// Such as `image/png`, `application/pdf` or `audio/wav`.
    pub media_type: String,
    /// Where its bytes are.
    #[serde(flatten)]
    pub source: MediaSource,
    /// The file's name, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where the bytes of a [`Media`] are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// Here, in base64.
    Data(String),
    /// At an address that the provider reads.
    Url(String),
}

/// What a model thought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// In words; may be a summary, or empty where the provider keeps it to itself.
    pub text: String,
    /// The provider's signature, to be handed back with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// A thought that the provider keeps to itself, as it came, to be handed back unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Value>,
}

/// A tool that the model wants called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call, so that its result can be matched to it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it is called with: an object, as the model wrote it; not yet held against the tool's
    /// schema.
    pub arguments: Value,
    /// What the provider wants handed back with the call, as it came (Gemini signs its calls).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What a tool answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call that it answers.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What it answered, or what is wrong with the call.
    pub content: String,
    /// Whether it went wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Letters, digits, `_` and `-`.
    pub name: String,
    /// What it does and when to use it: the model reads this.
    pub description: String,
    /// A JSON schema of the arguments: an object.
    pub parameters: Value,
}

/// Whether tools are to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As the model thinks.
    #[default]
    Auto,
    /// Not now.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

impl Message {
    /// A message of text.
    pub fn new(role: Role, text: impl Into<String>) -> Message {
        Message {
            role,
            content: Content::Text(text.into()),
        }
    }

    /// A message of the user.
    pub fn user(text: impl Into<String>) -> Message {
        Message::new(Role::User, text)
    }

    /// The instructions.
    pub fn system(text: impl Into<String>) -> Message {
        Message::new(Role::System, text)
    }

    /// A message of the model.
    pub fn assistant(text: impl Into<String>) -> Message {
        Message::new(Role::Assistant, text)
    }

    /// A message of these parts.
    pub fn of(role: Role, parts: Vec<Part>) -> Message {
        Message {
            role,
            content: Content::Parts(parts),
        }
    }

    /// What tools answered.
    pub fn results(results: impl IntoIterator<Item = ToolResult>) -> Message {
        let parts = results.into_iter().map(Part::ToolResult).collect();
        Message::of(Role::Tool, parts)
    }

    /// Its text, without its other parts.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Text(text) => text.into(),
            Content::Parts(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Text { text } => Some(text.as_str()),
                    _ => None,
                })
                .collect::<String>()
                .into(),
        }
    }

    /// Its parts; text alone is one part.
    pub fn parts(&self) -> Vec<Part> {
        match &self.content {
            Content::Text(text) => vec![Part::Text { text: text.clone() }],
            Content::Parts(parts) => parts.clone(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_alone_is_written_as_text() {
        let message = Message::user("Hello");
        let written = serde_json::to_value(&message).unwrap();
        assert_eq!(written, json!({"role": "user", "content": "Hello"}));
        assert_eq!(serde_json::from_value::<Message>(written).unwrap(), message);
    }

    #[test]
    fn parts_are_read_as_they_were_written() {
        let call = ToolCall {
            id: "1".to_owned(),
            name: "weather".to_owned(),
            arguments: json!({"city": "Bern"}),
            signature: None,
        };
        let picture = Media {
            media_type: "image/png".to_owned(),
            source: MediaSource::Data("aGVsbG8=".to_owned()),
            name: None,
        };
        let text = "Look:".to_owned();
        let parts = vec![
            Part::Text { text },
            Part::Media(picture),
            Part::ToolCall(call),
            Part::Reasoning(Reasoning::default()),
        ];
        let message = Message::of(Role::Assistant, parts);
        let written = serde_json::to_value(&message).unwrap();
        assert_eq!(written["content"][1]["data"], "aGVsbG8=");
        assert_eq!(written["content"][2]["type"], "tool_call");
        assert_eq!(serde_json::from_value::<Message>(written).unwrap(), message);
        assert_eq!(message.text(), "Look:");
    }
}
