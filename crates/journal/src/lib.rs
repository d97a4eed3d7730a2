//! The journal: durable runs and their steps.
//!
//! A [`Run`] is one durable execution of something on an input. Everything in it that touches the
//! world is a step, and [`Run::step`] writes the step's intent before its work begins and its result
//! before the caller sees it. When the process is killed, [`Journal::resume`] gives the run back: the
//! same code runs again from the top, and every step that had finished is answered from the journal.
//!
//! Start at [`Journal::open`], then [`Journal::start`] and [`Run::step`]. Inside, `store` owns the
//! SQLite file with its one writer thread, `payload` how values are cut into content-addressed
//! nodes, `lease` who may work on a run, `redact` what must not be written.
//!
//! **Invariant**: no result reaches a caller before it is on disk, and a run whose journal cannot be
//! written stops. **Invariant**: this crate knows nothing of models, prompts or documents.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), journal::Error> {
//! use journal::{Effect, Journal, NewRun, Outcome};
//!
//! let journal = Journal::in_memory()?;
//! let mut new = NewRun::new("greeter", "Ada".into());
//! new.id = Some("travel-42".to_string());
//! let run = journal.start(new).await?;
//! let outcome = run
//!     .execute(|run| async move {
//!         let name = run.input().clone();
//!         let greeting: String = run
//!             .step("greet", Effect::Read, &name, |_context| async { Ok("Hello, Ada".to_string()) })
//!             .await?;
//!         Ok(greeting.into())
//!     })
//!     .await?;
//! assert_eq!(outcome, Outcome::Finished("Hello, Ada".into()));
//! assert_eq!(journal.run("travel").await?.output, Some("Hello, Ada".into()));
//! # Ok(())
//! # }
//! ```

mod budget;
mod clock;
mod engine;
mod error;
mod export;
mod fingerprint;
mod journal;
mod lease;
mod list;
mod payload;
mod records;
mod redact;
mod run;
mod step;
mod store;
pub mod testing;

use std::sync::Arc;

pub use budget::{Budget, Cost, Dimension, Spending};
pub use clock::{Clock, ManualClock, Sleep, SystemClock};
pub use engine::{Engine, EngineOptions, Workflow};
pub use error::Error;
pub use journal::{
    Collected, Difference, Finding, Fork, Journal, OpenQuestion, Replay, Settlement,
};
pub use list::List;
pub use records::{
    Effect, Event, EventKind, ForkedFrom, NewRun, Page, RunId, RunRecord, RunStatus, StepKind,
    StepRecord, StepStatus,
};
pub use run::{Child, NewChild, Outcome, Question, Reconciled, Run, StepOptions, WorkflowError};
pub use step::{StepContext, StepError};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// How a journal is opened, where the defaults do not fit.
#[derive(Clone)]
pub struct Options {
    /// How long a lease lasts without being renewed, in milliseconds. It is renewed three times as
    /// often.
    pub lease_ms: u64,
    /// How long to wait for another process that is writing to the same file, in milliseconds.
    pub busy_timeout_ms: u64,
    /// How large the file may grow. Beyond that, runs stop as they do on a full disk.
    pub max_bytes: Option<u64>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Called for each event, right before and right after it becomes durable. For tests that cut the
    /// process off at a certain event, or let a write fail.
    pub probe: Option<Probe>,
    /// Called when a step's work begins and when it has ended. For tests that count.
    pub work_probe: Option<WorkProbe>,
    /// Write in the caller's own thread, each command in a commit of its own and without waiting for
    /// the disk. For simulations, which must be the same each time.
    pub inline: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lease_ms: 30_000,
            busy_timeout_ms: 10_000,
            max_bytes: None,
            clock: Arc::new(SystemClock),
            probe: None,
            work_probe: None,
            inline: false,
        }
    }
}

/// See [`Options::probe`]. A fault makes the group of writes fail, when it comes before the commit.
pub type Probe = Arc<dyn Fn(Moment, &Event) -> std::result::Result<(), StoreFault> + Send + Sync>;

/// See [`Options::work_probe`].
pub type WorkProbe = Arc<dyn Fn(Moment, &RunId, &StepContext) + Send + Sync>;

/// Which side of an event's commit, or of a step's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is about to be: a crash now loses it.
    Before,
    /// It is done: a crash now does not lose an event.
    After,
}

/// A failure of the store that a test asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The write fails.
    Write,
    /// The disk is full.
    Full,
}
