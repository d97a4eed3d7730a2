#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use super::*;

fn refused(schema: &Value) -> String {
    let refusal = prepare(schema).unwrap_err();
    format!("{}: {}", refusal.pointer, refusal.message)
}

fn inside(keyword: &str, value: Value) -> Value {
    json!({"type": "object", "properties": {"a/b": {"anyOf": [{"type": "null"}, {keyword: value}]}}})
}

#[test]
fn every_keyword_that_is_not_enforced_is_refused_where_it_stands() {
    let places = REFUSED
        .iter()
        .map(|keyword| refused(&inside(keyword, json!({}))));
    for (keyword, said) in REFUSED.iter().zip(places) {
        let place = format!("#/properties/a~1b/anyOf/1/{keyword}: ");
        assert_eq!(said, format!("{place}{keyword} is not enforced"));
    }
}

#[test]
fn what_cannot_be_read_is_refused_where_it_stands() {
    let cases = [
        (
            inside("minLenght", json!(3)),
            "minLenght is no keyword of JSON Schema; notes of your own begin with x-",
        ),
        (
            inside("nullable", json!(true)),
            "nullable is not enforced; write \"type\": [..., \"null\"]",
        ),
        (
            inside("type", json!("text")),
            "a type is one of null, boolean, integer, number, string, array, object",
        ),
        (
            inside("format", json!("iri")),
            "iri is not enforced; formats are date, time, date-time, duration, email, hostname, ipv4, ipv6, uuid, uri",
        ),
        (
            inside("minLength", json!(-1)),
            "it has to be a whole number, 0 or more",
        ),
        (inside("multipleOf", json!(0)), "it has to be above 0"),
        (inside("enum", json!([])), "it has to be a list of values"),
        (
            inside("required", json!(["a", 1])),
            "it has to be a list of names",
        ),
        (inside("anyOf", json!({})), "it has to be a list of schemas"),
        (
            inside("const", json!(9_007_199_254_740_993_u64)),
            "an integer above 2^53 - 1 is not exact in JSON",
        ),
        (
            inside("$ref", json!("#/$defs/none")),
            "there is no #/$defs/none in the schema",
        ),
        (
            inside("$ref", json!("https://example.com/a.json")),
            "https://example.com/a.json is not in the schema; a reference is written #/$defs/NAME",
        ),
        (
            inside("$id", json!("b.json")),
            "only the root may have an identifier",
        ),
    ];
    for (schema, expected) in cases {
        let said = refused(&schema);
        let (place, message) = said.split_once(": ").unwrap();
        assert!(place.starts_with("#/properties/a~1b/anyOf/1/"), "{said}");
        assert_eq!(message, expected);
    }
    let mut deep = json!({"type": "null"});
    (0..70).for_each(|_| deep = json!({"items": deep}));
    assert!(refused(&deep).ends_with("it nests more than 64 deep"));
}

#[test]
fn notes_and_keywords_that_leave_all_open_are_left_out() {
    let mut schema = json!({"type": "string", "uniqueItems": false, "unevaluatedProperties": true, "x-order": 3});
    for note in NOTES {
        schema[*note] = json!({"not": {}});
    }
    assert_eq!(prepare(&schema).unwrap().schema, json!({"type": "string"}));
}

#[test]
fn references_are_found_wherever_they_point() {
    let schema = json!({
        "type": "object",
        "properties": {
            "self": {"$ref": "#"},
            "sibling": {"$ref": "#/properties/plain"},
            "escaped": {"$ref": "#/definitions/a~1b%20c"},
            "again": {"$ref": "#/properties/plain"},
            "plain": {"type": "string"},
        },
        "definitions": {"a/b c": {"type": "boolean"}},
    });
    let prepared = prepare(&schema).unwrap();
    let properties = &prepared.schema["properties"];
    for (name, reference) in [
        ("self", "d0"),
        ("sibling", "d1"),
        ("escaped", "d2"),
        ("again", "d1"),
    ] {
        assert_eq!(
            properties[name],
            json!({"$ref": format!("#/$defs/{reference}")})
        );
    }
    assert_eq!(prepared.schema["$defs"]["d2"], json!({"type": "boolean"}));
    assert_eq!(
        prepared.places,
        ["#", "#/properties/plain", "#/definitions/a~1b c"]
    );
    assert_eq!(
        prepared.original("#/$defs/d1/minLength"),
        "#/properties/plain/minLength"
    );
    assert_eq!(prepared.original("#/properties/self"), "#/properties/self");
}

#[test]
fn a_refused_definition_is_named_by_its_own_place_and_one_nobody_uses_is_not_read() {
    let definitions = json!({"used": {"not": {}}, "unused": {"not": {}}});
    let schema = json!({"items": {"$ref": "#/$defs/used"}, "$defs": definitions});
    assert_eq!(refused(&schema), "#/$defs/used/not: not is not enforced");
    let schema = json!({"items": {"type": "null"}, "$defs": definitions});
    assert!(prepare(&schema).is_ok());
    let turning = json!({"oneOf": [{"$ref": "#"}]});
    assert!(prepare(&turning).is_err());
}

#[test]
fn numbers_get_bounds_only_on_sides_that_are_open() {
    for (schema, expected) in [
        (
            json!({"type": "integer"}),
            json!({"type": "integer", "minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER}),
        ),
        (
            json!({"type": "number", "minimum": 2}),
            json!({"type": "number", "minimum": 2, "maximum": LARGEST_NUMBER}),
        ),
        (
            json!({"type": "number", "minimum": 1e20}),
            json!({"type": "number", "minimum": 1e20}),
        ),
        (
            json!({"type": "integer", "enum": [1]}),
            json!({"type": "integer", "enum": [1]}),
        ),
        (
            json!({"type": "integer", "format": "uint8", "minimum": 3}),
            json!({"type": "integer", "minimum": 3, "maximum": 255}),
        ),
        (
            json!({"type": "integer", "format": "uint8", "minimum": -3.0}),
            json!({"type": "integer", "minimum": 0, "maximum": 255}),
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false}),
            json!({"type": "integer", "exclusiveMinimum": 1, "maximum": 9}),
        ),
        (json!({"type": "string"}), json!({"type": "string"})),
    ] {
        assert_eq!(prepare(&schema).unwrap().schema, expected);
    }
}

#[test]
fn the_reference_lists_every_keyword_and_format() {
    let reference = include_str!("../../../../../docs/reference/structured-output.md");
    let (enforced, rest) = reference.split_once("## Refused").unwrap();
    let (refused, notes) = rest.split_once("## Notes").unwrap();
    let lists = [(enforced, ENFORCED), (refused, REFUSED), (notes, NOTES)];
    let named = formats::names();
    for (text, names) in lists.into_iter().chain([(enforced, named.as_slice())]) {
        for name in names {
            assert!(text.contains(&format!("`{name}`")), "{name} is not listed");
        }
    }
}
