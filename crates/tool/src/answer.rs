//! What a call comes to, and how it is read by models.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Asks, Error, Result};

/// The only field of an answer that asks.
const ASKS: &str = "plumb:asks";

/// What a call comes to. It is written as the value itself, or as `{"error": "..."}`: so a person who says
/// what became of a call can write what the tool would have said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub enum Answer {
    /// What the tool answered.
    Value(Value),
    /// What went wrong, in words for the model.
    Error(String),
    /// What a person has to say before the call is made again.
    Asks(Box<Asks>),
}

impl Answer {
    /// What a tool has given. Names that begin with `plumb:` are kept for what is recorded beside an answer; what
    /// a tool gives may come from anywhere, and cannot pass for it.
    pub(crate) fn given(value: Value) -> Answer {
        let mut names = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name);
        if let Some(name) = names.find(|name| name.starts_with("plumb:")) {
            return Answer::Error(format!("an answer cannot have the field `{name}`"));
        }
        Answer::from(value)
    }

    /// As models read it: text as it is, anything else as JSON.
    pub fn text(&self) -> String {
        match self {
            Answer::Value(Value::String(text)) | Answer::Error(text) => text.clone(),
            Answer::Value(Value::Null) => "Done.".to_owned(),
            Answer::Value(value) => value.to_string(),
            Answer::Asks(_) => "A person is asked.".to_owned(),
        }
    }

    /// Whether something went wrong.
    pub fn is_error(&self) -> bool {
        matches!(self, Answer::Error(_))
    }

    /// Notes which step asks, where it asks.
    pub fn asked_at(mut self, path: &str) -> Answer {
        if let Answer::Asks(asks) = &mut self {
            path.clone_into(&mut asks.at);
        }
        self
    }

    /// Replaces the values of these fields, at any depth.
    pub(crate) fn without(mut self, fields: &[String]) -> Answer {
        if let Answer::Value(value) = &mut self {
            hide(value, fields);
        }
        self
    }

    /// Cuts off what is longer than so many bytes, and says so.
    pub fn within(self, most: usize) -> Answer {
        if matches!(self, Answer::Asks(_)) {
            return self;
        }
        let text = self.text();
        if text.len() <= most {
            return self;
        }
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        let begin = &text[..end.unwrap_or(0)];
        let cut = format!(
            "{begin}\n[cut off: {} of {} bytes are shown]",
            begin.len(),
            text.len()
        );
        match self {
            Answer::Error(_) => Answer::Error(cut),
            Answer::Value(_) | Answer::Asks(_) => Answer::Value(cut.into()),
        }
    }
}

fn hide(value: &mut Value, fields: &[String]) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if fields.contains(name) {
                    *value = "[secret]".into();
                } else {
                    hide(value, fields);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, fields)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl From<Value> for Answer {
    fn from(value: Value) -> Answer {
        let only = value.as_object().filter(|fields| fields.len() == 1);
        match only.and_then(|fields| fields.iter().next()) {
            Some((name, Value::String(error))) if name == "error" => Answer::Error(error.clone()),
            Some((name, asks)) if name == ASKS => match Asks::deserialize(asks) {
                Ok(asks) => Answer::Asks(Box::new(asks)),
                Err(_) => Answer::Value(value),
            },
            _ => Answer::Value(value),
        }
    }
}

impl From<Answer> for Value {
    fn from(answer: Answer) -> Value {
        match answer {
            Answer::Value(value) => value,
            Answer::Error(error) => json!({"error": error}),
            Answer::Asks(asks) => json!({ASKS: asks}),
        }
    }
}

/// What a function returned, as JSON.
pub fn value<T: Serialize>(returned: &T) -> Result<Value> {
    serde_json::to_value(returned)
        .map_err(|error| Error::Failed(format!("the answer has no form in JSON: {error}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_read_as_text() {
        for (answer, text) in [
            (json!("4 chairs"), "4 chairs"),
            (json!(null), "Done."),
            (json!({"chairs": 4}), r#"{"chairs":4}"#),
            (json!({"error": "no such order"}), "no such order"),
        ] {
            assert_eq!(Answer::from(answer).text(), text);
        }
        assert!(Answer::from(json!({"error": "no"})).is_error());
        assert!(!Answer::from(json!({"error": 4})).is_error());
        assert!(!Answer::from(json!({"error": "no", "order": 4})).is_error());
    }

    #[test]
    fn only_a_tool_itself_can_ask() {
        let asks = Asks::one("sure", crate::Wanted::yes_or_no("Sure?"), json!(1));
        let written = Value::from(Answer::Asks(Box::new(asks.clone())));
        assert_eq!(Answer::from(written.clone()), Answer::Asks(Box::new(asks)));
        assert!(Answer::given(written).is_error());
    }

    #[test]
    fn secret_fields_are_seen_by_nobody() {
        let answer = json!({"orders": [{"id": 1, "card": "4111"}], "card": {"number": 1}});
        let answer = Answer::Value(answer).without(&["card".to_owned()]);
        let hidden = json!({"orders": [{"id": 1, "card": "[secret]"}], "card": "[secret]"});
        assert_eq!(answer, Answer::Value(hidden));
    }

    #[test]
    fn a_long_answer_is_cut_between_characters() {
        let cut = Answer::Value("ääää".into()).within(5);
        let said = "ää\n[cut off: 4 of 8 bytes are shown]";
        assert_eq!(cut, Answer::Value(said.into()));
    }

    proptest! {
        #[test]
        fn an_answer_is_read_as_it_was_written(text in ".{0,40}", number: i64, is_error: bool) {
            let answer = match is_error {
                true => Answer::Error(text),
                false => Answer::Value(json!({"text": text, "number": number})),
            };
            let written = serde_json::to_value(&answer).unwrap();
            prop_assert_eq!(serde_json::from_value::<Answer>(written).unwrap(), answer);
        }
    }
}
