//! Which hyphens at line ends were put there by the line break.
//!
//! The document itself is the dictionary: if it has the joined word elsewhere the hyphen goes, if
//! it has the hyphenated word elsewhere the hyphen stays, and else it goes if the next line starts
//! in lower case.

use crate::{Block, Kind, LineEnd, Page};
use rustc_hash::{FxHashSet, FxHasher};
use std::hash::{Hash, Hasher};

const HYPHENS: [char; 3] = ['-', '\u{ad}', '\u{2010}'];

/// Marks the lines whose last word goes on in the next line.
pub(crate) fn mark(pages: &mut [Page]) {
    let mut wanted: FxHashSet<u64> = FxHashSet::default();
    for (first, second) in pages.iter().flat_map(|page| &page.blocks).flat_map(breaks) {
        wanted.insert(hash(&joined(first, second, "")));
        wanted.insert(hash(&joined(first, second, "-")));
    }
    let known = match wanted.is_empty() {
        true => wanted,
        false => known_words(pages, &wanted),
    };
    for block in pages.iter_mut().flat_map(|page| &mut page.blocks) {
        mark_block(block, &known);
    }
}

fn mark_block(block: &mut Block, known: &FxHashSet<u64>) {
    if matches!(block.kind, Kind::Code | Kind::Table) {
        return;
    }
    for index in 1..block.lines.len() {
        let second = block
            .lines
            .get(index)
            .and_then(|line| line.words.first())
            .map(|word| word.text.clone());
        let Some(line) = block.lines.get_mut(index - 1) else {
            continue;
        };
        if let (Some(first), Some(second)) = (line.words.last(), second) {
            line.end = end(&first.text, &second, known);
        }
    }
}

/// What the hyphen between two halves of a word means.
fn end(first: &str, second: &str, known: &FxHashSet<u64>) -> LineEnd {
    if is_cut_name(first, second) {
        return LineEnd::Joined;
    }
    if !is_break(first, second) {
        return LineEnd::Space;
    }
    let is_name = first.starts_with('-') || first.contains(['/', '_', '=', '.', ':']);
    let next_is_lower = second.starts_with(char::is_lowercase);
    if first.ends_with('\u{ad}')
        || (next_is_lower && known.contains(&hash(&joined(first, second, ""))))
    {
        return LineEnd::Hyphenated;
    }
    if is_name || !next_is_lower || known.contains(&hash(&joined(first, second, "-"))) {
        return LineEnd::Joined;
    }
    // `pre- and postcondition`
    if ["and", "or", "to", "und", "oder", "bis", "et", "ou"].contains(&second) {
        return LineEnd::Space;
    }
    LineEnd::Hyphenated
}

/// The first part of a name like `PKG_CPPFLAGS`, and its second: nothing else ends with an underscore.
fn is_cut_name(first: &str, second: &str) -> bool {
    let stem = first.strip_suffix('_').unwrap_or_default();
    stem.ends_with(char::is_alphanumeric) && second.starts_with(char::is_alphanumeric)
}

/// A word with a hyphen at its end that can go on with `second`.
fn is_break(first: &str, second: &str) -> bool {
    let stem = first
        .trim_start_matches('-')
        .strip_suffix(HYPHENS)
        .unwrap_or_default();
    stem.chars().next_back().is_some_and(char::is_alphabetic)
        && second.starts_with(char::is_alphanumeric)
}

/// The pairs of words around line ends with a hyphen.
fn breaks(block: &Block) -> impl Iterator<Item = (&str, &str)> {
    let lines = if matches!(block.kind, Kind::Code | Kind::Table) {
        &[]
    } else {
        block.lines.as_slice()
    };
    lines.windows(2).filter_map(|pair| match pair {
        [above, below] => {
            let first = above.words.last()?.text.as_str();
            let second = below.words.first()?.text.as_str();
            is_break(first, second).then_some((first, second))
        }
        _ => None,
    })
}

/// Which of the wanted words stand somewhere in the document.
fn known_words(pages: &[Page], wanted: &FxHashSet<u64>) -> FxHashSet<u64> {
    let words = pages
        .iter()
        .flat_map(|page| &page.blocks)
        .flat_map(|block| &block.lines)
        .flat_map(|line| &line.words);
    words
        .map(|word| hash(&core_of(&word.text)))
        .filter(|word| wanted.contains(word))
        .collect()
}

fn joined(first: &str, second: &str, between: &str) -> String {
    core_of(&format!(
        "{}{between}{second}",
        first.trim_end_matches(HYPHENS)
    ))
}

/// The word without punctuation around it, in lower case.
fn core_of(word: &str) -> String {
    word.trim_matches(|letter: char| !letter.is_alphanumeric())
        .to_lowercase()
}

fn hash(word: &str) -> u64 {
    let mut hasher = FxHasher::default();
    word.hash(&mut hasher);
    hasher.finish()
}
