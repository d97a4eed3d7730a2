//! Reading passages: the answers that they give, with the words that say so.

use std::collections::BTreeSet;

use journal::Run;
use knowledge::sentences::BULLETS;
use knowledge::{Passage, marks};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Tools;
use super::judging::{Judged, WORDS};
use super::note::Note;
use super::quantities::{Quantity, with_units_written_out};
use super::quoting::{Source, settle, words};
use super::untrusted::{is_order, without_orders};
use crate::{Definition, Result, call};

/// Passages that are read side by side, of those that were judged.
const SIDE_BY_SIDE: usize = 5;
/// Passages whose own answers are notes beside those from all of them, when they are [`LIKELY`].
const ALONE: usize = 3;
/// The belief from which on a passage's own answer is worth a look.
pub(super) const LIKELY: f32 = 0.5;
/// What the model answers when no passage does.
const NOT_STATED: &str = "not stated";

/// Names a passage for a person.
pub(super) fn place(passage: &Passage) -> String {
    match passage.headings.last() {
        Some(heading) if *heading != passage.title => format!("{} › {heading}", passage.title),
        _ => passage.title.clone(),
    }
}

/// A passage as the model sees it, below its title and headings.
pub(super) fn shown(passage: &Passage) -> String {
    under_headings(passage, &marks::plain(&without_orders(passage)))
}

/// Text of a passage below the passage's title and headings.
pub(super) fn under_headings(passage: &Passage, text: &str) -> String {
    let mut path: Vec<&str> = vec![&passage.title];
    let headings = passage.headings.iter().map(String::as_str);
    path.extend(headings.filter(|heading| *heading != passage.title));
    path.retain(|heading| !is_order(heading));
    format!("({}):\n{text}", path.join(" > "))
}

/// How an answer is asked for. A small model that overlooks the answer in one form often finds it in the
/// other, and two that agree bear each other out.
#[derive(Clone, Copy)]
enum Form {
    /// As a sentence, with a quote.
    Sentence,
    /// As briefly as can be. This costs little: all but its last line is in the prefix cache.
    Brief,
}

impl Form {
    fn ask(self, question: &str) -> String {
        match self {
            Form::Sentence => question.to_owned(),
            Form::Brief if Quantity::asked(question).is_some() => {
                format!("{question}\nAnswer with a number.")
            }
            Form::Brief => format!("{question}\nAnswer in as few words as possible."),
        }
    }

