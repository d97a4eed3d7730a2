//! A tool's questions as questions of the protocol, and their answers back again.
//!
//! The protocol asks for objects with plain fields. A question for anything else is asked for as one field,
//! `answer`; what is neither plain nor an object of plain fields is typed as JSON.

use std::collections::BTreeMap;

use rmcp::model::{
    CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction,
    ErrorData, InputRequest, InputRequiredResult, RequestStateCodec,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Asks, Told, Wanted};

/// What a client carries for us between two requests, sealed.
#[derive(Serialize, Deserialize)]
struct Carried {
    tool: String,
    arguments: Value,
    asks: Asks,
}

/// What a client is told that has to ask its person first.
pub(super) fn required(
    codec: &RequestStateCodec,
    asks: &Asks,
    tool: &str,
    arguments: &Value,
) -> Result<InputRequiredResult, ErrorData> {
    let carried = Carried {
        tool: tool.to_owned(),
        arguments: arguments.clone(),
        asks: asks.clone(),
    };
    let sealed = codec.seal_json(&carried).map_err(internal)?;
    let mut requests = BTreeMap::new();
    for (name, wanted) in &asks.questions {
        let asked = ElicitRequest::new(request(wanted).map_err(internal)?);
        requests.insert(name.clone(), InputRequest::Elicitation(asked));
    }
    Ok(InputRequiredResult::new(Some(requests), Some(sealed)))
}

/// Where a call stands.
pub(super) enum Standing {
    /// It comes for the first time.
    New,
    /// The client brings back what was asked.
    Told(Told),
    /// The client brings back less than that, and is asked again.
    Short(Asks),
}

/// What a client brings back.
pub(super) fn standing(
    codec: &RequestStateCodec,
    request: &CallToolRequestParams,
    arguments: &Value,
) -> Result<Standing, ErrorData> {
    let Some(sealed) = &request.request_state else {
        return Ok(Standing::New);
    };
    let wrong = |said: &str| ErrorData::invalid_params(said.to_owned(), None);
    let carried: Carried = codec
        .open_json(sealed)
        .map_err(|_| wrong("the requestState is not one that this server gave"))?;
    if carried.tool != request.name || carried.arguments != *arguments {
        return Err(wrong("the requestState belongs to another call"));
    }
    let responses = request.input_responses.as_ref();
    let mut answers = BTreeMap::new();
    for (name, wanted) in &carried.asks.questions {
        let Some(response) = responses.and_then(|responses| responses.get(name)) else {
            return Ok(Standing::Short(carried.asks));
        };
        let result = ElicitResult::deserialize(response)
            .map_err(|error| wrong(&format!("the response {name}: {error}")))?;
        let answer = answer(wanted, &result).map_err(|said| wrong(&said))?;
        answers.insert(name.clone(), answer);
    }
    Ok(Standing::Told(Told {
        answers,
        state: carried.asks.state,
    }))
}

/// The form that a question has in the protocol.
enum Form {
    /// An object with plain fields: as it is.
    Object,
    /// Something plain, with this schema, as the field `answer`. Who would answer `null` declines.
    Plain(Value),
    /// JSON, as text in the field `answer`.
    Json,
}

/// The schema of an answer, without the ways to decline that stand beside it: the protocol has its own.
fn accepted(schema: &Value) -> (&Value, bool) {
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([accepted, other]) if other["enum"] == json!(["decline", "cancel"]) => {
            (accepted, true)
        }
        _ => (schema, false),
    }
}

fn form(schema: &Value) -> Form {
    let (schema, _) = accepted(schema);
    let fields = schema["properties"].as_object();
    match fields {
        Some(fields) if schema["type"] == "object" && fields.values().all(is_plain) => Form::Object,
        _ => plain(schema).map_or(Form::Json, Form::Plain),
    }
}

fn is_plain(schema: &Value) -> bool {
    match schema["type"].as_str() {
        Some("string" | "number" | "integer" | "boolean") => true,
        // Several of a few.
        Some("array") => schema["items"]["enum"].is_array() || schema["items"]["anyOf"].is_array(),
        _ => false,
    }
}

/// A schema for something plain, without what the protocol's forms do not know.
fn plain(schema: &Value) -> Option<Value> {
    const KNOWN: [&str; 6] = [
        "title",
        "description",
        "minimum",
        "maximum",
        "enum",
        "default",
    ];
    let mut own = json!({});
    if let Some(only) = schema["const"].as_str() {
        return Some(json!({"type": "string", "enum": [only]}));
    }
    own["type"] = match &schema["type"] {
        Value::Array(types) => {
            let mut types = types.iter().filter(|of| *of != "null");
            let only = types.next().filter(|_| types.next().is_none());
            only?.clone()
        }
        of => of.clone(),
    };
    for name in KNOWN {
        if let Some(value) = schema.get(name) {
            own[name] = value.clone();
        }
    }
    is_plain(&own).then_some(own)
}

/// A question as the protocol asks it.
pub(super) fn request(wanted: &Wanted) -> Result<ElicitRequestParams, String> {
    let one = |schema: Value| json!({"type": "object", "properties": {"answer": schema}, "required": ["answer"]});
    let (schema, more) = match form(&wanted.schema) {
        Form::Object => (accepted(&wanted.schema).0.clone(), String::new()),
        Form::Plain(schema) => (one(schema), String::new()),
        Form::Json => (
            one(json!({"type": "string", "description": "JSON"})),
            format!("\nAnswer with JSON like {}", wanted.schema),
        ),
    };
    let params = json!({"mode": "form", "message": format!("{}{more}", wanted.text), "requestedSchema": schema});
    serde_json::from_value(params).map_err(|error| error.to_string())
}

