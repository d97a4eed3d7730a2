//! What is put in comes out, what repeats is stored once, what is damaged is found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Nodes in memory.
#[derive(Default)]
struct Shelf(HashMap<Hash, Node>);

impl Shelf {
    /// Keeps the nodes of a body; gives back the body's text and the bytes that are new.
    fn keep(&mut self, value: &Value) -> (Vec<u8>, usize) {
        let body = Map::from_iter([("input".to_string(), value.clone())]);
        let encoded = encode(&body, &[]).unwrap();
        let mut new = encoded.text.len();
        for node in encoded.nodes {
            let bytes = node.text.len() + node.hash.len();
            if self.0.insert(node.hash, node).is_none() {
                new += bytes;
            }
        }
        (encoded.text, new)
    }
}

impl Nodes for Shelf {
    type Error = String;
    fn node(&mut self, hash: &Hash) -> Result<Node, String> {
        self.0
            .get(hash)
            .cloned()
            .ok_or_else(|| format!("no node {}", hex(hash)))
    }
    fn malformed(&self, what: String) -> String {
        what
    }
}

fn round_trip(value: &Value) -> Value {
    let mut shelf = Shelf::default();
    let (text, _) = shelf.keep(value);
    let body = std::str::from_utf8(&text).unwrap();
    let field = decode_field(body, "input", &mut shelf).unwrap().unwrap();
    assert_eq!(
        decode(&text, &mut shelf).unwrap().get("input"),
        Some(&field)
    );
    field
}

fn message(number: usize) -> Value {
    json!({"role": "user", "content": format!("{number} ").repeat(200)})
}

/// Any JSON: deep, wide, with long strings and keys that look like references.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
        "[a-c\"\\\\\n]{200,300}".prop_map(Value::from),
        (4090usize..4100).prop_map(|length| Value::from("x".repeat(length))),
    ];
    leaf.prop_recursive(6, 400, 40, |inner| {
        let key = prop_oneof![
            "[a-z]{0,3}",
            Just("$plumb".to_string()),
            Just("$$plumb".to_string())
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..12)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_goes_in_comes_out(value in any_json()) {
        prop_assert_eq!(round_trip(&value).to_string(), value.to_string());
    }

    #[test]
    fn a_longer_list_shares_all_but_its_last_node(items in prop::collection::vec(any_json(), 1..60)) {
        let mut shelf = Shelf::default();
        shelf.keep(&Value::from(items[..items.len() - 1].to_vec()));
        let before: usize = shelf.0.len();
        let mut last = Shelf::default();
        last.keep(&items[items.len() - 1]);
        shelf.keep(&Value::from(items));
        // The last item's own nodes (one more if it was short enough to stay in the event), the
        // node that ends the list, and a node before it that was the end and is now full.
        prop_assert!(shelf.0.len() - before <= last.0.len() + 3);
    }

    #[test]
    fn fingerprints_do_not_depend_on_the_order_of_keys(
        fields in prop::collection::btree_map("[a-z]{1,4}", any_json(), 1..8)
    ) {
        let forward: Map<String, Value> = fields.clone().into_iter().collect();
        let backward: Map<String, Value> = fields.into_iter().rev().collect();
        prop_assert_eq!(
            crate::fingerprint::fingerprint_v1(&json!({"all": forward})).unwrap(),
            crate::fingerprint::fingerprint_v1(&json!({"all": backward})).unwrap()
        );
    }
}

#[test]
fn a_conversation_costs_what_its_messages_cost() {
    let mut shelf = Shelf::default();
    let mut messages = Vec::new();
    let mut largest = 0;
    let mut total = 0;
    for number in 0..400 {
        messages.push(message(number));
        let (_, new) = shelf.keep(&json!({"model": "m", "messages": messages.clone()}));
        largest = largest.max(new - message(number).to_string().len());
        total += new;
    }
    let content: usize = messages
        .iter()
        .map(|message| message.to_string().len())
        .sum();
    // Beside the message itself: at most a node of the list, the request and the event.
    assert!(
        largest < 700,
        "a step cost {largest} bytes more than its message"
    );
    assert!(
        total < content * 2,
        "{total} bytes for {content} bytes of messages"
    );
}

#[test]
fn long_lists_of_short_items_are_not_blown_up() {
    let numbers: Vec<Value> = (0..10_000).map(Value::from).collect();
    let mut shelf = Shelf::default();
    let (_, bytes) = shelf.keep(&Value::from(numbers.clone()));
    assert!(
        bytes < Value::from(numbers).to_string().len() * 3 / 2,
        "{bytes}"
    );
}

#[test]
fn what_is_no_payload_is_called_so() {
    let mut shelf = Shelf::default();
    let mut decoded = |text: &str| decode(text.as_bytes(), &mut shelf).unwrap_err();
    assert!(decoded("{").starts_with("not JSON"));
    assert_eq!(decoded("[]"), "the event's body is not an object");
    assert_eq!(
        decoded(r#"{"input":{"$plumb":"zz"}}"#),
        "not a reference: \"zz\""
    );
    assert!(
        decoded(&format!(r#"{{"input":{{"$plumb":"{}"}}}}"#, "0".repeat(64)))
            .starts_with("no node")
    );
}

#[test]
fn the_format_stays_what_it_is() {
    let mut shelf = Shelf::default();
    let (text, _) =
        shelf.keep(&json!({"messages": [message(1), message(2), message(3), message(4)], "n": 1}));
    let head = "cc4e1258fb3ebda39bd878c11899581c589f5d70b4f1042e19541fb90ef848e6";
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        text,
        format!(r#"{{"input":{{"messages":{{"$plumb":"{head}"}},"n":1}}}}"#)
    );
    let mut nodes: Vec<String> = shelf
        .0
        .values()
        .map(|node| {
            let text = String::from_utf8_lossy(&node.text).into_owned();
            format!("{:?} {:.16} {:.55}", node.kind, hex(&node.hash), text)
        })
        .collect();
    nodes.sort();
    insta::assert_snapshot!(nodes.join("\n"), @r#"
    List cc4e1258fb3ebda3 [null,{"$plumb":"ea98b2478cdbba78b1c3ff7264ef658caf1a1d
    Value 111b4732d0498cdb {"role":"user","content":"3 3 3 3 3 3 3 3 3 3 3 3 3 3 3
    Value 42149c8704f3f76d {"role":"user","content":"4 4 4 4 4 4 4 4 4 4 4 4 4 4 4
    Value 952f5ad6791e5d14 {"role":"user","content":"2 2 2 2 2 2 2 2 2 2 2 2 2 2 2
    Value ea98b2478cdbba78 {"role":"user","content":"1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
    "#);
    let print = crate::fingerprint::fingerprint_v1(&json!({"b": [1, 2.5], "a": "ä"})).unwrap();
    assert_eq!(
        hex(&print),
        "26dfc9e145578de5d7cb9ad736a73c7b83c653852ef43e3b39a0d2a12ee4e1de"
    );
}
