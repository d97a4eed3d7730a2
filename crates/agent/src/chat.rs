//! A conversation as a run.
//!
//! Each turn is a question to the person, `turn[n]/user[0]`, and what the agent does about the answer, in the
//! scope `turn[n]`. Between turns the run is parked: it costs nothing but its rows, and whoever answers the
//! question goes on with it, from a terminal or elsewhere.

use std::sync::Arc;

use journal::{Question, Run, WorkflowError};
use model::{Model, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::act::{Acted, Acting, Down, Progress};
use crate::agent::said;
use crate::{Agent, Error, Result};

/// The name of the step that asks the person.
pub const STEP: &str = "user";

/// What a person says in a turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// In words.
    pub text: String,
    /// Pictures, files and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Part>,
    /// The model that answers from now on, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// That was all: the conversation ends here, and nothing is answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
}

/// What comes of a conversation that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Turns that were held.
    pub turns: usize,
}

/// What goes on in a conversation. What the journal answers is told as well, but for pieces of answers.
#[derive(Clone, Debug)]
pub enum Event {
    /// The person has said something.
    Said(Said),
    /// The agent is at it.
    Progress(Progress),
    /// The agent has answered.
    Answered(Acted),
    /// The agent could not answer. The turn is taken back: the agent will not remember it.
    Failed(String),
}

/// Gives the model of a name. It need not be there: then its turn fails.
pub type GiveModel = Arc<dyn Fn(&str) -> Arc<dyn Model> + Send + Sync>;

/// What a conversation is held with.
#[derive(Clone)]
pub struct Chat {
    /// The agent.
    pub agent: Agent,
    /// Gives the model of a name, when the person wants another one.
    pub model: GiveModel,
    /// Is told what goes on in which turn, counted from 0.
    pub events: Arc<dyn Fn(usize, Event) + Send + Sync>,
    /// Stops the answer of this turn.
    pub stop: CancellationToken,
}

impl Chat {
    /// The code of the run. It parks for what the person says next, until they end it.
    ///
    /// # Errors
    /// As [`act`](crate::act::act), in the form that the journal goes by.
    pub async fn workflow(&self, run: Run) -> std::result::Result<Value, WorkflowError> {
        match self.turns(&run).await {
            Ok(turns) => Ok(json!(Ended { turns })),
            Err(error) => Err(error.for_the_journal()),
        }
    }

    async fn turns(&self, run: &Run) -> Result<usize> {
        let learned = self.agent.recall(run, "").await?;
        let mut conversation = self.agent.begin(run, learned.as_ref())?;
        let mut with = Acting {
            // Whoever is there can say it again, or take another model.
            down: Down::Fails,
            stop: self.stop.clone(),
            ..self.agent.acting.clone()
        };
        let mut number = 0;
        loop {
            let turn = run.scope("turn", number);
            let answer: Said = turn.ask(STEP, &question()).await?;
            if answer.end {
                return Ok(number);
            }
            if let Some(name) = &answer.model {
                with.model = (self.model)(name);
                with.model_name.clone_from(name);
            }
            let before = conversation.messages().len();
            let task = answer.text.clone();
            let message = said(&task, answer.attachments.clone());
            (self.events)(number, Event::Said(answer));
            let events = Arc::clone(&self.events);
            with.watch = Arc::new(move |progress| events(number, Event::Progress(progress)));
            let answered = async {
                let recalled = self.agent.recall(&turn, &task).await?;
                let with = self
                    .agent
                    .hear(&turn, &with, &mut conversation, message, recalled)?;
                let agent = &self.agent;
                agent.respond(&turn, &with, &mut conversation, &task).await
            };
            let event = match answered.await {
                Ok(acted) => Event::Answered(acted),
                Err(Error::Journal(journal::Error::StepFailed { message, .. })) => {
                    conversation.cut(run, before)?;
                    Event::Failed(message)
                }
                Err(other) => return Err(other),
            };
            (self.events)(number, event);
            number += 1;
        }
    }
}

fn question() -> Question {
    let schema = json!({
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "attachments": {"type": "array"},
            "model": {"type": "string"},
            "end": {"type": "boolean"},
        },
        "required": ["text"],
        "additionalProperties": false,
    });
    Question::new("What do you say?", schema)
}
