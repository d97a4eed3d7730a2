//! How much likelier the model finds the question after what a passage says.

use futures::future::try_join_all;
use journal::Run;
use knowledge::Passage;
use model::{Output, Request};

use super::explaining::asks_for_explanation;
use super::plausibility::can_be_affirmed;
use super::reading::{place, under_headings};
use super::{Tools, library};
use crate::{Definition, Result, call};

/// A passage that says nothing.
const NOTHING: &str = "Passage (Documentation):";

/// What a passage says that may answer.
pub(super) struct Said<'a> {
    /// Which one of those that are asked about under one name.
    pub index: usize,
    /// The passage.
    pub passage: &'a Passage,
    /// A few sentences of it.
    pub text: String,
}

/// Asks a model how likely it finds a question (after Sachan et al. 2022, "Improving passage retrieval with
/// zero-shot question generation").
///
/// Asked whether something answers, a small model says yes too readily; what it would ask follows from what
/// stands there.
pub(super) struct Asking<'a> {
    tools: &'a Tools,
    question: &'a str,
    definition: Definition,
    /// How likely it is after nothing; `None` where the model does not tell.
    nothing: Option<f32>,
    /// Its words that are no common English; see [`knowledge::Library::uncommon_words`].
    uncommon: Vec<String>,
}

impl Asking<'_> {
    /// Finds out how likely the question is after nothing, and what in it is no common English.
    pub(super) async fn begin<'a>(
        run: &Run,
        tools: &'a Tools,
        question: &'a str,
    ) -> Result<Asking<'a>> {
        let mut asking = Asking {
            tools,
            question,
            definition: tools.agents.load("research/ask")?,
            nothing: None,
            uncommon: library::uncommon_words(run, tools, question).await?,
        };
        asking.nothing = asking
            .likelihood(run, NOTHING.to_owned(), "nothing")
            .await?;
        Ok(asking)
    }

    /// Whether the model tells how likely it finds a question.
    pub(super) fn tells(&self) -> bool {
        self.nothing.is_some()
    }

    /// Whether the question is answered with the sentence after which the model would ask it, and yes or no; see
    /// [`affirming`](super::affirming).
    pub(super) fn for_yes_or_no(&self) -> bool {
        self.tells() && can_be_affirmed(self.question)
    }

    /// Whether the question asks how something works or is done; see [`explaining`](super::explaining).
    pub(super) fn for_explanation(&self) -> bool {
        asks_for_explanation(self.question)
    }

    /// The words of the question that are no common English.
    pub(super) fn uncommon(&self) -> &[String] {
        &self.uncommon
    }

    /// By how much likelier the question is after each of `said` than after nothing: the difference of the
    /// mean logarithms of its tokens' probabilities. It is held against nothing because some questions
    /// are likelier than others. `None` for all where the model does not tell.
    pub(super) async fn gains(
        &self,
        run: &Run,
        name: &str,
        said: &[Said<'_>],
    ) -> Result<Vec<Option<f32>>> {
        let Some(nothing) = self.nothing else {
            return Ok(vec![None; said.len()]);
        };
        let calls = said.iter().map(|said| {
            let run = run.scope(name, said.index);
            let shown = format!("Passage {}", under_headings(said.passage, &said.text));
            async move {
                let likelihood = self.likelihood(&run, shown, &place(said.passage)).await?;
                Ok(likelihood.map(|likelihood| likelihood - nothing))
            }
        });
        try_join_all(calls).await
    }

    async fn likelihood(&self, run: &Run, shown: String, title: &str) -> Result<Option<f32>> {
        let request = Request {
            output: Output::Given(self.question.to_owned()),
            ..call::request(&self.definition, &[shown], serde_json::Value::Null)
        };
        let response = call::ask(run, "ask", &*self.tools.model, &request, title).await?;
        Ok(response.likelihood)
    }
}
