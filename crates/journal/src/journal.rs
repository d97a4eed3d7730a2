//! The journal as a caller opens it: runs are started, resumed and looked up here.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::records::{Event, NewRun, Page, RunId, RunRecord, RunStatus, StepRecord};
use crate::redact::Secrets;
use crate::run::{Run, Taken};
use crate::store::{EventRow, Kind, Payloads, RunKey, Store, Take};
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
        let chosen = new.id.as_deref().map(RunId::parse).transpose()?;
        let agent = self.secrets.text(&new.agent);
        let definition = self.secrets.text(&new.definition);
        let input = self.secrets.value(new.input);
        let mut body = Map::new();
        body.insert("agent".to_string(), agent.as_str().into());
        body.insert("definition".to_string(), definition.as_str().into());
        body.insert("input".to_string(), input.clone());
        let (event, nodes) =
            EventRow::new(Kind::RunStarted, &body).map_err(|error| Error::Serialise {
                path: "(start)".to_string(),
                what: "input",
                message: error.to_string(),
            })?;
        let token = rand::random();
        loop {
            let id = chosen
                .clone()
                .unwrap_or_else(|| RunId::generate(event.at_ms));
            let key = self
                .store
                .begin(
                    id.clone(),
                    agent.clone(),
                    token,
                    event.clone(),
                    nodes.clone(),
                )
                .await;
            return match key {
                Ok(key) => {
                    let key = RunKey {
                        key,
                        id,
                        token,
                        fate: Arc::default(),
                    };
                    let taken = Taken {
                        key,
                        input,
                        definition,
                        recorded: Default::default(),
                    };
                    Ok(Run::new(
                        self.store.clone(),
                        Arc::clone(&self.secrets),
                        taken,
                    ))
                }
                // Two runs of one millisecond drew the same number: draw again.
                Err(Error::Exists { .. }) if chosen.is_none() => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Takes a run up again, by its id or a prefix that no other run has.
    ///
    /// Errors: [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Finished`], [`Error::Held`] while
    /// a living process works on it, [`Error::Damaged`].
    pub async fn resume(&self, id: &str) -> Result<Run> {
        let asked = id.to_string();
        let found = self
            .store
            .read(move |reader| {
                let (key, id) = reader.find(&asked)?;
                let record = reader.run(key)?;
                if record.status == RunStatus::Finished {
                    return Err(Error::Finished { id: id.to_string() });
                }
                // Before the lease is taken, so that a damaged run is left as it is.
                Ok((key, reader.recorded(key, &id)?, record))
            })
            .await?;
        let (key, mut recorded, record) = found;
        let (event, _) = EventRow::new(Kind::RunResumed, &Map::new()).map_err(|error| {
            let path = "(resume)".to_string();
            Error::Serialise {
                path,
                what: "input",
                message: error.to_string(),
            }
        })?;
        let RunRecord {
            id,
            input,
            definition,
            ..
        } = record;
        let token = rand::random();
        let take = Take {
            key,
            id: id.clone(),
            token,
            event,
        };
        let before = self.store.take(take).await?;
        let run = RunKey {
            key,
            id: id.clone(),
            token,
            fate: Arc::default(),
        };
        if before != recorded.last_seq {
            // Somebody else got on with it in between. Now that the lease is ours, nobody does.
            let again = self
                .store
                .read(move |reader| reader.recorded(key, &id))
                .await;
            recorded = again.inspect_err(|_| self.store.release(&run))?;
        }
        let taken = Taken {
            key: run,
            input,
            definition,
            recorded: recorded.steps,
        };
        Ok(Run::new(
            self.store.clone(),
            Arc::clone(&self.secrets),
            taken,
        ))
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
