//! Which sentences of a passage can be quoted, and which of them bear an answer.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use knowledge::citation::number_word;
use knowledge::read::is_markdown;
use knowledge::sentences::{is_fence, is_row, sentences};
use knowledge::{Passage, marks};

use super::note::{Note, unsupported_words};
use super::untrusted::is_order;

/// The most units of a quote.
const QUOTE_UNITS: usize = 3;
/// A unit of at most this many words that ends without a stop is a label of what follows.
const LABEL_WORDS: usize = 7;
/// The most labels that stay with what follows; more are a list.
const LABELS: usize = 2;
/// Marks over which nothing is quoted.
const BREAKS: [char; 2] = [marks::PERMALINK, marks::PAGE];
/// What headings of text are marked, underlined and overlined with.
const ADORNMENTS: &[char] = &['#', '=', '-', '~', '^', '*', '+', '"', ' '];
/// Words of the question by which another unit must surpass the one that the model named.
const NAMED: usize = 2;

/// Bytes of what is shown around an answer: at least, where the passage has them, and at most.
const AROUND_LEAST: usize = 90;
const AROUND_MOST: usize = 420;
/// Bytes of what is shown around a place: at least, where the passage has them, and at most.
const NEAR_LEAST: usize = 270;
const NEAR_MOST: usize = 560;

/// A passage and what of it can be quoted.
pub(super) struct Source<'a> {
    pub passage: &'a Passage,
    /// Sentences, items, rows and lines, each on one line.
    pub units: Vec<String>,
    /// Where each of them stands in the passage.
    pub ranges: Vec<Range<usize>>,
}

impl Source<'_> {
    pub(super) fn of(passage: &Passage) -> Source<'_> {
        let ranges = units(passage);
        let units = ranges.iter().map(|unit| folded(passage, unit)).collect();
        Source {
            passage,
            units,
            ranges,
        }
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

    /// A unit with those before it, as far as they can be quoted together, until it has more words than a label.
    pub(super) fn with_before(&self, unit: usize) -> String {
        let text = |from: usize| self.units.get(from..=unit).unwrap_or_default().join(" ");
        let is_short = |from: usize| text(from).split(' ').count() <= LABEL_WORDS;
        let mut from = unit;
        while from > 0 && is_short(from) && self.joins(from - 1) {
            from -= 1;
        }
        text(from)
    }

    /// The units in runs of those that can be quoted together.
    pub(super) fn runs(&self) -> Vec<Vec<String>> {
        let mut runs: Vec<Vec<String>> = Vec::new();
        for (index, unit) in self.units.iter().enumerate() {
            let goes_on = index > 0 && self.joins(index - 1);
            match runs.last_mut() {
                Some(run) if goes_on => run.push(unit.clone()),
                _ => runs.push(vec![unit.clone()]),
            }
        }
        runs
    }

    /// Whether a unit and the next one can be quoted together.
    pub(super) fn joins(&self, unit: usize) -> bool {
        match self.ranges.get(unit..=unit + 1) {
            Some([before, after]) => follows(self.passage, before, after),
            _ => false,
        }
    }

    /// The units that a quote is of, or that it is a part of: the quotes of providers are held to no sentences.
    pub(super) fn span(&self, quote: &str) -> Option<Range<usize>> {
        let quote = marks::without(quote);
        let spans = || {
            let lengths = 1..=QUOTE_UNITS + 1;
            lengths.flat_map(|length| (0..self.units.len()).map(move |from| from..from + length))
        };
        let text = |span: &Range<usize>| self.units.get(span.clone()).map(|units| units.join(" "));
        let is_it = |span: &Range<usize>| text(span).is_some_and(|text| text == quote);
        let has_it = |span: &Range<usize>| text(span).is_some_and(|text| text.contains(&quote));
        let found = spans().find(is_it).or_else(|| spans().find(has_it));
        found.filter(|_| !quote.is_empty())
    }

    /// What stands around a place of the passage: the units there, with as many after and before them as make it
    /// long enough to tell what it is about; those at the beginning where the place is empty.
    pub(super) fn near(&self, place: &Range<usize>) -> String {
        let is_there = |unit: &Range<usize>| unit.start < place.end && place.start < unit.end;
        let mut from = self.ranges.iter().position(is_there).unwrap_or(0);
        let last = self.ranges.iter().rposition(is_there).unwrap_or(0);
        let mut to = self.units.len().min(last + 1);
        let text = |from: usize, to: usize| self.units.get(from..to).unwrap_or_default().join(" ");
        while text(from, to).len() < NEAR_LEAST && (from > 0 || to < self.units.len()) {
            to = self.units.len().min(to + 1);
            if text(from, to).len() < NEAR_LEAST {
                from = from.saturating_sub(1);
            }
        }
        let mut text = text(from, to);
        text.truncate(text.floor_char_boundary(NEAR_MOST));
        text
    }

    /// All that can be quoted: one to a few units that follow each other.
    fn quotes(&self) -> impl Iterator<Item = String> {
        let follow = |pair: &[Range<usize>]| matches!(pair, [a, b] if follows(self.passage, a, b));
        (1..=QUOTE_UNITS).flat_map(move |length| {
            let ranges = self.ranges.windows(length);
            let windows = ranges.zip(self.units.windows(length));
            let whole = windows.filter(move |(ranges, _)| ranges.windows(2).all(follow));
            whole.map(|(_, units)| units.join(" "))
        })
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
    let is_unit = |source: &Source<'_>, quote: &str| source.units.iter().any(|unit| unit == quote);
    let bears = |source: &Source<'_>, quote: &str| {
        unsupported_words(answer, quote, question, source.passage).is_empty()
    };
    let naming = sources.iter().find(|source| is_unit(source, named));
    // Where the named one does not bear the answer, what is quoted goes on to what does.
    let goes_on = naming.is_some_and(|source| !bears(source, named));
    let mut best: Option<(Fit, &Passage, String)> = None;
    for source in sources {
        for quote in source.quotes() {
            let held = words(&format!("{quote} {}", source.passage.headings.join(" ")));
            let count = |words: &mut dyn Iterator<Item = &String>| {
                words.filter(|word| held.contains(*word)).count()
            };
            let grounded = bears(source, &quote);
            let is_named = quote == named;
            let is_like_it = is_unit(source, &quote) || goes_on && quote.contains(named);
            let asked = count(&mut asked.iter());
            let fit = Fit {
                grounded,
                taken_from: !grounded && is_named,
                said: count(&mut added.iter().copied()) * 100 / added.len().max(1),
                named: match naming {
                    Some(_) if is_named => asked + NAMED,
                    Some(_) if is_like_it => asked,
                    _ => 0,
                },
                asked,
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
        borne_out: false,
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
    /// How many words of the question it has, where the model named one like it: a single unit, or one that goes on
    /// to what bears the answer. The one that it named counts [`NAMED`] more.
    named: usize,
    /// How many words of the question it has.
    asked: usize,
    short: Reverse<usize>,
}

/// The words of a text that carry meaning, in lower case and without their endings; numbers in digits.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    const EMPTY: &[&str] = &[
        "the", "and", "for", "are", "was", "that", "this", "with", "from", "you", "can", "will",
        "its", "not", "but", "has", "have", "which", "when", "what", "how", "use", "used", "using",
        "yes", "there", "they", "then", "than",
    ];
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        // Emphasis in Markdown: `_itself_`.
        .map(|word| word.trim_matches('_').to_lowercase())
        .filter(|word| {
            (word.len() > 2 || word.starts_with(|c: char| c.is_ascii_digit()))
                && !EMPTY.contains(&word.as_str())
        })
        .map(|word| match number_word(&word) {
            Some(number) => number.to_string(),
            None => without_plural(&word).chars().take(6).collect(),
        })
        .collect()
}

