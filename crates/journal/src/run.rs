//! The handle that running code holds: steps, scopes, and how a run ends.
//!
//! `perform` has what happens to a step on its way: its address, its answer from the journal, its
//! intent and its end. `recall` has what earlier processes recorded, `fork` what a fork makes of it.
//! `waits` has timers, `question` and `child` what their names say, `budget` what happens when one is
//! exhausted. `execute` runs a workflow until it ends or only waits, and `activity` sees that.

mod activity;
mod budget;
mod child;
mod execute;
mod fork;
mod options;
mod perform;
mod question;
mod recall;
mod waits;
mod writing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use self::activity::Activity;
pub(crate) use self::budget::is_about_limit;
pub use self::child::{Child, NewChild};
pub use self::execute::{Outcome, WorkflowError};
pub(crate) use self::execute::{Ran, journal_error};
use self::fork::Fork;
pub(crate) use self::fork::ForkTerms;
pub use self::options::{Reconciled, StepOptions};
use self::perform::{Prepared, is_name, read_back};
pub use self::question::Question;
pub(crate) use self::question::{AnswerTo, validate};
use self::recall::Recalled;
use self::writing::row;
use crate::engine::Turns;
use crate::journal::to_json;
use crate::list::List;
use crate::records::{Effect, EventKind, RunId, StepKind};
use crate::redact::Secrets;
use crate::step::{StepContext, StepError};
use crate::store::{Kind, Notice, Record, Recorded, RunKey, Store, Wait};
use crate::{Moment, Result};

/// A run that this process works on. Clones share it; the last one to go lets go of the run, which
/// can then be resumed, unless it has ended.
#[derive(Clone)]
pub struct Run {
    shared: Arc<Shared>,
    /// Empty, or the scopes with a slash after each: `research/search[3]/`.
    scope: Arc<str>,
    /// The name of a scope that cannot be one; the next step says so.
    misnamed: Option<Arc<str>>,
}

/// A run whose lease has just been taken.
pub(crate) struct Taken {
    pub(crate) key: RunKey,
    pub(crate) input: Value,
    pub(crate) definition: String,
    /// In the order in which the steps were first begun.
    pub(crate) recorded: Vec<(String, Recorded)>,
    /// What a fork makes of what it shares.
    pub(crate) fork: Option<ForkTerms>,
    /// Only to be compared with what is recorded: nothing is done and nothing written.
    pub(crate) replay: bool,
}

struct Shared {
    store: Store,
    secrets: Arc<Secrets>,
    key: Arc<RunKey>,
    input: Value,
    definition: String,
    /// How many steps of a scope and name there have been.
    ordinals: Mutex<HashMap<String, u64>>,
    /// What earlier processes recorded and this one has not asked for yet.
    recorded: Recalled,
    cancel: CancellationToken,
    activity: Activity,
    fork: Option<Fork>,
    replay: Option<Mutex<Replaying>>,
    /// The engine that works on it, for turns.
    turns: OnceLock<Arc<Turns>>,
    /// Scopes whose steps nobody will ask for any more.
    abandoned: Mutex<Vec<Arc<str>>>,
    /// What was answered to the questions whether to raise a limit, by address.
    raises: tokio::sync::Mutex<HashMap<String, Value>>,
}

/// How far a replay has come.
#[derive(Default)]
pub(crate) struct Replaying {
    /// How the code ended the run.
    pub(crate) end: Option<(Kind, Value)>,
    /// Steps answered from the recording.
    pub(crate) answered: u64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.replay.is_none() {
            self.store.forget(&self.key.id);
            self.store.release(&self.key);
        }
    }
}

