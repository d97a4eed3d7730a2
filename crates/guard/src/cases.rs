//! Cases for a policy: calls, and what the policy has to say to them, in TOML.
//!
//! ```
//! use plumb_guard::{Policy, cases};
//!
//! let text = r#"
//! [[case]]
//! name = "mail after a page of the web"
//! tool = "mail.send"
//! effect = "idempotent"
//! arguments = { to = "ada@example.org" }
//! labels = ["user", "web"]
//! expect = "ask"
//! rule = "untrusted-outgoing"
//! "#;
//! let cases = cases::read("cases.toml", text)?;
//! let findings = cases::run(&Policy::default(), &cases);
//! assert!(findings[0].passed);
//! # Ok::<(), plumb_guard::Error>(())
//! ```

use std::collections::BTreeMap;

use journal::Effect;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::line_of;
use crate::{Call, Error, Label, Labels, Policy, Result, Verdict, Word};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<toml::Spanned<Case>>,
}

/// A call, and what a policy has to say to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The agent's name.
    #[serde(default = "any_agent")]
    pub agent: String,
    /// The tool's name.
    pub tool: String,
    /// What it does to the world: irreversible where it is not said.
    #[serde(default = "worst")]
    pub effect: Effect,
    /// What it is called with.
    #[serde(default)]
    pub arguments: Value,
    /// From whom the texts come that the agent has read: from the user alone where it is not said.
    #[serde(default = "user")]
    pub labels: Vec<Label>,
    /// Whether it sends data out; where it is not said, what writes does.
    #[serde(default)]
    pub sends_out: Option<bool>,
    /// What is left of the run's budget.
    #[serde(default)]
    pub budget: BTreeMap<String, u64>,
    /// What the policy has to say.
    pub expect: Word,
    /// By which rule.
    #[serde(default)]
    pub rule: Option<String>,
    #[serde(skip)]
    line: usize,
}

fn any_agent() -> String {
    "agent".to_owned()
}

fn worst() -> Effect {
    Effect::Irreversible
}

fn user() -> Vec<Label> {
    vec![Label::User]
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The case's name.
    pub name: String,
    /// The line that it begins in.
    pub line: usize,
    /// What the policy had to say.
    pub expected: Word,
    /// What it says.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whether that is the same, and by the rule that was named.
    pub passed: bool,
}

/// The cases of a file.
///
/// # Errors
/// With file and line, for what is not TOML or no case.
pub fn read(file: &str, text: &str) -> Result<Vec<Case>> {
    let wrong = |line, message: String| {
        Error {
        file: file.to_owned(),
        line,
        message,
        hint: "a [[case]] has name, tool and expect, and may have agent, effect, arguments, labels, sends_out, budget and rule".to_owned(),
    }
    };
    let read: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        wrong(line, error.message().to_owned())
    })?;
    if read.case.is_empty() {
        return Err(wrong(1, "there is no [[case]]".to_owned()));
    }
    let cases = read.case.into_iter().map(|case| {
        let line = line_of(text, case.span().start);
        Case {
            line,
            ..case.into_inner()
        }
    });
    Ok(cases.collect())
}

/// Lets the policy decide each case.
pub fn run(policy: &Policy, cases: &[Case]) -> Vec<Finding> {
    let findings = cases.iter().map(|case| {
        let verdict = policy.decide(&Call {
            agent: &case.agent,
            tool: &case.tool,
            arguments: &case.arguments,
            effect: case.effect,
            sends_out: case.sends_out.unwrap_or(case.effect.writes()),
            labels: &Labels::from_iter(case.labels.iter().copied()),
            budget: &case.budget,
        });
        let by_rule = |rule: &String| verdict.rules.contains(rule);
        Finding {
            name: case.name.clone(),
            line: case.line,
            expected: case.expect,
            passed: verdict.decision == case.expect && case.rule.as_ref().is_none_or(by_rule),
            verdict,
        }
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_decided() {
        let text = "[[case]]\nname = \"a\"\ntool = \"b\"\nexpect = \"ask\"\n\n[[case]]\nname = \"c\"\ntool = \"d\"\neffect = \"read\"\nexpect = \"deny\"\n\n[[case]]\nname = \"e\"\ntool = \"f\"\neffect = \"read\"\nexpect = \"allow\"\nrule = \"writes\"\n";
        let cases = read("cases.toml", text);
        let findings = cases.map(|cases| run(&Policy::default(), &cases));
        let lines = findings.map(|findings| {
            let line = |one: Finding| {
                format!(
                    "{} {} {:?} {}",
                    one.line, one.name, one.verdict.decision, one.passed
                )
            };
            findings
                .into_iter()
                .map(line)
                .collect::<Vec<_>>()
                .join("; ")
        });
        assert_eq!(
            lines.ok().as_deref(),
            Some("1 a Ask true; 6 c Allow false; 12 e Allow false")
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said: Vec<String> = [
            "",
            "[[case]]\nname = \"a\"\ntool = \"b\"\n",
            "[[case]]\nname = \"a\"\ntool = \"b\"\nexpect = \"perhaps\"\n",
            "[[case]]\nname = \"a\"\nlables = []\n",
            "[[case]\n",
        ]
        .iter()
        .map(|text| {
            let error = read("c.toml", text).err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            error.lines().next().unwrap_or_default().to_owned()
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"));
    }
}
