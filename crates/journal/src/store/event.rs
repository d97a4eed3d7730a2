//! An event as it stands in its row.

use serde_json::{Map, Value};

use crate::list::Captured;
use crate::payload::{self, Hash, Node};
use crate::records::{Effect, EventKind, RunId, RunStatus};

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

const KINDS: [(Kind, i64); 13] = [
    (Kind::RunStarted, 1),
    (Kind::RunResumed, 2),
    (Kind::RunParked, 3),
    (Kind::RunFinished, 4),
    (Kind::RunFailed, 5),
    (Kind::RunCancelled, 6),
    (Kind::BudgetRaised, 7),
    (Kind::StepStarted, 10),
    (Kind::StepRestarted, 11),
    (Kind::StepFinished, 12),
    (Kind::StepFailed, 13),
    (Kind::StepFaulted, 14),
    (Kind::StepSettled, 15),
];

impl Kind {
    pub(crate) fn code(self) -> i64 {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or(0, |(_, code)| *code)
    }

    pub(crate) fn from_code(code: i64) -> Option<Kind> {
        KINDS
            .iter()
            .find(|(_, known)| *known == code)
            .map(|(kind, _)| *kind)
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
            body: String::from_utf8_lossy(&encoded.text).into_owned(),
        };
        Ok((row, encoded.nodes))
    }

    /// What tells a damaged row: it covers every field and the run's id.
    pub(crate) fn digest(&self, run: &RunId) -> i64 {
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
        let hash = blake3::hash(&text);
        hash.as_bytes()
            .first_chunk()
            .map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }
}

/// What a writer's command is to tell the watchers once it is on disk, and how a run's end reads.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) kind: EventKind,
    /// Why the run is parked or failed.
    pub(crate) reason: Option<String>,
}
