//! The engine: takes up what can go on, and works on many runs at once.
//!
//! It asks the journal which runs are ready, takes their leases and runs their code. A run that only
//! waits leaves memory; it is ready again when its answer, its time or its child has come. Several
//! engines, in one process or in many, may work on one file: the lease decides.

mod turns;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::turns::Turns;
use crate::records::RunId;
use crate::run::{Run, WorkflowError};
use crate::{Error, Journal, Result};

/// A workflow's code, run anew each time a run of it is taken up.
pub type Workflow = Arc<
    dyn Fn(Run) -> Pin<Box<dyn Future<Output = std::result::Result<Value, WorkflowError>> + Send>>
        + Send
        + Sync,
>;

/// How much an engine does at once.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Runs in memory at most. The others wait for their turn, those that have waited longest first.
    pub runs: usize,
    /// Steps at work at most, over all runs. Runs take turns: one with many steps in parallel does not
    /// keep one with a single step waiting.
    pub steps: usize,
    /// How often to look for what other processes have made ready, in milliseconds.
    pub poll_ms: u64,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            runs: 256,
            steps: 64,
            poll_ms: 500,
        }
    }
}

/// Works on the runs of a journal.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), journal::Error> {
/// use journal::{Engine, Journal, NewChild, NewRun};
///
/// let journal = Journal::in_memory()?;
/// let engine = Engine::new(journal.clone())
///     .register("square", |run| async move {
///         let number = run.input().as_i64().unwrap_or_default();
///         Ok((number * number).into())
///     })
///     .register("squares", |run| async move {
///         let mut sum = 0;
///         for number in 1..=3 {
///             let child = run.spawn("square", &NewChild::new("square", number.into())).await?;
///             sum += child.wait().await??.as_i64().unwrap_or_default();
///         }
///         Ok(sum.into())
///     });
/// let id = journal.submit(NewRun::new("squares", ().into())).await?;
/// engine.run_until_idle().await?;
/// assert_eq!(journal.run(id.as_str()).await?.output, Some(14.into()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Engine {
    journal: Journal,
    workflows: HashMap<String, Workflow>,
    options: EngineOptions,
}

impl Engine {
    /// An engine that knows no workflow yet.
    pub fn new(journal: Journal) -> Engine {
        Engine {
            journal,
            workflows: HashMap::new(),
            options: EngineOptions::default(),
        }
    }

    /// Does so much at once.
    pub fn options(mut self, options: EngineOptions) -> Engine {
        self.options = options;
        self
    }

    /// Works on runs of this agent or workflow with this code.
    pub fn register<F, Fut>(mut self, agent: &str, workflow: F) -> Engine
    where
        F: Fn(Run) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<Value, WorkflowError>> + Send + 'static,
    {
        let workflow: Workflow = Arc::new(move |run| Box::pin(workflow(run)));
        self.workflows.insert(agent.to_string(), workflow);
        self
    }

    /// The journal that it works on.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The code registered for an agent.
    pub fn workflow(&self, agent: &str) -> Option<&Workflow> {
        self.workflows.get(agent)
    }

    /// Works until nothing can go on by itself: every run has ended, or waits for a person or for a
    /// time that has not come.
    pub async fn run_until_idle(&self) -> Result<()> {
        self.work(CancellationToken::new(), true).await
    }

    /// Works until it is told to stop. Then the runs in memory are parked, so that an engine can go on
    /// with them at once, and steps in flight are dropped.
    pub async fn run_until(&self, stop: CancellationToken) -> Result<()> {
        self.work(stop, false).await
    }

