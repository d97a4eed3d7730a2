//! How a step's events are written: that it begins, and how it ends.

use serde_json::{Map, Value};

use super::perform::Asked;
use super::{Run, Shared};
use crate::Dimension;
use crate::budget::{Amounts, Cost, Entry};
use crate::journal::to_json;
use crate::records::{EventKind, StepKind};
use crate::step::{StepContext, StepError};
use crate::store::{EventRow, Kind, Notice, QuestionChange, Record};
use crate::{Error, Result, payload};

/// How a step begins.
pub(super) struct Beginning {
    /// 1 the first time.
    pub(super) attempt: u32,
    /// What is to be set aside.
    pub(super) reserve: Cost,
    pub(super) question: Option<QuestionChange>,
    /// Whether work follows, which counts against budgets; else its result is found or given.
    pub(super) works: bool,
}

impl Run {
    pub(super) async fn write_start(&self, asked: &Asked, beginning: Beginning) -> Result<()> {
        let waits = beginning.question.is_some();
        self.go_on_with_lists(asked).await;
        let record = self.step_begins(asked, beginning)?;
        let Shared { store, key, .. } = &*self.shared;
        // A refusal for the budget, or a question that may be answered, must be known at once.
        if asked.effect.writes() || record.entry.begins || waits {
            store.append(key, record).await?;
        } else {
            store.append_later(key, record).await?;
        }
        // Should the write still fail, the run is over.
        asked.lists.iter().for_each(|list| list.handed(self.id()));
        Ok(())
    }

    /// Writes a step whose result was found and not worked for.
    pub(super) async fn write_found(&self, asked: &Asked, value: &Value, mark: &str) -> Result<()> {
        let beginning = Beginning {
            attempt: 1,
            reserve: Cost::default(),
            question: None,
            works: false,
        };
        let context = StepContext::new(&asked.path, String::new(), Cost::default());
        context.attribute(mark, true);
        self.go_on_with_lists(asked).await;
        let mut record = self.step_begins(asked, beginning)?;
        let (end, _) = self.step_finishes(&asked.path, value.clone(), &context)?;
        record.then = Some(Box::new(end));
        self.shared.store.append(&self.shared.key, record).await?;
        asked.lists.iter().for_each(|list| list.handed(self.id()));
        Ok(())
    }

    /// Looks up how the journal has cut the lists of an input whose beginnings were answered from it. What
    /// cannot be found is cut again.
    async fn go_on_with_lists(&self, asked: &Asked) {
        for list in &asked.lists {
            let Some(recalled) = list.recalled() else {
                continue;
            };
            let (id, path) = (self.id().clone(), asked.path.clone());
            let read = self.shared.store.read(move |reader| {
                let chain = reader.chain(&id, &path, &recalled)?;
                Ok(chain.map(|chain| (recalled, chain)))
            });
            if let Ok(Some((recalled, chain))) = read.await {
                list.go_on_from(&recalled, chain);
            }
        }
    }

    fn step_begins(&self, asked: &Asked, beginning: Beginning) -> Result<Record> {
        let Asked {
            path,
            kind,
            effect,
            input,
            lists,
            fingerprint,
        } = asked;
        let Beginning {
            attempt,
            reserve,
            question,
            works,
        } = beginning;
        let mut body = Map::new();
        let event_kind = match attempt {
            1 => Kind::StepStarted,
            _ => Kind::StepRestarted,
        };
        if attempt == 1 && *kind != StepKind::Call {
            // The first field, so that readers find it without reading the input.
            body.insert("kind".to_string(), to_json(kind, path, "input")?);
        }
        reserve.note("reserve", &mut body);
        if attempt == 1 {
            // A later attempt has the same input, that has been checked; once is enough.
            body.insert("input".to_string(), Value::clone(input));
        }
        let (mut event, nodes) = EventRow::with_lists(event_kind, &body, lists)
            .map_err(|error| not_json(path, "input", &error))?;
        event.path = Some(path.clone());
        event.effect = Some(*effect);
        event.fingerprint = Some(*fingerprint);
        let notice = Notice {
            kind: EventKind::StepStarted {
                path: path.clone(),
                step: *kind,
                effect: *effect,
                attempt,
            },
            reason: None,
        };
        let mut record = Record::new(event, nodes, notice);
        record.question = question;
        let work = works && *kind == StepKind::Call;
        if work && !self.shared.key.ledgers.is_empty() {
            let steps = i64::from(attempt == 1);
            record.entry = Entry {
                reserve: reserve.amounts(),
                spend: Amounts::default().with(Dimension::Steps, steps),
                begins: true,
                ..Entry::default()
            };
        }
        Ok(record)
    }

    /// Writes a step's result down; gives it back once it is on disk.
    pub(super) async fn write_result(
        &self,
        path: &str,
        value: Value,
        context: &StepContext,
    ) -> Result<Value> {
        let (record, value) = self.step_finishes(path, value, context)?;
        self.shared.store.append(&self.shared.key, record).await?;
        Ok(value)
    }

    fn step_finishes(
        &self,
        path: &str,
        value: Value,
        context: &StepContext,
    ) -> Result<(Record, Value)> {
        let notice = EventKind::StepFinished {
            path: path.to_string(),
            attributes: Map::new(),
        };
        self.step_ends(Kind::StepFinished, path, ("output", value), context, notice)
    }

    /// Writes down how the work failed and gives the error for the caller.
    pub(super) async fn write_error(
        &self,
        path: &str,
        error: StepError,
        context: &StepContext,
    ) -> Result<Error> {
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
        let (record, _) = self.step_ends(row, &path, ("error", message.into()), context, kind)?;
        self.shared.store.append(&self.shared.key, record).await?;
        Ok(error)
    }

    /// The record of a step's end, and the value in it.
    fn step_ends(
        &self,
        kind: Kind,
        path: &str,
        (field, value): (&str, Value),
        context: &StepContext,
        mut notice: EventKind,
    ) -> Result<(Record, Value)> {
        let mut body = Map::from_iter([(field.to_string(), value)]);
        let noted = self.attributes(context);
        if !noted.is_empty() {
            body.insert("attributes".to_string(), noted.clone().into());
        }
        if let EventKind::StepFinished { attributes, .. } = &mut notice {
            *attributes = noted;
        }
        let cost = match (context.said_cost(), kind) {
            (Some(cost), _) => cost,
            (None, Kind::StepFaulted) => Cost::default(),
            (None, _) => context.reserved(),
        };
        cost.note("cost", &mut body);
        let (mut event, nodes) = row(kind, &body, path, "result")?;
        event.path = Some(path.to_string());
        let notice = Notice {
            kind: notice,
            reason: None,
        };
        let mut record = Record::new(event, nodes, notice);
        record.entry = Entry {
            release: context.reserved().amounts(),
            spend: cost.amounts(),
            ..Entry::default()
        };
        Ok((record, body.remove(field).unwrap_or_default()))
    }

    fn attributes(&self, context: &StepContext) -> Map<String, Value> {
        match self.shared.secrets.value(context.take_attributes().into()) {
            Value::Object(attributes) => attributes,
            _ => Map::new(),
        }
    }
}

pub(super) fn row(
    kind: Kind,
    body: &Map<String, Value>,
    path: &str,
    what: &'static str,
) -> Result<(EventRow, Vec<payload::Node>)> {
    EventRow::new(kind, body).map_err(|error| not_json(path, what, &error))
}

pub(super) fn not_json(path: &str, what: &'static str, error: &serde_json::Error) -> Error {
    Error::Serialise {
        path: path.to_string(),
        what,
        message: error.to_string(),
    }
}
