//! Documents cut into passages: the pieces that are searched, shown to a model and cited.
//!
//! Why with care: a passage that begins in the middle of a table or ends with a heading is found badly
//! and understood worse. So a document is first taken apart into units that are not to be cut
//! ([`units`]: paragraphs, items, tables, or their sentences and rows where they are long). Then those
//! places to cut are chosen that cost least in all: passages of the wanted size, cut between sections
//! rather than in them, never behind a heading, not between a list and the sentence that announces it.
//! This is the optimal line breaking of Knuth and Plass (1981), with paragraphs for words.
//!
//! Start at [`split`]. What it does not do: overlap passages (a reader asks for the neighbours instead).

mod units;

use std::ops::Range;

use crate::document::{Block, BlockKind, Document, Place};
use crate::marks;
use units::{Unit, units};

/// How large passages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitOptions {
    /// The words that a passage should have: four fifths of it cost nothing either.
    pub target_words: usize,
    /// More words than this cost; more than twice as many never stand in one passage, unless a single
    /// table row or line of code is that long.
    pub most_words: usize,
}

impl Default for SplitOptions {
    fn default() -> SplitOptions {
        SplitOptions {
            target_words: 150,
            most_words: 180,
        }
    }
}

/// A passage before it has a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Where it stands in the document's text, in bytes.
    pub range: Range<usize>,
    /// The headings above it, outermost first. Where a table is cut, its first row comes last, for the
    /// rows below say little without the names of their columns.
    pub headings: Vec<String>,
    /// One place for each page that it touches.
    pub places: Vec<Place>,
}

/// What it costs that a passage begins in a section and goes on in the next.
const MIXED: f32 = 15.0;
/// Headings are kept up to this length, in bytes.
const LONGEST_HEADING: usize = 160;

/// Cuts a document. Every character of its blocks that is not white space is in exactly one passage.
pub fn split(document: &Document, options: &SplitOptions) -> Vec<Draft> {
    let units = units(document, options);
    let mut drafts = Vec::new();
    let mut path: Vec<(u8, String)> = Vec::new();
    for range in cheapest(&units, options) {
        if let Some(units) = units.get(range) {
            drafts.extend(draft(document, units, &mut path));
        }
    }
    drafts
}

/// What it costs that a passage has so many words.
fn size_cost(words: usize, options: &SplitOptions) -> f32 {
    let least = options.target_words * 4 / 5;
    if words < least {
        let lack = (least - words) as f32 / least as f32;
        return 100.0 * lack * lack;
    }
    match words.saturating_sub(options.most_words) {
        0 => 0.0,
        more => 10.0 + 150.0 * more as f32 / options.most_words.max(1) as f32,
    }
}

/// The ranges of units that make passages at the least cost.
fn cheapest(units: &[Unit], options: &SplitOptions) -> Vec<Range<usize>> {
    // For each number of units from the start: the least cost of cutting them, and the last passage's start.
    let mut best: Vec<(f32, usize)> = vec![(0.0, 0)];
    for end in 1..=units.len() {
        let (mut words, mut joined, mut has_heading) = (0, 0.0, false);
        let mut least: Option<(f32, usize)> = None;
        for start in (0..end).rev() {
            let (Some(unit), Some((before, _))) = (units.get(start), best.get(start)) else {
                break;
            };
            words += unit.words;
            if least.is_some() && words > 2 * options.most_words {
                break;
            }
            if start == 0 || unit.cut.is_finite() {
                let cut = if start == 0 { 0.0 } else { unit.cut };
                // The end of one section with the start of another goes by the name of the first.
                let mixed = if has_heading && unit.heading.is_none() {
                    MIXED
                } else {
                    0.0
                };
                let cost = before + cut + joined + mixed + size_cost(words, options);
                if least.is_none_or(|(known, _)| cost < known) {
                    least = Some((cost, start));
                }
            }
            joined += unit.join;
            has_heading |= unit.heading.is_some();
        }
        best.push(least.unwrap_or((f32::MAX, 0)));
    }
    let mut ranges = Vec::new();
    let mut end = units.len();
    while end > 0 {
        let start = best.get(end).map_or(0, |(_, start)| *start);
        ranges.push(start..end);
        end = start;
    }
    ranges.reverse();
    ranges
}

