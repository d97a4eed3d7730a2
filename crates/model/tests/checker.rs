//! The tests of the judge of tool calls, which belongs to the benchmark `tools`.

#[path = "../benches/tools/checker.rs"]
mod checker;

use serde_json::{Value, json};

use checker::{Call, check};

fn verdict(calls: &[Value], possible: &[Value]) -> bool {
    let functions = [
        json!({"name": "f", "parameters": {"type": "dict", "required": ["n"], "properties": {
            "n": {"type": "integer"}, "x": {"type": "float"}, "s": {"type": "string"}, "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": "string"}}, "d": {"type": "dict"},
            "ds": {"type": "array", "items": {"type": "dict"}},
        }}}),
    ];
    let calls = calls
        .iter()
        .map(|arguments| ("f".to_owned(), arguments.clone()));
    let possible: Vec<Value> = possible
        .iter()
        .map(|possible| json!({ "f": possible }))
        .collect();
    check(&functions, &calls.collect::<Vec<Call>>(), &possible).is_ok()
}

/// Calls of a function, what was possible, and whether they are right.
const CASES: &str = r#"[
    [[{"n": 5}], [{"n": [5, 6]}], true],
    [[{"n": 7}], [{"n": [5, 6]}], false],
    [[{"n": 5.0}], [{"n": [5]}], false],
    [[{"n": true}], [{"n": [1]}], false],
    [[{"n": "count"}], [{"n": ["count"]}], true],
    [[{"s": "a"}], [{"n": [5], "s": ["a"]}], false],
    [[{"n": 5}], [{"n": [5], "s": ["a"]}], false],
    [[{"n": 5}], [{"n": [5], "s": ["a", ""]}], true],
    [[{"n": 5, "other": 1}], [{"n": [5]}], false],
    [[{"n": 5, "x": 2}], [{"n": [5], "x": [2.0]}], true],
    [[{"n": 5, "s": "New-York, NY"}], [{"n": [5], "s": ["new york ny"]}], true],
    [[{"n": 5, "b": false}], [{"n": [5], "b": [true]}], false],
    [[{"n": 5, "l": ["A b", "c"]}], [{"n": [5], "l": [["ab", "c"]]}], true],
    [[{"n": 5, "l": ["c", "ab"]}], [{"n": [5], "l": [["ab", "c"]]}], false],
    [[{"n": 5, "l": [1]}], [{"n": [5], "l": [["1"]]}], false],
    [[{"n": 5, "d": {"k": 1}}], [{"n": [5], "d": [{"k": [1, 2], "m": [""]}]}], true],
    [[{"n": 5, "d": {"z": 1}}], [{"n": [5], "d": [{"k": [1, 2]}]}], false],
    [[{"n": 5, "ds": [{"k": "A"}]}], [{"n": [5], "ds": [[{"k": ["a"]}]]}], true],
    [[{"n": 5, "ds": []}], [{"n": [5], "ds": [[{"k": ["a"]}]]}], false],
    [[{"n": 2}, {"n": 1}], [{"n": [1]}, {"n": [2]}], true],
    [[{"n": 2}, {"n": 2}], [{"n": [1]}, {"n": [2]}], false],
    [[{"n": 1}], [{"n": [1]}, {"n": [2]}], false],
    [[], [], true],
    [[{"n": 1}], [], false]
]"#;

#[test]
fn calls_are_judged_by_the_rules() {
    let cases: Vec<(Vec<Value>, Vec<Value>, bool)> =
        serde_json::from_str(CASES).unwrap_or_default();
    assert_eq!(cases.len(), 24);
    for (calls, possible, right) in cases {
        assert_eq!(
            verdict(&calls, &possible),
            right,
            "{calls:?} of {possible:?}"
        );
    }
    let other = [("g".to_owned(), json!({}))];
    assert!(check(&[], &other, &[json!({"f": {}})]).is_err());
}
