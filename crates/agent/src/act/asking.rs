//! What a tool asks people for: before its call is made again, or in the middle of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use journal::{Question, Run};
use serde_json::Value;
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
    let number = at.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    let index = number.and_then(|number| number.parse().ok()).unwrap_or(0);
    run.scope(&format!("{tool}-asks"), index)
}

/// What a call is told and whom it can ask, by the address of its step.
pub(super) fn context(
    run: &Run,
    tool: &str,
    step: &journal::StepContext,
    bare: Context,
    watch: Option<Watch>,
) -> Context {
    let asker = Asker {
        scope: beside(run, tool, step.path()),
    };
    let context = bare.with_people(Arc::new(asker));
    let Some(watch) = watch else {
        return context;
    };
    let tool = tool.to_owned();
    context.with_watch(move |said: Said| {
        let (tool, said) = (tool.clone(), said.text());
        watch(Progress::Working { tool, said });
    })
}

/// The people of a run, for a call under way: the run stays in memory, and what nobody answers in time stays
/// unanswered.
struct Asker {
    scope: Run,
}

impl People for Asker {
    fn ask(&self, wanted: Wanted, within: Duration) -> BoxFuture<'_, Option<Value>> {
        Box::pin(async move {
            let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            let mut question = question(wanted);
            question.expires_after_ms = Some(within_ms);
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
