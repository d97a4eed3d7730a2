//! Answers that are too long to be shown whole: kept, shown by their beginning and an outline, and read on by the tools
//! `output.read` and `output.search`.
//!
//! Nothing of this is stored anew. The journal has every answer as its step gave it; a run that is resumed or replayed
//! gets them from there, in the same order, and so keeps the same texts under the same handles, which are made from
//! what a text says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{Answer, Context, Effect, Function, Result, Source, Tool};

/// Bytes of all texts that are kept in memory; the oldest go first.
const KEPT_BYTES: usize = 64 << 20;
/// Bytes that are read on at once.
const READ_BYTES: usize = 8_000;
/// Lines of an outline, and characters of one.
const OUTLINE: (usize, usize) = (24, 70);
/// Places that a search shows, and bytes of one.
const PLACES: (usize, usize) = (8, 300);

/// Long answers by their handles. Cheap to clone; clones share what they keep.
#[derive(Clone, Default)]
pub(crate) struct Outputs(Arc<Mutex<Kept>>);

/// Texts with their handles, the newest last.
type Kept = VecDeque<(String, Arc<str>)>;

/// What to read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// The handle of a long answer, such as out-1f2e3d4c.
    handle: String,
    /// The byte to begin at; 0 where not given.
    from: Option<usize>,
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The handle of a long answer, such as out-1f2e3d4c.
    handle: String,
    /// Words to find in it.
    words: String,
}

impl Outputs {
    /// An answer as a model reads it: as it is, or where it is longer than so many bytes, what is to be known of it.
    pub(crate) fn shown(&self, answer: &Answer, most: usize) -> String {
        let text = answer.text();
        if text.len() <= most {
            return text;
        }
        let handle = self.keep(&text);
        let head = before(&text, most / 3);
        let outline = match answer {
            Answer::Value(value @ (Value::Object(_) | Value::Array(_))) => shape(value),
            _ => outline(&text),
        };
        format!(
            "[A long answer: {} bytes, kept as {handle}. Its beginning and an outline follow. output.read gives more of it \
             from a byte on, such as {{\"handle\": \"{handle}\", \"from\": {}}}; output.search finds words in it.]\n\
             {head}\n[... {} bytes more]\n{outline}",
            text.len(),
            head.len(),
            text.len() - head.len(),
        )
    }

