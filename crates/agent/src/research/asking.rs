//! How likely the model finds the question after what a passage says.

use futures::future::try_join_all;
use journal::Run;
use knowledge::Passage;
use model::{Output, Request};

use super::Tools;
use super::reading::{place, under_headings};
use crate::{Result, call};

/// What a passage says that may answer.
pub(super) struct Said<'a> {
    /// The passage.
    pub passage: &'a Passage,
    /// A few sentences of it.
    pub text: String,
}

/// How likely the model would ask `question` after each of `said`: the mean logarithm of its tokens'
/// probabilities (Sachan et al. 2022, "Improving passage retrieval with zero-shot question generation").
///
/// Asked whether something answers, a small model says yes too readily; what it would ask follows from what
/// stands there. `None` for all where the model does not tell. The steps are called `name`.
pub(super) async fn likelihoods(
    run: &Run,
    tools: &Tools,
    question: &str,
    name: &str,
    said: &[Said<'_>],
) -> Result<Vec<Option<f32>>> {
    let definition = tools.agents.load("research/ask")?;
    let ask = |index: usize, said: &Said<'_>| {
        let shown = format!("Passage {}", under_headings(said.passage, &said.text));
        let request = Request {
            output: Output::Given(question.to_owned()),
            ..call::request(&definition, &[shown], serde_json::Value::Null)
        };
        let (run, title) = (run.scope(name, index), place(said.passage));
        async move {
            let response = call::ask(&run, "model", &*tools.model, &request, &title).await?;
            Ok::<_, crate::Error>(response.likelihood)
        }
    };
    // Likelihoods are compared: one alone says nothing.
    let (first, others) = match said {
        [first, others @ ..] if !others.is_empty() => (first, others),
        _ => return Ok(vec![None; said.len()]),
    };
    // One shows whether the model tells at all.
    let first = ask(0, first).await?;
    if first.is_none() {
        return Ok(vec![None; said.len()]);
    }
    let others = others
        .iter()
        .enumerate()
        .map(|(index, said)| ask(index + 1, said));
    let mut all = vec![first];
    all.extend(try_join_all(others).await?);
    Ok(all)
}
