//! What a user asks for, and the limits that follow from it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How much work a question is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// One search loop, no plan.
    Quick,
    /// A plan where the question needs one, and one round of criticism.
    #[default]
    Normal,
    /// Always a plan, more passages, and two rounds of criticism.
    Deep,
}

/// The input of a research run, recorded with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The question, in the user's words.
    pub question: String,
    /// The files and folders that may answer it.
    pub paths: Vec<PathBuf>,
    /// The model that works on it, as `provider:name`.
    pub model: String,
    /// How much work it is worth.
    pub depth: Depth,
    /// The time after which no new search begins, in seconds.
    pub max_seconds: Option<u64>,
}

/// The limits of one run.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The most sub-questions that a plan may have; 1 means that no plan is made.
    pub questions: usize,
    /// Passages judged as the search brings them, before others are ranked: where one of them surely answers, the
    /// ranking is saved.
    pub first: usize,
    /// Passages of a round's search up to this place, but for the first, are ranked by whether the model would ask
    /// the question after them.
    pub ranked: usize,
    /// Passages judged in each round of a branch, at most.
    pub passages: usize,
    /// The same where they could not be ranked, because the model does not tell what it would ask.
    pub unranked: usize,
    /// Passages of a round's search that are ranked for an explanation.
    pub explained: usize,
    /// Rounds of search in a branch; each after the first with a rephrased query.
    pub rounds: usize,
    /// The same in a branch beside others: a part that is not found must not cost the time of the whole.
    pub rounds_of_part: usize,
    /// How often the critic may send the draft back.
    pub revisions: usize,
    /// When no new search begins, in milliseconds since 1970.
    pub deadline_ms: Option<i64>,
}

impl Settings {
    /// What holds for a branch beside others.
    pub(super) fn of_part(self) -> Settings {
        Settings {
            rounds: self.rounds_of_part,
            ..self
        }
    }
}

impl Input {
    pub(super) fn settings(&self, started_ms: i64) -> Settings {
        let seconds = self.max_seconds.and_then(|s| i64::try_from(s).ok());
        let deadline_ms = seconds.map(|s| started_ms.saturating_add(s.saturating_mul(1000)));
        let limits = |questions,
                      (first, ranked, passages),
                      unranked,
                      (rounds, rounds_of_part),
                      revisions| Settings {
            questions,
            explained: ranked / 2,
            first,
            ranked,
            passages,
            unranked,
            rounds,
            rounds_of_part,
            revisions,
            deadline_ms,
        };
        match self.depth {
            Depth::Quick => limits(1, (4, 12, 6), 5, (2, 2), 0),
            Depth::Normal => limits(4, (4, 24, 9), 12, (2, 1), 1),
            Depth::Deep => limits(6, (0, 40, 16), 16, (3, 3), 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_no_question_has_is_refused() {
        let mut input = json!({"question": "Why?", "paths": ["docs"], "model": "local:small", "depth": "quick"});
        assert!(serde_json::from_value::<Input>(input.clone()).is_ok());
        input["modle"] = json!("local:large");
        let refused = serde_json::from_value::<Input>(input).map_err(|error| error.to_string());
        let message = refused.err().unwrap_or_default();
        assert!(
            message.starts_with("unknown field `modle`, expected one of `question`"),
            "{message}"
        );
    }
}
