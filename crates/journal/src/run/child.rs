//! Children: runs of their own, with journals of their own, that do not outlive their parent.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Run;
use super::perform::{Again, Answer, Asked};
use crate::budget::Budget;
use crate::records::{Effect, RunId, StepKind};
use crate::store::{Begin, Kind, Reader, Wait};
use crate::{Error, Result};

/// What a child starts from.
#[derive(Clone, Debug, Serialize)]
pub struct NewChild {
    /// Name of the agent or workflow; an engine that knows it works on the child.
    pub agent: String,
    /// The definition's text, which stays with the child.
    pub definition: String,
    /// What it is to work on.
    pub input: Value,
    /// Limits of its own; those of its ancestors hold as well.
    pub budget: Budget,
}

impl NewChild {
    /// A child of `agent` on `input`, with no definition and no limits of its own.
    pub fn new(agent: &str, input: Value) -> NewChild {
        NewChild {
            agent: agent.to_string(),
            definition: String::new(),
            input,
            budget: Budget::default(),
        }
    }
}

/// How a child ended: recorded as the result of the step that spawned it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    Output(Value),
    Error(String),
}

/// A run that this one has spawned.
pub struct Child {
    run: Run,
    id: RunId,
    asked: Asked,
    key: Option<i64>,
    end: Option<Value>,
}

impl Run {
    /// Begins a run of its own, which an engine works on; gives a handle to wait for it. It is
    /// cancelled when this run ends before it does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Engine, Journal, NewChild, NewRun};
    ///
    /// let journal = Journal::in_memory()?;
    /// let engine = Engine::new(journal.clone())
    ///     .register("reader", |run| async move { Ok(run.input().clone()) })
    ///     .register("editor", |run| async move {
    ///         let child = run.spawn("read", &NewChild::new("reader", "page 1".into())).await?;
    ///         // A child that fails gives its error as a value.
    ///         Ok(child.wait().await?.unwrap_or_else(|error| error.into()))
    ///     });
    /// let id = journal.submit(NewRun::new("editor", ().into())).await?;
    /// engine.run_until_idle().await?;
    /// assert_eq!(journal.run(id.as_str()).await?.output, Some("page 1".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn spawn(&self, name: &str, new: &NewChild) -> Result<Child> {
        let asked = self.address(name, StepKind::Child, Effect::Idempotent, new)?;
        let _busy = self.shared.activity.busy();
        let id = RunId::of_child(&self.idempotency_key(&asked.path));
        let mut child = Child {
            run: self.clone(),
            id,
            asked,
            key: None,
            end: None,
        };
        match self.recall(&child.asked).await? {
            Answer::Result(end) => child.end = Some(end),
            // A replay begins nothing; whether the child's end is recorded shows when it is waited for.
            Answer::Again(_) if self.shared.replay.is_some() => {}
            Answer::Again(again) => child.key = Some(self.begin_child(&child, new, again).await?),
        }
        Ok(child)
    }

    async fn begin_child(&self, child: &Child, new: &NewChild, again: Again) -> Result<i64> {
        self.begin_waiting(&child.asked, again, None).await?;
        let secrets = &self.shared.secrets;
        let mut body = Map::new();
        body.insert("agent".to_string(), secrets.text(&new.agent).into());
        let definition = secrets.text(&new.definition);
        body.insert("definition".to_string(), definition.into());
        body.insert("input".to_string(), secrets.value(new.input.clone()));
        body.insert("parent".to_string(), self.id().as_str().into());
        body.insert("parent_path".to_string(), child.asked.path.clone().into());
        let forked = match &self.shared.fork {
            Some(fork) => {
                let (source, reuse, live) = {
                    let terms = fork.terms();
                    (terms.source.clone(), terms.reuse, terms.live)
                };
                let path = child.asked.path.clone();
                let found = self
                    .shared
                    .store
                    .read(move |reader| twin(reader, source, &path))
                    .await?;
                let mut terms = Map::new();
                terms.insert("reuse".to_string(), reuse.into());
                terms.insert("live".to_string(), live.into());
                if let Some((_, _, run)) = &found {
                    terms.insert("run".to_string(), run.as_str().into());
                }
                body.insert("fork".to_string(), terms.into());
                found
            }
            None => None,
        };
        if !new.budget.is_unlimited() {
            let budget = serde_json::to_value(new.budget).unwrap_or_default();
            body.insert("budget".to_string(), budget);
        }
        let (event, nodes) = super::row(Kind::RunStarted, &body, &child.asked.path, "input")?;
        let begin = Begin {
            id: child.id.clone(),
            agent: secrets.text(&new.agent),
            token: None,
            event,
            nodes: Default::default(),
            budget: new.budget,
            parent: Some(self.shared.key.key),
            forked,
        };
        let begun = self.shared.store.begin(begin, nodes).await;
        if let Err(error @ Error::Store { .. }) = &begun {
            // A write that fails stops the run, also one that is another run's first.
            self.shared.key.fate.end(error.clone());
        }
        begun
    }
}