    /// Whether there is anything to read on.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    /// The tools that read on.
    pub(crate) fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let outputs = self.clone();
        let read = Function::new(
            "output.read",
            "Reads on in a long answer.",
            move |reading: Reading, _: Context| {
                let read = outputs.read(&reading.handle, reading.from.unwrap_or(0));
                async move { read }
            },
        );
        let outputs = self.clone();
        let search = Function::new(
            "output.search",
            "Finds words in a long answer, with the bytes where they are.",
            move |search: Search, _: Context| {
                let found = outputs.search(&search.handle, &search.words);
                async move { found }
            },
        );
        vec![
            // Where it comes from was counted when it came.
            Arc::new(read.effect(Effect::Read).source(Source::Computed)),
            Arc::new(search.effect(Effect::Read).source(Source::Computed)),
        ]
    }

    fn keep(&self, text: &str) -> String {
        let hash = blake3::hash(text.as_bytes()).to_hex();
        let handle = format!("out-{}", hash.get(..8).unwrap_or_default());
        let mut kept = self.kept();
        kept.retain(|(other, _)| *other != handle);
        kept.push_back((handle.clone(), text.into()));
        let mut bytes: usize = kept.iter().map(|(_, text)| text.len()).sum();
        while bytes > KEPT_BYTES && kept.len() > 1 {
            bytes -= kept.pop_front().map_or(0, |(_, text)| text.len());
        }
        handle
    }

    fn find(&self, handle: &str) -> Result<Arc<str>> {
        let kept = self.kept();
        let found = kept.iter().find(|(other, _)| other == handle.trim());
        match found {
            Some((_, text)) => Ok(Arc::clone(text)),
            None => {
                let there: Vec<&str> = kept.iter().map(|(handle, _)| handle.as_str()).collect();
                let there = there.join(", ");
                Err(format!("there is no answer {handle}; there are {there}").into())
            }
        }
    }

    fn read(&self, handle: &str, from: usize) -> Result<String> {
        let text = self.find(handle)?;
        if from >= text.len() {
            return Err(format!("it ends at byte {}", text.len()).into());
        }
        let from = boundary(&text, from);
        let part = before(text.get(from..).unwrap_or_default(), READ_BYTES);
        let end = from + part.len();
        let on = match end < text.len() {
            true => format!("read on from {end}"),
            false => "that is its end".to_owned(),
        };
        Ok(format!(
            "{part}\n[bytes {from} to {end} of {}; {on}]",
            text.len()
        ))
    }

    fn search(&self, handle: &str, words: &str) -> Result<String> {
        let text = self.find(handle)?;
        let found = places(&text, words);
        if found.is_empty() {
            return Err("none of these words is in it".into());
        }
        let shown = found.into_iter().map(|at| {
            let from = boundary(&text, at.saturating_sub(PLACES.1 / 5));
            let part = before(text.get(from..).unwrap_or_default(), PLACES.1);
            format!("[byte {from}] {part}")
        });
        let shown: Vec<String> = shown.collect();
        Ok(shown.join("\n"))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where most of the words stand together, in the text's order.
fn places(text: &str, words: &str) -> Vec<usize> {
    // Of ASCII only, so that places in one are places in the other.
    let (text, words) = (text.to_ascii_lowercase(), words.to_ascii_lowercase());
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.sort_unstable();
    words.dedup();
    let mut hits: Vec<(usize, usize)> = Vec::new();
    for (number, word) in words.iter().enumerate() {
        hits.extend(text.match_indices(word).map(|(at, _)| (at, number)));
    }
    hits.sort_unstable();
    let together = |first: usize| {
        let from = hits.get(first).map_or(0, |(at, _)| *at);
        let near = hits
            .iter()
            .skip(first)
            .take_while(|(at, _)| at - from < PLACES.1 / 2);
        let near: std::collections::BTreeSet<usize> = near.map(|(_, number)| *number).collect();
        near.len()
    };
    let mut ranked: Vec<(usize, usize)> = (0..hits.len())
        .filter_map(|index| Some((together(index), hits.get(index)?.0)))
        .collect();
    ranked.sort_by_key(|(count, at)| (std::cmp::Reverse(*count), *at));
    let mut chosen: Vec<usize> = Vec::new();
    for (_, at) in ranked {
        if chosen.len() == PLACES.0 {
            break;
        }
        if chosen.iter().all(|other| other.abs_diff(at) >= PLACES.1) {
            chosen.push(at);
        }
    }
    chosen.sort_unstable();
    chosen
}

/// What a value is made of: its fields, and how many things are in them.
fn shape(value: &Value) -> String {
    let of = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("a text of {} bytes", text.len()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) => {
            let names: Vec<&str> = fields.keys().take(OUTLINE.0).map(String::as_str).collect();
            format!("an object with {}", names.join(", "))
        }
    };
    let lines: Vec<String> = match value {
        Value::Object(fields) => {
            let fields = fields.iter().take(OUTLINE.0);
            fields
                .map(|(name, value)| format!("{name}: {}", of(value)))
                .collect()
        }
        Value::Array(items) => {
            let first = items
                .first()
                .map(|first| format!("the first is {}", of(first)));
            [Some(of(value)), first].into_iter().flatten().collect()
        }
        other => vec![of(other)],
    };
    format!("[What it is made of]\n{}", lines.join("\n"))
}

/// Where a text's headings are, or lines at even distances.
fn outline(text: &str) -> String {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if !line.trim().is_empty() {
            lines.push((at, line.trim()));
        }
        at += line.len();
    }
    let headings: Vec<(usize, &str)> = lines
        .iter()
        .copied()
        .filter(|(_, line)| line.starts_with('#'))
        .collect();
    let lines = if headings.len() > 1 { headings } else { lines };
    let step = lines.len().div_ceil(OUTLINE.0).max(1);
    let shown = lines.iter().step_by(step).map(|(at, line)| {
        let short: String = line.chars().take(OUTLINE.1).collect();
        format!("{at}: {short}")
    });
    let shown: Vec<String> = shown.collect();
    format!("[Where things are, by byte]\n{}", shown.join("\n"))
}

