//! The fields of a request that are no conversation: limits, chances, tools, the form of the answer.

use model::{Effort, Model, Output, Request, Tool, ToolChoice};
use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// The most tokens of an answer for which the caller sets no limit.
const DEFAULT_MOST: u32 = 4096;
/// Tokens that a chat template puts around each message, at most.
const AROUND_MESSAGE_TOKENS: usize = 24;

/// The most texts that an answer may end before.
const MOST_STOPS: usize = 4;

/// The fields of a request, each taken once, so that what is left over is what is not known.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body.
    pub(crate) fn of(body: Value) -> Result<Fields, ApiError> {
        match body {
            Value::Object(fields) => Ok(Fields(fields)),
            _ => Err(ApiError::invalid("the body is no JSON object")),
        }
    }

    /// A field, unless it is absent or null.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A field that is text.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::parameter(name, format!("{name} is no text"))),
        }
    }

    /// A field that is true or false; absent is false.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(ApiError::parameter(
                name,
                format!("{name} is neither true nor false"),
            )),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<f64>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(ApiError::parameter(name, format!("{name} is no number"))),
            },
        }
    }

    /// The most tokens of the answer, from the first of these fields that is there.
    pub(crate) fn most_tokens(&mut self, names: &[&str]) -> Result<Option<u32>, ApiError> {
        let mut most = None;
        for name in names {
            let Some(number) = self.number(name)? else {
                continue;
            };
            if number < 1.0 || number > f64::from(u32::MAX) || number.fract() != 0.0 {
                return Err(ApiError::parameter(
                    *name,
                    format!("{name} is no number of tokens"),
                ));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "looked at above"
            )]
            most.get_or_insert(number as u32);
        }
        Ok(most)
    }

    /// The temperature; 1, as in this API, where none is said.
    pub(crate) fn temperature(&mut self) -> Result<f32, ApiError> {
        let temperature = self.number("temperature")?.unwrap_or(1.0);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::parameter(
                "temperature",
                "temperature is from 0 to 2",
            ));
        }
        #[expect(clippy::cast_possible_truncation, reason = "0 to 2")]
        Ok(temperature as f32)
    }

    /// The likeliest tokens that together have this probability; none where all are taken.
    pub(crate) fn top_p(&mut self) -> Result<Option<f32>, ApiError> {
        match self.number("top_p")? {
            None => Ok(None),
            Some(1.0) => Ok(None),
            #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
            Some(top_p) if top_p > 0.0 && top_p < 1.0 => Ok(Some(top_p as f32)),
            Some(_) => Err(ApiError::parameter(
                "top_p",
                "top_p is above 0 and at most 1",
            )),
        }
    }

    /// The texts before which the answer ends.
    pub(crate) fn stop(&mut self) -> Result<Vec<String>, ApiError> {
        let wrong = || {
            let message = format!(
                "stop is a text or an array of at most {MOST_STOPS} texts, none of them empty"
            );
            ApiError::parameter("stop", message)
        };
        let stops = match self.take("stop") {
            None => Vec::new(),
            Some(Value::Array(stops)) => stops,
            Some(stop) => vec![stop],
        };
        let texts = stops
            .iter()
            .map(|stop| stop.as_str().filter(|text| !text.is_empty()));
        let texts: Option<Vec<String>> = texts.map(|text| text.map(str::to_owned)).collect();
        texts
            .filter(|texts| texts.len() <= MOST_STOPS)
            .ok_or_else(wrong)
    }

    /// The seed; another one each time where none is said.
    pub(crate) fn seed(&mut self) -> Result<u64, ApiError> {
        match self.take("seed") {
            None => Ok(u64::from_str_radix(&super::new_id("")[..15], 16).unwrap_or_default()),
            Some(seed) => match (seed.as_u64(), seed.as_i64()) {
                (Some(seed), _) => Ok(seed),
                (None, Some(seed)) => Ok(seed.cast_unsigned()),
                (None, None) => Err(ApiError::parameter("seed", "seed is no whole number")),
            },
        }
    }

    /// Refuses what cannot be honoured, and accepts a value that changes nothing.
    pub(crate) fn only(&mut self, name: &str, accepted: &[Value]) -> Result<(), ApiError> {
        match self.take(name) {
            Some(value) if !accepted.contains(&value) => {
                let message = format!("{name} cannot be {value} here: it is not supported");
                Err(ApiError::parameter(name, message))
            }
            _ => Ok(()),
        }
    }

    /// Drops fields that are notes of the caller's or hints to a service.
    pub(crate) fn drop(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// Refuses the fields that nobody has taken.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.into_iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => {
                let message = format!("{name} is not supported by this server");
                Err(ApiError::parameter(name, message))
            }
            None => Ok(()),
        }
    }
}

