//! Several agents propose an answer, and one makes the best answer of what they say.
//!
//! ```text
//! task ─┬─► proposer 1 ─┬─► aggregator ─► answer
//!       ├─► proposer 2 ─┤
//!       └─► proposer 3 ─┘
//! ```

use futures::future::join_all;
use journal::Run;
use model::Message;

use super::Member;
use crate::act::{Acted, Acting, Conversation, End, act};
use crate::{Error, Result};

/// What the pattern works with.
#[derive(Clone)]
pub struct Mixture {
    /// Who proposes, side by side. They may be the same agent several times, with a temperature.
    pub proposers: Vec<Member>,
    /// Who answers, with the proposals before it.
    pub aggregator: Acting,
}

/// Answers what `conversation` asks for; `task` is what the proposers are told, in the scopes `NAME[k]`. One that
/// cannot answer is left out. The proposals are shown to the aggregator and not kept in the conversation.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| {
/// #     let said = request.messages.last().map(|said| said.text().into_owned()).unwrap_or_default();
/// #     Ok(if said.contains("Proposal 2") { "Bern".to_owned() } else { "Bern, I think".to_owned() })
/// # }));
/// use plumb_agent::Agent;
/// use plumb_agent::act::{Acting, Conversation};
/// use plumb_agent::team::{Member, Mixture, mixture};
///
/// let proposer = |name: &str| Member::new(name, "Proposes.", Agent::new(model.clone()));
/// let with = Mixture {
///     proposers: vec![proposer("one"), proposer("other")],
///     aggregator: Acting::new(model.clone()),
/// };
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("The capital of Switzerland?"))?;
/// let acted = mixture(&run, &with, &mut conversation, "The capital of Switzerland?").await?;
/// assert_eq!(acted.text, "Bern");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`], and [`Error::Model`] where nobody has proposed anything.
pub async fn mixture(
    run: &Run,
    with: &Mixture,
    conversation: &mut Conversation,
    task: &str,
) -> Result<Acted> {
    let scopes = with.proposers.iter().enumerate();
    let scopes: Vec<Run> = scopes
        .map(|(place, member)| run.scope(member.name(), place))
        .collect();
    let mut heard = vec![conversation.heard().clone(); scopes.len()];
    let proposing = with.proposers.iter().zip(&scopes).zip(&mut heard);
    let proposing = proposing.map(|((member, scope), heard)| member.work(scope, task, heard));
    let mut proposals = Vec::new();
    let (mut rounds, mut calls) = (0, 0);
    // None is dropped because another one failed: what it writes would be in doubt then.
    let proposed = join_all(proposing).await;
    heard
        .iter()
        .for_each(|heard| conversation.heard_mut().join(heard));
    for proposed in proposed {
        match proposed {
            Ok(acted) if acted.end == End::Stopped => return Ok(acted),
            Ok(acted) => {
                rounds += acted.rounds;
                calls += acted.calls;
                if !acted.text.trim().is_empty() {
                    proposals.push(acted.text);
                }
            }
            Err(error) if error.stops() => return Err(error),
            Err(error) => tracing::warn!(%error, "a proposer is left out"),
        }
    }
    if proposals.is_empty() {
        return Err(Error::Model {
            step: "the proposals".to_owned(),
            message: "nobody has proposed anything".to_owned(),
        });
    }
    let before = conversation.messages().len();
    let numbered = proposals.iter().enumerate();
    let numbered = numbered.map(|(place, text)| format!("\n\nProposal {}:\n{text}", place + 1));
    conversation.made(Message::user(format!(
        "Several answers to this have been proposed; some may be wrong. Weigh them, and write the one best answer, \
         without a word about the proposals.{}",
        numbered.collect::<String>()
    )))?;
    let mut acted = act(run, &with.aggregator, conversation).await?;
    acted.rounds += rounds;
    acted.calls += calls;
    conversation.cut(run, before)?;
    conversation.push(Message::assistant(&acted.text))?;
    Ok(acted)
}