/// The begin of a text, of so many bytes at most.
fn before(text: &str, most: usize) -> &str {
    text.get(..boundary(text, most)).unwrap_or_default()
}

/// The last place between characters up to `at`.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn handle(shown: &str) -> String {
        let at = shown.find("out-").unwrap();
        shown[at..at + 12].to_owned()
    }

    #[test]
    fn a_long_text_is_shown_by_its_beginning_and_an_outline() {
        let mut text = String::from("# The chairs\n");
        for number in 0..40 {
            text.push_str(&format!("Chair {number} is made of wood.\n"));
            if number % 20 == 10 {
                text.push_str(&format!("## After {number}\n\n"));
            }
        }
        let outputs = Outputs::default();
        let answer = Answer::Value(text.into());
        insta::assert_snapshot!(outputs.shown(&answer, 150));
        assert_eq!(outputs.shown(&answer, 150), outputs.shown(&answer, 150));
        assert_eq!(outputs.kept().len(), 1);
        assert_eq!(
            outputs.shown(&Answer::Error("short".to_owned()), 5),
            "short"
        );
    }

    #[test]
    fn a_long_value_is_shown_by_what_it_is_made_of() {
        let outputs = Outputs::default();
        let rows: Vec<Value> = (0..100).map(|number| json!([number, "wood"])).collect();
        let answer = Answer::Value(json!({"columns": ["id", "of"], "rows": rows, "note": "all"}));
        insta::assert_snapshot!(outputs.shown(&answer, 90));
        let list: Vec<Value> = (0..100)
            .map(|number| json!({"id": number, "of": "wood"}))
            .collect();
        let shown = outputs.shown(&Answer::Value(list.into()), 90);
        assert!(
            shown.ends_with("a list of 100\nthe first is an object with id, of"),
            "{shown}"
        );
    }

    #[test]
    fn words_are_found_where_most_of_them_stand_together() {
        let outputs = Outputs::default();
        let text = format!(
            "Order A-1 is late.\n{}\nThe ORDER A-17 has four chairs, äöü.\n{}\nchairs",
            "x".repeat(2_000),
            "y".repeat(2_000)
        );
        let handle = handle(&outputs.shown(&Answer::Value(text.into()), 100));
        let found = outputs.search(&handle, "order A-17 chairs").unwrap();
        let places: Vec<&str> = found
            .lines()
            .filter(|line| line.starts_with("[byte "))
            .collect();
        assert_eq!(places.len(), 3, "{found}");
        assert!(
            found.contains("The ORDER A-17 has four chairs, äöü."),
            "{found}"
        );
        assert!(outputs.search(&handle, "tables").is_err());
        assert!(outputs.search(&handle, "").is_err());
        let none = outputs.read("out-nothing", 0).unwrap_err();
        let said = format!("there is no answer out-nothing; there are {handle}");
        assert_eq!(none, crate::Error::Failed(said));
        assert!(outputs.read(&handle, 5_000_000).is_err());
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_is_too_much() {
        let outputs = Outputs::default();
        let long = |letter: &str| Answer::Value(letter.repeat(KEPT_BYTES / 2).into());
        let first = handle(&outputs.shown(&long("a"), 100));
        let second = handle(&outputs.shown(&long("b"), 100));
        outputs.shown(&Answer::Value("c".repeat(200).into()), 100);
        assert!(outputs.find(&first).is_err() && outputs.find(&second).is_ok());
    }

    proptest! {
        #[test]
        fn all_of_a_text_can_be_read(text in "[a-zäö€\n]{100,20000}") {
            let outputs = Outputs::default();
            let handle = handle(&outputs.shown(&Answer::Value(text.clone().into()), 99));
            let (mut read, mut from) = (String::new(), 0);
            while from < text.len() {
                let part = outputs.read(&handle, from).unwrap();
                let (part, note) = part.rsplit_once("\n[bytes ").unwrap();
                let begin = format!("{from} to ");
                prop_assert!(note.starts_with(&begin));
                read.push_str(part);
                from += part.len();
            }
            prop_assert_eq!(read, text);
        }
    }
}