/// The child that the source of a fork spawned at the same address, and the number of its first event:
/// of a fork's child nothing is shared with it, but it may be answered from its recording.
fn twin(
    reader: &Reader<'_>,
    source: Option<RunId>,
    path: &str,
) -> Result<Option<(i64, i64, RunId)>> {
    let Some(source) = source else {
        return Ok(None);
    };
    let id = RunId::of_child(&super::perform::key_of(&source, path));
    match reader.key_of(&id)? {
        Some(key) => Ok(Some((key, reader.started_seq(key)?, id))),
        None => Ok(None),
    }
}

impl Child {
    /// The child's id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # use journal::{Journal, NewChild, NewRun};
    /// # let journal = Journal::in_memory()?;
    /// # let run = journal.start(NewRun::new("parent", ().into())).await?;
    /// let child = run.spawn("helper", &NewChild::new("helper", 3.into())).await?;
    /// let record = journal.run(child.id().as_str()).await?;
    /// assert_eq!(record.parent.as_ref(), Some(run.id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Waits until the child has ended and gives its output, or how it failed, as a value. The waiting
    /// run leaves memory meanwhile, if nothing else goes on in it.
    ///
    /// The outer error stops the run, as that of a step does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # use journal::{Journal, NewChild, NewRun};
    /// # let journal = Journal::in_memory()?;
    /// # let run = journal.start(NewRun::new("parent", ().into())).await?;
    /// let child = run.spawn("helper", &NewChild::new("helper", 3.into())).await?;
    /// // Here it is worked on by hand; in earnest an engine does it.
    /// let helper = journal.resume(child.id().as_str()).await?;
    /// helper.finish(&4.into()).await?;
    /// assert_eq!(child.wait().await?, Ok(4.into()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(self) -> Result<std::result::Result<Value, String>> {
        let end = match self.end.clone() {
            Some(end) => end,
            None => self.wait_for_end().await?,
        };
        Ok(match super::read_back(end, &self.asked.path)? {
            End::Output(output) => Ok(output),
            End::Error(error) => Err(error),
        })
    }

    /// Cancels the child and its descendants, if they have not ended.
    ///
    /// Twice is once, and nothing outside the journal changes: a fork cancels its own children as well.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # use journal::{Journal, NewChild, NewRun};
    /// # let journal = Journal::in_memory()?;
    /// # let run = journal.start(NewRun::new("parent", ().into())).await?;
    /// let child = run.spawn("helper", &NewChild::new("helper", 3.into())).await?;
    /// child.cancel().await?;
    /// let status = journal.run(child.id().as_str()).await?.status;
    /// assert_eq!(status, journal::RunStatus::Cancelled);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel(&self) -> Result<()> {
        let store = self.run.shared.store.clone();
        let id = self.id.clone();
        self.run
            .step("cancel", Effect::Read, &self.id, |_| async move {
                let cancelled = crate::journal::cancel(&store, id, "its parent cancelled it").await;
                match cancelled {
                    // None is there when the child's end came from the run that this is a fork of.
                    Ok(())
                    | Err(
                        Error::Finished { .. }
                        | Error::RunCancelled { .. }
                        | Error::NotFound { .. },
                    ) => Ok(()),
                    Err(error) => Err(crate::StepError::Fault(error.to_string())),
                }
            })
            .await
    }

    async fn wait_for_end(&self) -> Result<Value> {
        let run = &self.run;
        let Some(key) = self.key else {
            return Err(Error::RecordingEnds {
                run: run.id().to_string(),
                path: self.asked.path.clone(),
            });
        };
        let mut busy = Some(run.shared.activity.busy());
        let mut _waiting = None;
        loop {
            let end = run
                .shared
                .store
                .read(move |reader| end_of(reader, key))
                .await?;
            if let Some(end) = end {
                let _busy = run.shared.activity.busy();
                let value = serde_json::to_value(end).unwrap_or_default();
                let context = run.waited(&self.asked);
                context.attribute("run", self.id.as_str());
                return run.write_result(&self.asked.path, value, &context).await;
            }
            if let Some(busy) = busy.take() {
                let reason = format!("{} waits for run {}", self.asked.path, self.id);
                _waiting = Some(busy.waiting(Wait::Child(key), reason));
            }
            run.pause(None).await?;
        }
    }
}

/// How a run has ended, if it has.
fn end_of(reader: &Reader<'_>, key: i64) -> Result<Option<End>> {
    use crate::RunStatus::{Cancelled, Failed, Finished, Parked, Running};
    if !reader.has_ended(key)? {
        return Ok(None);
    }
    let record = reader.run(key)?;
    let reason = record.reason.unwrap_or_default();
    Ok(match record.status {
        Finished => Some(End::Output(record.output.unwrap_or_default())),
        Failed => Some(End::Error(reason)),
        Cancelled => Some(End::Error(format!("cancelled: {reason}"))),
        Running | Parked => None,
    })
}

impl std::fmt::Debug for Child {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Child").field(&self.id).finish()
    }
}
