//! A conversation that goes from one agent to another, who goes on with all that has been said.
//!
//! ```text
//! user ─► reception ──hand_off_to_billing──► billing ─► answer
//!           │                                   │
//!           └────── the same conversation ──────┘
//! ```
//! Each agent has its own instructions and tools. Handing over is a call like that of a tool, `hand_off_to_NAME`. The
//! k-th turn is in the scope `NAME[k]`. Who speaks when the conversation goes on is whose instructions it has.

use journal::Run;
use tool::{Effect, Spec};

use super::Member;
use crate::act::{Acted, Acting, Conversation, End, act_or_hand_off};
use crate::{Error, Result};

/// What the name of such a call begins with.
const PREFIX: &str = "hand_off_to_";

/// What the pattern works with.
#[derive(Clone)]
pub struct HandOff {
    /// Who there is; the first begins. They work by `act`, whatever their way.
    pub members: Vec<Member>,
    /// How often a conversation may be handed over before somebody has to answer.
    pub most: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Handed {
    /// The answer.
    pub acted: Acted,
    /// Who gave it.
    pub by: String,
    /// How often the conversation was handed over.
    pub times: u32,
}

/// Lets the members answer `conversation`, which is with the one whose instructions it has; else with the first.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::with_calls("scripted:doc", |request| Ok(match request.messages.len() {
/// #     2 => model::Response {
/// #         tool_calls: vec![model::ToolCall {
/// #             id: "1".to_owned(),
/// #             name: "hand_off_to_billing".to_owned(),
/// #             arguments: serde_json::json!({}),
/// #             signature: None,
/// #         }],
/// #         ..model::Response::default()
/// #     },
/// #     _ => model::Response { text: "It is paid.".to_owned(), ..model::Response::default() },
/// # })));
/// use plumb_agent::Agent;
/// use plumb_agent::act::Conversation;
/// use plumb_agent::team::{HandOff, Member, hand_off};
///
/// let speaks = |name: &str, instructions: &str| {
///     Member::new(name, instructions, Agent::new(model.clone()).instructions(instructions))
/// };
/// let with = HandOff {
///     members: vec![speaks("reception", "You greet."), speaks("billing", "You know invoices.")],
///     most: 3,
/// };
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("Is my invoice paid?"))?;
/// let handed = hand_off(&run, &with, &mut conversation).await?;
/// assert_eq!((handed.by.as_str(), handed.acted.text.as_str()), ("billing", "It is paid."));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`](crate::act::act), and [`Error::Workflow`] where there are no members.
pub async fn hand_off(
    run: &Run,
    with: &HandOff,
    conversation: &mut Conversation,
) -> Result<Handed> {
    let instructions = conversation.instructions();
    let is_theirs =
        |member: &&Member| instructions.as_deref() == Some(member.agent.instructions.as_str());
    let speaks = with.members.iter().find(is_theirs).or(with.members.first());
    let Some(mut member) = speaks else {
        return Err(Error::Workflow("a hand-off without members".to_owned()));
    };
    let (mut times, mut rounds, mut calls) = (0, 0, 0);
    loop {
        let instructions = member.agent.instructions.clone();
        *conversation = conversation.with_instructions(run, |_| instructions)?;
        let place = usize::try_from(times).unwrap_or(usize::MAX);
        let scope = run.scope(member.name(), place);
        let acting = member.agent.acting.clone();
        let acting = Acting {
            hand_offs: match times < with.most {
                true => others(with, member),
                false => Vec::new(),
            },
            ..acting
        };
        let (mut acted, to) = act_or_hand_off(&scope, &acting, conversation).await?;
        rounds += acted.rounds;
        calls += acted.calls;
        let to = to.and_then(|name| with.members.iter().find(|other| is_to(other, &name)));
        match to {
            Some(next) if acted.end == End::Answered => {
                member = next;
                times += 1;
            }
            Some(_) | None => {
                (acted.rounds, acted.calls) = (rounds, calls);
                let by = member.name().to_owned();
                return Ok(Handed { acted, by, times });
            }
        }
    }
}

fn is_to(member: &Member, called: &str) -> bool {
    called.strip_prefix(PREFIX) == Some(member.name())
}

/// How each of the others is called.
fn others(with: &HandOff, member: &Member) -> Vec<Spec> {
    let others = with.members.iter();
    let others = others.filter(|other| other.name() != member.name());
    let spec = |other: &Member| {
        let text = format!(
            "Hands the conversation over to {}, who goes on with it: {}",
            other.name(),
            other.spec.description
        );
        let mut spec = Spec::new(&format!("{PREFIX}{}", other.name()), &text);
        spec.effect = Effect::Pure;
        spec
    };
    others.map(spec).collect()
}