/// A word in lower case without the "s" of a plural: `hours`.
fn without_plural(word: &str) -> &str {
    match word.strip_suffix('s') {
        Some(one) if one.len() > 2 && !one.ends_with('s') => one,
        _ => word,
    }
}

/// What of a passage can be quoted: its sentences, items, rows and lines, but no heading and no fence of code,
/// which say nothing themselves; a short label stays with what it labels.
fn units(passage: &Passage) -> Vec<Range<usize>> {
    let is_markdown = is_markdown(Path::new(&passage.file));
    let is_heading = |text: &str| {
        let bare = [
            text.trim_start_matches(['#', ' ']),
            text.trim_matches(ADORNMENTS),
        ];
        let mut headings = passage.headings.iter();
        (is_markdown && (text.starts_with('#') || is_fence(text)))
            || headings.any(|heading| bare.contains(&heading.as_str()))
    };
    let mut units: Vec<Range<usize>> = Vec::new();
    // The labels that wait for what they label.
    let mut labels: Vec<Range<usize>> = Vec::new();
    let sentences = sentences(&passage.text).into_iter();
    for (range, has_link) in sentences.flat_map(|range| unmarked(passage, range)) {
        let text = folded(passage, &range);
        let short = text.split(' ').count() <= LABEL_WORDS;
        // The signature of a function is no heading: it says what the defaults are.
        let is_title = has_link && short && !text.contains('=');
        let is_heading = is_title || is_heading(&text);
        let goes_on = labels
            .last()
            .is_some_and(|last| follows(passage, last, &range));
        if is_heading || !goes_on {
            units.extend(joined(&mut labels));
        }
        if is_heading || is_order(&text) {
            continue;
        }
        let is_row = passage.text.get(range.clone()).is_some_and(is_row);
        // The numbers of a figure name nothing.
        let names = text.contains(char::is_alphabetic);
        let is_label = short && names && !is_row && !text.ends_with(['.', '!', '?', ';']);
        if is_label && labels.len() == LABELS {
            units.extend(joined(&mut labels));
        }
        labels.push(range);
        if !is_label {
            units.extend(joined(&mut labels));
        }
    }
    match (joined(&mut labels), units.last_mut()) {
        (Some(rest), Some(last)) if follows(passage, last, &rest) => last.end = rest.end,
        (rest, _) => units.extend(rest),
    }
    units
}

