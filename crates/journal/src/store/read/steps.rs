//! The steps of a run as callers see them.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::event::{EventRow, Kind, is_taken_over, kind_of};
use super::{Reader, misplaced};
use crate::Result;
use crate::records::{Effect, RunId, StepRecord, StepStatus};

/// Whether steps are wanted with their inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payloads {
    With,
    Without,
}

/// Steps being put together from events.
struct Gathered {
    payloads: Payloads,
    places: HashMap<String, usize>,
    steps: Vec<StepRecord>,
}

impl Reader<'_> {
    /// Every step of a run in the order in which they were first begun, those that it shares with the
    /// run that it is a fork of included; with their inputs and outputs, or without.
    pub(crate) fn steps(
        &self,
        key: i64,
        id: &RunId,
        payloads: Payloads,
    ) -> Result<Vec<StepRecord>> {
        let mut gathered = Gathered {
            payloads,
            places: HashMap::new(),
            steps: Vec::new(),
        };
        self.gather_steps(key, id, i64::MAX, &mut gathered)?;
        Ok(gathered.steps)
    }

    fn gather_steps(
        &self,
        key: i64,
        id: &RunId,
        before: i64,
        gathered: &mut Gathered,
    ) -> Result<()> {
        if let Some((source, source_id, cut)) = self.source_of(key)? {
            self.gather_steps(source, &source_id, cut, gathered)?;
            gathered
                .steps
                .retain(|step| step.status != StepStatus::Started);
            gathered.places.clear();
            for (place, step) in gathered.steps.iter_mut().enumerate() {
                step.shared = true;
                gathered.places.insert(step.path.clone(), place);
            }
        }
        self.each_event(key, id, before, |_, event| self.add(id, &event, gathered))?;
        Ok(())
    }

    fn add(&self, id: &RunId, event: &EventRow, gathered: &mut Gathered) -> Result<()> {
        let Some(path) = &event.path else {
            return Ok(());
        };
        if event.kind == Kind::StepStarted {
            let step = self.begun(id, path, event, gathered.payloads)?;
            // A fork may give a step that it shares another answer.
            let place = gathered.places.get(path).copied();
            match place.and_then(|place| gathered.steps.get_mut(place)) {
                Some(shared) => *shared = step,
                None => {
                    gathered.places.insert(path.clone(), gathered.steps.len());
                    gathered.steps.push(step);
                }
            }
            return Ok(());
        }
        let place = gathered.places.get(path).copied();
        let Some(step) = place.and_then(|place| gathered.steps.get_mut(place)) else {
            return Err(misplaced(id, path));
        };
        self.note(id, path, event, gathered.payloads, step)
    }

    fn begun(
        &self,
        id: &RunId,
        path: &str,
        event: &EventRow,
        payloads: Payloads,
    ) -> Result<StepRecord> {
        let input = match payloads {
            Payloads::With => self.decode(id, path, &event.body)?.remove("input"),
            Payloads::Without => None,
        };
        let effect = event.effect.ok_or_else(|| misplaced(id, path))?;
        Ok(StepRecord {
            path: path.to_string(),
            kind: kind_of(&event.body),
            effect,
            in_doubt: effect == Effect::Irreversible,
            status: StepStatus::Started,
            attempts: 1,
            input: input.unwrap_or_default(),
            output: None,
            error: None,
            started_ms: event.at_ms,
            finished_ms: None,
            attributes: Map::new(),
            shared: is_taken_over(&event.body),
        })
    }

    /// Adds to a step what a later event says of it.
    fn note(
        &self,
        id: &RunId,
        path: &str,
        event: &EventRow,
        payloads: Payloads,
        step: &mut StepRecord,
    ) -> Result<()> {
        step.status = match event.kind {
            Kind::StepRestarted => {
                step.attempts += 1;
                step.in_doubt = step.effect == Effect::Irreversible;
                return Ok(());
            }
            Kind::StepSettled => {
                step.in_doubt = false;
                return Ok(());
            }
            Kind::StepFinished => StepStatus::Finished,
            Kind::StepFailed => StepStatus::Failed,
            Kind::StepFaulted => StepStatus::Started,
            Kind::StepStarted
            | Kind::RunStarted
            | Kind::RunResumed
            | Kind::RunParked
            | Kind::RunFinished
            | Kind::RunFailed
            | Kind::RunCancelled
            | Kind::BudgetRaised => return Err(misplaced(id, path)),
        };
        if step.status != StepStatus::Started {
            step.finished_ms = Some(event.at_ms);
            step.in_doubt = false;
        }
        if payloads == Payloads::With {
            step.output = self.field(id, path, &event.body, "output")?;
        }
        step.error = match self.field(id, path, &event.body, "error")? {
            Some(Value::String(error)) => Some(error),
            _ => None,
        };
        if let Some(Value::Object(attributes)) = self.field(id, path, &event.body, "attributes")? {
            step.attributes = attributes;
        }
        Ok(())
    }
}
