//! The one way that a call of a model's takes: the policy is asked, then a person where it says so, and only then
//! is the tool called.
//!
//! ```text
//! call ─► policy ─► allow ─► grounded? ─► step
//!           │ │                 └─ no: back to the model; the same again: ask
//!           │ └─► ask ─► a person ─► allow ─► step
//!           └───► deny            └► deny ─► back to the model with the reason
//! ```
//! What belongs to the call `orders.refund[2]` and is not that step stands beside it in the journal: the question
//! `orders.refund[2]/approve[0]`, the refusal `orders.refund[2]/denied[0]`. The step itself notes who allowed it.

mod question;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use guard::promises::{self, Deed};
use guard::{Call, Heard, Label, Policy, Verdict, Word};
use journal::{Effect, Run};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Answer, Source, Spec, Tool, Toolbox};

pub use self::question::{APPROVE, Approval};
use super::calls::step;
use super::{Acting, Progress};
use crate::Result;

/// The step that a refusal leaves beside the call.
pub const DENIED: &str = "denied";

/// What an agent may do.
#[derive(Clone, Debug)]
pub struct Guarding {
    /// The agent's name, for the policy.
    pub agent: String,
    /// Says allow, ask or deny.
    pub policy: Arc<Policy>,
    /// Whether what a writing call names has to be said by the user or a tool.
    pub grounded: bool,
    /// Whether a reply that says something was done needs the call that did it.
    pub promises: bool,
}

impl Default for Guarding {
    /// The default policy, and both checks.
    fn default() -> Guarding {
        Guarding {
            agent: "agent".to_owned(),
            policy: Arc::new(Policy::default()),
            grounded: true,
            promises: true,
        }
    }
}

impl Guarding {
    /// Everything is allowed and nothing checked: for programs that decide themselves what a model may do.
    pub fn open() -> Guarding {
        Guarding {
            policy: Arc::new(Policy::open()),
            grounded: false,
            promises: false,
            ..Guarding::default()
        }
    }
}

impl Guarding {
    /// Sentences of a reply that say something was done which no call did. An agent that can change nothing is
    /// not held to it: what it writes is text.
    pub(crate) fn unkept(&self, reply: &str, heard: &Heard, tools: &Toolbox) -> Vec<String> {
        let writers = tools.iter().map(|tool| tool.spec());
        let writers = writers.filter(|spec| spec.effect.writes());
        let writers: Vec<(String, String)> = writers
            .map(|spec| (spec.name.clone(), spec.description.clone()))
            .collect();
        match self.promises && !writers.is_empty() {
            true => promises::broken(reply, heard, &writers),
            false => Vec::new(),
        }
    }
}

/// What is said to a model that has not kept a promise.
pub(super) fn reminder(unkept: &[String]) -> String {
    format!(
        "You say: \"{}\" No call of yours did that. Do it with a tool now, or answer again and say plainly that it has not been done.",
        unkept.join(" ")
    )
}

/// What came of a call that a model asked for.
#[derive(Clone, Debug)]
pub struct Called {
    /// What the model is told.
    pub answer: Answer,
    /// From whom the answer comes.
    pub label: Label,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    /// The tool was called; a person may have allowed it from now on.
    Made { deed: Deed, granted: bool },
    /// Nobody had said what it names.
    Doubted { tool: String, arguments: Value },
    /// An agent was called, that had heard this in the end.
    Member(Box<Heard>),
    /// It was not made.
    Refused,
}

impl Called {
    /// A call that is not made because something is wrong with it.
    pub(crate) fn refused(told: String) -> Called {
        Called {
            answer: Answer::Error(told),
            label: Label::System,
            outcome: Outcome::Refused,
        }
    }

    /// A call that needs nothing done but that it was made.
    pub(super) fn noted(told: &str) -> Called {
        Called {
            answer: Answer::Value(told.into()),
            label: Label::System,
            outcome: Outcome::Refused,
        }
    }

    /// An agent that was called; what it answers comes from all that it has heard.
    pub(crate) fn member(answer: Answer, heard: Heard) -> Called {
        Called {
            answer,
            label: Label::Agent,
            outcome: Outcome::Member(Box::new(heard)),
        }
    }

    /// Whether the call was made.
    pub fn is_made(&self) -> bool {
        matches!(self.outcome, Outcome::Made { .. } | Outcome::Member(_))
    }

