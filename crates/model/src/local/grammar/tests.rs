//! The constraint engine over single bytes: no model is needed to see what a constraint lets through.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may fail loudly"
)]

use llguidance::toktrie::ApproximateTokEnv;

use super::super::schema::ENFORCED;
use super::*;

fn grammars() -> Grammars {
    Grammars::over(ApproximateTokEnv::single_byte_env()).unwrap()
}

/// Whether `text` can be written under the constraint, and the answer may end there.
fn lets_through(matcher: &Matcher, text: &str) -> bool {
    let mut matcher = matcher.deep_clone();
    for byte in text.bytes() {
        let mask = matcher.compute_mask();
        if !mask.is_ok_and(|mask| mask.is_allowed(byte.into())) {
            return false;
        }
        matcher.consume_token(byte.into()).unwrap();
    }
    matcher.is_accepting().unwrap()
}

/// Whether another validator says that `value` fits, formats included.
fn is_valid(schema: &Value, value: &Value) -> bool {
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(schema).expect("a schema");
    validator.is_valid(value)
}

/// A schema with a keyword, values that fit it, and values that do not.
#[derive(serde::Deserialize)]
struct Case {
    keyword: String,
    schema: Value,
    fits: Vec<Value>,
    breaks: Vec<Value>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../../../tests/schemas/keywords.json")).unwrap()
}

fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

#[test]
fn every_keyword_lets_through_what_fits_and_nothing_else() {
    let grammars = grammars();
    let cases = cases();
    for keyword in ENFORCED {
        let named = cases.iter().any(|case| case.keyword == *keyword);
        assert!(named, "{keyword} has no case");
    }
    for Case {
        schema,
        fits,
        breaks,
        ..
    } in &cases
    {
        let matcher = grammars.matcher(schema).unwrap();
        for value in fits {
            assert!(
                is_valid(schema, value),
                "the case is wrong: {value} in {schema}"
            );
            assert!(
                lets_through(&matcher, &value.to_string()),
                "{value} in {schema}"
            );
        }
        for value in breaks {
            // Formats of integers are notes to the other validator.
            let wrong = schema.get("format").is_none_or(|format| format != "uint8");
            assert!(
                !wrong || !is_valid(schema, value),
                "the case is wrong: {value} in {schema}"
            );
            assert!(
                !lets_through(&matcher, &value.to_string()),
                "{value} in {schema}"
            );
        }
    }
}

/// Writes at random what the constraint lets through, until the answer may end. `None` where it goes on
/// for too long.
fn wander(matcher: &Matcher, seed: u64) -> Option<String> {
    let mut matcher = matcher.deep_clone();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % 1_000_003).unwrap() % below
    };
    let mut text = Vec::new();
    while text.len() < 3000 {
        if matcher.is_stopped() || (matcher.is_accepting().unwrap() && random(3) == 0) {
            return Some(String::from_utf8(text).expect("whole characters"));
        }
        let mask = matcher.compute_mask().unwrap();
        let allowed: Vec<u32> = mask.iter().filter(|token| *token < 256).collect();
        // Strings that go on for ever are no test of anything.
        let ends: Vec<u32> = allowed
            .iter()
            .copied()
            .filter(|t| b"\"]}".contains(&u8::try_from(*t).unwrap()))
            .collect();
        let hurry = if text.len() > 400 { 1 } else { 6 };
        let token = match ends.is_empty() || random(hurry) != 0 {
            true => *allowed.get(random(allowed.len().max(1)))?,
            false => ends[random(ends.len())],
        };
        text.push(u8::try_from(token).unwrap());
        matcher.consume_token(token).unwrap();
    }
    None
}

/// Whether the schema is one of the few here that say nothing of some values.
fn leaves_open(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
        && schema.get("additionalProperties").is_none()
}