impl Run {
    pub(crate) fn new(store: Store, secrets: Arc<Secrets>, taken: Taken) -> Run {
        let Taken {
            key,
            input,
            definition,
            recorded,
            fork,
            replay,
        } = taken;
        let cancel = CancellationToken::new();
        if !replay {
            store.remember(&key, cancel.clone());
        }
        let shared = Shared {
            store,
            secrets,
            key: Arc::new(key),
            input,
            definition,
            ordinals: Mutex::default(),
            recorded: Recalled::new(recorded),
            cancel,
            activity: Activity::default(),
            fork: fork.map(Fork::new),
            replay: replay.then(Mutex::default),
            turns: OnceLock::new(),
            abandoned: Mutex::default(),
            raises: tokio::sync::Mutex::default(),
        };
        Run {
            shared: Arc::new(shared),
            scope: "".into(),
            misnamed: None,
        }
    }

    /// The run's id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// let run = journal.start(journal::NewRun::new("greeter", "Ada".into())).await?;
    /// assert_eq!(journal.run(run.id().as_str()).await?.agent, "greeter");
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> &RunId {
        &self.shared.key.id
    }

    /// What the run was started with.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// let run = journal.start(journal::NewRun::new("greeter", "Ada".into())).await?;
    /// assert_eq!(run.input(), "Ada");
    /// # Ok(())
    /// # }
    /// ```
    pub fn input(&self) -> &Value {
        &self.shared.input
    }

    /// The definition's text as it was when the run started.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// let mut new = journal::NewRun::new("greeter", "Ada".into());
    /// new.definition = "Greet whoever is named.".to_string();
    /// let run = journal.start(new).await?;
    /// assert_eq!(run.definition(), "Greet whoever is named.");
    /// # Ok(())
    /// # }
    /// ```
    pub fn definition(&self) -> &str {
        &self.shared.definition
    }

    /// A scope for a branch of the work: addresses of its steps begin with `name[index]/`. Branches
    /// that run side by side each need one, so that their steps have the same addresses whatever the
    /// order in which they get on.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// use journal::Effect;
    ///
    /// let branches = (0..3).map(|index| {
    ///     let run = run.scope("branch", index);
    ///     async move { run.step("read", Effect::Read, &index, |_| async move { Ok(index) }).await }
    /// });
    /// assert_eq!(futures::future::try_join_all(branches).await?, [0, 1, 2]);
    /// assert_eq!(journal.steps(run.id()).await?[2].path, "branch[2]/read[0]");
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope(&self, name: &str, index: usize) -> Run {
        Run {
            shared: Arc::clone(&self.shared),
            scope: format!("{}{name}[{index}]/", self.scope).into(),
            misnamed: self
                .misnamed
                .clone()
                .or_else(|| (!is_name(name)).then(|| name.into())),
        }
    }