    /// Adds it to what has been heard and done.
    pub fn tell(&self, heard: &mut Heard) {
        match &self.outcome {
            // What an error says may be what the model made up: "there is no order A-99".
            Outcome::Made { deed, granted } => {
                match self.answer.is_error() {
                    true => heard.pattern(self.label),
                    false => heard.text(&self.answer.text(), &self.label.into()),
                }
                heard.called(deed.clone());
                if *granted {
                    heard.grant(&deed.tool);
                }
            }
            Outcome::Doubted { tool, arguments } => heard.doubt(tool, arguments),
            Outcome::Member(learnt) => heard.join(learnt),
            Outcome::Refused => {}
        }
    }
}

/// Who allowed a call, as its step notes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// By which rules of the policy.
    pub rules: Vec<String>,
    /// Whether a person was asked; the question says who it was, and when.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// Whether a person had allowed the tool from now on before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub granted: bool,
}

/// Calls a tool for a model, as a step of the run: the policy is asked, then a person where it says so, and only
/// then is the tool called. Its address is settled by the call, not by when the future is first polled.
///
/// `heard` is what the model has heard; the caller adds what came of it by [`Called::tell`]. The arguments are
/// not held against the tool's schema.
///
/// # Errors
/// [`crate::Error::Journal`] when what the tool needs is out of reach, or the run has to stop.
pub fn call<'a>(
    run: &'a Run,
    with: &'a Acting,
    heard: &'a Heard,
    tool: &Arc<dyn Tool>,
    arguments: &Value,
) -> impl Future<Output = Result<Called>> + Send + use<'a> {
    let name = tool.spec().name.clone();
    let beside = run.beside(&name);
    let allowed: Arc<OnceLock<Allowed>> = Arc::default();
    let begins = {
        let (watch, allowed, tool) = (
            Arc::clone(&with.watch),
            Arc::clone(&allowed),
            Arc::clone(tool),
        );
        let calling = Progress::Calling {
            tool: name.clone(),
            arguments: arguments.clone(),
        };
        move |context: &journal::StepContext| {
            context.attribute("allowed", json!(allowed.get()));
            context.attribute("label", label(tool.spec()).as_str());
            if tool.spec().is_outgoing() {
                context.attribute("sends_out", true);
            }
            watch(calling);
        }
    };
    let step = step(
        run,
        tool,
        arguments,
        &with.secrets,
        with.stop.clone(),
        Some(Arc::clone(&with.watch)),
        begins,
    );
    let (tool, arguments) = (Arc::clone(tool), arguments.clone());
    async move {
        let wish = Wish {
            with,
            heard,
            spec: tool.spec(),
            arguments: &arguments,
        };
        let gone_through = match wish.through(&beside).await? {
            Gate::Open(gone_through) => gone_through,
            Gate::Closed(called) => return Ok(called),
        };
        let granted = gone_through.granted_now;
        // Nobody else writes it.
        let _ = allowed.set(gone_through.allowed);
        let answer = step.await?;
        (with.watch)(Progress::Called {
            tool: name,
            answer: answer.clone(),
        });
        Ok(Called {
            label: label(tool.spec()),
            outcome: Outcome::Made {
                deed: deed(tool.spec(), &answer),
                granted,
            },
            answer,
        })
    }
}

/// A call that wants to be made.
struct Wish<'a> {
    with: &'a Acting,
    heard: &'a Heard,
    spec: &'a Spec,
    arguments: &'a Value,
}

enum Gate {
    Open(GoneThrough),
    Closed(Called),
}

struct GoneThrough {
    allowed: Allowed,
    granted_now: bool,
}

