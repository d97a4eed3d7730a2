//! What a tool asks people for: before its call is made again, or in the middle of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use journal::{Question, Run};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Answer, Asks, Context, People, Progress as Said, Told, Wanted};

use super::{Progress, Watch};

/// How often a call may ask before it answers.
const MOST_ROUNDS: usize = 12;

/// Makes a call again, with what people say, until it no longer asks. The questions stand in the journal beside the
/// call, and nothing is open meanwhile: the run may leave memory. `again` makes the call, in the scope it is given.
pub(super) async fn until_answered<F, Fut>(
    run: &Run,
    tool: &str,
    first: Answer,
    again: F,
) -> journal::Result<Answer>
where
    F: Fn(Run, Told) -> Fut,
    Fut: Future<Output = journal::Result<Answer>>,
{
    let mut answer = first;
    let mut scope = None;
    for _ in 0..MOST_ROUNDS {
        let Answer::Asks(asks) = answer else {
            return Ok(answer);
        };
        let scope = scope.get_or_insert_with(|| beside(run, tool, &asks.at));
        let told = ask(scope, *asks).await?;
        answer = again(scope.clone(), told).await?;
    }
    match answer {
        Answer::Asks(_) => Ok(Answer::Error(format!(
            "{tool} has asked {MOST_ROUNDS} times and has not answered"
        ))),
        answer => Ok(answer),
    }
}

async fn ask(scope: &Run, asks: Asks) -> journal::Result<Told> {
    let mut answers = BTreeMap::new();
    for (name, wanted) in asks.questions {
        let answer: Value = scope.ask("question", &question(wanted)).await?;
        answers.insert(name, answer);
    }
    Ok(Told {
        answers,
        state: asks.state,
    })
}

fn question(wanted: Wanted) -> Question {
    Question::new(&wanted.text, wanted.schema)
}

/// The scope of what belongs to the call at an address: `mail.send-asks[3]` beside `mail.send[3]`.
fn beside(run: &Run, tool: &str, at: &str) -> Run {
    let number = at
        .rsplit_once('[')
        .and_then(|(_, rest)| rest.strip_suffix(']'));
    let index = number.and_then(|number| number.parse().ok()).unwrap_or(0);
    run.scope(&format!("{tool}-asks"), index)
}

/// What a call's step records: the answer, and what people were asked in the middle of it, so that code that is run
/// again asks the same. Where nobody was asked, it is the answer alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub(super) struct Recorded {
    pub(super) answer: Answer,
    asked: Vec<Question>,
    /// The address of the call, where somebody was asked.
    at: String,
}

/// The fields of it. No tool's own answer has such names, see [`Answer::given`].
const ANSWER: &str = "plumb:answer";
const ASKED: &str = "plumb:asked";
const AT: &str = "plumb:at";

impl From<Value> for Recorded {
    fn from(value: Value) -> Recorded {
        let asked = value
            .get(ASKED)
            .and_then(|asked| Vec::deserialize(asked).ok());
        match (
            asked,
            value.get(ANSWER),
            value.get(AT).and_then(Value::as_str),
        ) {
            (Some(asked), Some(answer), Some(at)) => Recorded {
                answer: answer.clone().into(),
                asked,
                at: at.to_owned(),
            },
            _ => Recorded {
                answer: value.into(),
                asked: Vec::new(),
                at: String::new(),
            },
        }
    }
}

impl From<Recorded> for Value {
    fn from(recorded: Recorded) -> Value {
        let Recorded { answer, asked, at } = recorded;
        match asked.is_empty() {
            true => answer.into(),
            false => json!({ANSWER: answer, ASKED: asked, AT: at}),
        }
    }
}

impl Recorded {
    /// Asks again what was asked in the middle of the call, where the call itself was answered from the journal:
    /// so is each question.
    pub(super) async fn ask_again(&self, run: &Run, tool: &str) -> journal::Result<()> {
        for question in &self.asked {
            match beside(run, tool, &self.at)
                .ask::<Value>("question", question)
                .await
            {
                // Nobody had answered in time.
                Ok(_) | Err(journal::Error::StepFailed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The people of a run, for a call under way: the run stays in memory, and what nobody answers in time stays
/// unanswered.
#[derive(Clone)]
pub(super) struct Asker {
    scope: Run,
    at: String,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl Asker {
    pub(super) fn new(run: &Run, tool: &str, at: &str) -> Asker {
        Asker {
            scope: beside(run, tool, at),
            at: at.to_owned(),
            asked: Arc::default(),
        }
    }

    /// What is recorded of the call, with what people were asked.
    pub(super) fn recorded(&self, answer: Answer) -> Recorded {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        Recorded {
            answer: answer.asked_at(&self.at),
            asked: std::mem::take(&mut *asked),
            at: self.at.clone(),
        }
    }

    fn note(&self, question: Question) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(question);
    }

    /// What a call is told, and that it can ask here.
    pub(super) fn context(&self, tool: &str, bare: Context, watch: Option<Watch>) -> Context {
        let context = bare.with_people(Arc::new(self.clone()));
        let Some(watch) = watch else {
            return context;
        };
        let tool = tool.to_owned();
        context.with_watch(move |said: Said| {
            let (tool, said) = (tool.clone(), said.text());
            watch(Progress::Working { tool, said });
        })
    }
}

impl People for Asker {
    fn ask(&self, wanted: Wanted, within: Duration) -> BoxFuture<'_, Option<Value>> {
        Box::pin(async move {
            let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            let mut question = question(wanted);
            question.expires_after_ms = Some(within_ms);
            // A question that has no answer has been asked all the same.
            self.note(question.clone());
            match self.scope.ask("question", &question).await {
                Ok(answer) => Some(answer),
                Err(error) => {
                    tracing::debug!(%error, "a question of a tool has no answer");
                    None
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_was_asked_about_is_recorded_as_it_is() {
        let plain = Recorded::from(json!({"chairs": 4}));
        assert_eq!(Value::from(plain), json!({"chairs": 4}));
        let asked = Recorded {
            answer: Answer::Error("no".to_owned()),
            asked: vec![Question::yes_or_no("Sure?")],
            at: "mail.send[0]".to_owned(),
        };
        let back = Recorded::from(Value::from(asked.clone()));
        assert_eq!(
            (&back.answer, &back.asked, &back.at),
            (&asked.answer, &asked.asked, &asked.at)
        );
    }
}
