//! The probabilities of closed choices, read off what was decoded.

use serde_json::Value;

use crate::Choice;

/// A token that was sampled where the constraint left few others.
#[derive(Clone, Debug)]
pub(super) struct Sampled {
    /// Where its bytes begin in the text.
    pub offset: usize,
    /// The bytes and probability of each token that was allowed, which sum to 1; none where there
    /// were so many that they were not kept.
    pub allowed: Vec<(Vec<u8>, f32)>,
}

impl Sampled {
    /// One of so many that their probabilities are not kept.
    pub(super) fn of_many(offset: usize) -> Sampled {
        Sampled {
            offset,
            allowed: Vec::new(),
        }
    }
}

/// The closed choices in the outermost object of `text`.
pub(super) fn choices(schema: &Value, text: &str, sampled: &[Sampled]) -> Vec<Choice> {
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let closed = object.iter().filter(|(name, _)| is_closed(schema, name));
    let choice = |(name, value): (&String, &Value)| {
        let (start, written) = place(text, name, value)?;
        Some(Choice {
            pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            value: value.clone(),
            probability: probability(sampled, start, written.as_bytes())?,
        })
    };
    closed.filter_map(choice).collect()
}

/// The probability of `written`, which stands at `start`; `None` where it is not known.
///
/// The alternatives may be spelt in many ways by tokens. Where several tokens lead to the value taken
/// ("y", "yes"), all count for it; what follows is asked under the spelling that was taken.
fn probability(sampled: &[Sampled], start: usize, written: &[u8]) -> Option<f32> {
    let inside = |s: &&Sampled| s.offset >= start && s.offset < start + written.len();
    let mut probability = 1.0;
    for sampled in sampled.iter().filter(inside) {
        if sampled.allowed.is_empty() {
            return None;
        }
        let rest = written.get(sampled.offset - start..).unwrap_or_default();
        probability *= share(sampled, rest);
    }
    Some(probability)
}

/// What of the allowed probability leads to `rest`, in whatever pieces.
fn share(sampled: &Sampled, rest: &[u8]) -> f32 {
    let leads = |bytes: &[u8]| rest.starts_with(bytes) || bytes.starts_with(rest);
    sampled
        .allowed
        .iter()
        .filter(|(bytes, _)| leads(bytes))
        .map(|(_, probability)| probability)
        .sum()
}

/// Whether the property is an `enum` or `boolean`, in the schema or in a branch of its `anyOf`.
fn is_closed(schema: &Value, name: &str) -> bool {
    let branches = schema.get("anyOf").and_then(Value::as_array);
    if let Some(branches) = branches {
        return branches.iter().any(|branch| is_closed(branch, name));
    }
    let property = schema
        .get("properties")
        .and_then(|properties| properties.get(name));
    property
        .is_some_and(|p| p.get("enum").is_some() || p.get("type").is_some_and(|t| t == "boolean"))
}

/// Where the value of the property stands in compact JSON, and how it is written.
fn place(text: &str, name: &str, value: &Value) -> Option<(usize, String)> {
    let written = value.to_string();
    let key = format!("{}:{written}", Value::String(name.to_owned()));
    let start = text.find(&key)? + key.len() - written.len();
    Some((start, written))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_of_a_value_count_for_it() {
        let schema = json!({"properties": {"answered": {"enum": ["yes", "no"]}, "note": {"type": "string"}}});
        let text = r#"{"answered":"yes","note":"no"}"#;
        let allowed = |list: &[(&str, f32)]| {
            list.iter()
                .map(|(s, p)| (s.as_bytes().to_vec(), *p))
                .collect()
        };
        let sampled = [
            Sampled {
                offset: 13,
                allowed: allowed(&[("yes", 0.5), ("y", 0.2), ("no", 0.2), ("n", 0.1)]),
            },
            Sampled {
                offset: 25,
                allowed: allowed(&[("n", 0.1), ("x", 0.9)]),
            },
        ];
        let choices = choices(&schema, text, &sampled);
        assert_eq!(choices.len(), 1);
        assert!(
            choices
                .iter()
                .all(|c| c.pointer == "/answered" && (c.probability - 0.7).abs() < 1e-6)
        );
    }

    #[test]
    fn a_choice_among_more_than_were_kept_has_no_probability() {
        let schema = json!({"properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "boolean"}}});
        let sampled = [Sampled {
            offset: 6,
            allowed: Vec::new(),
        }];
        let choices = choices(&schema, r#"{"a":"x","b":true}"#, &sampled);
        assert_eq!(choices.len(), 1);
        assert!(
            choices
                .iter()
                .all(|c| c.pointer == "/b" && c.value == json!(true) && c.probability == 1.0)
        );
    }
}