#[test]
fn whatever_a_constraint_lets_through_fits_its_schema() {
    let grammars = grammars();
    let everyday: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/schemas/schemas.json")).unwrap();
    let everyday = everyday.into_iter().map(|form| form["schema"].clone());
    let keywords = cases().into_iter().map(|case| case.schema);
    let schemas: Vec<Value> = keywords.chain(everyday).collect();
    let mut finished = 0;
    for schema in &schemas {
        let matcher = grammars.matcher(schema).unwrap();
        for text in (0..40).filter_map(|seed| wander(&matcher, seed)) {
            finished += 1;
            let value: Value = match serde_json::from_str(&text) {
                Ok(value) => value,
                // Where a schema says nothing of a value, it may be a number that no reader can hold.
                Err(error)
                    if leaves_open(schema) && error.to_string().starts_with("number out of") =>
                {
                    continue;
                }
                Err(error) => panic!("{error}: {text}"),
            };
            assert!(is_valid(schema, &value), "{text} in {schema}");
        }
    }
    assert!(finished > schemas.len() * 20, "only {finished} walks ended");
}

#[test]
fn what_only_the_constraint_engine_can_see_is_refused_with_its_place() {
    let grammars = grammars();
    for (schema, expected) in [
        (json!({"pattern": "^(?=a)b"}), "#/properties/x: "),
        (json!({"pattern": "(a)\\1"}), "#/properties/x: "),
        (
            json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
            "#/properties/x: the branches of oneOf have to exclude each other",
        ),
        (
            json!({"type": "integer", "minimum": 3, "maximum": 2}),
            "#/properties/x: ",
        ),
        (json!({"$ref": "#/$defs/bad"}), "#/$defs/bad/items: "),
        (
            json!({"type": "object", "properties": {"a": true, "b": true}, "minProperties": 2}),
            "#/properties/x: min/maxProperties only",
        ),
    ] {
        let mut whole = object(json!({ "x": schema }));
        whole["$defs"] =
            json!({"bad": {"type": "array", "items": {"type": "string", "pattern": "\\b"}}});
        let error = grammars
            .matcher(&whole)
            .err()
            .map(|error| error.to_string());
        let said = error.unwrap_or_else(|| panic!("{whole} is let through"));
        let expected = format!("the schema cannot be enforced: {expected}");
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[test]
fn every_word_about_a_quote_is_kept_to_or_refused() {
    let grammars = grammars();
    let quote = |more: &str, value| {
        object(
            json!({"q": {"type": "string", "x-quote-from": [["A.", "B."], ["C."]], more: value}}),
        )
    };
    let matcher = grammars
        .matcher(&quote("x-quote-first", json!(true)))
        .unwrap();
    for (text, allowed) in [("A. B.", true), ("C.", true), ("B.", false)] {
        let text = json!({"q": text}).to_string();
        assert_eq!(lets_through(&matcher, &text), allowed, "{text}");
    }
    let matcher = grammars.matcher(&quote("x-quote-max", json!(1))).unwrap();
    assert!(!lets_through(&matcher, r#"{"q":"A. B."}"#));
    let error = grammars.matcher(&quote("x-quote-last", json!(true)));
    let error = error.err().unwrap().to_string();
    assert!(error.contains("#/properties/q: x-quote-last"), "{error}");
}

#[test]
fn around_a_quote_what_the_rules_do_not_look_at_is_refused() {
    let grammars = grammars();
    let quote = json!({"type": "string", "x-quote-from": [["A.", "B."]]});
    let note = json!({"$ref": "#/$defs/note"});
    let mut fine = object(json!({"quote": quote, "note": note}));
    fine["$defs"] = json!({"note": {"type": "string", "maxLength": 3}});
    let matcher = grammars.matcher(&fine).unwrap();
    assert!(lets_through(&matcher, r#"{"quote":"A. B.","note":"abc"}"#));
    assert!(!lets_through(
        &matcher,
        r#"{"quote":"A. B.","note":"abcd"}"#
    ));
    assert!(!lets_through(&matcher, r#"{"quote":"B. A.","note":"abc"}"#));
    let mut long = quote.clone();
    long["maxLength"] = json!(3);
    let list = json!({"type": "array", "items": quote, "prefixItems": [{"type": "null"}]});
    for (schema, place) in [
        (object(json!({"q": long})), "#/properties/q: maxLength"),
        (object(json!({"l": list})), "#/properties/l: prefixItems"),
    ] {
        let error = grammars.matcher(&schema).err().unwrap().to_string();
        assert!(error.contains(place), "{error}");
    }
}

fn tools() -> [Tool; 2] {
    let put = json!({
        "properties": {"node": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "at": {"$ref": "#/$defs/at"}},
        "required": ["node"],
        "$defs": {"at": {"type": "integer", "maximum": 99}},
    });
    let look = json!({"type": "object", "properties": {"at.in/": {"enum": ["a\"b", "c"]}}, "required": ["at.in/"]});
    [("put", put), ("look.up/2", look)].map(|(name, parameters)| Tool {
        name: name.to_owned(),
        description: String::new(),
        parameters,
    })
}

#[test]
fn calls_are_let_through_in_both_forms_and_held_to_the_schemas() {
    let tools = tools();
    let tools: Vec<&Tool> = tools.iter().collect();
    let grammars = grammars();
    let [required, auto] = [true, false].map(|required| grammars.calls(&tools, required).unwrap());
    let put = r#"{"name": "put", "arguments": {"node": {"node": null, "at": 1}}}"#;
    let look = r#"{"name": "look.up/2", "arguments": {"at.in/": "a\"b"}}"#;
    let pretty =
        "{\n  \"name\": \"put\",\n  \"arguments\": {\n    \"node\": null,\n    \"at\": 3\n  }\n}";
    let made_up = r#"{"name": "put", "arguments": {"node": null, "name": 1}}"#;
    for (answer, is_call) in [
        (format!("<tool_call>\n{put}\n</tool_call>"), true),
        (
            format!("<tool_call>\n{put}\n</tool_call>\n<tool_call>\n{look}\n</tool_call>"),
            true,
        ),
        (format!("```json\n{pretty}\n```"), true),
        (format!("```json\n{pretty}\n{look}\n```"), true),
        (format!("```json\n[\n{pretty},\n {put}\n]\n```"), true),
        (format!("<tool_call>\n{made_up}\n</tool_call>"), false),
        (format!("```json\n{made_up}\n```"), false),
        (format!("```json\n[{made_up}]\n```"), false),
        ("<tool_call>look</tool_call>".to_owned(), false),
    ] {
        assert_eq!(lets_through(&required, &answer), is_call, "{answer}");
        assert_eq!(lets_through(&auto, &answer), is_call, "{answer}");
    }
    for text in [
        "",
        "Fine <b>",
        "```json\n{\"name\": \"Ada\", \"arguments\": 1}\n```",
        "```json\n{\"name\": \"put\"}\n```",
        "```rust\nfn main() {}\n```",
        &format!("```json\n{pretty}\n```\nThat is how it is called."),
    ] {
        assert!(lets_through(&auto, text), "{text}");
        assert!(!lets_through(&required, text), "{text}");
    }
}

#[test]
fn whatever_a_required_call_comes_to_is_a_call_that_fits() {
    let tools = tools();
    let grammars = grammars();
    let matcher = grammars
        .calls(&tools.iter().collect::<Vec<_>>(), true)
        .unwrap();
    let answers: Vec<String> = (0..150).filter_map(|seed| wander(&matcher, seed)).collect();
    assert!(answers.len() > 100, "only {} ended", answers.len());
    for answer in &answers {
        let (text, calls) = super::super::calls::parse(answer, 1);
        assert!(text.is_empty() && !calls.is_empty(), "{answer}");
        for call in calls {
            let tool = tools.iter().find(|tool| tool.name == call.name).unwrap();
            assert!(is_valid(&tool.parameters, &call.arguments), "{answer}");
        }
    }
}

#[test]
fn a_tool_whose_schema_cannot_be_enforced_is_named() {
    let [mut wrong, _] = tools();
    wrong.parameters["properties"]["at"] = json!({"not": {}});
    let error = grammars().calls(&[&wrong], true).err().unwrap().to_string();
    assert!(
        error.contains("of the tool put: #/properties/at/not: not is not enforced"),
        "{error}"
    );
}
