//! Agents one after the other, each with what the one before has made of the task.
//!
//! ```text
//! task ─► first ─► its answer ─► second ─► its answer ─► third ─► answer
//! ```

use journal::Run;
use model::Message;

use super::Member;
use crate::act::{Acted, Conversation, End};
use crate::{Error, Result};

/// Answers what `conversation` asks for: lets each member work on `task` and on what the one before has made of it, in the scopes `NAME[k]`; gives the last
/// answer, with the rounds and calls of all. It ends early where somebody stops it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| {
/// #     Ok(format!("{} words", request.messages.last().map_or(0, |said| said.text().split(' ').count())))
/// # }));
/// use plumb_agent::Agent;
/// use plumb_agent::act::Conversation;
/// use plumb_agent::team::{Member, sequence};
///
/// let writer = Agent::new(model.clone()).instructions("Write a text.");
/// let editor = Agent::new(model).instructions("Make the text shorter.");
/// let members = [Member::new("writer", "Writes.", writer), Member::new("editor", "Edits.", editor)];
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("About the sea."))?;
/// let acted = sequence(&run, &members, &mut conversation, "About the sea.").await?;
/// assert_eq!(journal.steps(run.id()).await?[1].path, "editor[1]/model[0]");
/// # assert!(acted.text.ends_with("words"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// That of a member, and [`Error::Workflow`] where there is none.
pub async fn sequence(
    run: &Run,
    members: &[Member],
    conversation: &mut Conversation,
    task: &str,
) -> Result<Acted> {
    let mut said = task.to_owned();
    let mut last: Option<Acted> = None;
    for (place, member) in members.iter().enumerate() {
        let scope = run.scope(member.name(), place);
        let working = member.work(&scope, &said, conversation.heard_mut());
        let mut acted = working.await?;
        let name = member.name();
        said = format!("{task}\n\nWhat {name} has made of it:\n{}", acted.text);
        if let Some(before) = last {
            acted.rounds += before.rounds;
            acted.calls += before.calls;
        }
        let is_stopped = acted.end == End::Stopped;
        last = Some(acted);
        if is_stopped {
            break;
        }
    }
    let acted = last.ok_or_else(|| Error::Workflow("a sequence without members".to_owned()))?;
    conversation.push(Message::assistant(&acted.text))?;
    Ok(acted)
}