/// An answer of the protocol as the tool wants it. Who declines has not answered.
pub(super) fn answer(wanted: &Wanted, result: &ElicitResult) -> Result<Value, String> {
    let (_, can_decline) = accepted(&wanted.schema);
    let content = match (&result.action, &result.content) {
        (ElicitationAction::Accept, Some(content)) => content,
        (ElicitationAction::Decline, _) if can_decline => return Ok("decline".into()),
        (ElicitationAction::Cancel, _) if can_decline => return Ok("cancel".into()),
        _ => return Err("the person did not answer; the run waits".to_owned()),
    };
    match form(&wanted.schema) {
        Form::Object => Ok(content.clone()),
        Form::Plain(_) => Ok(content["answer"].clone()),
        Form::Json => {
            let text = content["answer"].as_str().unwrap_or_default();
            serde_json::from_str(text).map_err(|error| format!("the answer is not JSON: {error}"))
        }
    }
}

/// For a client that cannot ask anybody.
pub(super) fn in_words(asks: &Asks) -> String {
    let questions = asks.questions.iter();
    let lines = questions.map(|(name, wanted)| format!("{name}: {}", wanted.text));
    let mut text = "A person has to answer first, and this client cannot ask one.\n".to_owned();
    text.push_str(&lines.collect::<Vec<_>>().join("\n"));
    if let Some(run) = asks.state["run"].as_str() {
        text.push_str(&format!(
            "\nThe run {run} waits: plumb questions {run}, plumb answer, then plumb resume {run}"
        ));
    }
    text
}

fn internal(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn wanted(schema: Value) -> Wanted {
        Wanted {
            text: "Which?".to_owned(),
            schema,
        }
    }

    fn accept(content: Value) -> ElicitResult {
        ElicitResult::new(ElicitationAction::Accept).with_content(content)
    }

    #[test]
    fn every_question_has_a_form_of_the_protocol() {
        let object = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let list = json!({"type": "array", "items": {"type": "string"}});
        for (schema, content, expected) in [
            (
                json!({"type": ["integer", "null"], "exclusiveMinimum": 1}),
                json!({"answer": 7}),
                json!(7),
            ),
            (
                json!({"type": "boolean"}),
                json!({"answer": true}),
                json!(true),
            ),
            (object, json!({"name": "Ada"}), json!({"name": "Ada"})),
            (list, json!({"answer": "[\"a\"]"}), json!(["a"])),
        ] {
            let wanted = wanted(schema);
            let asked = json!(request(&wanted).unwrap());
            assert_eq!(asked["requestedSchema"]["type"], "object");
            assert_eq!(answer(&wanted, &accept(content)).unwrap(), expected);
        }
        let declined = ElicitResult::new(ElicitationAction::Decline);
        assert!(answer(&wanted(json!({"type": "boolean"})), &declined).is_err());
    }

    #[test]
    fn a_servers_question_is_asked_in_its_own_form_and_may_be_declined() {
        let several = json!({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}});
        let own = json!({"type": "object", "properties": {
            "age": {"type": "integer", "default": 30}, "several": several}});
        let wanted = wanted(json!({"anyOf": [own, {"enum": ["decline", "cancel"]}]}));
        let asked = json!(request(&wanted).unwrap());
        assert_eq!(asked["requestedSchema"], own);
        let content = json!({"age": 31, "several": ["a"]});
        assert_eq!(answer(&wanted, &accept(content.clone())).unwrap(), content);
        let declined = ElicitResult::new(ElicitationAction::Decline);
        assert_eq!(answer(&wanted, &declined).unwrap(), "decline");
    }

    #[test]
    fn what_a_client_carries_is_ours_or_refused() {
        let codec = RequestStateCodec::try_new(vec![7; 32]).unwrap();
        let asks = Asks::one(
            "sure",
            wanted(json!({"type": "boolean"})),
            json!({"run": "01k"}),
        );
        let arguments = json!({"input": "now"});
        let required = required(&codec, &asks, "clock", &arguments).unwrap();
        let sealed = required.request_state.unwrap();
        let responses =
            BTreeMap::from([("sure".to_owned(), json!(accept(json!({"answer": true}))))]);
        let call = |state: &str| {
            CallToolRequestParams::new("clock")
                .with_request_state(state)
                .with_input_responses(responses.clone())
        };
        let told =
            |call: &CallToolRequestParams, arguments: &Value| standing(&codec, call, arguments);
        let Standing::Told(back) = told(&call(&sealed), &arguments).unwrap() else {
            panic!("what was brought back is not told");
        };
        assert_eq!(back.state, json!({"run": "01k"}));
        assert_eq!(back.answers["sure"], true);
        assert!(told(&call(&sealed), &json!({"input": "then"})).is_err());
        assert!(told(&call("forged"), &arguments).is_err());
        let other = RequestStateCodec::try_new(vec![8; 32]).unwrap();
        assert!(standing(&other, &call(&sealed), &arguments).is_err());
        let empty = CallToolRequestParams::new("clock").with_request_state(sealed);
        let Standing::Short(again) = told(&empty, &arguments).unwrap() else {
            panic!("what is lacking is not asked again");
        };
        assert_eq!(again, asks);
    }
}
