//! From glyphs to blocks: letters to words, words to rows, rows to columns, columns to blocks in
//! reading order. Knows one page only; what needs the whole document (headings, running heads) is
//! in `structure`.
//!
//! All of it works in an *upright frame*: each of the four directions in which text can run is
//! turned so that it runs to the right, y pointing down, and is laid out by itself.

pub(crate) mod accents;
pub(crate) mod blocks;
pub(crate) mod columns;
pub(crate) mod lines;
pub(crate) mod rows;
pub(crate) mod tables;
#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests;
pub(crate) mod words;

use crate::content::glyph::{Direction, Drawn, Rule};

/// A group of lines of one page, with boxes in points of the displayed page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DraftBlock {
    pub(crate) shape: Shape,
    pub(crate) lines: Vec<DraftLine>,
}

/// What the layout alone tells about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    ListItem,
    Table,
    Code,
}

/// A line with what headings and running heads are found by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DraftLine {
    pub(crate) bounds: [f32; 4],
    pub(crate) words: Vec<DraftWord>,
    pub(crate) cells: Vec<usize>,
    pub(crate) size: f32,
    pub(crate) bold: bool,
}

/// A word and its box in points of the displayed page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DraftWord {
    pub(crate) text: String,
    pub(crate) bounds: [f32; 4],
}

/// All blocks of a page in reading order: upright text first, then text that runs otherwise.
pub(crate) fn blocks(drawn: &Drawn, width: f32, height: f32) -> Vec<DraftBlock> {
    let mut found = Vec::new();
    for direction in Direction::ALL {
        let glyphs = drawn
            .glyphs
            .iter()
            .filter(|glyph| glyph.direction == direction);
        let on_page = |word: &words::Fragment| {
            let [left, top, right, bottom] = direction.displayed(word.bounds());
            left < width && right > 0.0 && top < height && bottom > 0.0
        };
        let mut fragments = words::group(glyphs);
        fragments.retain(on_page);
        if fragments.is_empty() {
            continue;
        }
        let rules: Vec<[f32; 4]> = drawn
            .rules
            .iter()
            .map(|rule| upright(direction, rule))
            .collect();
        let rows = rows::group(fragments, &rules);
        for region in columns::split(tables::gather(rows, &rules)) {
            let lines = lines::join(region);
            found.extend(
                blocks::group(lines)
                    .into_iter()
                    .map(|block| block.displayed(direction)),
            );
        }
    }
    found
}

fn upright(direction: Direction, Rule([left, top, right, bottom]): &Rule) -> [f32; 4] {
    let (u0, v0) = direction.upright(*left, *top);
    let (u1, v1) = direction.upright(*right, *bottom);
    [u0.min(u1), v0.min(v1), u0.max(u1), v0.max(v1)]
}

/// The box around two boxes.
pub(crate) fn union(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

/// A box that any union replaces.
pub(crate) const NOWHERE: [f32; 4] = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
