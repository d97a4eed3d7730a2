//! The handle that running code holds: steps, scopes, and how a run ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::journal::to_json;
use crate::payload::{self, Hash};
use crate::records::{Effect, EventKind, RunId};
use crate::redact::Secrets;
use crate::step::{StepContext, StepError};
use crate::store::{EventRow, Kind, Notice, Outcome, Reader, Recorded, RunKey, Store};
use crate::{Error, Result};

/// How much of an input a divergence shows.
const EXCERPT_CHARACTERS: usize = 160;

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
    pub(crate) recorded: HashMap<String, Recorded>,
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
    recorded: Mutex<HashMap<String, Recorded>>,
    cancel: CancellationToken,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.store.release(&self.key);
    }
}

/// A step about to happen.
struct Asked {
    path: String,
    effect: Effect,
    input: Value,
    fingerprint: Hash,
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
            recorded: Mutex::new(recorded),
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
            let recorded = self.recorded().remove(&asked.path);
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

    fn recorded(&self) -> MutexGuard<'_, HashMap<String, Recorded>> {
        self.shared
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn check_alive(&self) -> Result<()> {
        self.shared.key.fate.check()?;
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Settles a step's address and input.
    fn ask<I: Serialize + ?Sized>(&self, name: &str, effect: Effect, input: &I) -> Result<Asked> {
        let misnamed = self
            .misnamed
            .as_deref()
            .or_else(|| (!is_name(name)).then_some(name));
        if let Some(name) = misnamed {
            return Err(Error::Name {
                name: name.to_string(),
            });
        }
        let mut path = format!("{}{name}", self.scope);
        let ordinal = {
            let ordinals = self.shared.ordinals.lock();
            let mut ordinals = ordinals.unwrap_or_else(PoisonError::into_inner);
            let next = ordinals.entry(path.clone()).or_default();
            *next += 1;
            *next - 1
        };
        path.push_str(&format!("[{ordinal}]"));
        let input = self.shared.secrets.value(to_json(input, &path, "input")?);
        let fingerprint = payload::fingerprint(&input).map_err(|error| Error::Serialise {
            path: path.clone(),
            what: "input",
            message: error.to_string(),
        })?;
        Ok(Asked {
            path,
            effect,
            input,
            fingerprint,
        })
    }

    fn idempotency_key(&self, path: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id().as_str().as_bytes());
        hasher.update(b"\0");
        hasher.update(path.as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// What the journal has to say to a step that was begun before.
    async fn answer(&self, asked: &Asked, recorded: Recorded) -> Result<Answer> {
        let Recorded {
            effect,
            fingerprint,
            attempts,
            started,
            outcome,
        } = recorded;
        let path = &asked.path;
        if fingerprint != asked.fingerprint {
            let was = self
                .field(path, started, "input")
                .await?
                .unwrap_or_default();
            let (recorded, asked) = excerpts(&was, &asked.input);
            return Err(Error::Diverged {
                path: path.clone(),
                recorded,
                asked,
            });
        }
        match outcome {
            Outcome::Finished(body) => {
                let output = self.field(path, body, "output").await?;
                Ok(Answer::Result(output.unwrap_or_default()))
            }
            Outcome::Failed(body) => {
                let message = match self.field(path, body, "error").await? {
                    Some(Value::String(message)) => message,
                    _ => String::new(),
                };
                Err(Error::StepFailed {
                    path: path.clone(),
                    message,
                })
            }
            // What it was declared to be when it began is what counts, whatever the code says now.
            Outcome::Open => match effect {
                Effect::Pure | Effect::Read | Effect::Idempotent => Ok(Answer::Again(attempts + 1)),
                Effect::Irreversible => {
                    let error = Error::InDoubt {
                        run: self.id().to_string(),
                        path: path.clone(),
                    };
                    self.park(&format!("step {path} is in doubt")).await?;
                    Err(error)
                }
            },
        }
    }

    /// A field of a recorded body. Goes to the store only when the body refers to payloads, so that
    /// short results cost a resume no switch of threads.
    async fn field(&self, path: &str, body: String, field: &'static str) -> Result<Option<Value>> {
        let id = self.id().clone();
        if !payload::has_references(&body) {
            return Reader::inline_field(&id, path, &body, field);
        }
        let path = path.to_string();
        self.shared
            .store
            .read(move |reader| reader.field(&id, &path, &body, field))
            .await
    }

    async fn write_start(&self, asked: &Asked, attempt: u32) -> Result<()> {
        let Asked {
            path,
            effect,
            input,
            fingerprint,
        } = asked;
        let (kind, body) = match attempt {
            1 => (
                Kind::StepStarted,
                Map::from_iter([("input".to_string(), input.clone())]),
            ),
            // The input is the same, it has been checked; once is enough.
            _ => (Kind::StepRestarted, Map::new()),
        };
        let (mut event, nodes) = row(kind, &body, path, "input")?;
        event.path = Some(path.clone());
        event.effect = Some(*effect);
        event.fingerprint = Some(*fingerprint);
        let kind = EventKind::StepStarted {
            path: path.clone(),
            effect: *effect,
            attempt,
        };
        let notice = Notice { kind, reason: None };
        let Shared { store, key, .. } = &*self.shared;
        if effect.writes() {
            store.append(key, event, nodes, notice).await
        } else {
            store.append_later(key, event, nodes, notice).await
        }
    }

    async fn write_result(&self, path: &str, value: &Value, context: &StepContext) -> Result<()> {
        let attributes = self.attributes(context);
        let kind = EventKind::StepFinished {
            path: path.to_string(),
            attributes: attributes.clone(),
        };
        self.write_end(
            Kind::StepFinished,
            path,
            ("output", value.clone()),
            attributes,
            kind,
        )
        .await
    }

    /// Writes down how the work failed and gives the error for the caller.
    async fn write_error(
        &self,
        path: &str,
        error: StepError,
        context: &StepContext,
    ) -> Result<Error> {
        let attributes = self.attributes(context);
        let path = path.to_string();
        let (row, kind, error) = match error {
            StepError::Failed(message) => {
                let message = self.shared.secrets.text(&message);
                let kind = EventKind::StepFailed {
                    path: path.clone(),
                    error: message.clone(),
                };
                (
                    Kind::StepFailed,
                    kind,
                    Error::StepFailed {
                        path: path.clone(),
                        message,
                    },
                )
            }
            StepError::Fault(message) => {
                let message = self.shared.secrets.text(&message);
                let kind = EventKind::StepFaulted {
                    path: path.clone(),
                    error: message.clone(),
                };
                (
                    Kind::StepFaulted,
                    kind,
                    Error::StepFault {
                        path: path.clone(),
                        message,
                    },
                )
            }
        };
        let message = match &error {
            Error::StepFailed { message, .. } | Error::StepFault { message, .. } => message.clone(),
            other => other.to_string(),
        };
        self.write_end(row, &path, ("error", message.into()), attributes, kind)
            .await?;
        Ok(error)
    }

    async fn write_end(
        &self,
        kind: Kind,
        path: &str,
        field: (&str, Value),
        attributes: Map<String, Value>,
        notice: EventKind,
    ) -> Result<()> {
        let mut body = Map::from_iter([(field.0.to_string(), field.1)]);
        if !attributes.is_empty() {
            body.insert("attributes".to_string(), attributes.into());
        }
        let (mut event, nodes) = row(kind, &body, path, "result")?;
        event.path = Some(path.to_string());
        let notice = Notice {
            kind: notice,
            reason: None,
        };
        self.shared
            .store
            .append(&self.shared.key, event, nodes, notice)
            .await
    }

    fn attributes(&self, context: &StepContext) -> Map<String, Value> {
        match self.shared.secrets.value(context.take_attributes().into()) {
            Value::Object(attributes) => attributes,
            _ => Map::new(),
        }
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

/// What the journal says to a step that was begun before.
enum Answer {
    Result(Value),
    /// Nothing: do it, as attempt number so and so.
    Again(u32),
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| matches!(c, '/' | '[' | ']') || c.is_control())
}

fn row(
    kind: Kind,
    body: &Map<String, Value>,
    path: &str,
    what: &'static str,
) -> Result<(EventRow, Vec<payload::Node>)> {
    EventRow::new(kind, body).map_err(|error| Error::Serialise {
        path: path.to_string(),
        what,
        message: error.to_string(),
    })
}

fn read_back<T: DeserializeOwned>(value: Value, path: &str) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::Unreadable {
        path: path.to_string(),
        message: error.to_string(),
    })
}

/// Both inputs around the place where they begin to differ.
fn excerpts(recorded: &Value, asked: &Value) -> (String, String) {
    let (recorded, asked) = (recorded.to_string(), asked.to_string());
    let same = recorded
        .chars()
        .zip(asked.chars())
        .take_while(|(a, b)| a == b)
        .count();
    let from = same.saturating_sub(EXCERPT_CHARACTERS / 4);
    let excerpt = |text: &str| {
        let middle: String = text.chars().skip(from).take(EXCERPT_CHARACTERS).collect();
        let left = if from > 0 { "…" } else { "" };
        let right = if text.chars().count() > from + EXCERPT_CHARACTERS {
            "…"
        } else {
            ""
        };
        format!("{left}{middle}{right}")
    };
    (excerpt(&recorded), excerpt(&asked))
}
