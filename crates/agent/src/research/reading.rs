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
use super::plausibility::wants_quantity;
use super::untrusted::{is_order, without_orders};
use crate::{Definition, Result, call};

/// Passages that one call of the model reads side by side.
const GROUP: usize = 6;
/// What the model answers when no passage of its group does.
const NOT_STATED: &str = "not stated";
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

/// A passage as the model sees it, below its title and headings.
pub(super) fn shown(passage: &Passage) -> String {
    let mut path: Vec<&str> = vec![&passage.title];
    let headings = passage.headings.iter().map(String::as_str);
    path.extend(headings.filter(|heading| *heading != passage.title));
    format!("({}):\n{}", path.join(" > "), without_orders(passage))
}

/// How an answer is asked for: as a sentence, then as briefly as can be. A small model that overlooks
/// the answer in one form often finds it in the other, and two that agree bear each other out. The second
/// costs little, because all but its last line is in the prefix cache.
fn forms(question: &str) -> [String; 2] {
    let brief = match wants_quantity(question) {
        true => "Answer with a number.",
        false => "Answer in as few words as possible.",
    };
    [question.to_owned(), format!("{question}\n{brief}")]
}

/// Answers from each group of passages, with the words that say so; all groups in one batch.
///
/// The passages of a group are read side by side, because a small model compares better than it judges.
pub(super) async fn take_notes(
    run: &Run,
    tools: &Tools,
    question: &str,
    passages: &[Passage],
) -> Result<Vec<Note>> {
    let definition = tools.agents.load("research/note")?;
    let calls = passages.chunks(GROUP).enumerate().map(|(index, group)| {
        let run = run.scope("note", index);
        let definition = &definition;
        async move { answers(&run, tools, definition, question, group).await }
    });
    let notes = futures::future::try_join_all(calls).await?;
    Ok(notes.into_iter().flatten().collect())
}

/// The different answers from one group.
async fn answers(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    group: &[Passage],
) -> Result<Vec<Note>> {
    let mut notes: Vec<Note> = Vec::new();
    for asked in forms(question) {
        let Some(note) = take_note(run, tools, definition, question, &asked, group).await? else {
            continue;
        };
        let same = |other: &&mut Note| other.grounded && note.grounded && agree(other, &note);
        match notes.iter_mut().find(same) {
            Some(other) => other.readings += 1,
            None => notes.push(note),
        }
    }
    Ok(notes)
}

/// Whether two answers to one question say the same: the same numbers, and all that the shorter adds to
/// the question.
fn agree(one: &Note, other: &Note) -> bool {
    let numbers = |note: &Note| -> BTreeSet<String> {
        let is_number = |word: &String| word.starts_with(|c: char| c.is_ascii_digit());
        words(&note.answer).into_iter().filter(is_number).collect()
    };
    let asked = words(&one.question);
    let added = |note: &Note| -> BTreeSet<String> {
        words(&note.answer).difference(&asked).cloned().collect()
    };
    let (one_adds, other_adds) = (added(one), added(other));
    numbers(one) == numbers(other)
        && (one_adds.is_subset(&other_adds) || other_adds.is_subset(&one_adds))
}

/// Answers from one group; when the answer has a number or name that its passage does not have, once
/// more without that passage: it led the model astray, perhaps on purpose.
async fn take_note(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    asked: &str,
    group: &[Passage],
) -> Result<Option<Note>> {
    let note = read(run, tools, definition, question, asked, group).await?;
    let Some(strange) = note.as_ref().filter(|note| !note.grounded) else {
        return Ok(note);
    };
    let misleading = &strange.passage.id;
    let others = group.iter().filter(|passage| passage.id != *misleading);
    let others: Vec<Passage> = others.cloned().collect();
    let again = read(run, tools, definition, question, asked, &others).await?;
    Ok(again.or(note))
}

/// One call: `asked` is the question with how it is to be answered.
async fn read(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    asked: &str,
    group: &[Passage],
) -> Result<Option<Note>> {
    let sources: Vec<Source<'_>> = group.iter().map(Source::of).collect();
    if sources.iter().all(|source| source.units.is_empty()) {
        return Ok(None);
    }
    let listed: Vec<String> = group
        .iter()
        .enumerate()
        .map(|(index, passage)| format!("[{}] {}", index + 1, shown(passage)))
        .collect();
    // The question stands last, next to the answer.
    let shown = format!("{}\n\nQuestion: {asked}", listed.join("\n\n"));
    let request = call::request(definition, &[shown], note_schema(&sources));
    let title = format!("{} passages", group.len());
    let response = call::ask(run, "model", &*tools.model, &request, &title).await?;
    let Ok(noted) = response.json::<Noted>() else {
        return Ok(None);
    };
    if noted.answer.trim().eq_ignore_ascii_case(NOT_STATED) {
        return Ok(None);
    }
    Ok(noted.settled(question, &sources))
}

