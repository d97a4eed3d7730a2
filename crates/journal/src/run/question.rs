//! Questions to people: asked at an address, answered at that address, once.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Run;
use super::perform::{Answer, Asked, read_back};
use crate::records::{Effect, EventKind, StepKind};
use crate::store::{EventRow, Kind, Notice, QuestionChange, Record, Wait};
use crate::{Dimension, Error, Result};

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked, for a person to read.
    pub text: String,
    /// What an answer has to look like: a JSON Schema (draft 2020-12, unless it names another).
    pub schema: Value,
    /// What counts as the answer when nobody has answered in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// How long it can be answered, in milliseconds from when it was asked; none: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_ms: Option<u64>,
    /// Whose limit an answer raises, when the question is whether to raise one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) raises: Option<Raises>,
}

/// Which limit an answer raises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Raises {
    pub(crate) run: String,
    pub(crate) dimension: Dimension,
}

impl Question {
    /// A question that any answer of this schema answers, at any time.
    pub fn new(text: &str, schema: Value) -> Question {
        Question {
            text: text.to_string(),
            schema,
            default: None,
            expires_after_ms: None,
            raises: None,
        }
    }

    /// A question to be answered with `true` or `false`.
    pub fn yes_or_no(text: &str) -> Question {
        Question::new(text, json!({"type": "boolean"}))
    }

    /// Takes this for the answer when nobody has answered after so many milliseconds.
    pub fn or_after(mut self, expires_after_ms: u64, default: Value) -> Question {
        self.expires_after_ms = Some(expires_after_ms);
        self.default = Some(default);
        self
    }
}

/// What an answer is checked against.
pub(crate) struct AnswerTo<'a> {
    pub(crate) run: &'a str,
    pub(crate) path: &'a str,
    pub(crate) schema: &'a Value,
}

