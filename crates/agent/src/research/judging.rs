//! Which of the passages found are worth reading.

use journal::Run;
use knowledge::Passage;

use super::Tools;
use super::belief::stated;
use crate::Result;

/// Puts the passages that most likely state the answer first: the model judges each by itself, all in
/// one batch, and what counts is the probability of its "yes" (pointwise ranking, as in Liang et al.
/// 2022, "Holistic evaluation of language models").
pub(super) async fn judge(
    run: &Run,
    tools: &Tools,
    question: &str,
    passages: Vec<Passage>,
) -> Result<Vec<Passage>> {
    let asked = format!("Question: {question}\nDoes the passage state the answer?");
    let calls = passages.into_iter().enumerate().map(|(index, passage)| {
        let run = run.scope("judge", index);
        let asked = &asked;
        async move {
            let agent = ("research/judge", "model");
            let belief = stated(&run, tools, agent, &passage, asked).await?;
            Ok::<_, crate::Error>((belief, passage))
        }
    });
    let mut judged = futures::future::try_join_all(calls).await?;
    // Of equals the one that was found first stays first.
    judged.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(judged.into_iter().map(|(_, passage)| passage).collect())
}
