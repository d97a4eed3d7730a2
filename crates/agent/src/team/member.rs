//! An agent that another one may call, as it calls a tool.
//!
//! ```text
//! caller ─► model ─► reader {"task": "..."} ─► scope reader[k]: the whole of reader's work
//!             ▲                                        │
//!             └──────────── its answer ────────────────┘
//! ```
//! What the called agent does are steps of the caller's run, in a scope of their own, and not a run of its own. So
//! the run's budget holds over all of them, a question that a member asks parks the run, and resume, replay and
//! fork work as for any other step. A member knows nothing of the conversation of its caller: it gets a task in
//! words, and answers in words. Members may have members; they end where the tree of agents ends.

use std::sync::Arc;

use futures::future::BoxFuture;
use guard::Heard;
use journal::Run;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tool::{Answer, SetupError, Spec};

use crate::act::{Acted, Acting, Called, Progress};
use crate::{Agent, Error, Result};

/// The longest name, in characters.
const MOST_CHARACTERS: usize = 64;

/// An agent that another one may call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use journal::{Journal, NewRun};
/// use plumb_agent::Agent;
/// use plumb_agent::team::Member;
///
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| {
/// #     let last = request.messages.last().map(|said| said.text().into_owned()).unwrap_or_default();
/// #     Ok(format!("heard: {last}"))
/// # }));
/// let translator = Agent::new(model.clone()).instructions("Translate into French.");
/// let agent = Agent::new(model)
///     .instructions("Answer letters.")
///     .member(Member::new("translator", "Translates a text into French.", translator))?;
/// let journal = Journal::in_memory()?;
/// let run = journal.start(NewRun::new("letters", "Good day".into())).await?;
/// assert_eq!(agent.run(&run, "Good day").await?.text, "heard: Good day");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Member {
    /// What it is, as models read it. Calling it changes nothing by itself; what it does has effects of its own.
    pub spec: Spec,
    /// The agent.
    pub agent: Agent,
}

/// What a member is told.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Task {
    /// What it is to do, in full: it sees nothing else of the conversation.
    task: String,
}

impl Member {
    /// An agent under a name, with what it is good for, in a sentence for the one who may call it.
    pub fn new(name: &str, description: &str, agent: Agent) -> Member {
        let mut spec = Spec::of::<Task>(name, description);
        spec.effect = tool::Effect::Pure;
        Member { spec, agent }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Whether it may be called so beside these tools and members.
    pub(crate) fn fits(&self, with: &Acting) -> std::result::Result<(), SetupError> {
        let name = || self.spec.name.clone();
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if self.spec.name.is_empty()
            || self.spec.name.len() > MOST_CHARACTERS
            || !self.spec.name.chars().all(fits)
        {
            return Err(SetupError::Name { name: name() });
        }
        if with.tools.find(&self.spec.name).is_some() || with.member(&self.spec.name).is_some() {
            return Err(SetupError::Twice { name: name() });
        }
        Ok(())
    }

    /// Does what a call asks for, in the scope `NAME[place]` of the caller's run.
    ///
    /// The future is boxed by hand: agents may be nested as deep as one likes.
    pub(crate) fn call<'a>(
        &'a self,
        run: &Run,
        caller: &'a Acting,
        heard: &'a Heard,
        place: usize,
        arguments: &Value,
    ) -> BoxFuture<'a, Result<Called>> {
        let scope = run.scope(self.name(), place);
        let arguments = arguments.clone();
        Box::pin(async move {
            let task = match Task::deserialize(&arguments) {
                Ok(told) => told.task,
                Err(error) => return Ok(Called::refused(format!("Not done: {error}."))),
            };
            (caller.watch)(Progress::Calling {
                tool: self.spec.name.clone(),
                arguments,
            });
            let mut heard = heard.clone();
            let member = self.beside(caller);
            let answer = answer(member.work(&scope, &task, &mut heard).await)?;
            (caller.watch)(Progress::Called {
                tool: self.spec.name.clone(),
                answer: answer.clone(),
            });
            Ok(Called::member(answer, heard))
        })
    }

    /// The same, watched and stopped with another agent. The pieces of its answers are not those of the other's.
    pub(crate) fn beside(&self, caller: &Acting) -> Member {
        let mut member = self.clone();
        let watch = Arc::clone(&caller.watch);
        member.agent.acting.watch = Arc::new(move |progress| match progress {
            Progress::Calling { .. } | Progress::Working { .. } | Progress::Called { .. } => {
                watch(progress);
            }
            Progress::Piece(_) | Progress::Answered { .. } => {}
        });
        member.agent.acting.stop = caller.stop.clone();
        member.agent.acting.down = caller.down;
        member.agent.acting.remarks = caller.remarks.clone();
        member
    }

    /// Works in this scope on a task. Who wrote it had heard `heard`; what the agent hears is added to it.
    ///
    /// # Errors
    /// As [`Agent::task`].
    pub fn work<'a>(
        &'a self,
        scope: &'a Run,
        task: &'a str,
        heard: &'a mut Heard,
    ) -> BoxFuture<'a, Result<Acted>> {
        Box::pin(self.agent.task(scope, task, heard))
    }
}

/// What the caller hears. That the model could not do it is an answer; what stops the run is none.
fn answer(worked: Result<Acted>) -> Result<Answer> {
    match worked {
        Ok(acted) if acted.text.trim().is_empty() => {
            Ok(Answer::Error("it gave no answer".to_owned()))
        }
        // An answer in a form is given in that form.
        Ok(acted) => Ok(Answer::Value(
            serde_json::from_str(&acted.text)
                .ok()
                .filter(Value::is_object)
                .unwrap_or_else(|| acted.text.into()),
        )),
        Err(Error::Model { message, .. }) => Ok(Answer::Error(message)),
        Err(Error::Journal(journal::Error::StepFailed { path, message })) => {
            Ok(Answer::Error(format!("{path}: {message}")))
        }
        Err(other) => Err(other),
    }
}
