//! Several drafts of the same, of which the best by score is taken.
//!
//! ```text
//! task ─┬─► draft 1 ─► critic ─► score ─┬─► the best draft
//!       ├─► draft 2 ─► critic ─► score ─┤
//!       └─► draft 3 ─► critic ─► score ─┘
//! ```

use std::sync::Arc;

use futures::future::join_all;
use journal::Run;
use model::Message;

use crate::act::{Acted, Acting, Conversation, End, act};
use crate::reflect::{Critic, Verdict};
use crate::{Error, Result};

/// The temperature of drafts whose writer has none: they would all be the same.
const TEMPERATURE: f32 = 0.8;

/// What the pattern works with.
#[derive(Clone)]
pub struct BestOf {
    /// Who writes.
    pub writer: Acting,
    /// How many drafts.
    pub drafts: usize,
    /// Who scores them: a model, a tool such as a test, or a person; see [`crate::reflect`].
    pub critic: Arc<dyn Critic>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The best draft.
    pub acted: Acted,
    /// What the critic said of it.
    pub verdict: Verdict,
    /// The scores of all drafts, in their order; none where there is no draft or no verdict.
    pub scores: Vec<Option<f64>>,
}

/// Writes several answers to what `conversation` asks for, side by side in the scopes `draft[k]` and judged in
/// `critic[k]`, and takes the best: an accepted one before others, then by score, then the first. `task` is what the
/// critic is told that it is about. A draft that cannot be written or judged is left out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |_| Ok(r#"{"city": "Bern"}"#.to_owned())));
/// use plumb_agent::act::{Acting, Conversation};
/// use plumb_agent::reflect::SchemaCritic;
/// use plumb_agent::team::{BestOf, best_of};
///
/// let with = BestOf {
///     writer: Acting::new(model),
///     drafts: 3,
///     critic: Arc::new(SchemaCritic { schema: serde_json::json!({"required": ["city"]}) }),
/// };
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("The capital of Switzerland, as JSON?"))?;
/// let best = best_of(&run, &with, &mut conversation, "The capital of Switzerland").await?;
/// assert_eq!(best.scores, [Some(10.0); 3]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`], and [`Error::Model`] where no draft is left.
pub async fn best_of(
    run: &Run,
    with: &BestOf,
    conversation: &mut Conversation,
    task: &str,
) -> Result<Best> {
    let mut writer = with.writer.clone();
    if writer.temperature == 0.0 {
        writer.temperature = TEMPERATURE;
    }
    let mut drafting = Vec::new();
    for place in 0..with.drafts {
        let mut own = conversation.copy(run)?;
        let (draft, judging) = (run.scope("draft", place), run.scope("critic", place));
        let (writer, critic) = (&writer, &with.critic);
        drafting.push(async move {
            let acted = act(&draft, writer, &mut own).await?;
            if acted.end == End::Stopped {
                return Ok((acted, None, own));
            }
            let verdict = critic.judge(&judging, task, &acted.text).await?;
            Ok::<_, Error>((acted, Some(verdict), own))
        });
    }
    let mut best: Option<(Acted, Verdict)> = None;
    let mut heard = None;
    let mut scores = Vec::new();
    for drafted in join_all(drafting).await {
        let (acted, verdict, own) = match drafted {
            Ok((acted, Some(verdict), own)) => (acted, verdict, own),
            Err(error) if error.stops() => return Err(error),
            Ok((_, None, _)) | Err(_) => {
                scores.push(None);
                continue;
            }
        };
        scores.push(Some(verdict.score));
        let rank = |verdict: &Verdict| (verdict.accepted, verdict.score);
        if best
            .as_ref()
            .is_none_or(|(_, than)| rank(&verdict) > rank(than))
        {
            // What its writer heard and did goes on in the conversation.
            heard = Some(own.heard().clone());
            best = Some((acted, verdict));
        }
    }
    let Some((acted, verdict)) = best else {
        return Err(Error::Model {
            step: "the drafts".to_owned(),
            message: "no draft could be written and judged".to_owned(),
        });
    };
    if let Some(heard) = heard {
        *conversation.heard_mut() = heard;
    }
    conversation.push(Message::assistant(&acted.text))?;
    Ok(Best {
        acted,
        verdict,
        scores,
    })
}
