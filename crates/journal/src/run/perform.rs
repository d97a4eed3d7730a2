//! A step on its way: its address, what the journal answers, its intent, its end.

use std::sync::{MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::recall::{self, Recall};
use super::{Run, Shared};
use crate::journal::to_json;
use crate::payload::{self, Hash};
use crate::records::{Effect, EventKind};
use crate::step::{StepContext, StepError};
use crate::store::{EventRow, Kind, Notice, Outcome, Reader, Recorded};
use crate::{Error, Result};

/// How much of an input a divergence shows.
const EXCERPT_CHARACTERS: usize = 160;

/// A step about to happen.
pub(super) struct Asked {
    pub(super) path: String,
    effect: Effect,
    input: Value,
    fingerprint: Hash,
}

/// What the journal says to a step that was begun before.
pub(super) enum Answer {
    Result(Value),
    /// Nothing: do it, as attempt number so and so.
    Again(u32),
}

impl Run {
    pub(super) fn recorded(&self) -> MutexGuard<'_, Recall> {
        self.shared
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        self.shared.key.fate.check()?;
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Settles a step's address and input.
    pub(super) fn ask<I: Serialize + ?Sized>(
        &self,
        name: &str,
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

    pub(super) fn idempotency_key(&self, path: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id().as_str().as_bytes());
        hasher.update(b"\0");
        hasher.update(path.as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    /// What the journal has to say to a step that was begun before.
    pub(super) async fn answer(&self, asked: &Asked, recorded: Recorded) -> Result<Answer> {
        let Recorded {
            place,
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
            Outcome::Known(output) => Ok(Answer::Result(output)),
            Outcome::Finished(body) if payload::has_references(&body) => self
                .output_and_ahead(place, path, body)
                .await
                .map(Answer::Result),
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
                let mut read = Vec::new();
                let mut weight = 0;
                for (name, body) in ahead {
                    if weight > recall::AHEAD_BYTES {
                        break;
                    }
                    // Damage there is reported to whoever asks for that step.
                    if let Ok(Some(value)) = reader.field(&id, &name, &body, "output") {
                        weight += recall::weight(&value);
                        read.push((name, value));
                    }
                }
                Ok((output.unwrap_or_default(), read))
            })
            .await?;
        self.recorded().know(read);
        Ok(output)
    }

    pub(super) async fn write_start(&self, asked: &Asked, attempt: u32) -> Result<()> {
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

    pub(super) async fn write_result(
        &self,
        path: &str,
        value: &Value,
        context: &StepContext,
    ) -> Result<()> {
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
    pub(super) async fn write_error(
        &self,
        path: &str,
        error: StepError,
        context: &StepContext,
    ) -> Result<Error> {
        let attributes = self.attributes(context);
        let path = path.to_string();
        let clean = |message: String| self.shared.secrets.text(&message);
        let (row, message, kind, error) = match error {
            StepError::Failed(message) => {
                let message = clean(message);
                let kind = EventKind::StepFailed {
                    path: path.clone(),
                    error: message.clone(),
                };
                let error = Error::StepFailed {
                    path: path.clone(),
                    message: message.clone(),
                };
                (Kind::StepFailed, message, kind, error)
            }
            StepError::Fault(message) => {
                let message = clean(message);
                let kind = EventKind::StepFaulted {
                    path: path.clone(),
                    error: message.clone(),
                };
                let error = Error::StepFault {
                    path: path.clone(),
                    message: message.clone(),
                };
                (Kind::StepFaulted, message, kind, error)
            }
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

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| matches!(c, '/' | '[' | ']') || c.is_control())
}

pub(super) fn row(
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