impl Wish<'_> {
    /// Whether it may be made; asks whom it has to.
    async fn through(&self, beside: &Run) -> Result<Gate> {
        let mut verdict = self.verdict(beside).await?;
        if verdict.decision == Word::Deny {
            let told = format!("Not allowed: {}.", verdict.why);
            return self
                .closed(beside, &verdict.rules, told, Outcome::Refused)
                .await;
        }
        let invented = self.invented();
        if !invented.is_empty() {
            let rules = vec!["grounded arguments".to_owned()];
            let whats = invented.join(", ");
            if !self.heard.is_doubted(&self.spec.name, self.arguments) {
                let told = format!(
                    "Not done: neither the user nor a tool has said {whats}. Look it up with a tool, or ask the user. If it is right all the same, call again with the same arguments, and a person is asked."
                );
                let outcome = Outcome::Doubted {
                    tool: self.spec.name.clone(),
                    arguments: self.arguments.clone(),
                };
                return self.closed(beside, &rules, told, outcome).await;
            }
            let why = format!("neither the user nor a tool has said {whats}");
            verdict = match verdict.decision {
                Word::Ask => Verdict {
                    why: format!("{}; {why}", verdict.why),
                    rules: [verdict.rules, rules].concat(),
                    ..verdict
                },
                Word::Allow | Word::Deny => Verdict {
                    decision: Word::Ask,
                    rules,
                    why,
                },
            };
        } else if self.heard.is_granted(&self.spec.name) {
            return Ok(Gate::Open(GoneThrough {
                allowed: Allowed {
                    rules: verdict.rules,
                    asked: false,
                    granted: verdict.decision == Word::Ask,
                },
                granted_now: false,
            }));
        }
        if verdict.decision == Word::Allow {
            return Ok(Gate::Open(GoneThrough {
                allowed: Allowed {
                    rules: verdict.rules,
                    asked: false,
                    granted: false,
                },
                granted_now: false,
            }));
        }
        self.ask(beside, verdict).await
    }

    async fn ask(&self, beside: &Run, verdict: Verdict) -> Result<Gate> {
        let question = question::of(&self.with.guard.agent, self, &verdict);
        let said: String = beside.ask(APPROVE, &question).await?;
        let granted_now = match Approval::read(&said) {
            Approval::Allow => false,
            Approval::FromNowOn => true,
            Approval::Deny(reason) => {
                let told = match reason.is_empty() {
                    true => "Not done: a person did not allow it.".to_owned(),
                    false => format!("Not done: a person did not allow it: {reason}"),
                };
                return Ok(Gate::Closed(Called::refused(told)));
            }
        };
        Ok(Gate::Open(GoneThrough {
            allowed: Allowed {
                rules: verdict.rules,
                asked: true,
                granted: false,
            },
            granted_now,
        }))
    }

    /// What the policy says. What is left of the budget is another thing at another time, so it is a step.
    async fn verdict(&self, beside: &Run) -> Result<Verdict> {
        let policy = &self.with.guard.policy;
        let budget: BTreeMap<String, u64> = match policy.uses_budget() {
            false => BTreeMap::new(),
            true => {
                let look = |_| async {
                    let left = beside.left().await;
                    let left =
                        left.map_err(|error| journal::StepError::Fault(error.to_string()))?;
                    let left = left.into_iter().map(|(of, left)| (of.to_string(), left));
                    Ok(left.collect::<BTreeMap<String, u64>>())
                };
                beside.step("budget", Effect::Read, &(), look).await?
            }
        };
        Ok(policy.decide(&Call {
            agent: &self.with.guard.agent,
            tool: &self.spec.name,
            arguments: self.arguments,
            effect: self.spec.effect,
            sends_out: self.spec.is_outgoing(),
            labels: self.heard.labels(),
            budget: &budget,
        }))
    }

    /// What of the arguments nobody said, in words.
    fn invented(&self) -> Vec<String> {
        if !self.with.guard.grounded || !self.spec.effect.writes() {
            return Vec::new();
        }
        let mut arguments = self.arguments.clone();
        if let Some(arguments) = arguments.as_object_mut() {
            arguments.retain(|name, _| !self.spec.judges.contains(name));
        }
        let invented = self.heard.invented(&arguments, &self.spec.parameters);
        let invented = invented.into_iter();
        invented
            .map(|one| format!("`{}` ({})", one.value, one.place))
            .collect()
    }

    /// A refusal, which is written down beside the call.
    async fn closed(
        &self,
        beside: &Run,
        rules: &[String],
        told: String,
        outcome: Outcome,
    ) -> Result<Gate> {
        let input = json!({"tool": self.spec.name, "arguments": self.arguments, "rules": rules});
        let work = |context: journal::StepContext| async move {
            context.attribute("title", told.as_str());
            Ok(told)
        };
        let told: String = beside.step(DENIED, Effect::Pure, &input, work).await?;
        Ok(Gate::Closed(Called {
            answer: Answer::Error(told),
            label: Label::System,
            outcome,
        }))
    }
}

/// From whom a tool's answers come.
fn label(spec: &Spec) -> Label {
    match spec.source {
        Source::Computed => Label::Computed,
        Source::Document => Label::Document,
        Source::Web => Label::Web,
        Source::Elsewhere => Label::Tool,
        Source::Agent => Label::Agent,
    }
}

fn deed(spec: &Spec, answer: &Answer) -> Deed {
    Deed {
        tool: spec.name.clone(),
        description: spec.description.clone(),
        writes: spec.effect.writes(),
        by_agent: spec.source == Source::Agent,
        well: !answer.is_error(),
    }
}