/// How hard to think.
pub(crate) fn effort(effort: Option<Value>, place: &str) -> Result<Option<Effort>, ApiError> {
    let Some(effort) = effort else {
        return Ok(None);
    };
    match effort.as_str() {
        Some("none") => Ok(Some(Effort::None)),
        Some("minimal") => Ok(Some(Effort::Minimal)),
        Some("low") => Ok(Some(Effort::Low)),
        Some("medium") => Ok(Some(Effort::Medium)),
        Some("high" | "xhigh") => Ok(Some(Effort::High)),
        _ => Err(ApiError::parameter(
            place,
            format!("{place} is none, minimal, low, medium or high"),
        )),
    }
}

/// The tools of a request; `nested` where their fields stand under `function`.
pub(crate) fn tools(tools: Option<Value>, nested: bool) -> Result<Vec<Tool>, ApiError> {
    let tools = match tools {
        None => return Ok(Vec::new()),
        Some(Value::Array(tools)) => tools,
        Some(_) => return Err(ApiError::parameter("tools", "tools is no array")),
    };
    let mut read = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        let place = format!("tools[{index}]");
        if tool["type"] != "function" {
            let message = format!("{place}: only tools of the type function are supported");
            return Err(ApiError::parameter(place, message));
        }
        let function = if nested { &tool["function"] } else { &tool };
        let Some(name) = function["name"].as_str() else {
            let message = format!("{place} has no name");
            return Err(ApiError::parameter(place, message));
        };
        let parameters = match &function["parameters"] {
            Value::Null => json!({"type": "object", "properties": {}}),
            parameters => parameters.clone(),
        };
        read.push(Tool {
            name: name.to_owned(),
            description: function["description"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            parameters,
        });
    }
    Ok(read)
}

/// Whether tools are to be called; `nested` as in [`tools`].
pub(crate) fn tool_choice(
    choice: Option<Value>,
    nested: bool,
    tools: &[Tool],
) -> Result<ToolChoice, ApiError> {
    let choice = read_choice(choice, nested)?;
    let wrong = |message: String| Err(ApiError::parameter("tool_choice", message));
    match &choice {
        ToolChoice::Required if tools.is_empty() => {
            wrong("tool_choice requires a call, and tools has no tool".to_owned())
        }
        ToolChoice::Named(name) if !tools.iter().any(|tool| tool.name == *name) => wrong(format!(
            "tool_choice names {name}, and tools has no such tool"
        )),
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required | ToolChoice::Named(_) => {
            Ok(choice)
        }
    }
}

fn read_choice(choice: Option<Value>, nested: bool) -> Result<ToolChoice, ApiError> {
    let wrong = || {
        ApiError::parameter(
            "tool_choice",
            "tool_choice is auto, none, required or a function",
        )
    };
    match choice {
        None => Ok(ToolChoice::Auto),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(wrong()),
        },
        Some(choice) => {
            let named = if nested {
                &choice["function"]["name"]
            } else {
                &choice["name"]
            };
            let named = named.as_str().filter(|_| choice["type"] == "function");
            named
                .map(|name| ToolChoice::Named(name.to_owned()))
                .ok_or_else(wrong)
        }
    }
}

/// The form of the answer; `nested` where the schema stands under `json_schema`.
pub(crate) fn output(format: Option<Value>, nested: bool, place: &str) -> Result<Output, ApiError> {
    let Some(format) = format else {
        return Ok(Output::Text);
    };
    match format["type"].as_str() {
        Some("text") => Ok(Output::Text),
        Some("json_object") => Ok(Output::Json(json!({"type": "object"}))),
        Some("json_schema") => {
            let schema = if nested {
                &format["json_schema"]["schema"]
            } else {
                &format["schema"]
            };
            match schema {
                Value::Null => Err(ApiError::parameter(place, format!("{place} has no schema"))),
                schema => Ok(Output::Json(schema.clone())),
            }
        }
        _ => {
            let message = format!("{place}.type is text, json_object or json_schema");
            Err(ApiError::parameter(place, message))
        }
    }
}

/// The most tokens that an answer may have where the caller sets no limit: what the context leaves.
pub(crate) fn room(model: &dyn Model, request: &Request) -> u32 {
    let Some(context) = model.context_tokens() else {
        return DEFAULT_MOST;
    };
    let said: usize = request
        .messages
        .iter()
        .map(|message| {
            let parts = serde_json::to_string(&message.content).unwrap_or_default();
            model.count_tokens(&parts) + AROUND_MESSAGE_TOKENS
        })
        .sum();
    let tools = serde_json::to_string(&request.tools).unwrap_or_default();
    let tools = if request.tools.is_empty() {
        0
    } else {
        model.count_tokens(&tools) + 256
    };
    let prompt = u32::try_from(said + tools).unwrap_or(u32::MAX);
    context.saturating_sub(prompt).clamp(1, DEFAULT_MOST)
}
