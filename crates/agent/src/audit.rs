//! The audit: what a run's agents called, by which rule or by whom it was allowed, what left the machine, and
//! what it cost. Read from the journal and nothing else.

use std::collections::BTreeMap;

use journal::{Effect, StepKind, StepRecord, StepStatus};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::act::guarding::{APPROVE, Allowed, Approval, DENIED};

/// What a run's agents did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// Every call that was made, denied, or is waiting, in the order in which they came up.
    pub calls: Vec<Entry>,
    /// What models were told and what they cost.
    pub models: Vec<ModelUse>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Its address.
    pub path: String,
    /// The tool.
    pub tool: String,
    /// What it was called with.
    pub arguments: Value,
    /// What it does to the world, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// What became of it.
    pub state: State,
    /// The rules that allowed it, made it be asked about, or denied it.
    pub rules: Vec<String>,
    /// Who was asked, and what they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Said>,
    /// Whether a person had allowed the tool from then on before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub granted: bool,
    /// Whether it sent its arguments out of the machine.
    pub sent_out: bool,
    /// From whom its answer comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it cost, in millionths of a dollar.
    pub cost_micros: u64,
    /// When it came up, milliseconds since 1970 (UTC).
    pub at_ms: i64,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was made.
    Done,
    /// It was made and went wrong.
    Failed,
    /// It was begun, and nobody knows yet what became of it.
    CutOff,
    /// A person has not answered yet.
    Waits,
    /// The policy, a check or a person said no.
    Denied,
}

impl State {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Failed => "failed",
            State::CutOff => "cut off",
            State::Waits => "waits",
            State::Denied => "denied",
        }
    }
}

/// What a person said to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Who.
    pub by: String,
    /// What, as it was answered.
    pub answer: String,
    /// When, milliseconds since 1970 (UTC).
    pub at_ms: i64,
}

/// What a model was asked, all in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelUse {
    /// The model.
    pub model: String,
    /// Whether what it read left the machine.
    pub sent_out: bool,
    /// Calls.
    pub calls: u64,
    /// Tokens that it read.
    pub prompt_tokens: u64,
    /// Tokens that it wrote.
    pub output_tokens: u64,
    /// What they cost, in millionths of a dollar; none where the price is not known.
    pub cost_micros: u64,
}

/// Reads the audit from the steps of a run.
pub fn audit(steps: &[StepRecord]) -> Audit {
    let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut models: Vec<ModelUse> = Vec::new();
    for step in steps {
        count_model(step, &mut models);
        let Some(place) = place_of(step) else {
            continue;
        };
        if !entries.contains_key(place) {
            order.push(place);
        }
        let entry = entries.entry(place).or_insert_with(|| Entry {
            path: place.to_owned(),
            tool: tool_of(place).to_owned(),
            arguments: Value::Null,
            effect: None,
            state: State::Waits,
            rules: Vec::new(),
            person: None,
            granted: false,
            sent_out: false,
            label: None,
            cost_micros: 0,
            at_ms: step.started_ms,
        });
        note(step, entry);
    }
    let calls = order.iter().filter_map(|place| entries.remove(place));
    Audit {
        calls: calls.collect(),
        models,
    }
}

/// The call that a step is, or belongs to.
fn place_of(step: &StepRecord) -> Option<&str> {
    let beside = |name: &str| {
        let (place, last) = step.path.rsplit_once('/')?;
        last.starts_with(&format!("{name}[")).then_some(place)
    };
    match step.kind {
        StepKind::Question => beside(APPROVE),
        StepKind::Call => match beside(DENIED) {
            Some(place) => Some(place),
            // One that was cut off has noted nothing, and only what writes can be cut off and matter.
            None => {
                let is_call = step.attributes.contains_key("allowed");
                let is_cut_off = step.status == StepStatus::Started && step.effect.writes();
                (is_call || is_cut_off).then_some(step.path.as_str())
            }
        },
        _ => None,
    }
}

/// `orders.refund` of `turn[0]/orders.refund[2]`.
fn tool_of(place: &str) -> &str {
    let last = place.rsplit('/').next().unwrap_or(place);
    last.split('[').next().unwrap_or(last)
}

fn note(step: &StepRecord, entry: &mut Entry) {
    match step.kind {
        StepKind::Question => asked(step, entry),
        _ if step.path != entry.path => denied(step, entry),
        _ => made(step, entry),
    }
}

fn asked(step: &StepRecord, entry: &mut Entry) {
    let about = &step.input["schema"]["x-call"];
    entry.arguments = about["arguments"].clone();
    entry.effect = Effect::deserialize(&about["effect"]).ok();
    entry.sent_out = false;
    entry.rules = strings(&about["rules"]);
    if let (Some(answer), Some(at_ms)) = (&step.output, step.finished_ms) {
        let by = step.attributes.get("answered_by").and_then(Value::as_str);
        let answer = answer.as_str().unwrap_or_default().to_owned();
        if let Approval::Deny(_) = Approval::read(&answer) {
            entry.state = State::Denied;
        } else {
            entry.state = State::CutOff;
        }
        entry.person = Some(Said {
            by: by.unwrap_or("nobody").to_owned(),
            answer,
            at_ms,
        });
    }
}

fn denied(step: &StepRecord, entry: &mut Entry) {
    entry.arguments = step.input["arguments"].clone();
    entry.rules = strings(&step.input["rules"]);
    entry.state = State::Denied;
}

fn made(step: &StepRecord, entry: &mut Entry) {
    entry.arguments = step.input.clone();
    entry.effect = Some(step.effect);
    entry.state = match (step.status, &step.output) {
        (StepStatus::Started, _) => State::CutOff,
        (_, Some(output)) if tool::Answer::from(output.clone()).is_error() => State::Failed,
        (_, Some(_)) => State::Done,
        (_, None) => State::Failed,
    };
    if let Some(Ok(allowed)) = step.attributes.get("allowed").map(Allowed::deserialize) {
        entry.rules = allowed.rules;
        entry.granted = allowed.granted;
    }
    let noted = |name: &str| step.attributes.get(name);
    entry.sent_out = noted("sends_out").is_some();
    entry.label = noted("label").and_then(Value::as_str).map(str::to_owned);
    entry.cost_micros = noted("cost_micros").and_then(Value::as_u64).unwrap_or(0);
}

fn count_model(step: &StepRecord, models: &mut Vec<ModelUse>) {
    let Some(name) = step.attributes.get("model").and_then(Value::as_str) else {
        return;
    };
    let noted = |name: &str| {
        step.attributes
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or(0)
    };
    let place = match models.iter().position(|known| known.model == name) {
        Some(place) => place,
        None => {
            models.push(ModelUse {
                model: name.to_owned(),
                sent_out: !name.starts_with("local:") && !name.starts_with("scripted:"),
                ..ModelUse::default()
            });
            models.len() - 1
        }
    };
    if let Some(model) = models.get_mut(place) {
        model.calls += 1;
        model.prompt_tokens += noted("prompt_tokens");
        model.output_tokens += noted("output_tokens");
        model.cost_micros += noted("cost_micros");
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}