/// Whether a value fits a question's schema; says in words what does not.
pub(crate) fn validate(to: &AnswerTo<'_>, answer: &Value) -> Result<()> {
    let validator = compile(to.path, to.schema)?;
    let problems: Vec<String> = validator
        .iter_errors(answer)
        .take(3)
        .map(|error| match error.instance_path().to_string() {
            place if place.is_empty() => error.to_string(),
            place => format!("{place}: {error}"),
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::WrongAnswer {
        run: to.run.to_string(),
        path: to.path.to_string(),
        message: problems.join("; "),
    })
}

fn compile(path: &str, schema: &Value) -> Result<jsonschema::Validator> {
    jsonschema::validator_for(schema).map_err(|error| Error::Question {
        path: path.to_string(),
        message: format!("its schema is not a JSON Schema: {error}"),
    })
}

impl Run {
    /// Asks a person and gives the answer. The run leaves memory until then, if nothing else goes on
    /// in it. The question stands in the journal at the step's address; see
    /// [`Journal::answer`](crate::Journal::answer).
    ///
    /// Errors: [`Error::StepFailed`] when the question has expired and has no default,
    /// [`Error::Question`] when its schema is none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Journal, NewRun, Question};
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("travel", ().into())).await?;
    /// let question = Question::yes_or_no("May Ada travel to London?");
    /// let (approved, answered) = tokio::join!(run.ask::<bool>("approve", &question), async {
    ///     let open = loop {
    ///         if let Some(open) = journal.questions(None).await?.pop() {
    ///             break open;
    ///         }
    ///         tokio::task::yield_now().await;
    ///     };
    ///     journal.answer(open.run.as_str(), &open.path, true.into(), "Grace").await
    /// });
    /// answered?;
    /// assert!(approved?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ask<T: DeserializeOwned>(&self, name: &str, question: &Question) -> Result<T> {
        let asked = self.address(name, StepKind::Question, Effect::Read, question)?;
        let answer = self.ask_at(&asked, question).await?;
        read_back(answer, &asked.path)
    }

    pub(super) async fn ask_at(&self, asked: &Asked, question: &Question) -> Result<Value> {
        let busy = self.shared.activity.busy();
        let path = &asked.path;
        let again = match self.recall(asked).await? {
            Answer::Result(value) => return Ok(value),
            Answer::Again(again) => again,
        };
        let schema = &question.schema;
        compile(path, schema)?;
        let run = self.id().as_str();
        if let Some(default) = &question.default {
            validate(&AnswerTo { run, path, schema }, default).map_err(|error| {
                Error::Question {
                    path: path.clone(),
                    message: format!("its default is no answer: {error}"),
                }
            })?;
        }
        let expires_ms = |from_ms: i64| {
            let after_ms = i64::try_from(question.expires_after_ms?).ok()?;
            Some(from_ms.saturating_add(after_ms))
        };
        let open = QuestionChange::Open {
            expires_ms: expires_ms(self.shared.store.stamp()?),
        };
        let started_ms = self.begin_waiting(asked, again, Some(open)).await?;
        let expires_ms = expires_ms(started_ms);
        let reason = format!("{path} asks: {}", question.text);
        let mut _waiting = None;
        let mut busy = Some(busy);
        loop {
            let (key, place) = (self.shared.key.key, path.clone());
            let is_open = self
                .shared
                .store
                .read(move |reader| reader.is_open(key, &place))
                .await?;
            if !is_open && let Some(end) = self.end_of(path).await? {
                return end;
            }
            let now_ms = self.shared.store.clock().now_ms();
            if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
                let _busy = self.shared.activity.busy();
                match self.expire(asked, question).await {
                    // Somebody was quicker.
                    Err(Error::Answered { .. }) => continue,
                    end => return end,
                }
            }
            if let Some(busy) = busy.take() {
                let wait = Wait::Question(path.clone());
                _waiting = Some(busy.waiting(wait, reason.clone()));
            }
            self.pause(expires_ms).await?;
        }
    }

    /// Ends a question that nobody has answered in time.
    async fn expire(&self, asked: &Asked, question: &Question) -> Result<Value> {
        let path = &asked.path;
        let attributes = Map::from_iter([("expired".to_string(), true.into())]);
        let (kind, field, value, notice) = match &question.default {
            Some(default) => {
                let default = self.shared.secrets.value(default.clone());
                let notice = EventKind::StepFinished {
                    path: path.clone(),
                    attributes: attributes.clone(),
                };
                (Kind::StepFinished, "output", default, notice)
            }
            None => {
                let error = "nobody has answered in time".to_string();
                let notice = EventKind::StepFailed {
                    path: path.clone(),
                    error: error.clone(),
                };
                (Kind::StepFailed, "error", error.into(), notice)
            }
        };
        let mut body = Map::from_iter([(field.to_string(), value.clone())]);
        body.insert("attributes".to_string(), attributes.into());
        let (mut event, nodes) = super::row(kind, &body, path, "result")?;
        event.path = Some(path.clone());
        let mut record = Record::new(
            event,
            nodes,
            Notice {
                kind: notice,
                reason: None,
            },
        );
        record.question = Some(QuestionChange::Close);
        self.shared.store.append(&self.shared.key, record).await?;
        match kind {
            Kind::StepFinished => Ok(value),
            _ => Err(Error::StepFailed {
                path: path.clone(),
                message: value.as_str().unwrap_or_default().to_string(),
            }),
        }
    }
}

impl EventRow {
    /// The row of an answer that somebody gives to an open question.
    pub(crate) fn answer(path: &str, answer: &Value, by: &str) -> serde_json::Result<AnswerRow> {
        let attributes = Map::from_iter([("answered_by".to_string(), by.into())]);
        let body = Map::from_iter([
            ("output".to_string(), answer.clone()),
            ("attributes".to_string(), attributes.clone().into()),
        ]);
        let (mut event, nodes) = EventRow::new(Kind::StepFinished, &body)?;
        event.path = Some(path.to_string());
        let notice = EventKind::StepFinished {
            path: path.to_string(),
            attributes,
        };
        Ok((event, nodes, notice))
    }
}

type AnswerRow = (EventRow, Vec<crate::payload::Node>, EventKind);
