//! Policies: what an agent may do, in [Cedar](https://www.cedarpolicy.com).
//!
//! Cedar knows `permit` and `forbid`. A third word is an annotation of ours: a `permit` with `@ask("why")`
//! permits only if a person allows it. The strictest rule that applies counts: a `forbid`, then an `@ask`,
//! then a plain `permit`; where none applies it is denied, and where a rule cannot be evaluated a person is
//! asked. `lint` says what is wrong with a file, `request` makes a call into what Cedar reads.

mod lint;
mod request;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use cedar_policy::{AuthorizationError, Authorizer, Decision, Effect, PolicyId, PolicySet};
use serde::{Deserialize, Serialize};

pub use self::request::Call;
use crate::{Error, Result};

/// The policy that comes with Plumb.
pub const DEFAULT: &str = include_str!("policy/default.cedar");

/// What an agent may do.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: PolicySet,
    text: String,
    uses_budget: bool,
}

/// What a policy says to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What it says.
    pub decision: Word,
    /// By which rules; none where nothing allows it.
    pub rules: Vec<String>,
    /// Why, in words: of a rule that asks or forbids.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It may.
    Allow,
    /// A person decides.
    Ask,
    /// It may not.
    Deny,
}

impl Word {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Allow => "allow",
            Word::Ask => "ask",
            Word::Deny => "deny",
        }
    }
}

/// A rule, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name: what `@id` says.
    pub name: String,
    /// What it says where it applies.
    pub decision: Word,
    /// Its text.
    pub text: String,
}

impl Default for Policy {
    /// The policy that comes with Plumb.
    fn default() -> Policy {
        static OWN: OnceLock<PolicySet> = OnceLock::new();
        let rules = OWN.get_or_init(|| {
            // A test holds the file to it; without rules everything would be denied.
            lint::read("default.cedar", DEFAULT).unwrap_or_default()
        });
        Policy::of(rules.clone(), DEFAULT)
    }
}

impl Policy {
    /// The default policy with the rules of a file: a rule with the `@id` of one of the default's takes its
    /// place, others come beside them. So nothing is forgotten that a file does not speak of.
    ///
    /// # Errors
    /// With file and line, for what is not Cedar, or speaks of what there is not.
    pub fn read(file: &str, text: &str) -> Result<Policy> {
        let mut rules = lint::read(file, text)?;
        for rule in Policy::default().rules.policies() {
            if rules.policy(rule.id()).is_none() {
                add(&mut rules, rule.clone(), file)?;
            }
        }
        Ok(Policy::of(rules, text))
    }

    /// A policy that allows everything: for programs that decide themselves.
    pub fn open() -> Policy {
        static OPEN: OnceLock<PolicySet> = OnceLock::new();
        let text = "@id(\"open\") permit (principal, action, resource);";
        let rules = OPEN.get_or_init(|| lint::read("open", text).unwrap_or_default());
        Policy::of(rules.clone(), text)
    }

    fn of(rules: PolicySet, text: &str) -> Policy {
        let uses_budget = rules.policies().any(lint::uses_budget);
        Policy {
            rules,
            text: text.to_owned(),
            uses_budget,
        }
    }

    /// The text of its file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a rule goes by what is left of the run's budget, which has to be looked up then.
    pub fn uses_budget(&self) -> bool {
        self.uses_budget
    }

    /// Its rules, by name.
    pub fn rules(&self) -> Vec<Rule> {
        let rules = self.rules.policies().map(|rule| Rule {
            name: rule.id().to_string(),
            decision: match (rule.effect(), rule.annotation("ask")) {
                (Effect::Forbid, _) => Word::Deny,
                (Effect::Permit, Some(_)) => Word::Ask,
                (Effect::Permit, None) => Word::Allow,
            },
            text: rule.to_string(),
        });
        let mut rules: Vec<Rule> = rules.collect();
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        rules
    }

    /// What it says to a call.
    pub fn decide(&self, call: &Call<'_>) -> Verdict {
        let (request, entities) = match request::of(call) {
            Ok(made) => made,
            Err(error) => {
                return Verdict {
                    decision: Word::Deny,
                    rules: Vec::new(),
                    why: format!("the policy cannot read the call: {error}"),
                };
            }
        };
        let response = Authorizer::new().is_authorized(&request, &self.rules, &entities);
        let reasons = response.diagnostics().reason();
        let mut applied: BTreeMap<String, &PolicyId> =
            reasons.map(|id| (id.to_string(), id)).collect();
        let said = |word: &str, applied: &BTreeMap<String, &PolicyId>| {
            let whys = applied.values();
            let whys = whys.filter_map(|id| self.rules.policy(id)?.annotation(word));
            let whys: Vec<&str> = whys.filter(|why| !why.is_empty()).collect();
            whys.join("; ")
        };
        if response.decision() == Decision::Deny {
            let why = match applied.is_empty() {
                true => "no rule allows it".to_owned(),
                false => said("reason", &applied),
            };
            let (decision, rules) = (Word::Deny, applied.into_keys().collect());
            return Verdict {
                decision,
                rules,
                why,
            };
        }
        let errors: Vec<&AuthorizationError> = response.diagnostics().errors().collect();
        if let Some(AuthorizationError::PolicyEvaluationError(error)) = errors.first() {
            // Cedar passes over a rule that it cannot evaluate; it might have been the one that forbids.
            return Verdict {
                decision: Word::Ask,
                rules: vec![error.policy_id().to_string()],
                why: format!("a rule could not be applied: {}", error.inner()),
            };
        }
        let asks = |id: &&PolicyId| {
            let rule = self.rules.policy(id);
            rule.is_some_and(|rule| rule.annotation("ask").is_some())
        };
        if applied.values().any(|id| asks(id)) {
            applied.retain(|_, id| asks(id));
            let why = said("ask", &applied);
            let (decision, rules) = (Word::Ask, applied.into_keys().collect());
            return Verdict {
                decision,
                rules,
                why,
            };
        }
        Verdict {
            decision: Word::Allow,
            rules: applied.into_keys().collect(),
            why: String::new(),
        }
    }
}

fn add(rules: &mut PolicySet, rule: cedar_policy::Policy, file: &str) -> Result<()> {
    let name = rule.id().to_string();
    rules.add(rule).map_err(|error| Error {
        file: file.to_owned(),
        line: 1,
        message: format!("the rule `{name}`: {error}"),
        hint: "give each rule an @id of its own".to_owned(),
    })
}

#[cfg(test)]
mod tests;
