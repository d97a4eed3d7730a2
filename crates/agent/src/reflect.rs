//! The pattern `reflect`: a draft, its critique, and a better draft, until the critic accepts one.
//!
//! ```text
//! task ─► draft ─► critic ─► accepted, or no rounds left ─► the best draft
//!           ▲         │
//!           └─ remarks ┘
//! ```
//! The critic is another model with criteria, a tool such as a test, or a person. What counts in the end is the
//! draft with the best score, not the last one. Drafts are in the scopes `draft[n]`, critiques in `critic[n]`.

use std::sync::Arc;

use futures::future::BoxFuture;
use journal::{Question, Run};
use model::{Message, Output};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Answer, Secrets, Tool};

use crate::act::{Acted, Acting, Conversation, End, act, call_tool};
use crate::{Error, Result};

/// What a critic says of a draft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What has to be better, in a few sentences for the writer; empty where nothing has.
    pub remarks: String,
    /// How good the draft is, from 0 to 10.
    #[schemars(range(min = 0, max = 10))]
    pub score: f64,
    /// Whether it is good enough.
    pub accepted: bool,
}

/// Somebody who judges drafts.
pub trait Critic: Send + Sync {
    /// Judges a draft, in steps of `run`.
    fn judge<'a>(
        &'a self,
        run: &'a Run,
        task: &'a str,
        draft: &'a str,
    ) -> BoxFuture<'a, Result<Verdict>>;
}

/// A model that judges by criteria.
pub struct ModelCritic {
    /// The model; it may have tools.
    pub acting: Acting,
    /// What a good draft is like.
    pub criteria: String,
}

/// A tool that judges, such as a test. It gets `{"draft": ...}` and answers with a [`Verdict`]; an error is a
/// verdict as well: not accepted, with the error as the remark.
pub struct ToolCritic {
    /// The tool.
    pub tool: Arc<dyn Tool>,
    /// What it needs.
    pub secrets: Secrets,
}

/// A schema that judges: a draft has to be JSON that fits it. It needs no step.
pub struct SchemaCritic {
    /// The JSON Schema.
    pub schema: Value,
}

/// A person who judges; the run parks until they do.
pub struct Person;

/// What the pattern works with.
pub struct Reflecting {
    /// Who writes.
    pub writer: Acting,
    /// Who judges.
    pub critic: Arc<dyn Critic>,
    /// Drafts at most. 3 are many for most tasks.
    pub drafts: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reflected {
    /// The best draft.
    pub text: String,
    /// What the critic said of it; none where it was stopped before.
    pub verdict: Option<Verdict>,
    /// Drafts that were written.
    pub drafts: u32,
    /// How the writer ended the last draft.
    pub end: End,
    /// Sentences of the best draft that say something was done which no call did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept: Vec<String>,
}

/// Writes what `conversation` asks for, and lets the critic judge it, until a draft is accepted or there have
/// been enough. `task` is what the critic is told that it is about.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| {
/// #     Ok(if request.messages.len() > 1 { r#"{"city": "Bern"}"# } else { "Bern" }.to_owned())
/// # }));
/// use plumb_agent::act::{Acting, Conversation};
/// use plumb_agent::reflect::{Reflecting, SchemaCritic, reflect};
///
/// let with = Reflecting {
///     writer: Acting::new(model),
///     critic: Arc::new(SchemaCritic { schema: serde_json::json!({"required": ["city"]}) }),
///     drafts: 3,
/// };
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("The capital of Switzerland, as JSON?"))?;
/// let reflected = reflect(&run, &with, &mut conversation, "The capital of Switzerland").await?;
/// assert_eq!((reflected.text.as_str(), reflected.drafts), (r#"{"city": "Bern"}"#, 2));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`], for the writer and for the critic.
pub async fn reflect(
    run: &Run,
    with: &Reflecting,
    conversation: &mut Conversation,
    task: &str,
) -> Result<Reflected> {
    let mut best: Option<(Acted, Verdict)> = None;
    let mut number = 0;
    loop {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let draft = act(&run.scope("draft", place), &with.writer, conversation).await?;
        number += 1;
        if draft.end == End::Stopped {
            return Ok(reflected(best, draft, number));
        }
        let judging = run.scope("critic", place);
        let verdict = with.critic.judge(&judging, task, &draft.text).await?;
        let (accepted, remarks) = (verdict.accepted, verdict.remarks.clone());
        let last = draft.clone();
        let is_better = |best: &(Acted, Verdict)| verdict.score > best.1.score;
        // What is accepted is the best there is.
        if accepted || best.as_ref().is_none_or(is_better) {
            best = Some((draft, verdict));
        }
        if accepted || number >= with.drafts {
            return Ok(reflected(best, last, number));
        }
        // What a critic names is not said by the user, and it has read no more than the draft.
        conversation.made(Message::user(format!(
            "This is not good enough yet. Write all of it again, better.\n{remarks}"
        )))?;
    }
}

