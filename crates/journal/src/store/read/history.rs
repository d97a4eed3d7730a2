//! What the journal knows of a run's steps when its code is run again.

use std::collections::HashMap;

use rusqlite::OptionalExtension;
use serde_json::Value;

use super::super::blocks::{IN_BLOCK, blocks};
use super::super::event::{EventRow, Kind, cost_in, is_taken_over, kind_of};
use super::{Reader, at, misplaced};
use crate::Result;
use crate::budget::Cost;
use crate::payload::Hash;
use crate::records::{Effect, RunId, StepKind};

/// A recorded step. The bodies still refer to payloads.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Its place in the order of first beginnings.
    pub(crate) place: usize,
    pub(crate) kind: StepKind,
    pub(crate) effect: Effect,
    pub(crate) fingerprint: Hash,
    pub(crate) attempts: u32,
    /// Body of the step's first start: has the input.
    pub(crate) started: String,
    /// When it was first begun, milliseconds since 1970 (UTC).
    pub(crate) started_ms: i64,
    /// What is set aside for it.
    pub(crate) reserved: Cost,
    /// Somebody said that it has not happened, since it was last begun.
    pub(crate) cleared: bool,
    /// Belongs to the run that this one is a fork of.
    pub(crate) shared: bool,
    /// The body of the fault that its last attempt ended with.
    pub(crate) fault: Option<String>,
    pub(crate) outcome: Outcome,
}

/// How a recorded step ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Open,
    /// The body of its end.
    Finished(String),
    Failed(String),
    /// Finished, and its output has been read already.
    Known(Value),
}

/// What the journal knows of a run's steps.
pub(crate) struct History {
    /// The number of the run's last event.
    pub(crate) last_seq: i64,
    /// In the order in which they were first begun.
    pub(crate) steps: Vec<(String, Recorded)>,
}

/// Steps being put together from events.
#[derive(Default)]
struct Gathered {
    places: HashMap<String, usize>,
    steps: Vec<(String, Recorded)>,
}

impl Gathered {
    fn add(&mut self, id: &RunId, shared: bool, event: EventRow) -> Result<()> {
        let Some(path) = event.path.clone() else {
            return Ok(());
        };
        if event.kind == Kind::StepStarted {
            return self.begin(id, shared, path, event);
        }
        let place = self.places.get(&path).copied();
        let Some((_, step)) = place.and_then(|place| self.steps.get_mut(place)) else {
            return Err(misplaced(id, &path));
        };
        match event.kind {
            Kind::StepRestarted => {
                step.attempts += 1;
                step.cleared = false;
                step.fault = None;
                step.reserved = step.reserved.plus(cost_in(&event.body, "reserve"));
            }
            Kind::StepFinished => step.outcome = Outcome::Finished(event.body),
            Kind::StepFailed => step.outcome = Outcome::Failed(event.body),
            Kind::StepFaulted => {
                step.reserved = Cost::default();
                step.fault = Some(event.body);
            }
            Kind::StepSettled => step.cleared = true,
            Kind::StepStarted
            | Kind::RunStarted
            | Kind::RunResumed
            | Kind::RunParked
            | Kind::RunFinished
            | Kind::RunFailed
            | Kind::RunCancelled
            | Kind::BudgetRaised => {}
        }
        Ok(())
    }

    fn begin(&mut self, id: &RunId, shared: bool, path: String, event: EventRow) -> Result<()> {
        let (Some(effect), Some(fingerprint)) = (event.effect, event.fingerprint) else {
            return Err(misplaced(id, &path));
        };
        // A fork may give a step that it shares another answer.
        let overridden = self.places.get(&path).copied();
        let place = overridden.unwrap_or(self.steps.len());
        let step = Recorded {
            place,
            kind: kind_of(&event.body),
            effect,
            fingerprint,
            attempts: 1,
            reserved: cost_in(&event.body, "reserve"),
            shared: shared || is_taken_over(&event.body),
            started: event.body,
            started_ms: event.at_ms,
            cleared: false,
            fault: None,
            outcome: Outcome::Open,
        };
        match self.steps.get_mut(place) {
            Some(shared) => shared.1 = step,
            None => {
                self.places.insert(path.clone(), place);
                self.steps.push((path, step));
            }
        }
        Ok(())
    }

    /// Drops what had not ended: the fork begins it anew.
    fn keep_ended(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        self.places.clear();
        for (path, mut step) in steps {
            if matches!(step.outcome, Outcome::Open) {
                continue;
            }
            step.place = self.steps.len();
            self.places.insert(path.clone(), step.place);
            self.steps.push((path, step));
        }
    }
}

impl Reader<'_> {
    /// Every step of a run, those that it shares with the run that it is a fork of included. Payloads
    /// are left where they are.
    pub(crate) fn recorded(&self, key: i64, id: &RunId) -> Result<History> {
        let mut gathered = Gathered::default();
        let last_seq = self.gather(key, id, i64::MAX, false, &mut gathered)?;
        Ok(History {
            last_seq,
            steps: gathered.steps,
        })
    }

    fn gather(
        &self,
        key: i64,
        id: &RunId,
        before: i64,
        shared: bool,
        gathered: &mut Gathered,
    ) -> Result<i64> {
        if let Some((source, source_id, cut)) = self.source_of(key)? {
            self.gather(source, &source_id, cut, true, gathered)?;
            gathered.keep_ended();
        }
        let last_seq =
            self.each_event(key, id, before, |_, event| gathered.add(id, shared, event))?;
        Ok(last_seq)
    }

    /// The run that this one is a fork of, and the number of the first event that it does not share.
    pub(crate) fn source_of(&self, key: i64) -> Result<Option<(i64, RunId, i64)>> {
        let sql = "SELECT source.key, source.id, run.forked_seq FROM run \
                   JOIN run source ON source.key = run.forked_from WHERE run.key = ?1";
        let found: Option<(i64, String, i64)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .optional()
            })
            .map_err(at)?;
        found
            .map(|(key, id, cut)| Ok((key, RunId::parse(&id)?, cut)))
            .transpose()
    }

    /// Where a step of a run was first begun: in the run itself, or in one that it is a fork of. Gives
    /// that run and the number of the event.
    pub(crate) fn beginning_of(&self, key: i64, path: &str) -> Result<Option<(i64, i64)>> {
        let mut run = Some((key, i64::MAX));
        while let Some((key, before)) = run {
            if let Some(seq) = self.begun_in(key, path, before).map_err(at)? {
                return Ok(Some((key, seq)));
            }
            run = self.source_of(key)?.map(|(source, _, cut)| (source, cut));
        }
        Ok(None)
    }

    /// The number of the event that began a step in a run itself, before another event.
    fn begun_in(&self, key: i64, path: &str, before: i64) -> rusqlite::Result<Option<i64>> {
        let sql = format!(
            "SELECT seq FROM event WHERE {IN_BLOCK} AND kind = ?3 AND path = ?4 AND seq < ?5"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        for block in blocks(self.connection, key)? {
            let kind = Kind::StepStarted.code();
            let found = statement
                .query_row(rusqlite::params![block, key, kind, path, before], |row| {
                    row.get(0)
                })
                .optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
