//! How much likelier the model finds the question after what a passage says.

use futures::future::try_join_all;
use journal::Run;
use knowledge::Passage;
use model::{Output, Request};

use super::Tools;
use super::reading::{place, under_headings};
use crate::{Result, call};

/// A passage that says nothing.
const NOTHING: &str = "Passage (Documentation):";

/// What a passage says that may answer.
pub(super) struct Said<'a> {
    /// The passage.
    pub passage: &'a Passage,
    /// A few sentences of it.
    pub text: String,
}

/// By how much likelier the model finds `question` after each of `said` than after nothing: the difference of
/// the mean logarithms of its tokens' probabilities (after Sachan et al. 2022, "Improving passage retrieval
/// with zero-shot question generation"; held against nothing, because some questions are likelier than
/// others). The steps are called `name`.
///
/// Asked whether something answers, a small model says yes too readily; what it would ask follows from what
/// stands there. `None` for all where the model does not tell.
pub(super) async fn gains(
    run: &Run,
    tools: &Tools,
    question: &str,
    name: &str,
    said: &[Said<'_>],
) -> Result<Vec<Option<f32>>> {
    if said.is_empty() {
        return Ok(Vec::new());
    }
    let definition = tools.agents.load("research/ask")?;
    let ask = |index: usize, shown: String, title: String| {
        let request = Request {
            output: Output::Given(question.to_owned()),
            ..call::request(&definition, &[shown], serde_json::Value::Null)
        };
        let run = run.scope(name, index);
        async move {
            let response = call::ask(&run, "model", &*tools.model, &request, &title).await?;
            Ok::<_, crate::Error>(response.likelihood)
        }
    };
    let Some(nothing) = ask(0, NOTHING.to_owned(), "nothing".to_owned()).await? else {
        return Ok(vec![None; said.len()]);
    };
    let calls = said.iter().enumerate().map(|(index, said)| {
        let shown = format!("Passage {}", under_headings(said.passage, &said.text));
        ask(index + 1, shown, place(said.passage))
    });
    let likelihoods = try_join_all(calls).await?;
    let gain = |likelihood: Option<f32>| likelihood.map(|one| one - nothing);
    Ok(likelihoods.into_iter().map(gain).collect())
}
