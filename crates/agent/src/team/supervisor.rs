//! One agent decides who works on what next, until it answers.
//!
//! ```text
//! task ─► supervisor ─► who, with what task ─► member ─┐
//!            ▲  │                                      │
//!            │  └─► answer                             │
//!            └────────── what the member says ─────────┘
//! ```
//! Its decisions have a form, so that small models can make them too; a model that calls tools well may as well have
//! the members as its tools: see [`Member`]. The work of the k-th turn is in the scope `NAME[k]`.

use journal::Run;
use model::{Message, Output, Stop, ToolChoice};
use serde::Deserialize;
use serde_json::{Value, json};
use tool::Toolbox;

use super::Member;
use crate::act::{Acted, Acting, Called, Conversation, End, think};
use crate::{Error, Result};

/// What the pattern works with.
#[derive(Clone)]
pub struct Supervising {
    /// Who decides and answers. Its tools are not called: members work.
    pub supervisor: Acting,
    /// Who works.
    pub members: Vec<Member>,
    /// Turns of members; after the last, the supervisor has to answer.
    pub turns: u32,
}

/// What the supervisor wants next.
#[derive(Deserialize)]
#[serde(tag = "next", rename_all = "lowercase")]
enum Next {
    Ask { who: String, task: String },
    Answer { answer: Value },
}

/// Lets a supervisor answer `conversation` by what members do. Only the answer is added to the conversation.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| Ok(match &request.output {
/// #     model::Output::Text => "3 pages".to_owned(),
/// #     _ if request.messages.len() > 3 => r#"{"next": "answer", "answer": "It has 3 pages."}"#.to_owned(),
/// #     _ => r#"{"next": "ask", "who": "reader", "task": "How many pages?"}"#.to_owned(),
/// # })));
/// use plumb_agent::Agent;
/// use plumb_agent::act::{Acting, Conversation};
/// use plumb_agent::team::{Member, Supervising, supervise};
///
/// let reader = Agent::new(model.clone()).instructions("You read books.");
/// let with = Supervising {
///     supervisor: Acting::new(model),
///     members: vec![Member::new("reader", "Reads a book.", reader)],
///     turns: 5,
/// };
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("How long is the book?"))?;
/// assert_eq!(supervise(&run, &with, &mut conversation).await?.text, "It has 3 pages.");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`](crate::act::act), [`Error::Model`] when a decision has not the form that it must have, and
/// [`Error::Workflow`] where there are no members.
pub async fn supervise(
    run: &Run,
    with: &Supervising,
    conversation: &mut Conversation,
) -> Result<Acted> {
    if with.members.is_empty() {
        return Err(Error::Workflow("a supervisor without members".to_owned()));
    }
    let mut said = begin(run, with, conversation)?;
    let decider = Acting {
        tools: Toolbox::new(),
        team: Vec::new(),
        ..with.supervisor.clone()
    };
    let (mut turns, mut calls) = (0, 0);
    let mut closing = None;
    let mut before: Vec<(String, String, String)> = Vec::new();
    let acted = loop {
        decider.hear(run, &mut said).await?;
        let form = Output::Json(form(with, turns, closing));
        let answered = think(run, &decider, &mut said, ToolChoice::None, form).await?;
        let response = answered.response;
        let end = match response.stop {
            _ if answered.stopped => Some(End::Stopped),
            Stop::Refused => Some(End::Withheld),
            Stop::Length => Some(End::CutOff),
            Stop::End | Stop::ToolCalls => None,
        };
        let acted = |text: String, end| Acted {
            text,
            end,
            rounds: turns + 1,
            calls,
            unkept: Vec::new(),
        };
        if let Some(end) = end {
            break acted(response.text, end);
        }
        said.push(response.message())?;
        let (who, task) = match next(&response.text, closing)? {
            Next::Ask { who, task } => (who, task),
            Next::Answer { answer } => {
                let text = answer.as_str().map(str::to_owned);
                let text = text.unwrap_or_else(|| answer.to_string());
                break acted(text, closing.unwrap_or(End::Answered));
            }
        };
        let called = turn(run, with, &said, turns, &who, &task).await?;
        called.tell(said.heard_mut());
        let heard = called.answer.text();
        turns += 1;
        calls += 1;
        let this = (who, task, heard);
        // At once again, or for the third time: between two of them another member may have changed something.
        let times = before.iter().filter(|one| **one == this).count();
        closing = if before.last() == Some(&this) || times >= 2 {
            Some(End::Loop)
        } else if turns >= with.turns {
            Some(End::Rounds)
        } else {
            None
        };
        let (who, _, heard) = &this;
        said.made(Message::user(format!("{who} says:\n{heard}")))?;
        before.push(this);
    };
    *conversation.heard_mut() = said.heard().clone();
    conversation.push(Message::assistant(&acted.text))?;
    Ok(acted)
}

/// One turn of a member. That it could not do it is something that the supervisor hears.
async fn turn(
    run: &Run,
    with: &Supervising,
    said: &Conversation,
    turn: u32,
    who: &str,
    task: &str,
) -> Result<Called> {
    let Some(member) = with.members.iter().find(|member| member.name() == who) else {
        let nobody = "There is nobody of that name.".to_owned();
        return Ok(Called::refused(nobody));
    };
    let place = usize::try_from(turn).unwrap_or(usize::MAX);
    let arguments = json!({"task": task});
    let called = member.call(run, &with.supervisor, said.heard(), place, &arguments);
    called.await
}

/// Reads a decision. A server that does not keep to the form could have members asked for ever.
fn next(text: &str, closing: Option<End>) -> Result<Next> {
    let wrong = |message: String| Error::Model {
        step: "the supervisor".to_owned(),
        message,
    };
    let next = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    match (&next, closing) {
        (Next::Ask { who, .. }, Some(_)) => Err(wrong(format!(
            "it was to answer now, and asked {who} once more"
        ))),
        _ => Ok(next),
    }
}

/// What has been said, with who there is.
fn begin(run: &Run, with: &Supervising, conversation: &Conversation) -> Result<Conversation> {
    let mut manual = "You do not do the work yourself: you decide who does what next, one after the other, and answer \
                      when you have what you need. A member knows nothing but the task that you write. There are:"
        .to_owned();
    for member in &with.members {
        let spec = &member.spec;
        manual.push_str(&format!("\n- {}: {}", spec.name, spec.description));
    }
    conversation.with_instructions(run, |own| format!("{own}\n\n{manual}").trim().to_owned())
}

/// The form of a decision: who works before anybody has, in the end an answer, between them either.
fn form(with: &Supervising, turns: u32, closing: Option<End>) -> Value {
    let names: Vec<&str> = with.members.iter().map(Member::name).collect();
    let ask = json!({
        "type": "object",
        "properties": {
            "next": {"const": "ask"},
            "who": {"enum": names},
            "task": {"type": "string"},
        },
        "required": ["next", "who", "task"],
        "additionalProperties": false,
    });
    let answer = with.supervisor.output.schema();
    let answer = json!({
        "type": "object",
        "properties": {"next": {"const": "answer"}, "answer": answer},
        "required": ["next", "answer"],
        "additionalProperties": false,
    });
    match closing {
        Some(_) => answer,
        None if turns == 0 => ask,
        None => json!({"anyOf": [answer, ask]}),
    }
}
