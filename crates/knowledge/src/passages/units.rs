//! The units of a document that are not to be cut, and what a cut or a joint between them costs.

use std::ops::Range;

use super::{SplitOptions, heading_level};
use crate::document::{Block, BlockKind, Document};
use crate::sentences::sentences;

/// A line of at most so many words that ends no sentence names what follows: an option, a term.
const LABEL_WORDS: usize = 12;

/// Characters per word where words are longer than words are: paths, hashes, base64.
const LONG_WORD: usize = 16;

/// A piece of a document that stays whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unit {
    /// Where it stands in the document's text.
    pub(super) range: Range<usize>,
    /// Its size.
    pub(super) words: usize,
    /// Its level, if it is a heading.
    pub(super) heading: Option<u8>,
    /// What it costs to begin a passage with it; infinite behind a heading.
    pub(super) cut: f32,
    /// What it costs to have it in a passage with what comes before.
    pub(super) join: f32,
    /// The first row of the table from which it was cut off.
    pub(super) columns: Option<Range<usize>>,
}

/// Takes a document apart.
pub(super) fn units(document: &Document, options: &SplitOptions) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    // Headings with nothing below them are treated like text, for they can only end a passage.
    let last_text = document
        .blocks
        .iter()
        .rposition(|block| heading_level(block).is_none());
    let mut before: Option<&Block> = None;
    for (at, block) in document.blocks.iter().enumerate() {
        let heading = heading_level(block).filter(|_| last_text.is_some_and(|last| at < last));
        let first = units.len();
        for (part, range) in parts(document, block, options).into_iter().enumerate() {
            let text = document.text.get(range.clone()).unwrap_or_default();
            let is_rest_of_table = part > 0 && block.kind == BlockKind::Table;
            units.push(Unit {
                words: words(text).max(1),
                heading: heading.filter(|_| part == 0),
                cut: if part > 0 {
                    cut_inside(document, block, range.start)
                } else {
                    0.0
                },
                join: 0.0,
                columns: is_rest_of_table.then(|| first_line(document, block)),
                range,
            });
        }
        let behind_heading = first
            .checked_sub(1)
            .and_then(|at| units.get(at))
            .is_some_and(|unit| unit.heading.is_some());
        if let (Some(unit), Some(before)) = (units.get_mut(first), before) {
            (unit.cut, unit.join) = between(document, before, block, heading);
            if behind_heading {
                (unit.cut, unit.join) = (f32::INFINITY, 0.0);
            }
        }
        before = Some(block);
    }
    units
}

/// What a cut and a joint between two blocks cost.
fn between(document: &Document, before: &Block, block: &Block, heading: Option<u8>) -> (f32, f32) {
    let gap = document
        .text
        .get(before.range.end..block.range.start)
        .unwrap_or_default();
    if let Some(level) = heading {
        let joined = match level {
            0 | 1 => 60.0,
            2 => 45.0,
            3 => 30.0,
            _ => 20.0,
        };
        return (0.0, joined);
    }
    let text = document.text.get(before.range.clone()).unwrap_or_default();
    let is_announced = text.trim_end().ends_with(':');
    let cut = match (before.kind, block.kind) {
        _ if !gap.contains('\n') => 25.0,
        (_, BlockKind::ListItem | BlockKind::Code | BlockKind::Table) if is_announced => 40.0,
        _ if is_announced => 25.0,
        (BlockKind::ListItem, BlockKind::ListItem) => 8.0,
        (BlockKind::Paragraph | BlockKind::Code, _) if is_label(text) => 30.0,
        (BlockKind::ListItem, _) => 10.0,
        (_, BlockKind::Code | BlockKind::Table) => 12.0,
        _ => 4.0,
    };
    (cut, 0.0)
}

/// Whether a text names what follows it: a short line that is no sentence, as manuals set the name of an
/// option above its description.
fn is_label(text: &str) -> bool {
    let text = text.trim();
    !text.contains('\n')
        && words(text) <= LABEL_WORDS
        && !text.ends_with(['.', '!', '?', ';', ',', '…'])
}

