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
fn fits(schema: &Value, value: &Value) -> bool {
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(schema).expect("a schema");
    validator.is_valid(value)
}

/// A keyword, a schema that has it, what fits and what does not.
type Case = (&'static str, Value, Vec<Value>, Vec<Value>);

fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().unwrap().keys().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn values() -> Vec<Case> {
    vec![
        (
            "type",
            json!({"type": "integer"}),
            vec![json!(-3), json!(0)],
            vec![json!(1.5), json!("1"), json!(null)],
        ),
        (
            "type",
            json!({"type": ["boolean", "null"]}),
            vec![json!(true), json!(null)],
            vec![json!(0), json!("true")],
        ),
        (
            "enum",
            json!({"enum": ["a", 2, null, [1, {"b": false}]]}),
            vec![json!("a"), json!(2), json!(null), json!([1, {"b": false}])],
            vec![json!("b"), json!(3), json!([1])],
        ),
        (
            "const",
            json!({"const": {"x": [1, 2.5, "é\"\\"]}}),
            vec![json!({"x": [1, 2.5, "é\"\\"]})],
            vec![json!({"x": [1, 2.5]}), json!({})],
        ),
        (
            "const",
            json!({"const": 0.1}),
            vec![json!(0.1)],
            vec![json!(0.11), json!(0)],
        ),
        (
            "anyOf",
            json!({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]}),
            vec![json!(1), json!("a")],
            vec![json!("ab"), json!(true)],
        ),
        (
            "oneOf",
            json!({"oneOf": [object(json!({"kind": {"const": "a"}, "x": {"type": "integer"}})), object(json!({"kind": {"const": "b"}}))]}),
            vec![json!({"kind": "a", "x": 1}), json!({"kind": "b"})],
            vec![json!({"kind": "a"}), json!({"kind": "b", "x": 1})],
        ),
        (
            "oneOf",
            json!({"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "discriminator": {"propertyName": "kind"}, "$defs": {"a": object(json!({"kind": {"const": "a"}})), "b": object(json!({"kind": {"enum": ["b", "c"]}}))}}),
            vec![json!({"kind": "a"}), json!({"kind": "c"})],
            vec![json!({"kind": "d"})],
        ),
        (
            "allOf",
            json!({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}),
            vec![json!(3), json!(5)],
            vec![json!(2), json!(6)],
        ),
        (
            "allOf",
            json!({"type": "object", "allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}]}),
            vec![json!({"a": 1, "b": true})],
            vec![json!({"a": 1}), json!({"a": true, "b": true})],
        ),
        (
            "$ref",
            json!({"$ref": "#/$defs/list", "$defs": {"list": {"anyOf": [{"type": "null"}, object(json!({"next": {"$ref": "#/$defs/list"}}))]}}}),
            vec![json!(null), json!({"next": {"next": null}})],
            vec![json!({"next": 1}), json!({})],
        ),
        (
            "$ref",
            json!({"type": "array", "maxItems": 2, "items": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}),
            vec![json!([]), json!([[null], null])],
            vec![json!([1]), json!([null, null, null])],
        ),
        (
            "properties",
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}, "additionalProperties": false}),
            vec![json!({}), json!({"a": 1}), json!({"a": 1, "b": null})],
            vec![json!({"a": "1"}), json!({"c": 1})],
        ),
        (
            "properties",
            json!({"type": "object", "properties": {"a": false}}),
            vec![json!({}), json!({"b": 1})],
            vec![json!({"a": 1})],
        ),
        (
            "required",
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "null"}}, "required": ["b"], "additionalProperties": false}),
            vec![json!({"b": null}), json!({"a": 1, "b": null})],
            vec![json!({}), json!({"a": 1})],
        ),
        (
            "required",
            json!({"type": "object", "required": ["z"]}),
            vec![json!({"z": [1]}), json!({"z": 1, "y": 2})],
            vec![json!({}), json!({"y": 1})],
        ),
        (
            "additionalProperties",
            json!({"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "integer"}}),
            vec![json!({}), json!({"a": null, "z": 1})],
            vec![json!({"z": "1"}), json!({"a": 1})],
        ),
        (
            "patternProperties",
            json!({"type": "object", "patternProperties": {"^n_": {"type": "integer"}, "^s_": {"type": "boolean"}}, "additionalProperties": false}),
            vec![json!({"n_a": 1, "s_b": true}), json!({})],
            vec![json!({"n_a": true}), json!({"x": 1})],
        ),
        (
            "minProperties",
            json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "additionalProperties": false, "minProperties": 1}),
            vec![
                json!({"a": null}),
                json!({"b": null}),
                json!({"a": null, "b": null}),
            ],
            vec![json!({})],
        ),
        (
            "maxProperties",
            json!({"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "additionalProperties": false, "maxProperties": 1}),
            vec![json!({}), json!({"b": null})],
            vec![json!({"a": null, "b": null})],
        ),
        (
            "items",
            json!({"type": "array", "items": {"type": "array", "items": {"type": "integer", "maximum": 9, "minimum": 0}}}),
            vec![json!([]), json!([[1, 2], []])],
            vec![json!([1]), json!([[10]])],
        ),
        (
            "prefixItems",
            json!({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "items": {"type": "null"}, "minItems": 2}),
            vec![json!([1, true]), json!([1, true, null])],
            vec![json!([1]), json!([true, 1]), json!([1, true, 1])],
        ),
        (
            "prefixItems",
            json!({"type": "array", "prefixItems": [{"type": "integer"}], "items": false, "minItems": 1}),
            vec![json!([1])],
            vec![json!([1, 1]), json!([])],
        ),
        (
            "additionalItems",
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "null"}}),
            vec![json!([]), json!([1, null])],
            vec![json!([1, 1]), json!(["a"])],
        ),
        (
            "minItems",
            json!({"type": "array", "items": {"type": "null"}, "minItems": 2}),
            vec![json!([null, null])],
            vec![json!([null])],
        ),
        (
            "maxItems",
            json!({"type": "array", "items": {"type": "null"}, "maxItems": 2}),
            vec![json!([]), json!([null, null])],
            vec![json!([null, null, null])],
        ),
        (
            "minLength",
            json!({"type": "string", "minLength": 2}),
            vec![json!("éa"), json!("\n\n")],
            vec![json!("é"), json!("\n")],
        ),
        (
            "maxLength",
            json!({"type": "string", "maxLength": 2}),
            vec![json!(""), json!("日本"), json!("\"\\")],
            vec![json!("abc")],
        ),
        (
            "pattern",
            json!({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}),
            vec![json!("AB-1")],
            vec![json!("AB-"), json!("xAB-1"), json!("AB-1 ")],
        ),
        (
            "pattern",
            json!({"type": "string", "pattern": "b+", "maxLength": 4}),
            vec![json!("abc"), json!("b")],
            vec![json!("ac"), json!("aaaab")],
        ),
        (
            "pattern",
            json!({"type": "string", "pattern": "^a|b$", "maxLength": 3}),
            vec![json!("ax"), json!("xb")],
            vec![json!("xa"), json!("bx")],
        ),
        (
            "pattern",
            json!({"type": "string", "pattern": "^\\w+\\s\\S$"}),
            vec![json!("a_1 x")],
            vec![json!("a x y")],
        ),
        (
            "pattern",
            json!({"type": "string", "pattern": "^.[^\\s,][\\s\\S][\\S ][&~[]$"}),
            vec![json!("abc &"), json!("ab\n [")],
            vec![json!("abcdx"), json!("a,cd&")],
        ),
        (
            "minimum",
            json!({"type": "integer", "minimum": -3}),
            vec![json!(-3), json!(100_000)],
            vec![json!(-4)],
        ),
        (
            "minimum",
            json!({"type": "number", "minimum": 0.5}),
            vec![json!(0.5), json!(7.25)],
            vec![json!(0.4), json!(-1)],
        ),
        (
            "maximum",
            json!({"type": "integer", "maximum": 12}),
            vec![json!(12), json!(-900)],
            vec![json!(13)],
        ),
        (
            "exclusiveMinimum",
            json!({"type": "number", "exclusiveMinimum": 0}),
            vec![json!(0.01), json!(3)],
            vec![json!(0), json!(-0.1)],
        ),
        (
            "exclusiveMaximum",
            json!({"type": "integer", "minimum": 0, "exclusiveMaximum": 3}),
            vec![json!(2)],
            vec![json!(3)],
        ),
        (
            "multipleOf",
            json!({"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 50}),
            vec![json!(7), json!(49)],
            vec![json!(8), json!(0)],
        ),
        (
            "multipleOf",
            json!({"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 2}),
            vec![json!(0.75), json!(2)],
            vec![json!(0.3)],
        ),
    ]
}

fn formats() -> Vec<Case> {
    let text = |format: &str| json!({"type": "string", "format": format});
    let cases = [
        (
            "date",
            vec!["2024-02-29", "2000-02-29", "1999-12-31"],
            vec!["2023-02-29", "1900-02-29", "2024-04-31", "2024-1-1"],
        ),
        (
            "time",
            vec!["23:59:59Z", "00:00:00.125+01:00"],
            vec!["24:00:00Z", "12:00:00", "12:60:00Z"],
        ),
        (
            "date-time",
            vec!["2024-02-29T12:30:00Z"],
            vec!["2024-02-29 12:30:00Z", "2023-02-29T12:30:00Z"],
        ),
        (
            "duration",
            vec!["P3W", "P1Y2M", "PT5M", "P1DT12H"],
            vec!["P", "PT", "3D", "P1W2D"],
        ),
        (
            "email",
            vec!["ada@example.org", "a.b+c@x-y.example.com"],
            vec!["ada", "@example.org", "a b@example.org"],
        ),
        (
            "hostname",
            vec!["example.org", "a-b.example.com"],
            vec!["-a.org", "a..b", "a b"],
        ),
        (
            "ipv4",
            vec!["127.0.0.1", "255.255.255.255"],
            vec!["256.0.0.1", "1.2.3", "01.2.3.4"],
        ),
        (
            "ipv6",
            vec!["::1", "2001:db8::8a2e:370:7334", "::"],
            vec!["1::2::3", "12345::", "1:2:3"],
        ),
        (
            "uuid",
            vec!["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"],
            vec!["f81d4fae7dec11d0a76500a0c91e6bf6", "x"],
        ),
        (
            "uri",
            vec![
                "https://example.org:8080/a%20b?c=d#e",
                "mailto:a@example.org",
            ],
            vec!["example.org", "https://a b/", "http://[::1"],
        ),
    ];
    let strings = |texts: Vec<&str>| texts.into_iter().map(Value::from).collect::<Vec<_>>();
    let cases = cases.map(|(name, yes, no)| ("format", text(name), strings(yes), strings(no)));
    let mut cases = cases.to_vec();
    let both = json!({"type": "string", "format": "date", "pattern": "^20"});
    cases.push((
        "format",
        both,
        vec![json!("2024-01-01")],
        vec![json!("1999-01-01")],
    ));
    let bounded = json!({"type": "integer", "format": "uint8"});
    cases.push((
        "format",
        bounded,
        vec![json!(255)],
        vec![json!(256), json!(-1)],
    ));
    cases
}

#[test]
fn every_keyword_lets_through_what_fits_and_nothing_else() {
    let grammars = grammars();
    let cases = [values(), formats()].concat();
    for keyword in ENFORCED {
        assert!(
            cases.iter().any(|case| case.0 == *keyword),
            "{keyword} has no case"
        );
    }
    for (_, schema, yes, no) in &cases {
        let matcher = grammars.matcher(schema).unwrap();
        for value in yes {
            assert!(
                fits(schema, value),
                "the case is wrong: {value} in {schema}"
            );
            assert!(
                lets_through(&matcher, &value.to_string()),
                "{value} in {schema}"
            );
        }
        for value in no {
            let bounded = schema.get("format").is_some_and(|format| format == "uint8");
            assert!(
                bounded || !fits(schema, value),
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
    let cases = [values(), formats()].concat();
    let schemas: Vec<Value> = cases
        .into_iter()
        .map(|case| case.1)
        .chain(everyday)
        .collect();
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
            assert!(fits(schema, &value), "{text} in {schema}");
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
