//! The handle that running code holds: steps, scopes, and how a run ends.
//!
//! `perform` has what happens to a step on its way: its address, its answer from the journal, its
//! intent and its end. `recall` has what earlier processes recorded.

mod perform;
mod recall;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use self::perform::{Answer, is_name, read_back, row};
use self::recall::Recall;
use crate::journal::to_json;
use crate::records::{Effect, EventKind, RunId};
use crate::redact::Secrets;
use crate::step::{StepContext, StepError};
use crate::store::{Kind, Notice, Recorded, RunKey, Store};
use crate::{Error, Result};

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
}

struct Shared {
    store: Store,
    secrets: Arc<Secrets>,
    key: RunKey,
    input: Value,
    definition: String,
    /// How many steps of a scope and name there have been.
    ordinals: Mutex<HashMap<String, u64>>,
    /// What earlier processes recorded and this one has not asked for yet.
    recorded: Mutex<Recall>,
    cancel: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.store.release(&self.key);
    }
}

impl Run {
    pub(crate) fn new(store: Store, secrets: Arc<Secrets>, taken: Taken) -> Run {
        let Taken {
            key,
            input,
            definition,
            recorded,
        } = taken;
        let shared = Shared {
            store,
            secrets,
            key,
            input,
            definition,
            ordinals: Mutex::default(),
            recorded: Mutex::new(Recall::new(recorded)),
            cancel: CancellationToken::new(),
        };
        Run {
            shared: Arc::new(shared),
            scope: "".into(),
            misnamed: None,
        }
    }

    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.shared.key.id
    }

    /// What the run was started with.
    pub fn input(&self) -> &Value {
        &self.shared.input
    }

    /// The definition's text as it was when the run started.
    pub fn definition(&self) -> &str {
        &self.shared.definition
    }

    /// A scope for a branch of the work: addresses of its steps begin with `name[index]/`. Branches
    /// that run side by side each need one, so that their steps have the same addresses whatever the
    /// order in which they get on.
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

    /// Does a step, or answers it from the journal when it is done already.
    ///
    /// Its address is the scope, `name`, and how many steps of that name the scope has had; it is
    /// settled by the call, not by when the future is first polled. The intent is written before
    /// `work` begins (and on disk before it, when the effect writes), the result is on disk before
    /// this returns. What is returned is what the journal would answer.
    ///
    /// Errors: [`Error::StepFailed`] and [`Error::StepFault`] from the work, [`Error::Cancelled`],
    /// [`Error::Diverged`], [`Error::InDoubt`], and whatever stops the run.
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
        let asked = self.ask(name, effect, input);
        async move {
            let asked = asked?;
            self.check_alive()?;
            let recorded = self.recorded().take(&asked.path);
            let attempt = match recorded {
                None => 1,
                Some(recorded) => match self.answer(&asked, recorded).await? {
                    Answer::Result(value) => return read_back(value, &asked.path),
                    Answer::Again(attempt) => attempt,
                },
            };
            let context = StepContext::new(&asked.path, self.idempotency_key(&asked.path));
            self.write_start(&asked, attempt).await?;
            // Cancelled while the intent was written: the work must not begin.
            self.check_alive()?;
            let ended = tokio::select! {
                biased;
                () = self.shared.cancel.cancelled() => return Err(Error::Cancelled),
                ended = work(context.clone()) => ended,
            };
            match ended {
                Ok(result) => {
                    let value = to_json(&result, &asked.path, "result")?;
                    drop(result);
                    let value = self.shared.secrets.value(value);
                    self.write_result(&asked.path, &value, &context).await?;
                    read_back(value, &asked.path)
                }
                Err(error) => Err(self.write_error(&asked.path, error, &context).await?),
            }
        }
    }

    /// The time in milliseconds since 1970 (UTC), journaled: a resume sees the same.
    pub async fn now_ms(&self) -> Result<i64> {
        self.step("now", Effect::Read, &(), |_| async { Ok(crate::now_ms()) })
            .await
    }

    /// A random number, journaled: a resume sees the same.
    pub async fn random(&self) -> Result<u64> {
        self.step("random", Effect::Read, &(), |_| async {
            Ok(rand::random())
        })
        .await
    }

    /// Stops the run's work: steps in flight are dropped and they and all later ones return
    /// [`Error::Cancelled`]. The run itself has not ended; park it, or resume it later.
    pub fn cancel(&self) {
        self.shared.cancel.cancel();
    }

    /// Whether [`Run::cancel`] has been called.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancel.is_cancelled()
    }

    /// Waits for [`Run::cancel`].
    pub async fn cancelled(&self) {
        self.shared.cancel.cancelled().await;
    }

    /// Ends the run with its output. No step may follow.
    pub async fn finish(&self, output: &Value) -> Result<()> {
        let output = self.shared.secrets.value(output.clone());
        self.end(
            Kind::RunFinished,
            "output",
            output,
            EventKind::RunFinished,
            None,
        )
        .await
    }

    /// Ends the run with an error. No step may follow on this handle.
    pub async fn fail(&self, error: &str) -> Result<()> {
        let error = self.shared.secrets.text(error);
        let kind = EventKind::RunFailed {
            error: error.clone(),
        };
        let value = error.as_str().into();
        self.end(Kind::RunFailed, "error", value, kind, Some(error))
            .await
    }

    /// Puts the run aside, to be resumed. No step may follow on this handle.
    pub async fn park(&self, reason: &str) -> Result<()> {
        let reason = self.shared.secrets.text(reason);
        let kind = EventKind::RunParked {
            reason: reason.clone(),
        };
        let value = reason.as_str().into();
        self.end(Kind::RunParked, "reason", value, kind, Some(reason))
            .await
    }

    async fn end(
        &self,
        kind: Kind,
        field: &str,
        value: Value,
        notice: EventKind,
        reason: Option<String>,
    ) -> Result<()> {
        let body = Map::from_iter([(field.to_string(), value)]);
        let (event, nodes) = row(kind, &body, "(end)", "result")?;
        let notice = Notice {
            kind: notice,
            reason,
        };
        self.shared
            .store
            .append(&self.shared.key, event, nodes, notice)
            .await
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
