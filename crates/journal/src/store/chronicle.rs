//! A run's own events in their order: what must hold of them, and what they add up to.
//!
//! The check of a journal compares the sums with the tables that are kept of them; an import refuses
//! what does not hold and fills those tables from the sums.

use std::collections::HashMap;

use super::event::{EventRow, Kind, cost_in, is_taken_over, kind_of};
use crate::budget::{Amounts, Cost, Dimension};
use crate::records::{RunStatus, StepKind};

/// The events of a run so far.
pub(crate) struct Chronicle {
    steps: HashMap<String, Step>,
    pub(crate) status: RunStatus,
    /// The number of its first event.
    pub(crate) started_seq: Option<i64>,
    /// The number of the event that ended or parked it, while it stands so.
    pub(crate) ended_seq: Option<i64>,
    /// Steps begun.
    pub(crate) begun: i64,
    /// Steps that have ended, with a result or an error.
    pub(crate) ended: i64,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    /// What its own steps have used; no time.
    pub(crate) spent: Amounts,
    /// What limits of its own have been raised to.
    pub(crate) raised: Amounts,
}

/// A step of the run.
struct Step {
    has_ended: bool,
    /// The event that asked, and when, if it is a question.
    asked: Option<(i64, i64)>,
    /// What is set aside for it.
    reserved: Cost,
    /// Taken over from another run: it has cost this one nothing.
    taken_over: bool,
}

/// A question that nobody has answered, as its events say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) seq: i64,
    pub(crate) at_ms: i64,
}

type Problem = Option<String>;

impl Default for Chronicle {
    fn default() -> Chronicle {
        Chronicle {
            steps: HashMap::new(),
            status: RunStatus::Running,
            started_seq: None,
            ended_seq: None,
            begun: 0,
            ended: 0,
            created_ms: 0,
            updated_ms: i64::MIN,
            spent: Amounts::default(),
            raised: Amounts::default(),
        }
    }
}

impl Chronicle {
    /// Takes the next event; says what is wrong with it where it stands, if anything. It counts all
    /// the same.
    pub(crate) fn add(&mut self, seq: i64, event: &EventRow) -> Problem {
        let misplaced = self.misplaced(event);
        self.updated_ms = self.updated_ms.max(event.at_ms);
        if self.started_seq.is_none() {
            self.started_seq = Some(seq);
            self.created_ms = event.at_ms;
        }
        match (event.kind.is_of_step(), event.path.as_deref()) {
            (true, None) => Some("it names no step".to_string()),
            (true, Some(path)) => misplaced.or(self.add_to_step(seq, path, event)),
            (false, Some(_)) => Some("it is about the run and names a step".to_string()),
            (false, None) => {
                self.add_to_run(seq, event);
                misplaced
            }
        }
    }

    /// Why an event may not stand here, as the run stands.
    fn misplaced(&self, event: &EventRow) -> Problem {
        use RunStatus::{Cancelled, Failed, Finished, Parked, Running};
        let first = self.started_seq.is_none();
        if first != (event.kind == Kind::RunStarted) {
            let what = if first {
                "the events before it are missing: a run begins with its start"
            } else {
                "the run starts a second time"
            };
            return Some(what.to_string());
        }
        let fits = match (self.status, event.kind) {
            (_, Kind::BudgetRaised) | (Running, _) => true,
            (Finished | Cancelled, _) => false,
            // A person's word; and an import parks what is parked already.
            (_, Kind::StepFinished | Kind::StepSettled | Kind::RunResumed | Kind::RunCancelled) => {
                true
            }
            (Parked, Kind::RunParked) => true,
            (Parked | Failed, _) => false,
        };
        (!fits).then(|| format!("the run was {} then", self.status.as_str()))
    }

    fn add_to_run(&mut self, seq: i64, event: &EventRow) {
        match event.kind.ending() {
            Some(status) => (self.status, self.ended_seq) = (status, Some(seq)),
            None if event.kind == Kind::BudgetRaised => self.raise(&event.body),
            None => (self.status, self.ended_seq) = (RunStatus::Running, None),
        }
    }