/// A passage and what of it can be quoted.
struct Source<'a> {
    passage: &'a Passage,
    /// Sentences, items, rows and lines, each on one line.
    units: Vec<String>,
}

impl Source<'_> {
    fn of(passage: &Passage) -> Source<'_> {
        let units = units(passage)
            .iter()
            .map(|unit| folded(passage, unit))
            .collect();
        Source { passage, units }
    }
}

/// What the model writes of a group. The answer comes first: asked to quote first, small models take
/// the sentence that resembles the question, not the one that answers it.
#[derive(Deserialize)]
struct Noted {
    answer: String,
    #[serde(default)]
    quote: String,
}

impl Noted {
    /// The note whose quote says most of what the answer adds to the question: a model often answers from
    /// one sentence and quotes its neighbour.
    fn settled(self, question: &str, sources: &[Source<'_>]) -> Option<Note> {
        let asked = words(question);
        let answered = words(&self.answer);
        let mut added: BTreeSet<&String> = answered.difference(&asked).collect();
        if added.is_empty() {
            // "Yes", or the question in other words: the quote is what resembles it most.
            added = answered.iter().collect();
        }
        let mut best: Option<(Fit, &Passage, String)> = None;
        for source in sources {
            for quote in source.quotes() {
                let held = words(&format!("{quote} {}", source.passage.headings.join(" ")));
                let count = |words: &mut dyn Iterator<Item = &String>| {
                    words.filter(|word| held.contains(*word)).count()
                };
                let strange = unsupported_words(&self.answer, &quote, question, source.passage);
                let (grounded, chosen) = (strange.is_empty(), quote == self.quote);
                let fit = Fit {
                    grounded,
                    taken_from: !grounded && chosen,
                    said: count(&mut added.iter().copied()) * 100 / added.len().max(1),
                    chosen,
                    asked: count(&mut asked.iter()),
                    short: std::cmp::Reverse(quote.len()),
                };
                if best.as_ref().is_none_or(|(other, ..)| fit > *other) {
                    best = Some((fit, source.passage, quote));
                }
            }
        }
        let (fit, passage, quote) = best?;
        Some(Note {
            question: question.to_owned(),
            quote,
            answer: self.answer,
            passage: passage.clone(),
            grounded: fit.grounded,
            readings: 1,
            confidence: 0.0,
        })
    }
}

/// How well a quote bears an answer; what counts more comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Whether it has all numbers and names of the answer.
    grounded: bool,
    /// For an answer that no quote bears: whether the model named this one.
    taken_from: bool,
    /// How much of what the answer adds to the question it says, in percent.
    said: usize,
    /// Whether the model named it.
    chosen: bool,
    /// How many words of the question it has.
    asked: usize,
    short: std::cmp::Reverse<usize>,
}

impl Source<'_> {
    /// All that can be quoted: one to a few consecutive units.
    fn quotes(&self) -> impl Iterator<Item = String> {
        (1..=QUOTE_UNITS).flat_map(|length| self.units.windows(length).map(|units| units.join(" ")))
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
    let file = passage.file.trim_end_matches(".gz");
    let is_markdown = file.ends_with(".md") || file.ends_with(".markdown");
    let is_heading = |text: &str| {
        let bare = text.trim_start_matches(['#', ' ']);
        (is_markdown && text.starts_with('#'))
            || passage.headings.iter().any(|heading| bare == heading)
    };
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut label: Option<usize> = None;
    for range in sentences(&passage.text) {
        let text = folded(passage, &range);
        if is_heading(&text) || is_order(&text) {
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

fn note_schema(sources: &[Source<'_>]) -> Value {
    let units: Vec<&Vec<String>> = sources.iter().map(|source| &source.units).collect();
    json!({"anyOf": [
        {"type": "object", "properties": {"answer": {"enum": [NOT_STATED]}},
            "required": ["answer"], "additionalProperties": false},
        {"type": "object", "properties": {
            "answer": {"type": "string", "minLength": 1, "maxLength": 400},
            "quote": {"type": "string", "x-quote-from": units, "x-quote-max": QUOTE_UNITS},
        }, "required": ["answer", "quote"], "additionalProperties": false},
    ]})
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
        let (other, passage) = (passage("It has a hundred doors."), passage(TEXT));
        let sources = [Source::of(&other), Source::of(&passage)];
        let settled = |answer: &str| {
            let noted = Noted {
                quote: "It cannot be changed later.".to_owned(),
                answer: answer.to_owned(),
            };
            let note = noted.settled("How many connections may there be?", &sources);
            note.map(|note| (note.quote, note.grounded))
                .unwrap_or_default()
        };
        assert_eq!(
            settled("By default there may be 100 connections."),
            ("The default is 100.".to_owned(), true)
        );
        assert_eq!(
            settled("It cannot be changed."),
            ("It cannot be changed later.".to_owned(), true)
        );
        assert!(!settled("There may be 4711 connections.").1);
    }
}
