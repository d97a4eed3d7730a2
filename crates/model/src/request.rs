//! What a model is asked and what it answers.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

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
}

impl Role {
    /// The word that providers and chat templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said. It is text and nothing else: a chat template's control tokens in it stay text.
    pub content: String,
}

/// The form of the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Free text.
    #[default]
    Text,
    /// JSON that fits a JSON schema. Properties are written in the schema's order. A string property
    /// may carry `x-quote-from` (see [`crate::quotes`]).
    Json(Value),
}

/// One call of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The form of the answer.
    pub output: Output,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Settles the chances where the temperature is above 0.
    pub seed: u64,
}

/// Why the answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was complete.
    #[default]
    End,
    /// It reached the most tokens it may have.
    Length,
}

/// A place where the schema left the model a closed choice: an `enum` or `boolean` property of the
/// answer's outermost object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The JSON pointer of the property, such as `/answered`.
    pub pointer: String,
    /// The value taken.
    pub value: Value,
    /// The probability that the model gave it among the allowed values, 0..1.
    pub probability: f32,
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, those in a cache included.
    pub prompt_tokens: u32,
    /// Tokens of the prompt that a cache had.
    pub cached_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The text; JSON when that was asked for.
    pub text: String,
    /// The closed choices in it; empty where a provider gives no probabilities.
    pub choices: Vec<Choice>,
    /// What it took.
    pub usage: Usage,
    /// Why it ended.
    pub stop: Stop,
}

impl Response {
    /// The answer as a value.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not JSON of that form, as when it was cut off.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| Error::Malformed {
            message: match self.stop {
                Stop::Length => format!("it was cut off at its token limit ({error})"),
                Stop::End => error.to_string(),
            },
        })
    }
}
