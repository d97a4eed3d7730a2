//! Which sentences of a passage can be quoted, and which of them bear an answer.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;

use knowledge::Passage;
use knowledge::sentences::sentences;

use super::note::{Note, unsupported_words};
use super::untrusted::is_order;

/// The most units of a quote.
const QUOTE_UNITS: usize = 3;
/// A unit of at most this many words that ends without a stop is a label of what follows.
const LABEL_WORDS: usize = 7;

/// Bytes of what is shown around an answer: at least, where the passage has them, and at most.
const AROUND_LEAST: usize = 90;
const AROUND_MOST: usize = 420;

/// A passage and what of it can be quoted.
pub(super) struct Source<'a> {
    passage: &'a Passage,
    /// Sentences, items, rows and lines, each on one line.
    pub units: Vec<String>,
}

impl Source<'_> {
    pub(super) fn of(passage: &Passage) -> Source<'_> {
        let units = units(passage)
            .iter()
            .map(|unit| folded(passage, unit))
            .collect();
        Source { passage, units }
    }

    /// What stands around `words`: the sentences that hold them, with the ones before where those are
    /// short; the beginning of the passage where none hold them.
    pub(super) fn around(&self, words: &str) -> String {
        let holds = |from: usize, to: usize| {
            let units = self.units.get(from..to);
            units.is_some_and(|units| units.join(" ").contains(words))
        };
        let found = (1..=QUOTE_UNITS).find_map(|length| {
            let runs = (0..self.units.len()).map(|from| (from, from + length));
            runs.into_iter().find(|(from, to)| holds(*from, *to))
        });
        let (mut from, to) = found.unwrap_or((0, self.units.len()));
        let text = |from: usize| self.units.get(from..to).unwrap_or_default().join(" ");
        while from > 0 && text(from).len() < AROUND_LEAST {
            from -= 1;
        }
        let text = text(from);
        let at = text.find(words).filter(|_| found.is_some()).unwrap_or(0);
        let before = (AROUND_MOST.saturating_sub(words.len())) / 2;
        let start = text.floor_char_boundary(at.saturating_sub(before));
        let end = text.floor_char_boundary(start + AROUND_MOST);
        text.get(start..end).unwrap_or_default().to_owned()
    }

    /// All that can be quoted: one to a few consecutive units.
    fn quotes(&self) -> impl Iterator<Item = String> {
        (1..=QUOTE_UNITS).flat_map(|length| self.units.windows(length).map(|units| units.join(" ")))
    }
}

/// The note whose quote says most of what `answer` adds to the question: a model often answers from one
/// sentence and quotes, as `named`, its neighbour. `None` when there is nothing to quote.
pub(super) fn settle(
    question: &str,
    answer: &str,
    named: &str,
    sources: &[Source<'_>],
) -> Option<Note> {
    let asked = words(question);
    let answered = words(answer);
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
            let grounded = unsupported_words(answer, &quote, question, source.passage).is_empty();
            let is_named = quote == named;
            let fit = Fit {
                grounded,
                taken_from: !grounded && is_named,
                said: count(&mut added.iter().copied()) * 100 / added.len().max(1),
                named: is_named,
                asked: count(&mut asked.iter()),
                short: Reverse(quote.len()),
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
        answer: answer.to_owned(),
        passage: passage.clone(),
        grounded: fit.grounded,
        readings: 1,
        judged: 0.0,
        confidence: 0.0,
    })
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
    named: bool,
    /// How many words of the question it has.
    asked: usize,
    short: Reverse<usize>,
}

/// The words of a text that carry meaning, in lower case and without their endings.
pub(super) fn words(text: &str) -> BTreeSet<String> {
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
    fn what_stands_around_an_answer_is_a_few_sentences() {
        let passage = passage(TEXT);
        let source = Source::of(&passage);
        assert_eq!(
            source.around("100"),
            "max_connections (integer) Sets the most connections. The default is 100."
        );
        assert!(source.around("4711").starts_with("max_connections"));
        let long = format!(
            "It is so, {}as é 4711 says, and {}.",
            "é ".repeat(400),
            "so on ".repeat(100)
        );
        let passage = self::passage(&long);
        let around = Source::of(&passage).around("4711");
        assert!(
            around.contains("4711") && around.len() <= AROUND_MOST,
            "{around}"
        );
    }

    #[test]
    fn a_quote_moves_to_where_the_answer_stands() {
        let (other, passage) = (passage("It has a hundred doors."), passage(TEXT));
        let sources = [Source::of(&other), Source::of(&passage)];
        let settled = |answer: &str| {
            let named = "It cannot be changed later.";
            let note = settle(
                "How many connections may there be?",
                answer,
                named,
                &sources,
            );
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
