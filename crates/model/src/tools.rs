//! Calls of tools, held against the tools' schemas before anybody carries them out.

use serde_json::Value;

use crate::{
    DeltaSink, Error, Message, Model, Request, Response, Result, Tool, ToolCall, ToolResult, Usage,
};

/// Problems of a call that are told to the model.
const MOST_PROBLEMS: usize = 3;

/// Asks `model`, and asks again, at most `repairs` times, while it calls a tool that there is not or with
/// arguments that do not fit: it is told in words what is wrong. What the answers took adds up. Pieces of
/// every attempt go to `sink`.
///
/// # Errors
/// [`Error::Malformed`] when the last answer is wrong still, [`Error::Schema`] when a tool's schema is
/// none, and what the model says.
pub async fn generate(
    model: &dyn Model,
    request: &Request,
    sink: Option<DeltaSink>,
    repairs: u32,
) -> Result<Response> {
    let mut request = request.clone();
    let mut usage = Usage::default();
    let mut cost = Some(0_u64);
    let mut repair = 0;
    loop {
        let mut response = model.generate(&request, sink.clone()).await?;
        usage = usage.plus(&response.usage);
        // A price that is unknown once is unknown in all.
        cost = cost
            .zip(response.cost_micros)
            .map(|(sum, more)| sum.saturating_add(more));
        let problems = problems(&response.tool_calls, &request.tools)?;
        let Some(first) = problems.iter().flatten().next() else {
            (response.usage, response.cost_micros) = (usage, cost);
            return Ok(response);
        };
        if repair == repairs {
            return Err(Error::Malformed {
                message: first.clone(),
            });
        }
        repair += 1;
        request.messages.push(response.message());
        request.messages.push(told(&response.tool_calls, problems));
    }
}

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

/// The results that say what is wrong. The others of the same answer have not been carried out either.
fn told(calls: &[ToolCall], problems: Vec<Option<String>>) -> Message {
    let results = calls
        .iter()
        .zip(problems)
        .map(|(call, problem)| ToolResult {
            id: call.id.clone(),
            name: call.name.clone(),
            content: match problem {
                Some(problem) => format!("Not done: {problem}. Call it again."),
                None => {
                    "Not done: another call of the same answer was wrong. Call it again.".to_owned()
                }
            },
            is_error: true,
        });
    Message::results(results)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::sync::Mutex;

    use futures::future::BoxFuture;
    use serde_json::json;

    use super::*;
    use crate::{Part, Stop};

    /// A model that makes these calls, one answer after the other.
    struct Caller {
        answers: Mutex<Vec<Vec<(&'static str, Value)>>>,
        asked: Mutex<Vec<Request>>,
    }

    impl Model for Caller {
        fn name(&self) -> &str {
            "caller"
        }

        fn context_tokens(&self) -> Option<u32> {
            None
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }

        fn generate<'a>(
            &'a self,
            request: &'a Request,
            _sink: Option<DeltaSink>,
        ) -> BoxFuture<'a, Result<Response>> {
            self.asked.lock().unwrap().push(request.clone());
            let calls = self.answers.lock().unwrap().remove(0);
            let calls = calls
                .into_iter()
                .enumerate()
                .map(|(index, (name, arguments))| ToolCall {
                    id: index.to_string(),
                    name: name.to_owned(),
                    arguments,
                    signature: None,
                });
            let response = Response {
                tool_calls: calls.collect(),
                usage: Usage {
                    output_tokens: 3,
                    ..Usage::default()
                },
                cost_micros: Some(5),
                stop: Stop::ToolCalls,
                ..Response::default()
            };
            Box::pin(async { Ok(response) })
        }
    }

    fn caller(answers: Vec<Vec<(&'static str, Value)>>) -> (Caller, Request) {
        let tool = Tool {
            name: "pay".to_owned(),
            description: String::new(),
            parameters: json!({
                "type": "object",
                "properties": {"amount": {"type": "integer", "minimum": 1}},
                "required": ["amount"],
            }),
        };
        let request = Request {
            messages: vec![Message::user("Pay.")],
            tools: vec![tool],
            ..Request::default()
        };
        let (answers, asked) = (Mutex::new(answers), Mutex::default());
        (Caller { answers, asked }, request)
    }

    #[tokio::test]
    async fn a_wrong_call_goes_back_with_the_reason() {
        let (model, request) = caller(vec![
            vec![("pay", json!({"amount": 0})), ("pay", json!({"amount": 2}))],
            vec![("buy", json!({}))],
            vec![("pay", json!({"amount": 2}))],
        ]);
        let response = generate(&model, &request, None, 2).await.unwrap();
        assert_eq!(response.tool_calls[0].arguments, json!({"amount": 2}));
        assert_eq!(
            (response.usage.output_tokens, response.cost_micros),
            (9, Some(15))
        );
        let asked = model.asked.lock().unwrap();
        let said = |number: usize| {
            let results = asked[number].messages.last().unwrap().parts();
            let texts = results.into_iter().filter_map(|part| match part {
                Part::ToolResult(result) if result.is_error => Some(result.content),
                _ => None,
            });
            texts.collect::<Vec<String>>()
        };
        assert_eq!(
            said(1),
            [
                "Not done: the arguments of pay do not fit: /amount: 0 is less than the minimum of 1. Call it again.",
                "Not done: another call of the same answer was wrong. Call it again.",
            ]
        );
        assert_eq!(
            said(2),
            ["Not done: there is no tool buy; the tools are pay. Call it again."]
        );
    }

    #[tokio::test]
    async fn what_stays_wrong_is_an_error() {
        let wrong = || vec![("pay", json!("all of it"))];
        let (model, request) = caller(vec![wrong(), wrong()]);
        let error = generate(&model, &request, None, 1).await.unwrap_err();
        assert!(
            error.to_string().contains("are no JSON object: all of it"),
            "{error}"
        );
        assert!(error.is_answer());
    }
}