    fn schema(self, sources: &[Source<'_>]) -> Value {
        let object = |properties: Value| {
            let required: Vec<&String> = properties
                .as_object()
                .into_iter()
                .flat_map(|p| p.keys())
                .collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        };
        let units: Vec<&Vec<String>> = sources.iter().map(|source| &source.units).collect();
        let answer = match self {
            Form::Sentence => json!({
                "answer": {"type": "string", "minLength": 1, "maxLength": 400},
                // One is enough to say where: what must stand around it is settled afterwards.
                "quote": {"type": "string", "x-quote-from": units, "x-quote-max": 1},
            }),
            Form::Brief => json!({"answer": {"type": "string", "minLength": 1, "maxLength": 120}}),
        };
        json!({"anyOf": [object(json!({"answer": {"enum": [NOT_STATED]}})), object(answer)]})
    }
}

/// The different answers to `question` from the best of `judged`, which come first, with the words that
/// say so: those of the best passages together, and what the best answer by themselves.
///
/// They are read side by side, because a small model compares better than it judges, and the best one
/// stands last, next to the question, where such a model reads most carefully (Liu et al. 2023, "Lost
/// in the middle").
pub(super) async fn take_notes(
    run: &Run,
    tools: &Tools,
    question: &str,
    judged: &[Judged],
) -> Result<Vec<Note>> {
    let definition = tools.agents.load("research/note")?;
    let best = judged.iter().take(SIDE_BY_SIDE).rev();
    let best: Vec<Passage> = best.map(|judged| judged.passage.clone()).collect();
    let mut notes: Vec<Note> = Vec::new();
    for form in [Form::Sentence, Form::Brief] {
        let Some(note) = take_note(run, tools, &definition, question, form, &best).await? else {
            continue;
        };
        match said_by(&mut notes, &note) {
            Some(other) => other.readings += 1,
            None => notes.push(note),
        }
    }
    for note in &mut notes {
        let gives = |judged: &&Judged| judged.belief >= LIKELY;
        let mut given = judged
            .iter()
            .filter(gives)
            .filter_map(|judged| judged.answer.as_deref());
        note.borne_out = given.any(|answer| say_the_same(question, answer, &note.answer));
    }
    for alone in judged.iter().take(ALONE) {
        let new = by_itself(question, alone).filter(|note| said_by(&mut notes, note).is_none());
        notes.extend(new);
    }
    Ok(notes)
}

/// What a passage answers by itself, if that is likely. An answer that breaks off because it is too long is
/// the sentence that it began.
fn by_itself(question: &str, alone: &Judged) -> Option<Note> {
    let answer = alone.answer.as_ref().filter(|_| alone.belief >= LIKELY)?;
    let breaks_off = answer.split_whitespace().count() >= WORDS;
    let answer = without_ends(without_bullet(answer));
    let note = settle(question, answer, answer, &[Source::of(&alone.passage)])?;
    let answer = match breaks_off && note.grounded {
        true => without_bullet(&note.quote).to_owned(),
        false => note.answer,
    };
    Some(Note {
        answer,
        readings: 0,
        ..note
    })
}

/// Words that were cut out of a text without the punctuation that goes on around them: `15)`, `“none”,`.
fn without_ends(words: &str) -> &str {
    let quotes = ['"', '\'', '“', '”', '‘', '’', '«', '»'];
    let words = words.trim_end_matches(['.', ',', ';', ':']);
    let words = match (words.contains('('), words.contains(')')) {
        (false, true) => words.trim_end_matches([')', '.', ',']),
        (true, false) => words.trim_start_matches('('),
        _ => words,
    };
    words.trim_matches(quotes)
}

/// A text without the sign of the list item that it is.
pub(super) fn without_bullet(text: &str) -> &str {
    let rest = BULLETS.iter().find_map(|bullet| text.strip_prefix(bullet));
    rest.map_or(text, str::trim_start)
}

/// The note that says what another says.
fn said_by<'a>(notes: &'a mut [Note], other: &Note) -> Option<&'a mut Note> {
    let same = |note: &&mut Note| note.grounded && other.grounded && agree(note, other);
    notes.iter_mut().find(same)
}

/// Whether two notes answer their question alike.
pub(super) fn agree(one: &Note, other: &Note) -> bool {
    say_the_same(&one.question, &one.answer, &other.answer)
}

/// Whether two answers to one question say the same: one has all that the other adds to the question,
/// words and numbers.
fn say_the_same(question: &str, one: &str, other: &str) -> bool {
    let asked = words(question);
    let added = |answer: &str| -> BTreeSet<String> {
        let answer = with_units_written_out(answer);
        let said = words(&answer).into_iter().chain(units(&answer));
        said.filter(|word| !asked.contains(word)).collect()
    };
    let (one, other) = (added(one), added(other));
    let (less, more) = match one.len() < other.len() {
        true => (&one, &other),
        false => (&other, &one),
    };
    // An answer that adds nothing ("yes") agrees with its like alone.
    less.is_subset(more) && less.is_empty() == more.is_empty()
}

/// The words of one or two letters that follow a number, in lower case: what is measured in them differs
/// from a bare number, `32 TB` from `2^32`.
fn units(text: &str) -> impl Iterator<Item = String> {
    const NO_UNITS: &[&str] = &[
        "a", "as", "at", "be", "by", "if", "in", "is", "it", "of", "on", "or", "so", "to", "we",
    ];
    let tokens = text.split(|c: char| !c.is_alphanumeric());
    let tokens: Vec<&str> = tokens.filter(|token| !token.is_empty()).collect();
    let is_unit = |word: &str| {
        word.len() <= 2
            && word.chars().all(char::is_alphabetic)
            && !NO_UNITS.contains(&word.to_lowercase().as_str())
    };
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let after_number =
        |pair: &&[&str]| matches!(pair, [number, unit] if is_number(number) && is_unit(unit));
    let units: Vec<String> = tokens
        .windows(2)
        .filter(after_number)
        .filter_map(|pair| pair.last())
        .map(|unit| unit.to_lowercase())
        .collect();
    units.into_iter()
}

