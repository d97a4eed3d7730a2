//! A step on its way: its address, what the journal answers, its intent, its end.

use std::sync::{Arc, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::budget::is_about_limit;
use super::options::{Reconciled, StepOptions};
use super::recall::{self, Recall};
use super::writing::{Beginning, not_json};
use super::{Replaying, Run, Shared};
use crate::budget::Cost;
use crate::fingerprint::{fingerprint, fingerprint_v1};
use crate::list::{self, Captured};
use crate::payload::{self, Hash};
use crate::records::{Effect, RunId, StepKind};
use crate::step::StepContext;
use crate::store::{Outcome, Reader, Recorded, Wait};
use crate::{Error, Moment, Result};

/// How much of an input a divergence shows.
const EXCERPT_CHARACTERS: usize = 160;

/// A step about to happen.
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) kind: StepKind,
    pub(super) effect: Effect,
    /// With marks where lists stand.
    pub(super) input: Arc<Value>,
    pub(super) lists: Vec<Captured>,
    pub(super) fingerprint: Hash,
}

impl Asked {
    /// The input with its lists.
    fn whole_input(&self) -> Value {
        let mut input = Value::clone(&self.input);
        list::resolve(&mut input, &self.lists);
        input
    }

    /// Whether this is what was asked when that fingerprint was taken.
    pub(super) fn is_as_in(&self, recorded: &Hash) -> bool {
        // Inputs with long arrays had another one in version 1.
        self.fingerprint == *recorded
            || fingerprint_v1(&self.whole_input()).is_ok_and(|old| old == *recorded)
    }

    /// Notes that the event with this body has recorded the lists of the input.
    fn lists_are_recorded(&self, started: String) {
        if self.lists.is_empty() {
            return;
        }
        let body = started.into();
        for (number, list) in self.lists.iter().enumerate() {
            list.is_recorded(number, &body, &self.input);
        }
    }
}

/// What the journal says to a step that was begun before.
pub(super) enum Answer {
    Result(Value),
    /// Nothing: it has to be done.
    Again(Again),
}

/// How a step that has no result yet stands.
#[derive(Clone, Copy)]
pub(super) struct Again {
    /// Which attempt the next one is, from 1.
    pub(super) attempt: u32,
    /// What an attempt that was cut off has left set aside.
    pub(super) held: Cost,
    /// Nobody knows whether it has happened.
    in_doubt: bool,
    /// When it was first begun, milliseconds since 1970 (UTC).
    pub(super) started_ms: Option<i64>,
}

impl Again {
    const FIRST: Again = Again {
        attempt: 1,
        held: Cost {
            money_micros: 0,
            tokens: 0,
        },
        in_doubt: false,
        started_ms: None,
    };
}

/// What is to be done about a step.
pub(super) enum Prepared {
    Answered(Value),
    /// Its intent is written; the work may begin.
    Go(StepContext),
}

