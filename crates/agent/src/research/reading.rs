//! Reading passages: a quote from each, and the answer that it supports.

use std::ops::Range;

use journal::Run;
use knowledge::sentences::sentences;
use knowledge::{Passage, citation};
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
    let mut conversation = vec![shown(question, &passage)];
    let title = place(&passage);
    let request = call::request(definition, &conversation, schema.clone());
    let response = call::ask(run, "model", &*tools.model, &request, &title).await?;
    let Ok(mut noted) = response.json::<Noted>() else {
        return Ok(None);
    };
    let mut strange = noted.hold(question, &passage, &units);
    if !strange.is_empty() {
        conversation.push(response.text.clone());
        conversation.push(format!(
            "Your quote does not say: {}. Quote the sentences that do, or answer with the words of your quote alone.",
            strange.join(", ")
        ));
        let request = call::request(definition, &conversation, schema);
        let again = call::ask(run, "model", &*tools.model, &request, &title).await?;
        noted = again.json::<Noted>().unwrap_or(noted);
        strange = noted.hold(question, &passage, &units);
    }
    if !strange.is_empty() {
        // The quote itself is always supported.
        noted.answer = noted.quote.clone();
    }
    let Noted { quote, answer } = noted;
    Ok(Some(Note {
        question: question.to_owned(),
        quote,
        answer,
        passage,
        confidence: 0.0,
        rank,
    }))
}

/// What the model writes of a passage.
#[derive(Deserialize)]
struct Noted {
    quote: String,
    answer: String,
}

impl Noted {
    /// The words of the answer that the quote does not have. Where other units of the passage have them
    /// all, those become the quote: a model often answers from the sentence after the one it quotes.
    fn hold(&mut self, question: &str, passage: &Passage, units: &[Range<usize>]) -> Vec<String> {
        let strange = unsupported_words(&self.answer, &self.quote, question, passage);
        if strange.is_empty() {
            return strange;
        }
        let quoted = citation::locate(&self.quote, &passage.text).map_or(0, |range| range.start);
        let at = units.iter().position(|unit| unit.end > quoted).unwrap_or(0);
        let mut windows: Vec<(usize, usize, usize)> = Vec::new();
        for length in 1..=QUOTE_UNITS + 1 {
            for first in 0..(units.len() + 1).saturating_sub(length) {
                let last = first + length - 1;
                let distance = if at < first {
                    first - at
                } else {
                    at.saturating_sub(last)
                };
                windows.push((distance, length, first));
            }
        }
        windows.sort_unstable();
        for (_, length, first) in windows {
            let quote = units.get(first..first + length).unwrap_or_default();
            let quote = quote
                .iter()
                .map(|unit| folded(passage, unit))
                .collect::<Vec<_>>()
                .join(" ");
            if unsupported_words(&self.answer, &quote, question, passage).is_empty() {
                self.quote = quote;
                return Vec::new();
            }
        }
        strange
    }
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
            "quote": {"type": "string", "x-quote-from": [units], "x-quote-max": QUOTE_UNITS},
            "answer": {"type": "string", "minLength": 1, "maxLength": 400},
        },
        "required": ["quote", "answer"], "additionalProperties": false,
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
        let mut noted = Noted {
            quote: "It cannot be changed later.".to_owned(),
            answer: "The default is 100.".to_owned(),
        };
        assert!(
            noted
                .hold("What is the default?", &passage, &units)
                .is_empty()
        );
        assert_eq!(noted.quote, "The default is 100.");
        let mut noted = Noted {
            quote: "It cannot be changed later.".to_owned(),
            answer: "It is 200.".to_owned(),
        };
        assert_eq!(
            noted.hold("What is the default?", &passage, &units),
            ["200"]
        );
        assert_eq!(noted.quote, "It cannot be changed later.");
    }
}
