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
//! use journal::{Effect, Journal, NewRun};
//!
//! let journal = Journal::in_memory()?;
//! let run = journal
//!     .start(NewRun {
//!         id: Some("travel-42".to_string()),
//!         agent: "greeter".to_string(),
//!         definition: String::new(),
//!         input: "Ada".into(),
//!     })
//!     .await?;
//! let name = run.input().clone();
//! let greeting: String = run
//!     .step("greet", Effect::Read, &name, |_context| async { Ok("Hello, Ada".to_string()) })
//!     .await?;
//! run.finish(&greeting.into()).await?;
//! assert_eq!(journal.run("travel").await?.output, Some("Hello, Ada".into()));
//! # Ok(())
//! # }
//! ```

mod error;
mod journal;
mod lease;
mod payload;
mod records;
mod redact;
mod run;
mod step;
mod store;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use error::Error;
pub use journal::Journal;
pub use records::{
    Effect, Event, EventKind, NewRun, Page, RunId, RunRecord, RunStatus, StepRecord, StepStatus,
};
pub use run::Run;
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
    /// Called on the writer's thread for each event, right before and right after it becomes
    /// durable. For tests that cut the process off at a certain event.
    pub probe: Option<Probe>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            lease_ms: 30_000,
            busy_timeout_ms: 10_000,
            max_bytes: None,
            probe: None,
        }
    }
}

/// See [`Options::probe`].
pub type Probe = Arc<dyn Fn(Moment, &Event) + Send + Sync>;

/// Which side of an event's commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The event is about to be committed: a crash now loses it.
    Before,
    /// The event is on disk: a crash now does not lose it.
    After,
}

/// Milliseconds since 1970 (UTC); 0 on a clock that stands before.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
