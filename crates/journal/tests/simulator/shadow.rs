//! What must be in the journal, as somebody knows who has seen every commit; and the rules for what
//! may follow upon what.

use std::collections::{BTreeMap, BTreeSet};

use journal::{Effect, Event, EventKind, RunStatus, StepKind};

use crate::world::{Actor, Place};

#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    pub(crate) runs: BTreeMap<String, ShadowRun>,
    pub(crate) last_seq: i64,
    /// Runs that something has happened to since they were last looked at.
    pub(crate) touched: BTreeSet<String>,
    /// Which run each task works on.
    tasks: BTreeMap<u64, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct ShadowRun {
    pub(crate) agent: String,
    pub(crate) status: RunStatus,
    pub(crate) steps: BTreeMap<String, ShadowStep>,
}

#[derive(Clone, Debug)]
pub(crate) struct ShadowStep {
    pub(crate) kind: StepKind,
    pub(crate) effect: Effect,
    pub(crate) attempts: u32,
    pub(crate) ended: bool,
    pub(crate) failed: bool,
    /// Somebody said that it has not happened, since it was last begun.
    pub(crate) cleared: bool,
}

impl Shadow {
    pub(crate) fn step(&self, (run, path): &Place) -> Option<&ShadowStep> {
        self.runs.get(run)?.steps.get(path)
    }

    pub(crate) fn works_on(&mut self, task: u64, run: &str) {
        self.tasks.insert(task, run.to_string());
    }

    pub(crate) fn run_of_task(&self, task: u64) -> Option<String> {
        self.tasks.get(&task).cloned()
    }

    /// Runs that have not ended for good.
    pub(crate) fn living(&self) -> Vec<String> {
        let living = self.runs.iter().filter(|(_, run)| run.is_living());
        living.map(|(id, _)| id.clone()).collect()
    }

    /// The questions that are open: asked, not answered, of runs that may still want the answer.
    pub(crate) fn questions(&self) -> BTreeSet<Place> {
        self.open(|step| step.kind == StepKind::Question)
    }

    /// Steps begun and not ended, of runs that have neither finished nor been cancelled.
    pub(crate) fn open(&self, wanted: impl Fn(&ShadowStep) -> bool) -> BTreeSet<Place> {
        let asking = self
            .runs
            .iter()
            .filter(|(_, run)| !matches!(run.status, RunStatus::Finished | RunStatus::Cancelled));
        let steps = asking.flat_map(|(id, run)| run.steps.iter().map(move |step| (id, step)));
        steps
            .filter(|(_, (_, step))| !step.ended && wanted(step))
            .map(|(id, (path, _))| (id.clone(), path.clone()))
            .collect()
    }

    /// Takes an event in; says what is wrong with it.
    pub(crate) fn apply(
        &mut self,
        event: &Event,
        actor: Actor,
        stopped: &BTreeSet<u64>,
    ) -> Option<String> {
        let follows = event.seq == self.last_seq + 1;
        let last_seq = self.last_seq;
        self.last_seq = event.seq;
        self.touched.insert(event.run.to_string());
        if !follows {
            return Some(format!("event {} follows upon {last_seq}", event.seq));
        }
        // Once the journal can be written again, a run whose write has failed is parked: that, and
        // nothing else, is still its own to write.
        if let Actor::Task(task) = actor
            && !matches!(event.kind, EventKind::RunParked { .. })
            && stopped.contains(&task)
            && self.run_of_task(task).as_deref() == Some(event.run.as_str())
        {
            return Some("it writes after a write has failed".to_string());
        }
        if let EventKind::RunStarted { agent } = &event.kind {
            let run = ShadowRun {
                agent: agent.clone(),
                status: RunStatus::Running,
                steps: BTreeMap::new(),
            };
            let before = self.runs.insert(event.run.to_string(), run);
            return before.map(|_| "it starts twice".to_string());
        }
        match self.runs.get_mut(event.run.as_str()) {
            Some(run) => run.apply(&event.kind, actor),
            None => Some("it has not started".to_string()),
        }
    }
}

impl ShadowRun {
    fn is_living(&self) -> bool {
        matches!(self.status, RunStatus::Running | RunStatus::Parked)
    }

    fn apply(&mut self, kind: &EventKind, actor: Actor) -> Option<String> {
        use RunStatus::{Cancelled, Failed, Finished, Parked, Running};
        let (from, to): (&[RunStatus], RunStatus) = match kind {
            EventKind::RunResumed => (&[Running, Parked, Failed], Running),
            EventKind::RunParked { .. } => (&[Running], Parked),
            EventKind::RunFinished => (&[Running], Finished),
            EventKind::RunFailed { .. } => (&[Running], Failed),
            EventKind::RunCancelled { .. } => (&[Running, Parked, Failed], Cancelled),
            EventKind::RunStarted { .. } | EventKind::BudgetRaised { .. } => return None,
            EventKind::StepStarted { .. }
            | EventKind::StepFinished { .. }
            | EventKind::StepFailed { .. }
            | EventKind::StepFaulted { .. }
            | EventKind::StepSettled { .. } => return self.apply_step(kind, actor),
        };
        let allowed = from.contains(&self.status);
        let was = std::mem::replace(&mut self.status, to);
        (!allowed).then(|| format!("it was {was:?}"))
    }

    fn apply_step(&mut self, kind: &EventKind, actor: Actor) -> Option<String> {
        let by_itself = matches!(actor, Actor::Task(_));
        if by_itself && self.status != RunStatus::Running {
            return Some(format!("it is {:?}", self.status));
        }
        match kind {
            EventKind::StepStarted {
                path,
                step: kind,
                effect,
                attempt,
            } => self.begin(path, *kind, *effect, *attempt),
            EventKind::StepFinished { path, .. } => self.end(path, false),
            EventKind::StepFailed { path, .. } => self.end(path, true),
            EventKind::StepFaulted { path, .. } => match self.steps.get(path) {
                Some(step) if !step.ended => None,
                _ => Some("the step is not at work".to_string()),
            },
            EventKind::StepSettled { path } => match self.steps.get_mut(path) {
                Some(step) if !step.ended && step.effect == Effect::Irreversible => {
                    step.cleared = true;
                    None
                }
                _ => Some("the step is not in doubt".to_string()),
            },
            _ => None,
        }
    }

    fn begin(
        &mut self,
        path: &str,
        kind: StepKind,
        effect: Effect,
        attempt: u32,
    ) -> Option<String> {
        let step = self.steps.entry(path.to_string()).or_insert(ShadowStep {
            kind,
            effect,
            attempts: 0,
            ended: false,
            failed: false,
            cleared: false,
        });
        if step.ended {
            return Some("the step has ended".to_string());
        }
        step.attempts += 1;
        step.cleared = false;
        (step.attempts != attempt).then(|| format!("it is attempt {}", step.attempts))
    }

    fn end(&mut self, path: &str, failed: bool) -> Option<String> {
        match self.steps.get_mut(path) {
            Some(step) if !step.ended => {
                (step.ended, step.failed) = (true, failed);
                None
            }
            Some(_) => Some("the step has ended already".to_string()),
            None => Some("the step has not begun".to_string()),
        }
    }
}
