//! What a model is asked and what it answers.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Message, Part, Reasoning, Result, Role, Tool, ToolCall, ToolChoice};

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
    /// None is written: this one is given, and [`Response::likelihood`] says how likely the model finds it.
    /// Providers do not tell; they are not asked.
    Given(String),
}

/// One call of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The form of the answer.
    pub output: Output,
    /// Tools that the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// Whether it is to call any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tool_choice: ToolChoice,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Settles the chances where the temperature is above 0.
    pub seed: u64,
    /// Takes only the likeliest tokens that together have this probability; all where not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Texts before which the answer ends; they are no part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// How hard to think, where the model can be told; a wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// How many messages at the beginning (instructions, examples) are the same in many calls and hold nothing
    /// of the user's: the local engine keeps what it computed of them on disk. No part of what is asked.
    #[serde(skip)]
    pub stable: usize,
}

/// How hard a model is to think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as it can.
    Minimal,
    /// A little.
    Low,
    /// As it thinks fit.
    Medium,
    /// Thoroughly.
    High,
}

impl Effort {
    /// The most tokens of thinking, for providers that want a number.
    pub(crate) fn budget(self) -> Option<u32> {
        match self {
            Effort::None => None,
            Effort::Minimal | Effort::Low => Some(1024),
            Effort::Medium => Some(8_000),
            Effort::High => Some(24_000),
        }
    }

    /// The word that providers use.
    pub fn as_str(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
        }
    }
}

impl Default for Request {
    /// Nothing asked, free text of at most 1,024 tokens, the likeliest.
    fn default() -> Request {
        Request {
            messages: Vec::new(),
            output: Output::Text,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            max_tokens: 1024,
            temperature: 0.0,
            seed: 0,
            top_p: None,
            stop: Vec::new(),
            effort: None,
            stable: 0,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Why the answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was complete.
    #[default]
    End,
    /// It reached the most tokens it may have. (Under a schema, a local model then still ends validly.)
    Length,
    /// The model waits for the results of tools.
    ToolCalls,
    /// The provider held it back for what it says.
    Refused,
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
    /// Tokens of the prompt that were written to a cache, where a provider charges for that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache_write_tokens: u32,
    /// Tokens of the answer, those of thinking included.
    pub output_tokens: u32,
    /// Tokens of the answer that were thinking, where the provider says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reasoning_tokens: u32,
}

impl Usage {
    /// Both together.
    pub fn plus(&self, more: &Usage) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens.saturating_add(more.prompt_tokens),
            cached_tokens: self.cached_tokens.saturating_add(more.cached_tokens),
            cache_write_tokens: self
                .cache_write_tokens
                .saturating_add(more.cache_write_tokens),
            output_tokens: self.output_tokens.saturating_add(more.output_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(more.reasoning_tokens),
        }
    }
}

impl Output {
    /// JSON of a type's form; read it with [`Response::json`]. Doc comments of the type and its fields
    /// become descriptions, which models read.
    ///
    /// ```
    /// use plumb_model::{Output, Response};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct City {
    ///     /// As the inhabitants call it.
    ///     name: String,
    ///     inhabitants: u64,
    /// }
    ///
    /// let Output::Json(schema) = Output::of::<City>() else { unreachable!() };
    /// assert_eq!(schema["properties"]["name"]["description"], "As the inhabitants call it.");
    /// let answer = Response {
    ///     text: r#"{"name": "Bern", "inhabitants": 134000}"#.to_owned(),
    ///     ..Response::default()
    /// };
    /// assert_eq!(answer.json::<City>()?.name, "Bern");
    /// # Ok::<(), plumb_model::Error>(())
    /// ```
    pub fn of<T: JsonSchema>() -> Output {
        let mut schema = schemars::SchemaGenerator::default().into_root_schema_for::<T>();
        // Notes of the generator that no model needs.
        schema.remove("$schema");
        schema.remove("title");
        Output::Json(schema.to_value())
    }

    /// The JSON schema of an answer in this form: a string, where it is text.
    pub fn schema(&self) -> Value {
        match self {
            Output::Text | Output::Given(_) => serde_json::json!({"type": "string"}),
            Output::Json(schema) => schema.clone(),
        }
    }
}

/// A piece of an answer, as it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Delta {
    /// More of the text.
    Text {
        /// It.
        text: String,
    },
    /// More of what the model thinks.
    Reasoning {
        /// It.
        text: String,
    },
    /// More of a call of a tool.
    ToolCall {
        /// Which call of this answer, from 0.
        index: usize,
        /// Names the call.
        id: String,
        /// The tool.
        name: String,
        /// More of the text of its arguments.
        arguments: String,
    },
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The text; JSON when that was asked for.
    pub text: String,
    /// The tools that the model wants called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What it thought, where the provider shows it or wants it back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasoning: Vec<Reasoning>,
    /// The closed choices in it; empty where a provider gives no probabilities.
    pub choices: Vec<Choice>,
    /// How likely the model finds an answer that was given ([`Output::Given`]): the mean of the natural
    /// logarithms of its tokens' probabilities, at most 0. `None` where the model does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<f32>,
    /// What it took.
    pub usage: Usage,
    /// What it cost, in millionths of a US dollar; `None` where the price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// Calls that were dropped because another one of the same request was faster. What their prompts
    /// cost is in `cost_micros`; what they had written unseen is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropped_calls: u32,
    /// Whether it was kept from the same request before; nobody was asked, and it cost nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kept: bool,
    /// The model that answered, `provider:name`, when the one that was asked stands for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Why it ended.
    pub stop: Stop,
}

impl Response {
    /// The message to be put into the conversation, so that the model finds what it said.
    pub fn message(&self) -> Message {
        if self.tool_calls.is_empty() && self.reasoning.is_empty() {
            return Message::assistant(&self.text);
        }
        let thought = self.reasoning.iter().cloned().map(Part::Reasoning);
        let said = (!self.text.is_empty()).then(|| Part::Text {
            text: self.text.clone(),
        });
        let calls = self.tool_calls.iter().cloned().map(Part::ToolCall);
        Message::of(Role::Assistant, thought.chain(said).chain(calls).collect())
    }

    /// The answer as a value.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not JSON of that form, as when it was cut off.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| Error::Malformed {
            message: match self.stop {
                Stop::Length => format!("it was cut off at its token limit ({error})"),
                Stop::End | Stop::ToolCalls | Stop::Refused => error.to_string(),
            },
        })
    }
}