/// A passage of these units; `path` are the headings above it, with their levels, and then those above
/// what follows.
fn draft(document: &Document, units: &[Unit], path: &mut Vec<(u8, String)>) -> Option<Draft> {
    let (first, last) = (units.first()?, units.last()?);
    let range = first.range.start..last.range.end;
    let mut above: Option<Vec<(u8, String)>> = None;
    let begins_section = first.heading.is_some();
    for unit in units {
        if let Some(level) = unit.heading {
            path.retain(|(known, _)| *known < level);
            path.push((level, heading_text(document, &unit.range)));
            continue;
        }
        match &mut above {
            None => above = Some(path.clone()),
            // Several whole sections are named by what they lie in; their own headings are in the text.
            Some(above) if begins_section => {
                let same = above
                    .iter()
                    .zip(path.iter())
                    .take_while(|(one, other)| one == other)
                    .count();
                above.truncate(same);
            }
            Some(_) => {}
        }
    }
    let above = above.unwrap_or_else(|| path.clone());
    let mut headings: Vec<String> = above.into_iter().map(|(_, text)| text).collect();
    headings.extend(
        first
            .columns
            .clone()
            .and_then(|columns| document.text.get(columns))
            .map(shortened),
    );
    let places = places(document, &range);
    Some(Draft {
        range,
        headings,
        places,
    })
}

/// The text of a heading without the marks that make it one.
fn heading_text(document: &Document, range: &Range<usize>) -> String {
    let text = document.text.get(range.clone()).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| line.chars().any(char::is_alphanumeric));
    let text = lines.collect::<Vec<_>>().join(" ");
    if let Some(cells) = text
        .strip_prefix('|')
        .and_then(|text| text.strip_suffix('|'))
    {
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        return shortened(&cells.join(", "));
    }
    let marked = text.trim_start_matches('#');
    if text.len() != marked.len() && marked.starts_with(' ') {
        return shortened(without_anchors(marked).trim_end_matches('#'));
    }
    shortened(&text)
}

/// A heading of Markdown without the targets of links that authors put there: `<a id="limits"></a>`.
fn without_anchors(heading: &str) -> String {
    let mut bare = String::with_capacity(heading.len());
    let mut rest = heading;
    while let Some((before, (_, after))) = rest
        .split_once("<a ")
        .and_then(|(before, tag)| Some((before, tag.split_once('>')?)))
    {
        bare.push_str(before);
        rest = after;
    }
    bare.push_str(rest);
    bare.replace("</a>", "").trim().to_owned()
}

fn shortened(text: &str) -> String {
    let plain = marks::plain(text);
    let text = plain.trim();
    match text.len() > LONGEST_HEADING {
        true => format!(
            "{}…",
            text.get(..text.floor_char_boundary(LONGEST_HEADING))
                .unwrap_or_default()
                .trim_end()
        ),
        false => text.to_owned(),
    }
}

/// One box for each page that the range touches.
fn places(document: &Document, range: &Range<usize>) -> Vec<Place> {
    let first = document
        .blocks
        .partition_point(|block| block.range.end <= range.start);
    let touched = document
        .blocks
        .iter()
        .skip(first)
        .take_while(|block| block.range.start < range.end);
    let mut places: Vec<Place> = Vec::new();
    for place in touched.filter_map(|block| block.place) {
        match places.last_mut().filter(|last| last.page == place.page) {
            None => places.push(place),
            Some(last) => {
                let ([left, top, right, bottom], [l, t, r, b]) = (last.bounds, place.bounds);
                last.bounds = [left.min(l), top.min(t), right.max(r), bottom.max(b)];
            }
        }
    }
    places
}

/// Whether a block is a heading.
fn heading_level(block: &Block) -> Option<u8> {
    match block.kind {
        BlockKind::Heading(level) => Some(level),
        BlockKind::Paragraph | BlockKind::ListItem | BlockKind::Table | BlockKind::Code => None,
    }
}

#[cfg(test)]
mod tests;