    fn raise(&mut self, body: &str) {
        #[derive(serde::Deserialize)]
        struct Raise {
            dimension: Dimension,
            most: u64,
        }
        let Ok(raise) = serde_json::from_str::<Raise>(body) else {
            return;
        };
        let most = i64::try_from(raise.most).unwrap_or(i64::MAX);
        let known = Dimension::ALL.iter().zip(self.raised.0);
        let before = known.filter(|(dimension, _)| **dimension == raise.dimension);
        let most = before.map(|(_, most)| most).fold(most, i64::max);
        self.raised = self.raised.with(raise.dimension, most);
    }

    fn add_to_step(&mut self, seq: i64, path: &str, event: &EventRow) -> Problem {
        if event.kind == Kind::StepStarted {
            return self.begin(seq, path, event);
        }
        let Some(step) = self.steps.get_mut(path) else {
            if let Kind::StepFinished | Kind::StepFailed = event.kind {
                self.ended += 1;
            }
            return Some("the step's beginning is missing".to_string());
        };
        let twice = step
            .has_ended
            .then(|| "the step had ended before".to_string());
        match event.kind {
            Kind::StepRestarted => {
                step.reserved = step.reserved.plus(cost_in(&event.body, "reserve"));
                return twice.or(begun_badly(event));
            }
            Kind::StepFinished | Kind::StepFailed => {
                step.has_ended = true;
                self.ended += 1;
            }
            _ => {}
        }
        if event.kind != Kind::StepSettled {
            step.reserved = Cost::default();
            if !step.taken_over {
                let cost = cost_in(&event.body, "cost");
                self.spent = self.spent.plus(cost.amounts());
            }
        }
        twice
    }

    fn begin(&mut self, seq: i64, path: &str, event: &EventRow) -> Problem {
        let kind = kind_of(&event.body);
        let taken_over = is_taken_over(&event.body);
        let step = Step {
            has_ended: false,
            asked: (kind == StepKind::Question).then_some((seq, event.at_ms)),
            reserved: match taken_over {
                true => Cost::default(),
                false => cost_in(&event.body, "reserve"),
            },
            taken_over,
        };
        self.begun += 1;
        if kind == StepKind::Call && !taken_over {
            let one = Amounts::default().with(Dimension::Steps, 1);
            self.spent = self.spent.plus(one);
        }
        if self.steps.insert(path.to_string(), step).is_some() {
            return Some("the step begins a second time".to_string());
        }
        begun_badly(event)
    }

    /// What is set aside for its own steps in flight.
    pub(crate) fn reserved(&self) -> Amounts {
        let steps = self.steps.values().filter(|step| !step.taken_over);
        steps.fold(Amounts::default(), |sum, step| {
            sum.plus(step.reserved.amounts())
        })
    }

    /// The questions that are open now, oldest first.
    pub(crate) fn open_questions(&self) -> Vec<Asked> {
        // These ends close all of them.
        if let RunStatus::Finished | RunStatus::Cancelled = self.status {
            return Vec::new();
        }
        let open = self.steps.iter().filter(|(_, step)| !step.has_ended);
        let mut open: Vec<Asked> = open
            .filter_map(|(path, step)| {
                let (seq, at_ms) = step.asked?;
                Some(Asked {
                    path: path.clone(),
                    seq,
                    at_ms,
                })
            })
            .collect();
        open.sort_unstable_by_key(|asked| asked.seq);
        open
    }

    /// Steps that were taken over and have no end: only ended ones are.
    pub(crate) fn taken_over_open(&self) -> Option<&str> {
        let mut open = self.steps.iter();
        open.find(|(_, step)| step.taken_over && !step.has_ended)
            .map(|(path, _)| path.as_str())
    }
}

fn begun_badly(event: &EventRow) -> Problem {
    let whole = event.effect.is_some() && event.fingerprint.is_some();
    (!whole).then(|| "it lacks its effect or its fingerprint".to_string())
}