/// The parts of a sentence between the signs of links to headings and terms and the ends of pages, each with
/// whether such a sign follows.
fn unmarked(passage: &Passage, range: Range<usize>) -> Vec<(Range<usize>, bool)> {
    let text = passage.text.get(range.clone()).unwrap_or_default();
    let mut start = range.start;
    let mut parts = Vec::new();
    for part in text.split_inclusive(BREAKS) {
        let bare = part.trim_end_matches(BREAKS);
        if !marks::without(bare).is_empty() {
            parts.push((start..start + bare.len(), part.ends_with(marks::PERMALINK)));
        }
        start += part.len();
    }
    parts
}

/// One range over all of these, which are taken.
fn joined(ranges: &mut Vec<Range<usize>>) -> Option<Range<usize>> {
    let whole = ranges.first()?.start..ranges.last()?.end;
    ranges.clear();
    Some(whole)
}

/// Whether nothing but white space and the marks of layout stands between two parts of a passage, of one page;
/// what a row of a table says is about the row, not about the next one.
fn follows(passage: &Passage, before: &Range<usize>, after: &Range<usize>) -> bool {
    let Some(between) = passage.text.get(before.end..after.start) else {
        return false;
    };
    let begins_row = || between.contains('\n') && is_row(line(&passage.text, after.start));
    marks::without(between).is_empty() && !between.contains(BREAKS) && !begins_row()
}

/// The rest of a line from here on.
fn line(text: &str, from: usize) -> &str {
    let rest = text.get(from..).unwrap_or_default();
    rest.lines().next().unwrap_or_default()
}