impl Run {
    pub(super) fn recorded(&self) -> MutexGuard<'_, Recall> {
        self.shared.recorded.lock()
    }

    pub(super) fn replaying(&self) -> Option<MutexGuard<'_, Replaying>> {
        let replay = self.shared.replay.as_ref()?;
        Some(replay.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        self.shared.key.fate.check()?;
        if self.is_cancelled() {
            Err(self.cancelled_error())
        } else {
            Ok(())
        }
    }

    /// Why the work was stopped: the run was cancelled for good, or only its work here.
    pub(super) fn cancelled_error(&self) -> Error {
        match self.shared.key.fate.check() {
            Err(error) => error,
            Ok(()) => Error::Cancelled,
        }
    }

    pub(super) fn tell_work(&self, moment: Moment, context: &StepContext) {
        if let Some(probe) = self.shared.store.work_probe() {
            probe(moment, self.id(), context);
        }
    }

    /// Settles a step's address and input.
    pub(super) fn address<I: Serialize + ?Sized>(
        &self,
        name: &str,
        kind: StepKind,
        effect: Effect,
        input: &I,
    ) -> Result<Asked> {
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
        let (input, lists) = list::capture(self.id(), input, &path)?;
        let input = self.shared.secrets.value(input);
        let fingerprint =
            fingerprint(&input, &lists).map_err(|error| not_json(&path, "input", &error))?;
        Ok(Asked {
            path,
            kind,
            effect,
            input: input.into(),
            lists,
            fingerprint,
        })
    }

    /// Answers a step from what is recorded, or writes its intent.
    pub(super) async fn prepare(&self, asked: &Asked, options: StepOptions) -> Result<Prepared> {
        let StepOptions { reserve, reconcile } = options;
        let again = match self.recall(asked).await? {
            Answer::Result(value) => return Ok(Prepared::Answered(value)),
            Answer::Again(again) => again,
        };
        let Again { attempt, held, .. } = again;
        let path = &asked.path;
        let set_aside = if held.is_zero() { reserve } else { held };
        let context = StepContext::new(path, self.idempotency_key(path), set_aside);
        if self.may_not_be_live(asked.effect) {
            if attempt == 1 {
                let beginning = Beginning {
                    attempt,
                    reserve: Cost::default(),
                    question: None,
                    works: false,
                };
                self.write_start(asked, beginning).await?;
            }
            let error = Error::NotLive {
                run: self.id().to_string(),
                path: path.clone(),
                idempotent: asked.effect == Effect::Idempotent,
            };
            return Err(self.doubt(path, error).await?);
        }
        if again.in_doubt {
            // What is still set aside for it is settled, and no more: after a fault that is nothing.
            let context = StepContext::new(path, self.idempotency_key(path), held);
            let found = match reconcile {
                Some(reconcile) => reconcile(context.clone()).await,
                None => Ok(Reconciled::Unknown),
            };
            match found {
                Ok(Reconciled::Done(value)) => {
                    let value = self.shared.secrets.value(value);
                    context.attribute("reconciled", true);
                    let value = self.write_result(path, value, &context).await?;
                    return Ok(Prepared::Answered(value));
                }
                Ok(Reconciled::NotDone) => {}
                Ok(Reconciled::Unknown) | Err(_) => {
                    let error = Error::InDoubt {
                        run: self.id().to_string(),
                        path: path.clone(),
                    };
                    return Err(self.doubt(path, error).await?);
                }
            }
        }
        // What a crash left set aside for this step counts for its next attempt.
        let reserve = if held.is_zero() {
            reserve
        } else {
            Cost::default()
        };
        self.begin(asked, attempt, reserve).await?;
        Ok(Prepared::Go(context))
    }

    /// Writes that work begins; waits, where a budget is exhausted, until it has been raised.
    async fn begin(&self, asked: &Asked, attempt: u32, reserve: Cost) -> Result<()> {
        loop {
            let beginning = Beginning {
                attempt,
                reserve,
                question: None,
                works: true,
            };
            match self.write_start(asked, beginning).await {
                Err(Error::OverBudget {
                    run,
                    dimension,
                    most,
                    used,
                    asked,
                }) => {
                    self.ask_to_raise(&run, dimension, [most, used, asked])
                        .await?
                }
                other => return other,
            }
        }
    }

    /// What the journal has to say to a step. Shared by all kinds of steps.
    pub(super) async fn recall(&self, asked: &Asked) -> Result<Answer> {
        self.check_alive()?;
        // Limits are a fork's own: what was said of those of its source says nothing about them.
        let is_limit = is_about_limit(&asked.path);
        let Shared {
            recorded, store, ..
        } = &*self.shared;
        let recorded = recorded.take(&asked.path, store, self.id()).await;
        let recorded = recorded.filter(|step| !(step.shared && is_limit));
        let is_own = recorded.as_ref().is_some_and(|step| !step.shared);
        let answer = if self.shared.replay.is_some() {
            // What a fork is given or reuses it writes down when it comes there; a replay writes
            // nothing.
            match recorded {
                Some(recorded) if is_own || !self.is_given(&asked.path) => {
                    self.answer(asked, recorded).await?
                }
                _ => Answer::Again(Again::FIRST),
            }
        } else if !is_own && let Some(value) = self.given(asked).await? {
            Answer::Result(value)
        } else if let Some(recorded) = recorded {
            self.answer(asked, recorded).await?
        } else if !is_limit && let Some(value) = self.beyond(asked).await? {
            Answer::Result(value)
        } else {
            Answer::Again(Again::FIRST)
        };
        if let Some(mut replay) = self.replaying() {
            // A child that has been begun need not have ended.
            if let Answer::Again(again) = &answer
                && (asked.kind != StepKind::Child || again.attempt == 1)
            {
                return Err(Error::RecordingEnds {
                    run: self.id().to_string(),
                    path: asked.path.clone(),
                });
            }
            replay.answered += 1;
        }
        Ok(answer)
    }

    /// A person has to say what became of a step, or what is to be taken for its result. Where
    /// somebody parks the run once it only waits, this waits; else it parks the run and gives the error.
    async fn doubt(&self, path: &str, error: Error) -> Result<Error> {
        let reason = match &error {
            Error::InDoubt { .. } => format!("step {path} is in doubt"),
            other => other.to_string(),
        };
        if self.shared.activity.is_driven() {
            return Err(self
                .wait_for_ever(Wait::Doubt(path.to_string()), reason)
                .await);
        }
        self.park(&reason).await?;
        Ok(error)
    }

    pub(super) fn idempotency_key(&self, path: &str) -> String {
        key_of(self.id(), path)
    }

    /// What the journal has to say to a step that was begun before.
    pub(super) async fn answer(&self, asked: &Asked, recorded: Recorded) -> Result<Answer> {
        let Recorded {
            place,
            kind,
            effect,
            fingerprint,
            attempts,
            started,
            started_ms,
            reserved,
            cleared,
            shared,
            fault,
            outcome,
            ..
        } = recorded;
        let path = &asked.path;
        if kind != asked.kind {
            let name = |kind: StepKind| format!("a step of the kind {kind:?}");
            let (path, recorded, asked) = (path.clone(), name(kind), name(asked.kind));
            return Err(Error::Diverged {
                path,
                recorded,
                asked,
            });
        }
        // What a fork shares was answered to what the code asked then; that it asks something else now
        // may be why it was forked.
        if !shared && !asked.is_as_in(&fingerprint) {
            let was = self.field(path, started, "input").await?;
            let was = was.unwrap_or_default();
            let (recorded, asked) = excerpts(&was, &asked.whole_input());
            return Err(Error::Diverged {
                path: path.clone(),
                recorded,
                asked,
            });
        }
        if !shared {
            asked.lists_are_recorded(started);
        }
        match outcome {
            Outcome::Known(output) => Ok(Answer::Result(output)),
            Outcome::Finished(body) if payload::has_references(&body) => self
                .output_and_ahead(place, path, body)
                .await
                .map(Answer::Result),
            // No switch of threads for what is at hand.
            Outcome::Finished(body) => Reader::inline_field(self.id(), path, &body, "output")
                .map(|output| Answer::Result(output.unwrap_or_default())),
            Outcome::Failed(body) => Err(Error::StepFailed {
                path: path.clone(),
                message: self.message(path, body).await?,
            }),
            // The code went on after it: a replay does the same.
            Outcome::Open if self.shared.replay.is_some() && fault.is_some() => {
                Err(Error::StepFault {
                    path: path.clone(),
                    message: self.message(path, fault.unwrap_or_default()).await?,
                })
            }
            Outcome::Open => Ok(Answer::Again(Again {
                attempt: attempts + 1,
                held: reserved,
                // What it was declared to be when it began is what counts, whatever the code says now.
                in_doubt: effect == Effect::Irreversible && !cleared,
                started_ms: Some(started_ms),
            })),
        }
    }

    /// The message of a recorded error.
    async fn message(&self, path: &str, body: String) -> Result<String> {
        Ok(match self.field(path, body, "error").await? {
            Some(Value::String(message)) => message,
            _ => String::new(),
        })
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

    /// The output of a finished step, and in the same reading those of the steps begun around it: code
    /// that is run again mostly asks for them next.
    async fn output_and_ahead(&self, place: usize, path: &str, body: String) -> Result<Value> {
        let id = self.id().clone();
        let name = path.to_string();
        let ahead = self.recorded().ahead(place);
        let (output, read) = self
            .shared
            .store
            .read(move |reader| {
                let output = reader.field(&id, &name, &body, "output")?;
                Ok((output.unwrap_or_default(), recall::read(reader, &id, ahead)))
            })
            .await?;
        self.recorded().know(read);
        Ok(output)
    }
}

/// The idempotency key of a step.
pub(super) fn key_of(run: &RunId, path: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run.as_str().as_bytes());
    hasher.update(b"\0");
    hasher.update(path.as_bytes());
    hasher.finalize().to_hex().to_string()
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| matches!(c, '/' | '[' | ']') || c.is_control())
}

pub(super) fn read_back<T: DeserializeOwned>(value: Value, path: &str) -> Result<T> {
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
