//! From the text of a policy to its rules, and what is wrong with it, by line.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet};
use serde_json::Value;

use crate::error::line_of;
use crate::{Error, Result};

/// What a rule may know of a call beside its agent and its tool.
const CONTEXT: &[&str] = &[
    "arguments",
    "effect",
    "labels",
    "untrusted",
    "sends_out",
    "budget",
];
const EFFECTS: &[&str] = &["pure", "read", "idempotent", "irreversible"];
const TYPES: &[&str] = &["Agent", "Action", "Tool", "Group"];
const ANNOTATIONS: &[&str] = &["id", "ask", "reason"];

/// The rules of a text, each under the name that its `@id` gives it.
pub(super) fn read(file: &str, text: &str) -> Result<PolicySet> {
    let wrong = |line, message: String, hint: &str| Error {
        file: file.to_owned(),
        line,
        message,
        hint: hint.to_owned(),
    };
    let parsed = PolicySet::from_str(text).map_err(|errors| {
        let error = DetailedError::from(&errors);
        // The first error; each has a place of its own.
        let first = error.related.first().unwrap_or(&error).clone();
        let places = first.source_locations.iter().chain(&error.source_locations);
        let line = places.map(|place| line_of(text, place.loc.start)).next();
        let hint = first.help.or(error.help);
        let hint = hint.unwrap_or_else(|| "see docs/guides/policies.md".to_owned());
        wrong(line.unwrap_or(1), error.message, &hint)
    })?;
    if parsed.templates().next().is_some() {
        let message = "a template (`?principal`, `?resource`) has nothing to be filled with";
        return Err(wrong(1, message.to_owned(), "name the agent or the tool"));
    }
    let mut rules = PolicySet::new();
    for (number, rule) in ordered(&parsed).into_iter().enumerate() {
        let place = |what: &str| text.find(what).map_or(1, |place| line_of(text, place));
        let name = match rule.annotation("id") {
            Some(name) => name.to_owned(),
            None => format!("rule {}", number + 1),
        };
        if let Some((message, near, hint)) = wrong_with(rule) {
            return Err(wrong(
                place(&near),
                format!("the rule `{name}`: {message}"),
                hint,
            ));
        }
        let named = rule.new_id(PolicyId::new(&name));
        if rules.policy(named.id()).is_some() {
            let again = text.rfind(&format!("\"{name}\""));
            let line = again.map_or(1, |again| line_of(text, again));
            let message = format!("there are two rules `{name}`");
            return Err(wrong(line, message, "give each rule an @id of its own"));
        }
        super::add(&mut rules, named, file)?;
    }
    Ok(rules)
}

/// The rules in the order of the text: Cedar numbers them.
fn ordered(rules: &PolicySet) -> Vec<&Policy> {
    let mut rules: Vec<&Policy> = rules.policies().collect();
    rules.sort_by_key(|rule| {
        let number = rule.id().to_string();
        number
            .trim_start_matches("policy")
            .parse::<usize>()
            .unwrap_or(usize::MAX)
    });
    rules
}

/// What Cedar takes and we know to be a mistake: message, text nearby, hint.
fn wrong_with(rule: &Policy) -> Option<(String, String, &'static str)> {
    for (name, _) in rule.annotations() {
        if !ANNOTATIONS.contains(&name) {
            return Some((
                format!("there is no annotation `@{name}`"),
                format!("@{name}"),
                "there are @id(\"name\"), @ask(\"why\") of a permit and @reason(\"why\") of a forbid",
            ));
        }
    }
    let (word, right) = match rule.effect() {
        Effect::Forbid => ("ask", "a `permit`"),
        Effect::Permit => ("reason", "a `forbid`"),
    };
    if rule.annotation(word).is_some() {
        return Some((
            format!("`@{word}` stands on {right}"),
            format!("@{word}"),
            "@ask(\"why\") makes a permit ask a person; @reason(\"why\") tells the model why it is forbidden",
        ));
    }
    let mut found = BTreeSet::new();
    look(&rule.to_json().ok()?, &mut found);
    found.into_iter().next().map(|mistake| match mistake {
        Mistake::Context(name) => (
            format!("the context has no `{name}`"),
            name,
            "it has arguments, effect, labels, untrusted, sends_out and budget",
        ),
        Mistake::Effect(name) => (
            format!("there is no effect `{name}`"),
            name,
            "there are pure, read, idempotent and irreversible",
        ),
        Mistake::Type(name) => (
            format!("there is no `{name}::\"...\"`"),
            name,
            "there are Agent::\"name\", Action::\"call\", Tool::\"name\" and Group::\"first.part.of.a.name\"",
        ),
        Mistake::Label(name) => (
            format!("there is no label `{name}`"),
            name,
            "there are system, user, computed, document, web, tool and agent",
        ),
    })
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Mistake {
    Context(String),
    Effect(String),
    Label(String),
    Type(String),
}

/// Looks for mistakes in a rule as Cedar writes it in JSON.
fn look(value: &Value, found: &mut BTreeSet<Mistake>) {
    match value {
        Value::Object(fields) => {
            for (operator, inner) in fields {
                match operator.as_str() {
                    "." | "has" if is_context(&inner["left"]) => {
                        let attribute = inner["attr"].as_str().unwrap_or_default();
                        if !CONTEXT.contains(&attribute) {
                            found.insert(Mistake::Context(attribute.to_owned()));
                        }
                    }
                    "==" | "!=" if is_attribute(&inner["left"], "effect") => {
                        let effect = inner["right"]["Value"].as_str();
                        if let Some(effect) = effect.filter(|effect| !EFFECTS.contains(effect)) {
                            found.insert(Mistake::Effect(effect.to_owned()));
                        }
                    }
                    "contains" if is_attribute(&inner["left"], "labels") => {
                        let label = inner["right"]["Value"].as_str();
                        let unknown = label.filter(|label| crate::Label::named(label).is_none());
                        if let Some(label) = unknown {
                            found.insert(Mistake::Label(label.to_owned()));
                        }
                    }
                    _ => {}
                }
            }
            if let (Some(Value::String(name)), Some(_), 2) =
                (fields.get("type"), fields.get("id"), fields.len())
                && !TYPES.contains(&name.as_str())
            {
                found.insert(Mistake::Type(name.clone()));
            }
            fields.values().for_each(|inner| look(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|item| look(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_context(value: &Value) -> bool {
    value["Var"] == "context"
}

fn is_attribute(value: &Value, name: &str) -> bool {
    is_context(&value["."]["left"]) && value["."]["attr"] == name
}

/// Whether a rule goes by what is left of the run's budget.
pub(super) fn uses_budget(rule: &Policy) -> bool {
    fn looks_up(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                let here = fields.iter().any(|(operator, inner)| {
                    matches!(operator.as_str(), "." | "has")
                        && is_context(&inner["left"])
                        && inner["attr"] == "budget"
                });
                here || fields.values().any(looks_up)
            }
            Value::Array(items) => items.iter().any(looks_up),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    rule.to_json().is_ok_and(|json| looks_up(&json))
}