/// What a cut inside a block costs, before the part that begins at `at`.
fn cut_inside(document: &Document, block: &Block, at: usize) -> f32 {
    match block.kind {
        BlockKind::Table => 18.0,
        BlockKind::Code => {
            let before = document.text.get(block.range.start..at).unwrap_or_default();
            let blank = before.trim_end_matches([' ', '\t']).ends_with("\n\n");
            if blank { 8.0 } else { 20.0 }
        }
        BlockKind::Heading(_) | BlockKind::Paragraph | BlockKind::ListItem => 16.0,
    }
}

/// The parts of a block: itself, or its sentences, rows or lines where it is long.
fn parts(document: &Document, block: &Block, options: &SplitOptions) -> Vec<Range<usize>> {
    let text = document.text.get(block.range.clone()).unwrap_or_default();
    let by_lines = matches!(block.kind, BlockKind::Table | BlockKind::Code);
    let fits = if by_lines {
        2 * options.target_words
    } else {
        options.most_words
    };
    let shift =
        |range: Range<usize>| block.range.start + range.start..block.range.start + range.end;
    if words(text) <= fits {
        return trimmed(text, 0..text.len(), by_lines)
            .map(shift)
            .into_iter()
            .collect();
    }
    let parts = if by_lines {
        lines(text)
    } else {
        sentences(text)
    };
    // Rows and lines are only cut where they are far too long to be shown.
    let most = if by_lines {
        2 * options.most_words
    } else {
        options.most_words
    };
    let parts = parts.into_iter().flat_map(|part| {
        let words = words(text.get(part.clone()).unwrap_or_default());
        if words > most {
            chunks(text, part, options.target_words)
        } else {
            vec![part]
        }
    });
    parts.map(shift).collect()
}

/// The range without white space around it; code keeps the indent of its first line.
fn trimmed(text: &str, range: Range<usize>, keep_indent: bool) -> Option<Range<usize>> {
    let body = text.get(range.clone())?;
    let end = range.start + body.trim_end().len();
    let indent = if keep_indent {
        body.len() - body.trim_start_matches('\n').len()
    } else {
        body.len() - body.trim_start().len()
    };
    let start = range.start + indent;
    (start < end).then_some(start..end)
}

/// The lines that are not empty.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        lines.extend(trimmed(text, start..start + line.len(), true));
        start += line.len();
    }
    lines
}

/// Cuts a text that has no better places between its words, or in them where they never end.
fn chunks(text: &str, range: Range<usize>, words_each: usize) -> Vec<Range<usize>> {
    let body = text.get(range.clone()).unwrap_or_default();
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < body.len() {
        let rest = body.get(start..).unwrap_or_default();
        let length = words_long(rest, words_each.max(1));
        chunks.extend(trimmed(
            text,
            range.start + start..range.start + start + length,
            false,
        ));
        start += length;
    }
    chunks
}

/// How many bytes the first so many words of a text take; at least one character.
fn words_long(text: &str, most: usize) -> usize {
    let mut weight = 0;
    let mut end = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let words = words(word);
        if end > 0 && weight + words > most {
            return end;
        }
        if words > most {
            // A word without end; every character weighs at most half a word.
            let bytes = word
                .char_indices()
                .nth(most * 2)
                .map_or(word.len(), |(at, _)| at);
            return bytes.max(1);
        }
        weight += words;
        end += word.len();
    }
    end.max(1)
}

fn first_line(document: &Document, block: &Block) -> Range<usize> {
    let text = document.text.get(block.range.clone()).unwrap_or_default();
    let length = text.lines().next().map_or(0, str::len);
    block.range.start..block.range.start + length
}

/// The words of a text. Very long ones count several times, and characters of scripts that set no
/// spaces half.
pub(super) fn words(text: &str) -> usize {
    let (mut words, mut run, mut wide) = (0, 0, 0);
    for character in text.chars() {
        if character.is_whitespace() {
            words += usize::div_ceil(run, LONG_WORD);
            run = 0;
        } else if is_wide(character) {
            wide += 1;
        } else {
            run += 1;
        }
    }
    words + usize::div_ceil(run, LONG_WORD) + usize::div_ceil(wide, 2)
}

/// Characters of Chinese, Japanese, Thai and other scripts without spaces between words.
fn is_wide(character: char) -> bool {
    matches!(
        character,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
    )
}
