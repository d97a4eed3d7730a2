//! Crash tests for any workflow.
//!
//! [`crash_everywhere`] runs a workflow in a child process, kills it with SIGKILL right before and
//! right after each event of the journal is on disk, goes on in this process, and checks what the
//! journal promises: the same result, no finished step run twice, an idempotent step repeated only with
//! its key, an irreversible one never.
//!
//! ```no_run
//! use journal::testing::{Scenario, crash_everywhere};
//! use journal::{Effect, Engine, Journal, NewRun};
//!
//! fn engine(journal: Journal) -> Engine {
//!     Engine::new(journal).register("greeter", |run| async move {
//!         let name = run.input().clone();
//!         let greeting: String = run
//!             .step("greet", Effect::Idempotent, &name, |_| async { Ok("Hello".to_string()) })
//!             .await?;
//!         Ok(greeting.into())
//!     })
//! }
//!
//! #[test]
//! fn the_greeter_survives() {
//!     // The test's own name, with its modules: the child process runs this test again.
//!     let scenario = Scenario::new("the_greeter_survives", NewRun::new("greeter", "Ada".into()), engine);
//!     let crashes = crash_everywhere(&scenario).unwrap();
//!     assert!(crashes.kills > 8);
//! }
//! ```

mod checks;
mod child;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use self::checks::{Checks, Reference};
use crate::records::{Page, RunRecord};
use crate::{Engine, Journal, Moment, NewRun, OpenQuestion, Options};

type MakeEngine = Arc<dyn Fn(Journal, &Path) -> Engine + Send + Sync>;
/// Where a workflow keeps what is outside of the journal, in the folder of a kill.
const OUTSIDE: &str = "outside";

type Answers = Arc<dyn Fn(&OpenQuestion) -> Option<Value> + Send + Sync>;

/// A workflow to be tried, and what it needs to come to its end.
#[derive(Clone)]
pub struct Scenario {
    test: String,
    new: NewRun,
    engine: MakeEngine,
    answers: Answers,
}

impl Scenario {
    /// A run like `new`, worked on by such an engine. `test` is the name of the calling test as the
    /// test runner knows it, with its modules: `crash::the_greeter_survives`.
    ///
    /// The workflow must be deterministic: the same result each time, but for its steps' times.
    pub fn new(
        test: &str,
        new: NewRun,
        engine: impl Fn(Journal) -> Engine + Send + Sync + 'static,
    ) -> Scenario {
        Scenario::in_folder(test, new, move |journal, _| engine(journal))
    }

    /// The same for a workflow that works on something outside of the journal, such as files or other processes:
    /// the engine is made with the folder in which that is kept. It is empty at first, a new one for each kill,
    /// and the same one before the kill and after it.
    pub fn in_folder(
        test: &str,
        mut new: NewRun,
        engine: impl Fn(Journal, &Path) -> Engine + Send + Sync + 'static,
    ) -> Scenario {
        new.id = Some("crashed".to_string());
        Scenario {
            test: test.to_string(),
            new,
            engine: Arc::new(engine),
            answers: Arc::new(|_| None),
        }
    }

    fn engine(&self, journal: Journal, folder: &Path) -> Engine {
        (self.engine)(journal, &folder.join(OUTSIDE))
    }

    /// Answers the questions that the runs ask.
    pub fn answering(
        mut self,
        answers: impl Fn(&OpenQuestion) -> Option<Value> + Send + Sync + 'static,
    ) -> Scenario {
        self.answers = Arc::new(answers);
        self
    }
}

/// What [`crash_everywhere`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crashes {
    /// Processes killed.
    pub kills: u64,
    /// Steps that had been begun and not ended at a kill, over all kills.
    pub cut_off: u64,
    /// Irreversible steps in doubt that had to be settled.
    pub settled: u64,
}

/// A promise that was not kept, or a test that could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Violation {
    /// At which kill.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    fn new(place: &str, what: impl std::fmt::Display) -> Violation {
        Violation {
            place: place.to_string(),
            what: what.to_string(),
        }
    }
}

type Checked<T> = Result<T, Violation>;

/// Kills a workflow at every event, goes on with it each time, and checks what comes of it. See the
/// module for an example. In the child process this does not return.
pub fn crash_everywhere(scenario: &Scenario) -> Checked<Crashes> {
    if let Some(role) = child::role() {
        child::act(scenario, &role);
    }
    let reference = run_unbroken(scenario)?;
    let mut crashes = Crashes::default();
    for moment in [Moment::Before, Moment::After] {
        for stop in 1.. {
            let place = format!(
                "killed {} event {stop}",
                if moment == Moment::Before {
                    "before"
                } else {
                    "after"
                }
            );
            let folder = Folder::new(&place)?;
            if !child::killed_at(scenario, folder.path(), stop, moment)
                .map_err(|error| Violation::new(&place, error))?
            {
                break;
            }
            crashes.kills += 1;
            let checks = Checks::new(scenario, &reference, folder.path(), &place);
            let (cut_off, settled) = block_on(checks.go_on())?;
            crashes.cut_off += cut_off;
            crashes.settled += settled;
        }
    }
    Ok(crashes)
}