    async fn work(&self, stop: CancellationToken, until_idle: bool) -> Result<()> {
        let agents: Vec<String> = self.workflows.keys().cloned().collect();
        let turns = Arc::new(Turns::new(self.options.steps));
        let store = self.journal.store();
        let mut shift = Shift::default();
        // A handle that was dropped right before this has its lease for a moment longer.
        store.catch_up().await?;
        loop {
            let changed = store.ready();
            let changed = changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next_ms = self.take_up(&agents, &turns, &mut shift).await?;
            if until_idle && shift.active.is_empty() {
                return Ok(());
            }
            let now_ms = store.clock().now_ms();
            let poll_ms = now_ms.saturating_add_unsigned(self.options.poll_ms);
            let wake_ms = next_ms.map_or(poll_ms, |next_ms| next_ms.clamp(now_ms + 1, poll_ms));
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    shift.stop().await;
                    return Ok(());
                }
                Some(ended) = shift.tasks.join_next() => shift.ended(ended, now_ms),
                () = &mut changed => {}
                () = store.clock().sleep_until(wake_ms) => {}
            }
        }
    }

    /// Takes up what is ready, as far as there is room; gives when the next run will be ready.
    async fn take_up(
        &self,
        agents: &[String],
        turns: &Arc<Turns>,
        shift: &mut Shift,
    ) -> Result<Option<i64>> {
        let room = self.options.runs.saturating_sub(shift.active.len());
        if room == 0 {
            return Ok(None);
        }
        let store = self.journal.store();
        let now_ms = store.clock().now_ms();
        shift.resting.retain(|_, until_ms| *until_ms > now_ms);
        let mut skip: Vec<String> = shift.active.keys().map(RunId::to_string).collect();
        skip.extend(shift.resting.keys().map(RunId::to_string));
        let agents = agents.to_vec();
        let (ready, next_ms) = store
            .read(move |reader| {
                let skips = |id: &str| skip.iter().any(|skipped| skipped == id);
                reader.ready(&agents, &skips, room)
            })
            .await?;
        for id in ready {
            let engine = self.clone();
            let turns = Arc::clone(turns);
            let stop = CancellationToken::new();
            let (name, stops) = (id.clone(), stop.clone());
            let task = shift.tasks.spawn(async move {
                let worked = engine.work_on(&id, turns, stop).await;
                (id, worked)
            });
            shift.active.insert(name, (stops, task.id()));
        }
        Ok(next_ms)
    }

    /// Takes a run up and runs its code.
    async fn work_on(&self, id: &RunId, turns: Arc<Turns>, stop: CancellationToken) -> Result<()> {
        let run = self.journal.resume(id.as_str()).await?;
        let agent = self.journal.run(id.as_str()).await?.agent;
        let Some(workflow) = self.workflows.get(&agent) else {
            return Ok(());
        };
        run.take_turns(turns);
        let stopped = async {
            stop.cancelled().await;
            run.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            outcome = run.execute(|run| workflow(run)) => outcome.map(|_| ()),
            () = stopped => Ok(()),
        }
    }
}

/// What an engine is working on.
#[derive(Default)]
struct Shift {
    tasks: JoinSet<(RunId, Result<()>)>,
    active: HashMap<RunId, (CancellationToken, tokio::task::Id)>,
    /// Runs that could not be worked on, until when to leave them alone.
    resting: HashMap<RunId, i64>,
}

/// How long a run that could not be worked on is left alone, in milliseconds.
const REST_MS: i64 = 1_000;

impl Shift {
    fn ended(
        &mut self,
        ended: std::result::Result<(RunId, Result<()>), tokio::task::JoinError>,
        now_ms: i64,
    ) {
        let (id, worked) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // The run's handle is gone and with it the lease; another attempt may come out better.
                tracing::error!(%error, "a workflow's code panicked");
                let panicked = error.id();
                let run = self.active.iter().find(|(_, (_, task))| *task == panicked);
                if let Some(id) = run.map(|(id, _)| id.clone()) {
                    self.active.remove(&id);
                    self.resting.insert(id, now_ms + REST_MS);
                }
                return;
            }
        };
        self.active.remove(&id);
        match worked {
            Ok(())
            | Err(
                Error::Held { .. }
                | Error::Finished { .. }
                | Error::RunCancelled { .. }
                | Error::LeaseLost { .. },
            ) => {}
            Err(error) => {
                tracing::error!(run = %id, %error, "a run could not be worked on");
                self.resting.insert(id, now_ms + REST_MS);
            }
        }
    }

    async fn stop(&mut self) {
        self.active.values().for_each(|(stop, _)| stop.cancel());
        while self.tasks.join_next().await.is_some() {}
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("workflows", &self.workflows.keys())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