/// A part of a passage on one line, as its file has it.
fn folded(passage: &Passage, range: &Range<usize>) -> String {
    marks::without(passage.text.get(range.clone()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn passage(text: &str) -> Passage {
        Passage {
            id: "0".to_owned(),
            file: "a.html".to_owned(),
            title: "Settings".to_owned(),
            headings: vec!["Connections".to_owned()],
            ..testing::passage(text)
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
    fn an_underlined_heading_is_not_quoted() {
        for (below, heading) in [
            ("-----------", "Connections"),
            ("===========", "Connections"),
        ] {
            let text = format!("{heading}\n{below}\n\nThere are many of them.");
            assert_eq!(quotable(&text), ["There are many of them."]);
        }
    }

    /// What can be quoted of a text.
    fn quotable(text: &str) -> Vec<String> {
        let passage = passage(text);
        Source::of(&passage).quotes().collect()
    }

    const ROWS: &str = "pool_write_critical | **Optional.** Critical threshold for the write backlog. Applies if it is higher. Defaults to 15 minutes.\npool_sync_warning | **Optional.** Warning threshold for the sync backlog. Applies if it is higher. Defaults to 5 minutes.\npool_sync_critical | **Optional.** Critical threshold for the sync backlog. Applies if it is higher. Defaults to 15 minutes.";

    #[test]
    fn a_quote_goes_over_no_end_of_a_row() {
        for quote in quotable(ROWS) {
            let begins = quote.matches(" | ").count();
            assert!(
                begins == 0 || begins == 1 && quote.starts_with("pool"),
                "{quote}"
            );
        }
        assert_eq!(quotable(ROWS).len(), 3 * (3 + 2 + 1));
    }

    #[test]
    fn a_quote_goes_on_from_the_sentence_that_is_named_to_the_answer() {
        let passage = passage(ROWS);
        let settled = |named| {
            settle(
                "From which sync backlog on is the pool critical by default?",
                "It is critical from a sync backlog of 15 minutes.",
                named,
                &[Source::of(&passage)],
            )
            .map(|note| note.quote)
        };
        let named = "pool_sync_critical | **Optional.** Critical threshold for the sync backlog.";
        let whole = format!("{named} Applies if it is higher. Defaults to 15 minutes.");
        assert_eq!(settled(named), Some(whole.clone()));
        assert_eq!(settled(""), Some(whole));
    }

    #[test]
    fn a_quote_has_no_mark_of_the_reader_and_goes_over_no_link_of_a_heading() {
        let text = "Pools are kept.\n\nPool size¶\n\nmax_overflow¶ ― How many more │ 10.\n\n‣ It is checked.\n‣ It is not.";
        assert_eq!(
            quotable(text),
            [
                "Pools are kept.",
                "How many more 10.",
                "It is checked.",
                "It is not.",
                "How many more 10. It is checked.",
                "It is checked. It is not.",
                "How many more 10. It is checked. It is not.",
            ]
        );
        let passage = passage(text);
        let found = quotable(text);
        let found = found
            .iter()
            .map(|quote| knowledge::citation::locate(quote, &passage.text));
        assert!(found.into_iter().all(|range| range.is_some()));
        let signature = "create_engine(url, pool_size=5)¶\n\nIt makes one.";
        assert_eq!(
            quotable(signature),
            ["create_engine(url, pool_size=5)", "It makes one."]
        );
    }

    #[test]
    fn a_quote_goes_over_no_end_of_a_page() {
        let text =
            "Note: New in 1.11\u{c}\n\nset_out - It sets the output. The default\u{c} value is 24.";
        assert_eq!(
            quotable(text),
            [
                "Note: New in 1.11",
                "set_out - It sets the output.",
                "The default",
                "value is 24.",
                "set_out - It sets the output. The default",
            ]
        );
        let passage = passage(text);
        assert_eq!(
            Source::of(&passage).runs(),
            [
                vec!["Note: New in 1.11"],
                vec!["set_out - It sets the output.", "The default"],
                vec!["value is 24."],
            ]
        );
    }

    #[test]
    fn many_labels_are_a_list_and_no_label() {
        let text = "Connect\n\nConnect string:\n\nmysql://host\n\nNote\n\nThe driver is new.\n\nOne\n\nTwo";
        let passage = passage(text);
        assert_eq!(
            Source::of(&passage).units,
            [
                "Connect Connect string:",
                "mysql://host Note The driver is new. One Two"
            ]
        );
    }

    #[test]
    fn numbers_of_a_figure_are_no_label() {
        let passage = passage("Write a mark\n\n= 120\n\nMarks may also be printed as a range.");
        assert_eq!(
            Source::of(&passage).units,
            [
                "Write a mark = 120",
                "Marks may also be printed as a range."
            ]
        );
    }

    #[test]
    fn lines_of_code_are_quoted_each_by_itself_and_its_fences_never() {
        let text = "Begin so:\n\n```sh\nplumb gc --older-than 30d deletes all old runs\nplumb doctor looks for damage in all runs\n```\n\nThat is all.";
        let passage = Passage {
            file: "a.md".to_owned(),
            ..passage(text)
        };
        assert_eq!(
            Source::of(&passage).units,
            [
                "Begin so:",
                "plumb gc --older-than 30d deletes all old runs",
                "plumb doctor looks for damage in all runs",
                "That is all."
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
    fn what_stands_near_a_place_is_long_enough_to_tell_what_it_is_about() {
        let passage = passage(TEXT);
        let all = "max_connections (integer) Sets the most connections. The default is 100. It cannot be changed later.";
        for place in [0..0, 40..50, TEXT.len() - 5..TEXT.len()] {
            assert_eq!(Source::of(&passage).near(&place), all);
        }
        let sentence = |n: usize| format!("Sentence {n} says {}so.", "now and then ".repeat(10));
        let text: Vec<String> = (10..20).map(sentence).collect();
        let passage = self::passage(&text.join(" "));
        let at = passage.text.find("Sentence 15").unwrap_or(0);
        let near = Source::of(&passage).near(&(at..at + 11));
        assert_eq!(near, [sentence(15), sentence(16)].join(" "));
        let last = passage.text.len() - 3..passage.text.len();
        let near = Source::of(&passage).near(&last);
        assert_eq!(near, [sentence(18), sentence(19)].join(" "));
        let long = self::passage(&"é ".repeat(400));
        assert!(Source::of(&long).near(&(0..4)).len() <= NEAR_MOST);
        assert_eq!(Source::of(&self::passage("")).near(&(0..4)), "");
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

    #[test]
    fn a_quote_moves_to_the_sentence_that_is_about_the_question() {
        let passage = passage(
            "Cards of the series 700 have at most 64 channels. There may be 64 processors. It is so with the server _itself_.",
        );
        let settled = |question: &str, answer: &str, named: &str| {
            let note = settle(question, answer, named, &[Source::of(&passage)]);
            note.map(|note| note.quote).unwrap_or_default()
        };
        let question = "How many channels have cards of the series 700?";
        let about = "Cards of the series 700 have at most 64 channels.";
        assert_eq!(
            settled(question, "64", "There may be 64 processors."),
            about
        );
        let emphasised = "It is so with the server _itself_.";
        assert_eq!(
            settled("Where is it so?", "with the server itself", about),
            emphasised
        );
    }
}
