//! The journal as a caller opens it: runs are started, resumed and looked up here.
//!
//! `forking` makes forks, `replaying` compares code with what is recorded, `people` takes answers and
//! other words of people, `comparing` tells two runs apart, `caring` deletes what is old and looks for
//! damage, `transfer` takes runs to other journals.

mod caring;
mod comparing;
mod forking;
mod people;
mod replaying;
mod transfer;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::broadcast;

pub use self::caring::{Collected, Finding};
pub use self::comparing::Difference;
pub use self::forking::Fork;
pub(crate) use self::people::cancel;
pub use self::people::{OpenQuestion, Settlement};
pub use self::replaying::Replay;
use crate::budget::Spending;
use crate::records::{Event, NewRun, Page, RunId, RunRecord, RunStatus, StepRecord};
use crate::redact::Secrets;
use crate::run::{ForkTerms, Run, Taken};
use crate::store::{Begin, EventRow, Kind, Payloads, Reader, Recorded, RunKey, Store, Take};
use crate::{Error, Options, Result};

/// A cheap handle to one journal file. Clones share the file and its writer.
#[derive(Clone)]
pub struct Journal {
    store: Store,
    secrets: Arc<Secrets>,
}

impl Journal {
    /// Opens a journal file; makes it, and its folder, when they are not there.
    ///
    /// Errors when the file is not a journal, was written by a newer version, or cannot be written.
    pub fn open(path: &Path) -> Result<Journal> {
        Journal::open_with(path, Options::default())
    }

    /// Opens a journal file with options of your own.
    pub fn open_with(path: &Path, options: Options) -> Result<Journal> {
        Ok(Journal {
            store: Store::open(path, options)?,
            secrets: Arc::default(),
        })
    }

    /// A journal that is gone with its last handle, for tests and for runs that need no memory.
    pub fn in_memory() -> Result<Journal> {
        let store = Store::in_memory(Options::default())?;
        Ok(Journal {
            store,
            secrets: Arc::default(),
        })
    }

    /// Creates a run and takes its lease. [`Error::Exists`] when the id is taken.
    pub async fn start(&self, new: NewRun) -> Result<Run> {
        let token = rand::random();
        let (key, id, input, definition) = self.begin(new, Some(token)).await?;
        let ledgers = self.store.read(move |reader| reader.ledgers(key)).await;
        let taken = Taken {
            key: self.leased((key, id, token), ledgers)?,
            input,
            definition,
            recorded: Vec::new(),
            fork: None,
            replay: false,
        };
        Ok(self.handle(taken))
    }

    /// Creates a run for an [`Engine`](crate::Engine) to take up, in this process or another. Gives
    /// its id. [`Error::Exists`] when the id is taken.
    pub async fn submit(&self, new: NewRun) -> Result<RunId> {
        self.begin(new, None).await.map(|(_, id, ..)| id)
    }

