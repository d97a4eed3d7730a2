//! The question whether a call may be made, and how it is answered.

use guard::Verdict;
use journal::Question;
use serde_json::{Value, json};

use super::Wish;

/// The name of the step that asks a person whether a call may be made.
pub const APPROVE: &str = "approve";

/// What a person says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// This one.
    Allow,
    /// This one, and from now on every call of this tool in this conversation.
    FromNowOn,
    /// No, with the reason, which the model is told.
    Deny(String),
}

const ALLOW: &str = "allow";
const FROM_NOW_ON: &str = "allow from now on";
const DENY: &str = "deny";

impl Approval {
    /// Reads an answer that fits the question's schema; anything else denies.
    pub fn read(said: &str) -> Approval {
        match said.trim() {
            ALLOW => Approval::Allow,
            FROM_NOW_ON => Approval::FromNowOn,
            other => {
                let reason = other.strip_prefix(DENY).unwrap_or(other);
                Approval::Deny(reason.trim_start_matches([':', ' ']).to_owned())
            }
        }
    }

    /// As it is answered.
    pub fn words(&self) -> String {
        match self {
            Approval::Allow => ALLOW.to_owned(),
            Approval::FromNowOn => FROM_NOW_ON.to_owned(),
            Approval::Deny(reason) if reason.is_empty() => DENY.to_owned(),
            Approval::Deny(reason) => format!("{DENY}: {reason}"),
        }
    }

    /// The call that a question is about, where it is one of these: tool, arguments, rules, why.
    pub fn call_of(schema: &Value) -> Option<&Value> {
        schema.get("x-call")
    }
}

/// The question. What it is about is in its schema as well, for programs that show it.
pub(super) fn of(agent: &str, wish: &Wish<'_>, verdict: &Verdict) -> Question {
    let (tool, arguments) = (&wish.spec.name, wish.arguments);
    let text = format!(
        "May {agent} call {tool} with {arguments}? It is asked because {} (rule: {}).",
        verdict.why,
        verdict.rules.join(", ")
    );
    let labels: Vec<&str> = wish
        .heard
        .labels()
        .iter()
        .map(guard::Label::as_str)
        .collect();
    let schema = json!({
        "type": "string",
        "pattern": "^(allow|allow from now on|deny(:.*)?)$",
        "x-call": {
            "agent": agent, "tool": tool, "arguments": arguments, "effect": wish.spec.effect,
            "sends_out": wish.spec.is_outgoing(), "labels": labels, "rules": verdict.rules, "why": verdict.why,
        },
    });
    Question::new(&text, schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_are_written() {
        for approval in [
            Approval::Allow,
            Approval::FromNowOn,
            Approval::Deny(String::new()),
            Approval::Deny("the wrong customer".to_owned()),
        ] {
            assert_eq!(Approval::read(&approval.words()), approval);
        }
        assert_eq!(Approval::read("yes"), Approval::Deny("yes".to_owned()));
    }
}
