//! What is outside the journal, and survives every crash: the works that were done, the words of
//! people, and what an observer of the commits knows must be in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use journal::{Cost, Effect, Event, Moment, Reconciled, StepContext, StepError, StoreFault};
use serde_json::{Value, json};

use crate::disk::{Crash, Disk};
use crate::plan::Step;
use crate::shadow::Shadow;
use crate::workflow::found;

/// A run and the address of a step.
pub(crate) type Place = (String, String);

/// Mistakes that a simulation can be told to make, to see that it finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The work of finished steps is done again.
    WorksAgain,
    /// The ledger forgets what is set aside.
    LedgerForgets,
    /// An open question falls off the list.
    QuestionLost,
}

/// Who makes the library do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    Task(u64),
    Person,
    Engine,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Worked {
    key: String,
    /// How often its work began.
    begun: u64,
    /// How often somebody said that it had not happened, beginning with the first attempt.
    allowed: u64,
    /// What it has brought about.
    effect: Option<Value>,
}

pub(crate) struct State {
    pub(crate) works: BTreeMap<Place, Worked>,
    in_flight: BTreeMap<Place, u64>,
    /// Answers to questions and settlements that the journal has accepted.
    pub(crate) said: BTreeMap<Place, Value>,
    /// Of runs whose budget somebody refused to raise.
    pub(crate) refused: BTreeSet<String>,
    /// Forks and their children; whether steps that write with a key may be done in them.
    pub(crate) forks: BTreeMap<String, bool>,
    /// Of the fork that is being made.
    pub(crate) forking: Option<bool>,
    pub(crate) shadow: Shadow,
    pub(crate) disk: Disk,
    pub(crate) actor: Actor,
    /// Tasks that were refused a write: they must do nothing more.
    pub(crate) stopped: BTreeSet<u64>,
    pub(crate) code_version: u32,
    /// No faults and no crashes any more.
    pub(crate) calm: bool,
    pub(crate) bug: Option<Bug>,
    /// The first promise that was not kept.
    pub(crate) wrong: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// Shared by all that take part in a simulation.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

impl World {
    pub(crate) fn new(bug: Option<Bug>) -> World {
        World(Arc::new(Mutex::new(State {
            works: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            said: BTreeMap::new(),
            refused: BTreeSet::new(),
            forks: BTreeMap::new(),
            forking: None,
            shadow: Shadow::default(),
            disk: Disk::default(),
            actor: Actor::Engine,
            stopped: BTreeSet::new(),
            code_version: 1,
            calm: false,
            bug,
            wrong: None,
            trace: Vec::new(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(crate) fn wrong(&self, what: String) {
        self.lock().wrong(what);
    }

    pub(crate) fn has_bug(&self, bug: Bug) -> bool {
        self.lock().bug == Some(bug)
    }

    pub(crate) fn code_version(&self) -> u32 {
        self.lock().code_version
    }

    /// The journal's probe.
    pub(crate) fn probe(&self, moment: Moment, event: &Event) -> Result<(), StoreFault> {
        let state = &mut *self.lock();
        match moment {
            Moment::Before => state.before_commit(event),
            Moment::After => {
                state.after_commit(event);
                Ok(())
            }
        }
    }

    /// The journal's probe of works: every work begins here, also that of the library's own steps.
    pub(crate) fn work_begins(&self, run: &str, context: &StepContext) {
        self.lock().work_begins(
            &(run.to_string(), context.path().to_string()),
            context.key(),
        );
    }

    /// A mistake: the work of a step is done though it has a result.
    pub(crate) fn works_again(&self, run: &str, path: &str, effect: Effect) {
        let place = (run.to_string(), path.to_string());
        let state = &mut *self.lock();
        let key = state.works.get(&place).map(|worked| worked.key.clone());
        if let (Some(key), Effect::Idempotent) = (key, effect) {
            state.work_begins(&place, &key);
        }
    }

    /// A step's work: takes some time, has its effect, takes some more, and may fail on its way.
    pub(crate) async fn perform(
        &self,
        step: &Step,
        place: Place,
        context: StepContext,
        output: Value,
    ) -> Result<Value, StepError> {
        let _in_flight = InFlight::new(self, &place);
        self.pass(step.polls[0]).await;
        let down = {
            let state = &mut *self.lock();
            let worked = state.works.entry(place).or_default();
            let down = worked.begun <= step.faults && worked.effect.is_none();
            if (!down || step.faults_late) && !step.fails {
                worked.effect = Some(output.clone());
            }
            down
        };
        if let Some((_, Some(tokens))) = step.cost {
            context.spent(Cost {
                tokens,
                ..Cost::default()
            });
        }
        self.pass(step.polls[1]).await;
        if down {
            return Err(StepError::Fault("the outside is down".to_string()));
        }
        if step.fails {
            return Err(StepError::Failed("it is to fail".to_string()));
        }
        Ok(output)
    }

    /// Comes back after so many polls; never once the machine has crashed.
    async fn pass(&self, polls: u64) {
        let mut left = polls;
        std::future::poll_fn(|context| {
            if self.lock().disk.crashed() {
                return Poll::Pending;
            }
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// What the other side knows of a step that was cut off.
    pub(crate) fn reconcile(&self, run: &str, path: &str) -> Reconciled {
        let place = (run.to_string(), path.to_string());
        let state = &mut *self.lock();
        let in_flight = state.is_in_flight(&place);
        let worked = state.works.entry(place).or_default();
        let found = found(worked.effect.clone(), in_flight);
        if found == Reconciled::NotDone {
            worked.allowed += 1;
        }
        found
    }
}

impl State {
    pub(crate) fn wrong(&mut self, what: String) {
        // What happens after a crash happens nowhere.
        if !self.disk.crashed() && self.wrong.is_none() {
            self.wrong = Some(what);
        }
    }

    pub(crate) fn is_in_flight(&self, place: &Place) -> bool {
        self.in_flight.contains_key(place)
    }

    pub(crate) fn effect_of(&self, place: &Place) -> Option<Value> {
        self.works.get(place)?.effect.clone()
    }

    /// Somebody said of a step in doubt that it has not happened.
    pub(crate) fn allow(&mut self, place: &Place) {
        self.works.entry(place.clone()).or_default().allowed += 1;
    }

    fn work_begins(&mut self, place: &Place, key: &str) {
        if self.disk.crashed() {
            return;
        }
        let (run, path) = place;
        self.trace.push(format!("work {run} {path}"));
        let step = self.shadow.step(place).cloned();
        if step.as_ref().is_some_and(|step| step.ended) {
            self.wrong(format!("{run} {path} has ended and is worked on again"));
        }
        let effect = step.map(|step| step.effect);
        if let Actor::Task(task) = self.actor
            && self.stopped.contains(&task)
        {
            self.wrong(format!("{run} {path} is worked on without the journal"));
        }
        match (effect, self.forks.get(run)) {
            (Some(Effect::Irreversible), Some(_)) | (Some(Effect::Idempotent), Some(false)) => {
                self.wrong(format!("{path} is done live in the fork {run}"));
            }
            _ => {}
        }
        let worked = self.works.entry(place.clone()).or_default();
        worked.begun += 1;
        let (begun, allowed) = (worked.begun, 1 + worked.allowed);
        if worked.key.is_empty() {
            worked.key = key.to_string();
        }
        if worked.key != key {
            self.wrong(format!("{run} {path} has another key than before"));
        }
        if effect == Some(Effect::Irreversible) && begun > allowed {
            self.wrong(format!("irreversible {run} {path} is done {begun} times"));
        }
    }

    fn before_commit(&mut self, event: &Event) -> Result<(), StoreFault> {
        if self.disk.crashed() {
            return Err(StoreFault::Write);
        }
        if !self.disk.begins_commit(event.seq) {
            return Ok(());
        }
        if let Some(fault) = self.disk.fault() {
            self.trace.push(format!("fault {fault:?} {:?}", event.kind));
            self.fault_hits(event);
            return Err(fault);
        }
        if self.disk.crash_is_due() {
            self.disk.before_crash(self.shadow.clone());
        }
        Ok(())
    }

    fn after_commit(&mut self, event: &Event) {
        self.trace
            .push(format!("{} {:?} {}", event.run, event.kind, event.at_ms));
        if let Some(what) = self.shadow.apply(event, self.actor, &self.stopped) {
            self.wrong(format!("{}: {what} ({:?})", event.run, event.kind));
        }
        self.note_fork(event);
        self.disk.after_commit();
    }

    /// The run whose write has failed must stop. A child's cancellation is a step's work, and the
    /// words of people belong to no run.
    fn fault_hits(&mut self, event: &Event) {
        if let Actor::Task(task) = self.actor
            && !matches!(event.kind, journal::EventKind::RunCancelled { .. })
        {
            self.stopped.insert(task);
        }
    }

    /// Children of a fork are forks.
    fn note_fork(&mut self, event: &Event) {
        if !matches!(event.kind, journal::EventKind::RunStarted { .. }) {
            return;
        }
        let live = match self.actor {
            Actor::Task(task) => {
                let parent = self.shadow.run_of_task(task);
                parent.and_then(|parent| self.forks.get(&parent).copied())
            }
            Actor::Person | Actor::Engine => self.forking,
        };
        if let Some(live) = live {
            self.forks.insert(event.run.to_string(), live);
        }
    }

    /// Arms a crash right after the next commits but so many.
    pub(crate) fn crash_in(&mut self, commits: u64, crash: Crash) {
        self.disk.crash_in(commits, crash);
    }

    pub(crate) fn fingerprint(&self) -> String {
        crate::chance::digest(&json!(self.trace).to_string())
    }
}

/// The work of a step, for as long as it goes on.
struct InFlight(World, Place);

impl InFlight {
    fn new(world: &World, place: &Place) -> InFlight {
        let state = &mut *world.lock();
        *state.in_flight.entry(place.clone()).or_default() += 1;
        InFlight(world.clone(), place.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let state = &mut *self.0.lock();
        let left = state.in_flight.entry(self.1.clone()).or_default();
        *left -= 1;
        if *left == 0 {
            state.in_flight.remove(&self.1);
        }
    }
}
