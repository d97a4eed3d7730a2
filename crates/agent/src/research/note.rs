//! A note: a verbatim quote, where it stands, and the answer that it supports.

use knowledge::Passage;
use knowledge::citation;
use serde::{Deserialize, Serialize};

/// A note as a branch takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The sub-question that it answers.
    pub question: String,
    /// Words of the passage, verbatim.
    pub quote: String,
    /// What the quote answers; its numbers and names stand in the quote.
    pub answer: String,
    /// Where the quote stands.
    pub passage: Passage,
    /// Whether its numbers and names stand in the quote.
    pub grounded: bool,
    /// How many readings of the passages together gave this answer; 0 for one that a passage gives by itself.
    pub readings: u32,
    /// Whether a passage gave by itself what a reading of several gave.
    pub borne_out: bool,
    /// How sure it is that the passage states the answer, 0..1.
    pub confidence: f32,
}

impl Note {
    /// The place of the quote in the passage's text, in bytes; `None` when it does not stand there.
    pub fn location(&self) -> Option<std::ops::Range<usize>> {
        citation::locate(&self.quote, &self.passage.text)
    }
}

/// The words of `answer` that neither the quote nor the question nor the passage's headings have.
pub(super) fn unsupported_words(
    answer: &str,
    quote: &str,
    question: &str,
    passage: &Passage,
) -> Vec<String> {
    let context = format!("{} {}", passage.title, passage.headings.join(" "));
    let mismatches = citation::check_answer(answer, quote, question, &context);
    mismatches
        .into_iter()
        .map(|mismatch| mismatch.token)
        .collect()
}
