//! The words of people: answers to questions, what became of a step in doubt, that a run is to end.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Journal;
use crate::budget::Cost;
use crate::records::{Effect, Event, EventKind, RunId};
use crate::run::{AnswerTo, Question, validate};
use crate::store::{EventRow, Ground, Kind, Outcome, Reader, Store, cancel_run, wake};
use crate::{Error, Result};

/// A question that nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenQuestion {
    /// The run that asks.
    pub run: RunId,
    /// The address, to be named in the answer.
    pub path: String,
    /// What is asked.
    pub text: String,
    /// What an answer has to look like: a JSON Schema.
    pub schema: Value,
    /// What counts as the answer when it expires.
    pub default: Option<Value>,
    /// When it expires, milliseconds since 1970 (UTC).
    pub expires_ms: Option<i64>,
}

/// What became of a step in doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// It has happened, and this is its result.
    Done(Value),
    /// It has not happened: it may be done when the run is resumed.
    NotDone,
}

impl Journal {
    /// The open questions of a run, by its id or a prefix, or of all runs; oldest first.
    pub async fn questions(&self, run: Option<&str>) -> Result<Vec<OpenQuestion>> {
        let run = run.map(String::from);
        self.store
            .read(move |reader| {
                let key = match run {
                    Some(run) => Some(reader.find(&run)?.0),
                    None => None,
                };
                let of_all = key.is_none();
                let mut open = Vec::new();
                for (key, id, path, expires_ms) in reader.open_questions(key)? {
                    let id = RunId::parse(&id)?;
                    let question: Question = match reader.question(key, &id, &path) {
                        Ok(question) => question,
                        // It does not keep the others from being answered.
                        Err(error @ Error::Damaged { .. }) if of_all => {
                            tracing::warn!(%error, "a question is left out");
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    open.push(OpenQuestion {
                        run: id,
                        path,
                        text: question.text,
                        schema: question.schema,
                        default: question.default,
                        expires_ms,
                    });
                }
                Ok(open)
            })
            .await
    }

    /// Answers an open question, by the run's id or a prefix and the question's address, in somebody's
    /// name. The run may go on then: an engine takes it up, or somebody resumes it.
    ///
    /// Errors: [`Error::WrongAnswer`], which leaves the question open; [`Error::Answered`] and
    /// [`Error::NoQuestion`].
    pub async fn answer(&self, run: &str, path: &str, answer: Value, by: &str) -> Result<()> {
        let (asked, place) = (run.to_string(), path.to_string());
        let (key, id, question) = self
            .store
            .read(move |reader| {
                let (key, id) = reader.find(&asked)?;
                if reader.is_open(key, &place)? {
                    let question = reader.question(key, &id, &place)?;
                    return Ok((key, id, question));
                }
                let run = id.to_string();
                let recorded = reader.recorded(key, &id)?.steps;
                let step = recorded.into_iter().find(|(path, _)| *path == place);
                Err(match step.map(|(_, step)| step.outcome) {
                    Some(Outcome::Finished(_) | Outcome::Known(_)) => {
                        Error::Answered { run, path: place }
                    }
                    Some(Outcome::Failed(_)) => Error::NoQuestion {
                        run,
                        path: place,
                        why: "it has expired".to_string(),
                    },
                    Some(Outcome::Open) => Error::NoQuestion {
                        run,
                        path: place,
                        why: "the step there asks nothing".to_string(),
                    },
                    None => Error::NoQuestion {
                        run,
                        path: place,
                        why: "`plumb questions` lists those that are open".to_string(),
                    },
                })
            })
            .await?;
        let to = AnswerTo {
            run: id.as_str(),
            path,
            schema: &question.schema,
        };
        validate(&to, &answer)?;
        let answer = self.secrets.value(answer);
        let row = EventRow::answer(path, &answer, &self.secrets.text(by));
        let (mut event, nodes, notice) = row.map_err(|error| Error::Serialise {
            path: path.to_string(),
            what: "result",
            message: error.to_string(),
        })?;
        event.at_ms = self.store.stamp()?;
        let packed = self.store.pack_all(nodes)?;
        let raise = question.raises.clone().zip(answer.as_u64());
        self.store
            .write(move |ground| {
                if let Err(error) = close(ground, key, &id, &event)? {
                    return Ok(Err(error));
                }
                for node in &packed {
                    ground.node(node)?;
                }
                let mut events = vec![ground.append(key, &id, &event, notice.clone())?];
                if let Some((raises, most)) = &raise {
                    events.extend(ground.raise(&raises.run, raises.dimension, *most)?);
                }
                wake(ground, key)?;
                Ok(Ok(((), events)))
            })
            .await
    }

    /// Says what became of a step in doubt: an irreversible one that was cut off, or one that a fork
    /// may not do. The run can be resumed then.
    ///
    /// Errors: [`Error::NotInDoubt`], [`Error::NoStep`], [`Error::Held`] while somebody works on it.
    pub async fn settle(&self, run: &str, path: &str, settlement: Settlement) -> Result<()> {
        let (asked, place) = (run.to_string(), path.to_string());
        let doubtful = self
            .store
            .read(move |reader| doubtful(reader, &asked, place))
            .await?;
        let Doubtful {
            key,
            id,
            ledgers,
            reserved,
            is_fork,
        } = doubtful;
        let serialise = |error: serde_json::Error| Error::Serialise {
            path: path.to_string(),
            what: "result",
            message: error.to_string(),
        };
        let (kind, body, notice) = match settlement {
            Settlement::Done(value) => {
                let attributes = Map::from_iter([("settled".to_string(), true.into())]);
                let mut body = Map::from_iter([
                    ("output".to_string(), self.secrets.value(value)),
                    ("attributes".to_string(), attributes.clone().into()),
                ]);
                reserved.note("cost", &mut body);
                let notice = EventKind::StepFinished {
                    path: path.to_string(),
                    attributes,
                };
                (Kind::StepFinished, body, notice)
            }
            Settlement::NotDone if is_fork => {
                return Err(Error::NotInDoubt {
                    run: id.to_string(),
                    path: path.to_string(),
                    why: "a fork does not do it; say what to take for its result".to_string(),
                });
            }
            Settlement::NotDone => {
                let notice = EventKind::StepSettled {
                    path: path.to_string(),
                };
                (Kind::StepSettled, Map::new(), notice)
            }
        };
        let (mut event, nodes) = EventRow::new(kind, &body).map_err(serialise)?;
        event.path = Some(path.to_string());
        event.at_ms = self.store.stamp()?;
        let packed = self.store.pack_all(nodes)?;
        self.store
            .write(move |ground| {
                if let Some(error) = ground.refuses_settling(key, &id)? {
                    return Ok(Err(error));
                }
                for node in &packed {
                    ground.node(node)?;
                }
                let events = match kind {
                    Kind::StepFinished => {
                        ground.spend(&ledgers, reserved.amounts())?;
                        ground.append(key, &id, &event, notice.clone())?
                    }
                    _ => ground.append(key, &id, &event, notice.clone())?,
                };
                ground.ready_now(key)?;
                Ok(Ok(((), vec![events])))
            })
            .await
    }

    /// Ends a run and its descendants for good. Whoever works on one of them stops; what is in flight
    /// is dropped.
    ///
    /// Errors: [`Error::Finished`] and [`Error::RunCancelled`] when it has ended already.
    pub async fn cancel(&self, run: &str, reason: &str) -> Result<()> {
        let asked = run.to_string();
        let id = self
            .store
            .read(move |reader| reader.find(&asked).map(|(_, id)| id))
            .await?;
        cancel(&self.store, id, &self.secrets.text(reason)).await
    }
}

/// A step that somebody has to say something about.
struct Doubtful {
    key: i64,
    id: RunId,
    ledgers: Vec<i64>,
    /// What is set aside for it.
    reserved: Cost,
    /// Whether it is a fork's, which does not do it.
    is_fork: bool,
}

/// The step of that address, when it is in doubt.
fn doubtful(reader: &Reader<'_>, run: &str, path: String) -> Result<Doubtful> {
    let (key, id) = reader.find(run)?;
    let recorded = reader.recorded(key, &id)?.steps;
    let step = recorded.into_iter().find(|(place, _)| *place == path);
    let is_fork = reader.start_field(key, &id, "fork")?.is_some();
    let run = id.to_string();
    let Some((path, step)) = step else {
        return Err(Error::NoStep { run, path });
    };
    let why = match (&step.outcome, step.effect) {
        (Outcome::Open, Effect::Irreversible) if !step.cleared => None,
        (Outcome::Open, Effect::Idempotent) if is_fork => None,
        (Outcome::Open, Effect::Irreversible) => {
            Some("somebody has said already that it has not happened")
        }
        (Outcome::Open, _) => Some("it can be done again without harm"),
        (Outcome::Finished(_) | Outcome::Known(_), _) => Some("it has a result"),
        (Outcome::Failed(_), _) => Some("it has failed, and that is its result"),
    };
    if let Some(why) = why {
        let why = why.to_string();
        return Err(Error::NotInDoubt { run, path, why });
    }
    Ok(Doubtful {
        key,
        id,
        ledgers: reader.ledgers(key)?,
        reserved: step.reserved,
        is_fork,
    })
}

/// See [`Journal::cancel`].
pub(crate) async fn cancel(store: &Store, id: RunId, reason: &str) -> Result<()> {
    let reason = reason.to_string();
    store
        .write(move |ground| {
            let found: Option<(i64, i64, Option<String>)> = ground
                .transaction
                .prepare_cached("SELECT key, status, reason FROM run WHERE id = ?1")?
                .query_row([id.as_str()], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((key, status, before)) = found else {
                return Ok(Err(Error::NotFound { id: id.to_string() }));
            };
            match crate::store::status_from_code(status) {
                Some(crate::RunStatus::Finished) => {
                    return Ok(Err(Error::Finished { id: id.to_string() }));
                }
                Some(crate::RunStatus::Cancelled) => {
                    return Ok(Err(Error::RunCancelled {
                        run: id.to_string(),
                        reason: before.unwrap_or_default(),
                    }));
                }
                _ => {}
            }
            Ok(Ok(((), cancel_run(ground, key, &reason)?)))
        })
        .await
}

/// Takes a question off the list of open ones, if it is there still.
fn close(
    ground: &Ground<'_>,
    key: i64,
    id: &RunId,
    event: &EventRow,
) -> rusqlite::Result<Result<()>> {
    if let Some(error) = ground.refuses(key, id)? {
        return Ok(Err(error));
    }
    let path = event.path.clone().unwrap_or_default();
    let expires_ms: Option<Option<i64>> = ground
        .transaction
        .prepare_cached("SELECT expires_ms FROM question WHERE run = ?1 AND path = ?2")?
        .query_row(params![key, path], |row| row.get(0))
        .optional()?;
    let run = id.to_string();
    match expires_ms {
        None => return Ok(Err(Error::Answered { run, path })),
        Some(Some(expires_ms)) if expires_ms <= event.at_ms => {
            let why = "it has expired".to_string();
            return Ok(Err(Error::NoQuestion { run, path, why }));
        }
        Some(_) => {}
    }
    ground
        .transaction
        .prepare_cached("DELETE FROM question WHERE run = ?1 AND path = ?2")?
        .execute(params![key, path])?;
    Ok(Ok(()))
}

/// What several of these do to the store.
impl Ground<'_> {
    /// Writes an event of a run without having its lease.
    fn append(
        &self,
        key: i64,
        id: &RunId,
        event: &EventRow,
        notice: EventKind,
    ) -> rusqlite::Result<Event> {
        let seq = self.insert(key, event, event.digest(id))?;
        self.count_up(key)?;
        Ok(Event {
            seq,
            run: id.clone(),
            at_ms: event.at_ms,
            kind: notice,
        })
    }

    /// Raises a limit, and wakes those that wait for that.
    fn raise(
        &self,
        owner: &str,
        dimension: crate::Dimension,
        most: u64,
    ) -> rusqlite::Result<Option<Event>> {
        let key: Option<i64> = self
            .transaction
            .prepare_cached("SELECT key FROM run WHERE id = ?1")?
            .query_row([owner], |row| row.get(0))
            .optional()?;
        let (Some(key), Ok(id)) = (key, RunId::parse(owner)) else {
            return Ok(None);
        };
        self.raise_limit(key, dimension, most)?;
        let asking: Vec<i64> = self
            .transaction
            .prepare_cached("SELECT DISTINCT run FROM question WHERE path GLOB ?1")?
            .query_map([format!("budget/*{dimension}[[]*")], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for run in asking {
            wake(self, run)?;
        }
        let body = Map::from_iter([
            ("dimension".to_string(), dimension.as_str().into()),
            ("most".to_string(), most.into()),
        ]);
        let Ok((mut event, _)) = EventRow::new(Kind::BudgetRaised, &body) else {
            return Ok(None);
        };
        event.at_ms = self.now_ms;
        let notice = EventKind::BudgetRaised { dimension, most };
        self.append(key, &id, &event, notice).map(Some)
    }
}
