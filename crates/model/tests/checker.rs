//! The tests of the judge of tool calls, which belongs to the benchmark `tools`.

#[path = "../benches/tools/checker.rs"]
mod checker;

use serde_json::{Value, json};

use checker::{Call, check};

fn verdict(calls: Value, possible: Value) -> bool {
    let functions = [
        json!({"name": "f", "parameters": {"type": "dict", "required": ["n"], "properties": {
            "n": {"type": "integer"}, "x": {"type": "float"}, "s": {"type": "string"}, "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": "string"}}, "d": {"type": "dict"},
            "ds": {"type": "array", "items": {"type": "dict"}},
        }}}),
    ];
    let calls: Vec<Call> = calls
        .as_array()
        .into_iter()
        .flatten()
        .map(|arguments| ("f".to_owned(), arguments.clone()))
        .collect();
    let possible = possible
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| json!({ "f": p }));
    check(&functions, &calls, &possible.collect::<Vec<_>>()).is_ok()
}

#[test]
fn calls_are_judged_by_the_rules() {
    for (calls, possible, right) in [
        (json!([{"n": 5}]), json!([{"n": [5, 6]}]), true),
        (json!([{"n": 7}]), json!([{"n": [5, 6]}]), false),
        (json!([{"n": 5.0}]), json!([{"n": [5]}]), false),
        (json!([{"n": true}]), json!([{"n": [1]}]), false),
        (json!([{"n": "count"}]), json!([{"n": ["count"]}]), true),
        (json!([{"s": "a"}]), json!([{"n": [5], "s": ["a"]}]), false),
        (json!([{"n": 5}]), json!([{"n": [5], "s": ["a"]}]), false),
        (json!([{"n": 5}]), json!([{"n": [5], "s": ["a", ""]}]), true),
        (json!([{"n": 5, "other": 1}]), json!([{"n": [5]}]), false),
        (
            json!([{"n": 5, "x": 2}]),
            json!([{"n": [5], "x": [2.0]}]),
            true,
        ),
        (
            json!([{"n": 5, "s": "New-York, NY"}]),
            json!([{"n": [5], "s": ["new york ny"]}]),
            true,
        ),
        (
            json!([{"n": 5, "b": false}]),
            json!([{"n": [5], "b": [true]}]),
            false,
        ),
        (
            json!([{"n": 5, "l": ["A b", "c"]}]),
            json!([{"n": [5], "l": [["ab", "c"]]}]),
            true,
        ),
        (
            json!([{"n": 5, "l": ["c", "ab"]}]),
            json!([{"n": [5], "l": [["ab", "c"]]}]),
            false,
        ),
        (
            json!([{"n": 5, "l": [1]}]),
            json!([{"n": [5], "l": [["1"]]}]),
            false,
        ),
        (
            json!([{"n": 5, "d": {"k": 1}}]),
            json!([{"n": [5], "d": [{"k": [1, 2], "m": [""]}]}]),
            true,
        ),
        (
            json!([{"n": 5, "d": {"z": 1}}]),
            json!([{"n": [5], "d": [{"k": [1, 2]}]}]),
            false,
        ),
        (
            json!([{"n": 5, "ds": [{"k": "A"}]}]),
            json!([{"n": [5], "ds": [[{"k": ["a"]}]]}]),
            true,
        ),
        (
            json!([{"n": 5, "ds": []}]),
            json!([{"n": [5], "ds": [[{"k": ["a"]}]]}]),
            false,
        ),
        (
            json!([{"n": 2}, {"n": 1}]),
            json!([{"n": [1]}, {"n": [2]}]),
            true,
        ),
        (
            json!([{"n": 2}, {"n": 2}]),
            json!([{"n": [1]}, {"n": [2]}]),
            false,
        ),
        (json!([{"n": 1}]), json!([{"n": [1]}, {"n": [2]}]), false),
    ] {
        assert_eq!(
            verdict(calls.clone(), possible.clone()),
            right,
            "{calls} of {possible}"
        );
    }
    assert!(check(&[], &[("g".to_owned(), json!({}))], &[json!({"f": {}})]).is_err());
}