    /// Says that nobody will ask for the steps of this scope any more: another branch was quicker. A replay
    /// then does not miss what this one had done by then. Code that is run again has to say it again, so
    /// what makes it say so has to be recorded. Of a run as a whole it says nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Effect, Journal, NewRun, Run, WorkflowError};
    ///
    /// // The second time the code is run, it does not come to the first branch at all.
    /// async fn race(run: Run, again: bool) -> Result<serde_json::Value, WorkflowError> {
    ///     let slow = run.scope("slow", 0);
    ///     if !again {
    ///         slow.step("look", Effect::Read, &(), |_| async { Ok(1) }).await?;
    ///     }
    ///     slow.abandon();
    ///     Ok(().into())
    /// }
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("racer", ().into())).await?;
    /// run.execute(|run| race(run, false)).await?;
    /// assert!(journal.replay(run.id().as_str(), |run| race(run, true)).await?.complete);
    /// # Ok(())
    /// # }
    /// ```
    pub fn abandon(&self) {
        if !self.scope.is_empty() {
            let abandoned = self.shared.abandoned.lock();
            let mut abandoned = abandoned.unwrap_or_else(PoisonError::into_inner);
            abandoned.push(Arc::clone(&self.scope));
        }
    }

    /// Says that the code is at work beside its steps for as long as what is returned lives: it computes
    /// something, or waits for what is no step. Else a run in which nothing but that goes on would be put
    /// aside when another branch of it waits for a person or a time.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// let working = run.working();
    /// let sum = tokio::task::spawn_blocking(|| (1..=100).sum::<u32>()).await;
    /// drop(working);
    /// # assert_eq!(sum.ok(), Some(5050));
    /// # Ok(())
    /// # }
    /// ```
    pub fn working(&self) -> impl Send + use<> {
        self.shared.activity.busy()
    }

    /// The scope beside the next step of this name: what belongs to `refund[2]` and is not that step, such
    /// as a question whether it may be done, is at `refund[2]/`.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// use journal::Effect;
    ///
    /// let beside = run.beside("refund");
    /// beside.step("checked", Effect::Pure, &80, |_| async { Ok(()) }).await?;
    /// run.step("refund", Effect::Idempotent, &80, |_| async { Ok(()) }).await?;
    /// let steps = journal.steps(run.id()).await?;
    /// assert_eq!([&steps[0].path, &steps[1].path], ["refund[0]/checked[0]", "refund[0]"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn beside(&self, name: &str) -> Run {
        let ordinals = self.shared.ordinals.lock();
        let ordinals = ordinals.unwrap_or_else(std::sync::PoisonError::into_inner);
        let next = ordinals.get(&format!("{}{name}", self.scope)).copied();
        drop(ordinals);
        self.scope(
            name,
            usize::try_from(next.unwrap_or(0)).unwrap_or(usize::MAX),
        )
    }

    /// An empty list that steps can have as their input, or in it, at the cost of what is new in it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// use journal::Effect;
    ///
    /// let mut messages = run.list();
    /// messages.push("Who are you?")?;
    /// let answer: String = run
    ///     .step("model", Effect::Read, &messages, |_| async { Ok("Ada".to_string()) })
    ///     .await?;
    /// messages.push(&answer)?;
    /// assert_eq!(messages.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn list(&self) -> List {
        List::new(self.id().clone(), Arc::clone(&self.shared.secrets))
    }

    /// Does a step, or answers it from the journal when it is done already.
    ///
    /// Its address is the scope, `name`, and how many steps of that name the scope has had; it is
    /// settled by the call, not by when the future is first polled. The intent is written before
    /// `work` begins (and on disk before it, when the effect writes), the result is on disk before
    /// this returns. What is returned is what the journal would answer.
    ///
    /// Errors: [`Error::StepFailed`] and [`Error::StepFault`] from the work, [`Error::Cancelled`],
    /// [`Error::Diverged`], [`Error::InDoubt`], and whatever stops the run.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// use journal::{Effect, StepError};
    ///
    /// let sent: u32 = run
    ///     .step("mail", Effect::Idempotent, run.input(), |context| async move {
    ///         // Here: hand context.key() to the mail server, so that twice is once.
    ///         context.attribute("to", "Ada");
    ///         if context.key().is_empty() {
    ///             return Err(StepError::Fault("the server is down".to_string()));
    ///         }
    ///         Ok(1)
    ///     })
    ///     .await?;
    /// assert_eq!(sent, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn step<'a, I, T, F, Fut>(
        &'a self,
        name: &str,
        effect: Effect,
        input: &I,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<'a, I, T, F, Fut>
    where
        I: Serialize + Sync + ?Sized,
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce(StepContext) -> Fut + Send,
        Fut: Future<Output = std::result::Result<T, StepError>> + Send,
    {
        self.step_with(name, effect, input, StepOptions::default(), work)
    }

    /// Like [`Run::step`], for a step that may cost something, or that can find out by itself what
    /// became of it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Budget, Cost, Effect, Journal, NewRun, StepOptions};
    ///
    /// let journal = Journal::in_memory()?;
    /// let mut new = NewRun::new("writer", "a poem".into());
    /// new.budget.tokens = Some(1_000);
    /// let run = journal.start(new).await?;
    /// let options = StepOptions::reserve(Cost { tokens: 800, ..Cost::default() });
    /// let poem: String = run
    ///     .step_with("model", Effect::Read, run.input(), options, |context| async move {
    ///         context.spent(Cost { tokens: 120, ..Cost::default() });
    ///         Ok("Roses are red".to_string())
    ///     })
    ///     .await?;
    /// let tokens = journal.spending(run.id()).await?[0];
    /// assert_eq!((tokens.most, tokens.spent, tokens.reserved), (1_000, 120, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn step_with<'a, I, T, F, Fut>(
        &'a self,
        name: &str,
        effect: Effect,
        input: &I,
        options: StepOptions,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<'a, I, T, F, Fut>
    where
        I: Serialize + Sync + ?Sized,
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce(StepContext) -> Fut + Send,
        Fut: Future<Output = std::result::Result<T, StepError>> + Send,
    {
        let asked = self.address(name, StepKind::Call, effect, input);
        async move {
            let asked = asked?;
            let _busy = self.shared.activity.busy();
            let context = match self.prepare(&asked, options).await? {
                Prepared::Answered(value) => return read_back(value, &asked.path),
                Prepared::Go(context) => context,
            };
            let turn = match self.shared.turns.get() {
                Some(turns) => Some(turns.take(self.shared.key.key).await),
                None => None,
            };
            // Cancelled while the intent was written: the work must not begin.
            self.check_alive()?;
            self.tell_work(Moment::Before, &context);
            let ended = tokio::select! {
                biased;
                () = self.shared.cancel.cancelled() => return Err(self.cancelled_error()),
                ended = work(context.clone()) => ended,
            };
            self.tell_work(Moment::After, &context);
            drop(turn);
            match ended {
                Ok(result) => {
                    let value = to_json(&result, &asked.path, "result")?;
                    drop(result);
                    let value = self.shared.secrets.value(value);
                    let value = self.write_result(&asked.path, value, &context).await?;
                    read_back(value, &asked.path)
                }
                Err(error) => Err(self.write_error(&asked.path, error, &context).await?),
            }
        }
    }

    /// The time in milliseconds since 1970 (UTC), journaled: a resume sees the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("clock", ().into())).await?;
    /// let began_ms = run.now_ms().await?;
    /// let took_ms = run.now_ms().await? - began_ms;
    /// assert!(took_ms >= 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn now_ms(&self) -> Result<i64> {
        self.step("now", Effect::Read, &(), |_| async {
            Ok(self.shared.store.clock().now_ms())
        })
        .await
    }

    /// A random number, journaled: a resume sees the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("dice", ().into())).await?;
    /// let dice = run.random().await? % 6 + 1;
    /// assert!((1..=6).contains(&dice));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn random(&self) -> Result<u64> {
        self.step("random", Effect::Read, &(), |_| async {
            Ok(rand::random())
        })
        .await
    }

    /// Stops the run's work: steps in flight are dropped and they and all later ones return
    /// [`Error::Cancelled`]. The run itself has not ended; park it, or resume it later.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// run.cancel();
    /// let stopped = run.now_ms().await;
    /// assert!(matches!(stopped, Err(journal::Error::Cancelled)));
    /// run.park("stopped by hand").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&self) {
        self.shared.cancel.cancel();
    }

    /// Of a replay: how many steps have been answered.
    pub(crate) fn answered(&self) -> u64 {
        self.replaying().map_or(0, |replay| replay.answered)
    }

    /// Recorded steps that the code has not asked for, in the order in which they were begun.
    pub(crate) fn not_asked(&self) -> Vec<String> {
        let abandoned = self.shared.abandoned.lock();
        let abandoned = abandoned.unwrap_or_else(PoisonError::into_inner);
        let mut missed = self.recorded().not_asked();
        missed.retain(|path| !abandoned.iter().any(|scope| path.starts_with(&**scope)));
        missed
    }

    /// Takes turns with the other runs of an engine.
    pub(crate) fn take_turns(&self, turns: Arc<Turns>) {
        // Only the first engine counts; there is no second one.
        let _ = self.shared.turns.set(turns);
    }

    /// Whether [`Run::cancel`] has been called.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// assert!(!run.is_cancelled());
    /// run.cancel();
    /// assert!(run.is_cancelled());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancel.is_cancelled()
    }

    /// Waits for [`Run::cancel`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// let stopped = run.clone();
    /// let waiting = tokio::spawn(async move { stopped.cancelled().await });
    /// run.cancel();
    /// waiting.await.expect("it only waits");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancelled(&self) {
        self.shared.cancel.cancelled().await;
    }

    /// The version of the code that this run follows at this place: `version` when the run comes here
    /// for the first time, what it was then when it comes again, and 0 when it had come past here
    /// before this call was in the code: when more steps of this scope are recorded. Branches side by
    /// side that ask for versions want a scope each.
    ///
    /// So a workflow can be changed while runs of it are under way:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("greeter", ().into())).await?;
    /// let greeting = if run.version("polite", 1).await? >= 1 { "Good day" } else { "Hi" };
    /// assert_eq!(greeting, "Good day");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn version(&self, name: &str, version: u32) -> Result<u32> {
        let asked = self.address(name, StepKind::Version, Effect::Pure, &())?;
        let _busy = self.shared.activity.busy();
        {
            let recorded = self.recorded();
            if !recorded.has(&asked.path) && recorded.is_behind(&self.scope) {
                return Ok(0);
            }
        }
        let context = match self.prepare(&asked, StepOptions::default()).await? {
            Prepared::Answered(value) => return read_back(value, &asked.path),
            Prepared::Go(context) => context,
        };
        self.write_result(&asked.path, version.into(), &context)
            .await?;
        Ok(version)
    }

    /// Ends the run with its output. No step may follow.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// run.finish(&"done".into()).await?;
    /// assert_eq!(journal.run(run.id().as_str()).await?.output, Some("done".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn finish(&self, output: &Value) -> Result<()> {
        let output = self.shared.secrets.value(output.clone());
        self.end(
            Kind::RunFinished,
            "output",
            output,
            EventKind::RunFinished,
            Vec::new(),
        )
        .await
    }

    /// Ends the run with an error. No step may follow on this handle.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// run.fail("no such order").await?;
    /// assert_eq!(journal.run(run.id().as_str()).await?.reason.as_deref(), Some("no such order"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fail(&self, error: &str) -> Result<()> {
        let error = self.shared.secrets.text(error);
        let kind = EventKind::RunFailed {
            error: error.clone(),
        };
        let value = error.as_str().into();
        self.end(Kind::RunFailed, "error", value, kind, Vec::new())
            .await
    }

    /// Puts the run aside, to be resumed. No step may follow on this handle.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// run.park("the office is closed").await?;
    /// let id = run.id().clone();
    /// drop(run);
    /// let run = journal.resume(id.as_str()).await?;
    /// # run.finish(&().into()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn park(&self, reason: &str) -> Result<()> {
        self.park_until(reason, Vec::new()).await
    }

    /// Puts the run aside until one of these has happened; none: until somebody resumes it.
    async fn park_until(&self, reason: &str, waits: Vec<Wait>) -> Result<()> {
        let reason = self.shared.secrets.text(reason);
        let kind = EventKind::RunParked {
            reason: reason.clone(),
        };
        let value = reason.as_str().into();
        self.end(Kind::RunParked, "reason", value, kind, waits)
            .await
    }

    async fn end(
        &self,
        kind: Kind,
        field: &str,
        value: Value,
        notice: EventKind,
        waits: Vec<Wait>,
    ) -> Result<()> {
        if let Some(mut replay) = self.replaying() {
            replay.end = Some((kind, value));
            return Ok(());
        }
        let reason = match kind {
            Kind::RunFinished => None,
            _ => value.as_str().map(String::from),
        };
        let body = Map::from_iter([(field.to_string(), value)]);
        let (event, nodes) = row(kind, &body, "(end)", "result")?;
        let notice = Notice {
            kind: notice,
            reason,
        };
        let mut record = Record::new(event, nodes, notice);
        record.waits = waits;
        self.shared.store.append(&self.shared.key, record).await
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Run")
            .field("id", self.id())
            .field("scope", &self.scope)
            .finish()
    }
}
