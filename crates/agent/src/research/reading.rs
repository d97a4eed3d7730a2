//! Reading passages: a quote from each, and the answer that it supports.

use std::collections::BTreeSet;
use std::ops::Range;

use journal::Run;
use knowledge::Passage;
use knowledge::sentences::sentences;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Tools;
use super::note::{Note, unsupported_words};
use crate::{Definition, Result, call};

/// The most units of a quote.
const QUOTE_UNITS: usize = 3;
/// A unit of at most this many words that ends without a stop is a label of what follows.
const LABEL_WORDS: usize = 7;

/// Names a passage for a person.
pub(super) fn place(passage: &Passage) -> String {
    match passage.headings.last() {
        Some(heading) if *heading != passage.title => format!("{} › {heading}", passage.title),
        _ => passage.title.clone(),
    }
}

/// What the model is shown: the question first, so that all passages of a question share a prefix.
fn shown(question: &str, passage: &Passage) -> String {
    format!(
        "Question: {question}\n\nPassage ({}):\n{}",
        headings(passage),
        passage.text
    )
}

/// The title and the headings of a passage.
pub(super) fn headings(passage: &Passage) -> String {
    let mut path: Vec<&str> = vec![&passage.title];
    path.extend(
        passage
            .headings
            .iter()
            .map(String::as_str)
            .filter(|h| *h != passage.title),
    );
    path.join(" > ")
}

/// Quotes and answers from each of the passages, all in one batch.
pub(super) async fn take_notes(
    run: &Run,
    tools: &Tools,
    question: &str,
    passages: Vec<Passage>,
) -> Result<Vec<Note>> {
    let definition = tools.agents.load("research/note")?;
    let calls = passages.into_iter().enumerate().map(|(rank, passage)| {
        let run = run.scope("note", rank);
        let definition = &definition;
        async move { take_note(&run, tools, definition, question, passage, rank).await }
    });
    let notes = futures::future::try_join_all(calls).await?;
    Ok(notes.into_iter().flatten().collect())
}

async fn take_note(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    passage: Passage,
    rank: usize,
) -> Result<Option<Note>> {
    let units = units(&passage);
    if units.is_empty() {
        return Ok(None);
    }
    let schema = note_schema(&passage, &units);
    let title = place(&passage);
    let request = call::request(definition, &[shown(question, &passage)], schema);
    let response = call::ask(run, "model", &*tools.model, &request, &title).await?;
    let Ok(mut noted) = response.json::<Noted>() else {
        return Ok(None);
    };
    noted.settle_quote(question, &passage, &units);
    // An answer with a number or name that the passage does not have comes from elsewhere: from what the
    // model believes, or from nothing.
    let strange = unsupported_words(&noted.answer, &noted.quote, question, &passage);
    let Noted { answer, quote } = noted;
    let grounded = strange.is_empty();
    Ok(Some(Note {
        question: question.to_owned(),
        quote,
        answer,
        passage,
        grounded,
        confidence: 0.0,
        rank,
    }))
}

/// What the model writes of a passage. The answer comes first: asked to quote first, small models take
/// the sentence that resembles the question, not the one that answers it.
#[derive(Deserialize)]
struct Noted {
    answer: String,
    quote: String,
}

impl Noted {
    /// Makes the quote the units of the passage that say most of what the answer adds to the question: a
    /// model often answers from one sentence and quotes its neighbour.
    fn settle_quote(&mut self, question: &str, passage: &Passage, units: &[Range<usize>]) {
        let asked = words(question);
        let added: BTreeSet<String> = words(&self.answer).difference(&asked).cloned().collect();
        let said = |quote: &str| {
            let held = words(quote);
            let strange = unsupported_words(&self.answer, quote, question, passage);
            let share =
                added.iter().filter(|word| held.contains(*word)).count() * 100 / added.len().max(1);
            (strange.is_empty(), share)
        };
        let mut best = (said(&self.quote), self.quote.clone());
        for length in 1..=QUOTE_UNITS {
            for window in units.windows(length) {
                let quote = window
                    .iter()
                    .map(|unit| folded(passage, unit))
                    .collect::<Vec<_>>()
                    .join(" ");
                let says = said(&quote);
                // Longer windows come later, so that of equals the shortest stays.
                if says > best.0 {
                    best = (says, quote);
                }
            }
        }
        self.quote = best.1;
    }
}