    async fn begin(
        &self,
        new: NewRun,
        token: Option<[u8; 16]>,
    ) -> Result<(i64, RunId, Value, String)> {
        let chosen = new.id.as_deref().map(RunId::parse).transpose()?;
        let agent = self.secrets.text(&new.agent);
        let definition = self.secrets.text(&new.definition);
        let input = self.secrets.value(new.input);
        let mut body = Map::new();
        body.insert("agent".to_string(), agent.as_str().into());
        body.insert("definition".to_string(), definition.as_str().into());
        body.insert("input".to_string(), input.clone());
        if !new.budget.is_unlimited() {
            let budget = serde_json::to_value(new.budget).unwrap_or_default();
            body.insert("budget".to_string(), budget);
        }
        let (event, nodes) = start_row(&body)?;
        loop {
            let made_up = || RunId::generate(self.store.clock().now_ms());
            let id = chosen.clone().unwrap_or_else(made_up);
            let begin = Begin {
                id: id.clone(),
                agent: agent.clone(),
                token,
                event: event.clone(),
                nodes: Default::default(),
                budget: new.budget,
                parent: None,
                forked: None,
            };
            match self.store.begin(begin, nodes.clone()).await {
                Ok(key) => return Ok((key, id, input, definition)),
                // Two runs of one millisecond drew the same number: draw again.
                Err(Error::Exists { .. }) if chosen.is_none() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The key of a run whose lease has just been taken; gives the lease back when something is wrong.
    fn leased(
        &self,
        (key, id, token): (i64, RunId, [u8; 16]),
        ledgers: Result<Vec<i64>>,
    ) -> Result<RunKey> {
        match ledgers.and_then(|ledgers| Ok((ledgers, self.store.stamp()?))) {
            Ok((ledgers, now_ms)) => Ok(RunKey::new(key, id, token, ledgers, now_ms)),
            Err(error) => {
                let run = RunKey::new(key, id, token, Vec::new(), 0);
                self.store.release(&run);
                Err(error)
            }
        }
    }

    fn handle(&self, taken: Taken) -> Run {
        Run::new(self.store.clone(), Arc::clone(&self.secrets), taken)
    }

    /// Takes a run up again, by its id or a prefix that no other run has.
    ///
    /// Errors: [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Finished`],
    /// [`Error::RunCancelled`], [`Error::Held`] while a living process works on it,
    /// [`Error::Damaged`].
    pub async fn resume(&self, id: &str) -> Result<Run> {
        let asked = id.to_string();
        // Before the lease is taken, so that a damaged run is left as it is.
        let mut found = self
            .store
            .read(move |reader| {
                let (key, _) = reader.find(&asked)?;
                let past = past(reader, key)?;
                match past.record.status {
                    RunStatus::Finished => Err(Error::Finished {
                        id: past.record.id.to_string(),
                    }),
                    RunStatus::Cancelled => Err(Error::RunCancelled {
                        run: past.record.id.to_string(),
                        reason: past.record.reason.unwrap_or_default(),
                    }),
                    RunStatus::Running | RunStatus::Parked | RunStatus::Failed => Ok(past),
                }
            })
            .await?;
        let (event, _) = EventRow::new(Kind::RunResumed, &Map::new()).map_err(|error| {
            let path = "(resume)".to_string();
            Error::Serialise {
                path,
                what: "input",
                message: error.to_string(),
            }
        })?;
        let token = rand::random();
        let (key, id) = (found.key, found.record.id.clone());
        let take = Take {
            key,
            id: id.clone(),
            token,
            event,
        };
        let before = self.store.take(take).await?;
        let ledgers = std::mem::take(&mut found.ledgers);
        let run = self.leased((key, id, token), Ok(ledgers))?;
        if before != found.last_seq {
            // Somebody else got on with it in between. Now that the lease is ours, nobody does.
            let again = self.store.read(move |reader| past(reader, key)).await;
            found = again.inspect_err(|_| self.store.release(&run))?;
        }
        Ok(self.handle(found.taken(run, false)))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Runs, newest first. A damaged one is listed with its `damage` noted.
    pub async fn runs(&self, page: Page) -> Result<Vec<RunRecord>> {
        self.store.read(move |reader| reader.runs(&page)).await
    }

    /// One run, by its id or a prefix that no other run has.
    pub async fn run(&self, id: &str) -> Result<RunRecord> {
        let id = id.to_string();
        self.store
            .read(move |reader| reader.run(reader.find(&id)?.0))
            .await
    }

    /// The steps of a run with their inputs and outputs, in the order in which they were begun.
    pub async fn steps(&self, id: &RunId) -> Result<Vec<StepRecord>> {
        self.read_steps(id, Payloads::With).await
    }

    /// The steps of a run without what may be long: every `input` is null and every `output` none,
    /// whatever the journal holds. For trees and progress of long runs.
    pub async fn outline(&self, id: &RunId) -> Result<Vec<StepRecord>> {
        self.read_steps(id, Payloads::Without).await
    }

    async fn read_steps(&self, id: &RunId, payloads: Payloads) -> Result<Vec<StepRecord>> {
        let id = id.clone();
        self.store
            .read(move |reader| {
                let (key, id) = reader.find(id.as_str())?;
                reader.steps(key, &id, payloads)
            })
            .await
    }

    /// How long a run has been worked on, in milliseconds: the time between its events, without what it
    /// was parked, failed or cut off.
    pub async fn worked_ms(&self, id: &RunId) -> Result<i64> {
        let id = id.clone();
        self.store
            .read(move |reader| {
                let (key, id) = reader.find(id.as_str())?;
                reader.worked_ms(key, &id)
            })
            .await
    }

    /// How the limits of a run's own budget stand; empty when it has none.
    pub async fn spending(&self, id: &RunId) -> Result<Vec<Spending>> {
        let id = id.clone();
        self.store
            .read(move |reader| reader.spending(reader.find(id.as_str())?.0))
            .await
    }

    /// The text without the secrets that have been registered, for logs and messages.
    pub fn redacted(&self, text: &str) -> String {
        self.secrets.text(text)
    }

    /// Tells every event from now on, of all runs that this process works on, once it is on disk. A
    /// receiver that falls thousands of events behind is told so and misses the oldest.
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.store.watch()
    }

    /// Keeps a value out of the journal: from now on it is replaced by `[secret]` wherever it occurs
    /// in inputs, results, errors and attributes before they are written. The caller of a step gets
    /// the result with the replacement too, because that is what a resume would give.
    ///
    /// [`Error::Secret`] when it has fewer than 6 characters. Not found is what was transformed: a
    /// secret in base64, cut in two, or written as a JSON number.
    pub fn add_secret(&self, value: &str) -> Result<()> {
        self.secrets.add(value)
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Journal").finish_non_exhaustive()
    }
}

/// The row of a run's first event.
fn start_row(body: &Map<String, Value>) -> Result<(EventRow, Vec<crate::payload::Node>)> {
    EventRow::new(Kind::RunStarted, body).map_err(|error| Error::Serialise {
        path: "(start)".to_string(),
        what: "input",
        message: error.to_string(),
    })
}

/// All that a run's code needs to be run again.
struct Past {
    key: i64,
    record: RunRecord,
    last_seq: i64,
    recorded: Vec<(String, Recorded)>,
    fork: Option<ForkTerms>,
    ledgers: Vec<i64>,
}

impl Past {
    fn taken(self, key: RunKey, replay: bool) -> Taken {
        Taken {
            key,
            input: self.record.input,
            definition: self.record.definition,
            recorded: self.recorded,
            fork: self.fork,
            replay,
        }
    }
}

fn past(reader: &Reader<'_>, key: i64) -> Result<Past> {
    let record = reader.run(key)?;
    let history = reader.recorded(key, &record.id)?;
    let fork = forking::terms(reader, key, &record.id, &history.steps)?;
    Ok(Past {
        key,
        last_seq: history.last_seq,
        recorded: history.steps,
        fork,
        ledgers: reader.ledgers(key)?,
        record,
    })
}

/// The JSON value of an input or a result.
pub(crate) fn to_json<T: serde::Serialize + ?Sized>(
    value: &T,
    path: &str,
    what: &'static str,
) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::Serialise {
        path: path.to_string(),
        what,
        message: error.to_string(),
    })
}