/// Answers once; when the answer has a number or name that its passage does not have, once more without
/// that passage: it led the model astray, perhaps on purpose.
async fn take_note(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    form: Form,
    passages: &[Passage],
) -> Result<Option<Note>> {
    let note = read(run, tools, definition, question, form, passages).await?;
    let Some(strange) = note.as_ref().filter(|note| !note.grounded) else {
        return Ok(note);
    };
    let misleading = &strange.passage.id;
    let others = passages.iter().filter(|passage| passage.id != *misleading);
    let others: Vec<Passage> = others.cloned().collect();
    let again = read(run, tools, definition, question, form, &others).await?;
    Ok(again.or(note))
}

/// One call of the model.
async fn read(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    form: Form,
    passages: &[Passage],
) -> Result<Option<Note>> {
    let sources: Vec<Source<'_>> = passages.iter().map(Source::of).collect();
    if sources.iter().all(|source| source.units.is_empty()) {
        return Ok(None);
    }
    let listed: Vec<String> = passages
        .iter()
        .enumerate()
        .map(|(index, passage)| format!("[{}] {}", index + 1, shown(passage)))
        .collect();
    // The question stands last, next to the answer.
    let shown = format!(
        "{}\n\nQuestion: {}",
        listed.join("\n\n"),
        form.ask(question)
    );
    let request = call::request(definition, &[shown], form.schema(&sources));
    let title = format!("{} passages", passages.len());
    let response = call::ask(run, "note", &*tools.model, &request, &title).await?;
    let Ok(noted) = response.json::<Noted>() else {
        return Ok(None);
    };
    if noted.answer.trim().eq_ignore_ascii_case(NOT_STATED) {
        return Ok(None);
    }
    Ok(settle(question, &noted.answer, &noted.quote, &sources))
}

/// What the model writes. The answer comes first: asked to quote first, small models take
/// the sentence that resembles the question, not the one that answers it.
#[derive(Deserialize)]
struct Noted {
    answer: String,
    #[serde(default)]
    quote: String,
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    fn note(answer: &str) -> Note {
        Note {
            question: "How large may a table be?".to_owned(),
            quote: String::new(),
            answer: answer.to_owned(),
            passage: passage(""),
            grounded: true,
            readings: 1,
            borne_out: false,
            confidence: 0.0,
        }
    }

    #[test]
    fn words_lose_the_punctuation_of_the_text_around_them() {
        for (words, bare) in [
            ("15)", "15"),
            ("-K‘", "-K"),
            ("“none”,", "none"),
            ("(512 MB", "512 MB"),
            ("600s (seconds)", "600s (seconds)"),
            ("read().", "read()"),
        ] {
            assert_eq!(without_ends(words), bare);
        }
    }

    #[test]
    fn an_answer_has_no_sign_of_a_list() {
        for (item, bare) in [
            ("- It is kept.", "It is kept."),
            ("•  --all", "--all"),
            ("-1 means no limit", "-1 means no limit"),
        ] {
            assert_eq!(without_bullet(item), bare);
        }
    }

    #[test]
    fn answers_agree_when_one_has_all_that_the_other_adds() {
        let agree = |one, other| agree(&note(one), &note(other));
        assert!(agree("A table may be 32 TB large.", "32 TB"));
        assert!(agree("100", "By default it is 100."));
        assert!(!agree("32 TB", "2^32 out-of-line values"));
        assert!(!agree("32 TB", "32 MB"));
        assert!(agree("100", "100 by default"));
        assert!(agree("1 second (1s)", "one second"));
        assert!(agree("The delay is 2000 ms.", "2000 milliseconds"));
        assert!(agree("1 hour", "1 h"));
        assert!(agree("640x480", "It is 640 x 480 pixels."));
        assert!(!agree("yes", "It is 100."));
    }
}