/// The words of a text that carry meaning, in lower case and without their endings.
fn words(text: &str) -> BTreeSet<String> {
    const EMPTY: &[&str] = &[
        "the", "and", "for", "are", "was", "that", "this", "with", "from", "you", "can", "will",
        "its", "not", "but", "has", "have", "which", "when", "what", "how", "use", "used", "using",
        "yes", "there", "they", "then", "than",
    ];
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .map(str::to_lowercase)
        .filter(|word| {
            (word.len() > 2 || word.starts_with(|c: char| c.is_ascii_digit()))
                && !EMPTY.contains(&word.as_str())
        })
        .map(|word| word.chars().take(6).collect())
        .collect()
}

/// What of a passage can be quoted: its sentences, items, rows and lines, but no heading, which says
/// nothing itself; a short label stays with what it labels.
fn units(passage: &Passage) -> Vec<Range<usize>> {
    let is_heading = |text: &str| {
        let text = text.trim_start_matches(['#', ' ']);
        passage.headings.iter().any(|heading| text == heading)
    };
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut label: Option<usize> = None;
    for range in sentences(&passage.text) {
        let text = folded(passage, &range);
        if is_heading(&text) {
            continue;
        }
        let start = label.take().unwrap_or(range.start);
        let short = text.split(' ').count() <= LABEL_WORDS;
        if short && !text.ends_with(['.', '!', '?', ';']) && !text.contains(" | ") {
            label = Some(start);
        } else {
            units.push(start..range.end);
        }
    }
    match (label, units.last_mut()) {
        (Some(_), Some(last)) => last.end = passage.text.trim_end().len(),
        (Some(start), None) => units.push(start..passage.text.trim_end().len()),
        (None, _) => {}
    }
    units
}

/// A part of a passage on one line.
fn folded(passage: &Passage, range: &Range<usize>) -> String {
    let text = passage.text.get(range.clone()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn note_schema(passage: &Passage, units: &[Range<usize>]) -> Value {
    let units: Vec<String> = units.iter().map(|unit| folded(passage, unit)).collect();
    json!({
        "type": "object",
        "properties": {
            "answer": {"type": "string", "minLength": 1, "maxLength": 400},
            "quote": {"type": "string", "x-quote-from": [units], "x-quote-max": QUOTE_UNITS},
        },
        "required": ["answer", "quote"], "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(text: &str) -> Passage {
        Passage {
            id: "0".to_owned(),
            file: "a.html".to_owned(),
            title: "Settings".to_owned(),
            headings: vec!["Connections".to_owned()],
            text: text.to_owned(),
            range: 0..text.len(),
            places: Vec::new(),
            ordinal: 0,
        }
    }

    const TEXT: &str = "Connections\n\nmax_connections (integer)\n\nSets the most connections. The default is 100. It cannot be changed later.";

    #[test]
    fn a_label_is_quoted_with_what_it_labels_and_a_heading_never() {
        let passage = passage(TEXT);
        let units: Vec<String> = units(&passage)
            .iter()
            .map(|unit| folded(&passage, unit))
            .collect();
        assert_eq!(
            units,
            [
                "max_connections (integer) Sets the most connections.",
                "The default is 100.",
                "It cannot be changed later."
            ]
        );
    }

    #[test]
    fn a_quote_moves_to_where_the_answer_stands() {
        let passage = passage(TEXT);
        let units = units(&passage);
        let settled = |answer: &str| {
            let quote = "It cannot be changed later.".to_owned();
            let mut noted = Noted {
                quote,
                answer: answer.to_owned(),
            };
            noted.settle_quote("How many connections may there be?", &passage, &units);
            noted.quote
        };
        assert_eq!(
            settled("By default there may be 100 connections."),
            "The default is 100."
        );
        assert_eq!(
            settled("It cannot be changed."),
            "It cannot be changed later."
        );
    }
}
