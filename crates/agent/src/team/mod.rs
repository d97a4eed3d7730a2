//! The pattern `team`: agents that work together.
//!
//! ```text
//! tools       caller ─► member, as it calls a tool ─► caller ─► answer         members.rs: Member
//! supervisor  supervisor ─► who next, with what ─► member ─► supervisor ─► answer
//! sequence    task ─► first ─► second ─► third ─► answer
//! hand_off    conversation with first ─► conversation with second, who goes on
//! mixture     task ─┬─► proposer ─┬─► aggregator ─► answer
//!                   └─► proposer ─┘
//! best_of     task ─┬─► draft ─► score ─┬─► the best draft
//!                   └─► draft ─► score ─┘
//! ```
//! Each is a function over a [`Run`](journal::Run), a file each. What an agent does is in a scope of the run, never in
//! a run of its own, so limits, questions, resume, replay and forks hold over all of them. A member of a team may be a
//! team itself: so hierarchies come about. [`Way`] names them for agents' files.

mod best_of;
mod hand_off;
mod member;
mod mixture;
mod sequence;
mod supervisor;

use std::sync::Arc;

use journal::Run;

pub use best_of::{Best, BestOf, best_of};
pub use hand_off::{HandOff, Handed, hand_off};
pub use member::Member;
pub use mixture::{Mixture, mixture};
pub use sequence::sequence;
pub use supervisor::{Supervising, supervise};

use crate::Result;
use crate::act::{Acted, Acting, Conversation};
use crate::reflect::Critic;

/// How a team works.
#[derive(Clone)]
pub enum Way {
    /// See [`supervise`]: so many turns of members at most.
    Supervisor(u32),
    /// See [`sequence`].
    Sequence,
    /// See [`hand_off`]: handed over so many times at most.
    HandOff(u32),
    /// See [`mixture`], whose aggregator is the agent itself.
    Mixture,
    /// See [`best_of`]: the agent's own drafts, so many, judged by this critic.
    BestOf(usize, Arc<dyn Critic>),
}

/// Responds to what was said last, for an agent whose way that is. What the members do is watched and stopped with
/// the agent.
pub(crate) async fn respond(
    run: &Run,
    way: &Way,
    with: &Acting,
    conversation: &mut Conversation,
    task: &str,
) -> Result<Acted> {
    let members = || with.team.iter().map(|member| member.beside(with));
    let members: Vec<Member> = members().collect();
    let alone = Acting {
        team: Vec::new(),
        ..with.clone()
    };
    match way {
        Way::HandOff(most) => {
            let with = HandOff {
                members,
                most: *most,
            };
            Ok(hand_off(run, &with, conversation).await?.acted)
        }
        Way::Supervisor(turns) => {
            let with = Supervising {
                supervisor: alone,
                members,
                turns: *turns,
            };
            supervise(run, &with, conversation).await
        }
        Way::Sequence => sequence(run, &members, conversation, task).await,
        Way::Mixture => {
            let with = Mixture {
                proposers: members,
                aggregator: alone,
            };
            mixture(run, &with, conversation, task).await
        }
        Way::BestOf(drafts, critic) => {
            let with = BestOf {
                writer: alone,
                drafts: *drafts,
                critic: Arc::clone(critic),
            };
            let best = best_of(run, &with, conversation, task).await?;
            Ok(best.acted)
        }
    }
}
