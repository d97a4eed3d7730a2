//! An event as it stands in its row.

use serde_json::{Map, Value};
use twox_hash::XxHash3_64;

use crate::budget::Cost;
use crate::list::Captured;
use crate::payload::{self, Hash, Node};
use crate::records::{Effect, EventKind, RunId, RunStatus, StepKind};

/// What an event is about, by its number in the database. Numbers are for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RunStarted,
    RunResumed,
    RunParked,
    RunFinished,
    RunFailed,
    RunCancelled,
    BudgetRaised,
    /// The first beginning of a step: carries its input.
    StepStarted,
    /// A later beginning of the same step.
    StepRestarted,
    StepFinished,
    StepFailed,
    StepFaulted,
    /// A step in doubt has not happened, somebody says.
    StepSettled,
}

/// Each with its number in the database and its name in exports, which is for ever as well.
const KINDS: [(Kind, i64, &str); 13] = [
    (Kind::RunStarted, 1, "run_started"),
    (Kind::RunResumed, 2, "run_resumed"),
    (Kind::RunParked, 3, "run_parked"),
    (Kind::RunFinished, 4, "run_finished"),
    (Kind::RunFailed, 5, "run_failed"),
    (Kind::RunCancelled, 6, "run_cancelled"),
    (Kind::BudgetRaised, 7, "budget_raised"),
    (Kind::StepStarted, 10, "step_started"),
    (Kind::StepRestarted, 11, "step_restarted"),
    (Kind::StepFinished, 12, "step_finished"),
    (Kind::StepFailed, 13, "step_failed"),
    (Kind::StepFaulted, 14, "step_faulted"),
    (Kind::StepSettled, 15, "step_settled"),
];

impl Kind {
    pub(crate) fn code(self) -> i64 {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(0, |(_, code, _)| *code)
    }

    pub(crate) fn from_code(code: i64) -> Option<Kind> {
        KINDS
            .iter()
            .find(|(_, known, _)| *known == code)
            .map(|(kind, ..)| *kind)
    }

    /// The name in exports.
    pub(crate) fn name(self) -> &'static str {
        let known = KINDS.iter().find(|(kind, ..)| *kind == self);
        known.map_or("", |(_, _, name)| *name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Kind> {
        let known = KINDS.iter().find(|(_, _, known)| *known == name);
        known.map(|(kind, ..)| *kind)
    }

    /// Whether it is about a step, and so has an address.
    pub(crate) fn is_of_step(self) -> bool {
        self.code() >= Kind::StepStarted.code()
    }

    /// The status that a run has after this event, where it changes.
    pub(crate) fn ending(self) -> Option<RunStatus> {
        match self {
            Kind::RunParked => Some(RunStatus::Parked),
            Kind::RunFinished => Some(RunStatus::Finished),
            Kind::RunFailed => Some(RunStatus::Failed),
            Kind::RunCancelled => Some(RunStatus::Cancelled),
            Kind::RunStarted
            | Kind::RunResumed
            | Kind::BudgetRaised
            | Kind::StepStarted
            | Kind::StepRestarted
            | Kind::StepFinished
            | Kind::StepFailed
            | Kind::StepFaulted
            | Kind::StepSettled => None,
        }
    }
}

pub(crate) fn effect_code(effect: Effect) -> i64 {
    match effect {
        Effect::Pure => 0,
        Effect::Read => 1,
        Effect::Idempotent => 2,
        Effect::Irreversible => 3,
    }
}

pub(crate) fn effect_from_code(code: i64) -> Option<Effect> {
    [
        Effect::Pure,
        Effect::Read,
        Effect::Idempotent,
        Effect::Irreversible,
    ]
    .into_iter()
    .find(|effect| effect_code(*effect) == code)
}

pub(crate) fn status_code(status: RunStatus) -> i64 {
    match status {
        RunStatus::Running => 0,
        RunStatus::Parked => 1,
        RunStatus::Finished => 2,
        RunStatus::Failed => 3,
        RunStatus::Cancelled => 4,
    }
}

pub(crate) fn status_from_code(code: i64) -> Option<RunStatus> {
    [
        RunStatus::Running,
        RunStatus::Parked,
        RunStatus::Finished,
        RunStatus::Failed,
        RunStatus::Cancelled,
    ]
    .into_iter()
    .find(|status| status_code(*status) == code)
}

/// The kind of a step, from the body of its start: it is the first field, where it is not a call.
pub(crate) fn kind_of(body: &str) -> StepKind {
    let Some(rest) = body.strip_prefix("{\"kind\":\"") else {
        return StepKind::Call;
    };
    let name = rest.split('"').next().unwrap_or_default();
    serde_json::from_value(name.into()).unwrap_or_default()
}

/// An amount in a body: `reserve` of a step's beginning, `cost` of its end.
pub(crate) fn cost_in(body: &str, field: &str) -> Cost {
    if !body.contains(&format!("\"{field}\"")) {
        return Cost::default();
    }
    let mut fields: Map<String, Value> = serde_json::from_str(body).unwrap_or_default();
    let cost = fields.remove(field).unwrap_or_default();
    serde_json::from_value(cost).unwrap_or_default()
}

/// Whether a step was taken over from the run that its own is a fork of, when that fork was exported:
/// the last field of the body of its start says so.
pub(crate) fn is_taken_over(body: &str) -> bool {
    body.ends_with(",\"shared\":true}")
}

/// The fields of an event's row but its number.
#[derive(Clone, Debug)]
pub(crate) struct EventRow {
    pub(crate) kind: Kind,
    pub(crate) at_ms: i64,
    pub(crate) path: Option<String>,
    pub(crate) effect: Option<Effect>,
    pub(crate) fingerprint: Option<Hash>,
    pub(crate) body: String,
}

impl EventRow {
    /// Makes the row, and the nodes that its body refers to. Its time is set when it is queued.
    pub(crate) fn new(
        kind: Kind,
        body: &Map<String, Value>,
    ) -> serde_json::Result<(EventRow, Vec<Node>)> {
        EventRow::with_lists(kind, body, &[])
    }