/// Kills a workflow again and again, each time after so many events more, until it comes to its end;
/// then checks what came of it. In the child process this does not return.
pub fn crash_repeatedly(scenario: &Scenario, events: u64) -> Checked<Crashes> {
    if let Some(role) = child::role() {
        child::act(scenario, &role);
    }
    let reference = run_unbroken(scenario)?;
    let mut crashes = Crashes::default();
    let place = "killed again and again";
    let folder = Folder::new(place)?;
    let checks = Checks::new(scenario, &reference, folder.path(), place);
    while child::killed_at(scenario, folder.path(), events, Moment::After)
        .map_err(|error| Violation::new(place, error))?
    {
        crashes.kills += 1;
        if crashes.kills > 1_000 {
            return Err(Violation::new(place, "the run does not get on"));
        }
        let (cut_off, settled) = block_on(checks.settle_only())?;
        crashes.cut_off += cut_off;
        crashes.settled += settled;
    }
    block_on(checks.go_on())?;
    Ok(crashes)
}

fn run_unbroken(scenario: &Scenario) -> Checked<Reference> {
    let place = "without a crash";
    let folder = Folder::new(place)?;
    let journal = open(folder.path(), None).map_err(|error| Violation::new(place, error))?;
    block_on(async {
        let engine = scenario.engine(journal.clone(), folder.path());
        start(&journal, scenario)
            .await
            .map_err(|error| Violation::new(place, error))?;
        let record = to_the_end(&engine, scenario, place).await?;
        checks::reference(&journal, record, folder.path())
            .await
            .map_err(|error| Violation::new(place, error))
    })
}

/// Starts the scenario's run, if it has not been started.
async fn start(journal: &Journal, scenario: &Scenario) -> crate::Result<()> {
    match journal.submit(scenario.new.clone()).await {
        Ok(_) | Err(crate::Error::Exists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Works until the scenario's run has ended: answers its questions, waits for its times.
async fn to_the_end(engine: &Engine, scenario: &Scenario, place: &str) -> Checked<RunRecord> {
    let failed = |error: crate::Error| Violation::new(place, error);
    let journal = engine.journal();
    let id = scenario.new.id.clone().unwrap_or_default();
    loop {
        engine.run_until_idle().await.map_err(failed)?;
        let record = journal.run(&id).await.map_err(failed)?;
        if !matches!(
            record.status,
            crate::RunStatus::Running | crate::RunStatus::Parked
        ) {
            return Ok(record);
        }
        let mut got_on = false;
        for question in journal.questions(None).await.map_err(failed)? {
            if let Some(answer) = (scenario.answers)(&question) {
                let run = question.run.as_str();
                match journal
                    .answer(run, &question.path, answer, "the test")
                    .await
                {
                    Ok(()) => got_on = true,
                    // It expired, or its run ended, right now.
                    Err(crate::Error::NoQuestion { .. } | crate::Error::Answered { .. }) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        if got_on {
            continue;
        }
        let runs = journal.runs(Page::default()).await.map_err(failed)?;
        let Some(ready_ms) = runs.iter().filter_map(|run| run.ready_ms).min() else {
            let reason = record.reason.unwrap_or_default();
            return Err(Violation::new(
                place,
                format!("the run does not get on: {reason}"),
            ));
        };
        let clock = journal.store().clock();
        clock.sleep_until(ready_ms.max(clock.now_ms() + 1)).await;
    }
}

/// Opens the journal of a folder; every work is written into the folder's log.
fn open(folder: &Path, probe: Option<crate::Probe>) -> crate::Result<Journal> {
    let options = Options {
        probe,
        work_probe: Some(checks::logging(folder)?),
        ..Options::default()
    };
    Journal::open_with(&folder.join("journal.db"), options)
}

fn block_on<T>(future: impl Future<Output = Checked<T>>) -> Checked<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Violation::new("no runtime", error))?;
    runtime.block_on(future)
}

/// A folder that goes away with its handle.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(place: &str) -> Checked<Folder> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("plumb-crash-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join(OUTSIDE))
            .map_err(|error| Violation::new(place, error))?;
        Ok(Folder(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