fn reflected(best: Option<(Acted, Verdict)>, last: Acted, drafts: u32) -> Reflected {
    let end = last.end;
    let (best, verdict) = match best {
        Some((draft, verdict)) => (draft, Some(verdict)),
        None => (last, None),
    };
    Reflected {
        text: best.text,
        verdict,
        drafts,
        end,
        unkept: best.unkept,
    }
}

impl Critic for ModelCritic {
    fn judge<'a>(
        &'a self,
        run: &'a Run,
        task: &'a str,
        draft: &'a str,
    ) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(async move {
            let mut with = self.acting.clone();
            with.output = Output::of::<Verdict>();
            let mut conversation = Conversation::new(run);
            let instructions = format!("You judge drafts. A good draft: {}", self.criteria);
            conversation.push(Message::system(instructions))?;
            conversation.push(Message::user(format!(
                "The task:\n{task}\n\nThe draft:\n{draft}"
            )))?;
            act(run, &with, &mut conversation).await?.json()
        })
    }
}

impl Critic for ToolCritic {
    fn judge<'a>(
        &'a self,
        run: &'a Run,
        _task: &'a str,
        draft: &'a str,
    ) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(async move {
            let arguments = json!({"draft": draft});
            let answer = call_tool(run, &self.tool, &arguments, &self.secrets).await?;
            match answer.within(self.tool.spec().limits.answer_bytes) {
                Answer::Error(remarks) => Ok(Verdict {
                    remarks,
                    score: 0.0,
                    accepted: false,
                }),
                Answer::Value(value) => verdict(value, &self.tool.spec().name),
                Answer::Asks(_) => verdict(Value::Null, &self.tool.spec().name),
            }
        })
    }
}

impl Critic for SchemaCritic {
    fn judge<'a>(
        &'a self,
        _run: &'a Run,
        _task: &'a str,
        draft: &'a str,
    ) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(async move {
            let wrong = match serde_json::from_str(draft) {
                Err(error) => Some(format!("It is no JSON: {error}.")),
                Ok(arguments) => self.problem(arguments)?,
            };
            Ok(match wrong {
                None => Verdict {
                    remarks: String::new(),
                    score: 10.0,
                    accepted: true,
                },
                Some(remarks) => Verdict {
                    remarks,
                    score: 0.0,
                    accepted: false,
                },
            })
        })
    }
}

impl SchemaCritic {
    /// What does not fit, as a call of a tool would be told.
    fn problem(&self, arguments: Value) -> Result<Option<String>> {
        let name = "the_draft".to_owned();
        let tool = model::Tool {
            name: name.clone(),
            description: String::new(),
            parameters: self.schema.clone(),
        };
        let call = model::ToolCall {
            id: String::new(),
            name,
            arguments,
            signature: None,
        };
        let problems = model::tools::problems(&[call], &[tool]);
        let problems = problems.map_err(|error| Error::Model {
            step: "the critic".to_owned(),
            message: error.to_string(),
        })?;
        Ok(problems.into_iter().flatten().next())
    }
}

impl Critic for Person {
    fn judge<'a>(
        &'a self,
        run: &'a Run,
        task: &'a str,
        draft: &'a str,
    ) -> BoxFuture<'a, Result<Verdict>> {
        Box::pin(async move {
            let Output::Json(schema) = Output::of::<Verdict>() else {
                return verdict(Value::Null, "person");
            };
            let text = format!("Is this draft good enough? The task: {task}\n\n{draft}");
            Ok(run.ask("person", &Question::new(&text, schema)).await?)
        })
    }
}

fn verdict(value: Value, critic: &str) -> Result<Verdict> {
    serde_json::from_value(value).map_err(|error| Error::Tool {
        tool: critic.to_owned(),
        message: format!("its answer is no verdict: {error}"),
        hint: "answer with remarks, score and accepted".to_owned(),
    })
}