    /// Like [`EventRow::new`], for a body with lists that were captured in it.
    pub(crate) fn with_lists(
        kind: Kind,
        body: &Map<String, Value>,
        lists: &[Captured],
    ) -> serde_json::Result<(EventRow, Vec<Node>)> {
        let encoded = payload::encode(body, lists)?;
        let row = EventRow {
            kind,
            at_ms: 0,
            path: None,
            effect: None,
            fingerprint: None,
            body: String::from_utf8(encoded.text).map_err(serde::ser::Error::custom)?,
        };
        Ok((row, encoded.nodes))
    }

    /// What tells a damaged row: XXH3 over every field and the run's id.
    pub(crate) fn digest(&self, run: &RunId) -> i64 {
        XxHash3_64::oneshot(&self.digested(run)).cast_signed()
    }

    /// Whether the row is as it was when this digest was taken, by this version or an older one.
    pub(crate) fn is_as_in(&self, digest: i64, run: &RunId) -> bool {
        let text = self.digested(run);
        XxHash3_64::oneshot(&text).cast_signed() == digest || digest_v1(&text) == digest
    }

    /// What a digest is taken of.
    fn digested(&self, run: &RunId) -> Vec<u8> {
        // In one piece: a hasher is slow with many short ones.
        let mut text = Vec::with_capacity(256 + self.body.len());
        let mut field = |bytes: &[u8]| {
            // With its length before it, no field can be taken for a part of its neighbour.
            text.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            text.extend_from_slice(bytes);
        };
        field(run.as_str().as_bytes());
        field(&self.kind.code().to_le_bytes());
        field(&self.at_ms.to_le_bytes());
        field(self.path.as_deref().unwrap_or_default().as_bytes());
        field(&self.effect.map_or(-1, effect_code).to_le_bytes());
        field(self.fingerprint.as_ref().map_or(&[], Hash::as_slice));
        field(self.body.as_bytes());
        text
    }
}

/// The digest of versions 1 to 4: safe against forgers as well, who could write a digest of their own all
/// the same, and ten times slower.
fn digest_v1(text: &[u8]) -> i64 {
    let hash = blake3::hash(text);
    hash.as_bytes()
        .first_chunk()
        .map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// What a writer's command is to tell the watchers once it is on disk, and how a run's end reads.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) kind: EventKind,
    /// Why the run is parked or failed.
    pub(crate) reason: Option<String>,
}
