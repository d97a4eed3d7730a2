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

#[test]
fn references_in_the_schema_of_a_tool_are_its_own() {
    let grammars = grammars();
    let tool = Tool {
        name: "put".to_owned(),
        description: String::new(),
        parameters: json!({
            "properties": {"node": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "at": {"$ref": "#/$defs/at"}},
            "required": ["node"],
            "additionalProperties": false,
            "$defs": {"at": {"type": "integer"}},
        }),
    };
    let matcher = grammars.calls(&[&tool], true).unwrap();
    let call = |arguments: &str| {
        format!("<tool_call>\n{{\"name\": \"put\", \"arguments\": {arguments}}}\n</tool_call>")
    };
    assert!(lets_through(
        &matcher,
        &call(r#"{"node": {"node": null, "at": 1}}"#)
    ));
    assert!(!lets_through(
        &matcher,
        &call(r#"{"node": {"name": null}}"#)
    ));
    let mut wrong = tool;
    wrong.parameters["properties"]["at"] = json!({"not": {}});
    let error = grammars.calls(&[&wrong], true).err().unwrap().to_string();
    assert!(
        error.contains("of the tool put: #/properties/at/not: not is not enforced"),
        "{error}"
    );
}
