//! Calls of tools, held against the tools' schemas before anybody carries them out. Giving a wrong call back
//! to the model is for whoever carries the calls out: it knows what became of the others.

use serde_json::Value;

use crate::{Error, Result, Tool, ToolCall};

/// Problems of a call that are told to the model.
const MOST_PROBLEMS: usize = 3;

/// What is wrong with each of these calls, in words; `None` where nothing is.
///
/// # Errors
/// [`Error::Schema`] when a tool's schema is none.
pub fn problems(calls: &[ToolCall], tools: &[Tool]) -> Result<Vec<Option<String>>> {
    calls.iter().map(|call| problem(call, tools)).collect()
}

fn problem(call: &ToolCall, tools: &[Tool]) -> Result<Option<String>> {
    let Some(tool) = tools.iter().find(|tool| tool.name == call.name) else {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let (name, names) = (&call.name, names.join(", "));
        return Ok(Some(format!(
            "there is no tool {name}; the tools are {names}"
        )));
    };
    if let Value::String(text) = &call.arguments {
        return Ok(Some(format!(
            "the arguments of {} are no JSON object: {text}",
            tool.name
        )));
    }
    let validator = jsonschema::validator_for(&tool.parameters).map_err(|error| Error::Schema {
        message: format!("of the tool {}: {error}", tool.name),
    })?;
    let wrong: Vec<String> = validator
        .iter_errors(&call.arguments)
        .take(MOST_PROBLEMS)
        .map(|error| match error.instance_path().to_string() {
            place if place.is_empty() => error.to_string(),
            place => format!("{place}: {error}"),
        })
        .collect();
    let all = format!(
        "the arguments of {} do not fit: {}",
        tool.name,
        wrong.join("; ")
    );
    Ok((!wrong.is_empty()).then_some(all))
}

/// Whether a schema is one.
///
/// # Errors
/// [`Error::Schema`] with what is wrong with it.
pub fn check_schema(schema: &Value) -> Result<()> {
    match jsonschema::validator_for(schema) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Schema {
            message: error.to_string(),
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_call_is_said_in_words() {
        let tool = Tool {
            name: "pay".to_owned(),
            description: String::new(),
            parameters: json!({
                "type": "object",
                "properties": {"amount": {"type": "integer", "minimum": 1}},
                "required": ["amount"],
            }),
        };
        let calls = [
            ("pay", json!({"amount": 2})),
            ("pay", json!({"amount": 0})),
            ("pay", json!({})),
            ("pay", json!("all of it")),
            ("buy", json!({})),
        ];
        let calls = calls.map(|(name, arguments)| ToolCall {
            id: String::new(),
            name: name.to_owned(),
            arguments,
            signature: None,
        });
        let said = problems(&calls, &[tool]).unwrap();
        let said = said.iter().map(|problem| problem.as_deref().unwrap_or("-"));
        insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"), @r#"
        -
        the arguments of pay do not fit: /amount: 0 is less than the minimum of 1
        the arguments of pay do not fit: "amount" is a required property
        the arguments of pay are no JSON object: all of it
        there is no tool buy; the tools are pay
        "#);
    }

    #[test]
    fn a_schema_that_is_none_is_an_error() {
        let tool = Tool {
            name: "pay".to_owned(),
            description: String::new(),
            parameters: json!({"type": 1}),
        };
        let call = ToolCall {
            id: String::new(),
            name: "pay".to_owned(),
            arguments: json!({}),
            signature: None,
        };
        assert!(matches!(
            problems(&[call], &[tool]),
            Err(Error::Schema { .. })
        ));
    }
}
