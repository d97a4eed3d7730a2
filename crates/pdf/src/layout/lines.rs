//! Segments of one region to lines, with what is needed to group them to blocks.

use super::rows::Segment;
use super::words::Fragment;
use super::{NOWHERE, union};

/// All words of one row in one region.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LaidLine {
    pub(crate) words: Vec<Fragment>,
    pub(crate) bounds: [f32; 4],
    pub(crate) baseline: f32,
    /// Font size of most letters.
    pub(crate) size: f32,
    pub(crate) bold: bool,
    pub(crate) monospaced: bool,
    /// Index of the first word and left edge of each part that wide gaps or rules set off.
    pub(crate) parts: Vec<(usize, f32)>,
    /// Ruling lines stand between its parts.
    pub(crate) ruled: bool,
    /// It is a row of a ruled table.
    pub(crate) framed: bool,
}

impl LaidLine {
    fn new(segments: Vec<Segment>) -> Self {
        let mut bounds = NOWHERE;
        let mut words = Vec::new();
        let mut parts = Vec::new();
        let (mut ruled, mut framed) = (false, false);
        for segment in segments {
            bounds = union(bounds, segment.bounds);
            let cells = segment.parts.iter();
            parts.extend(cells.map(|(first, left)| (words.len() + first, *left)));
            ruled |= segment.ruled;
            framed |= segment.framed;
            words.extend(segment.words);
        }
        let letters = |word: &Fragment| word.text.chars().count();
        let total: usize = words.iter().map(letters).sum();
        let count = |test: fn(&Fragment) -> bool| {
            words
                .iter()
                .filter(|word| test(word))
                .map(letters)
                .sum::<usize>()
        };
        let main = words.iter().max_by_key(|word| letters(word));
        Self {
            bounds,
            baseline: main.map_or(bounds[3], |word| word.baseline),
            size: main.map_or(0.0, |word| word.size),
            bold: count(|word| word.bold) * 10 >= total * 9 && total > 0,
            monospaced: count(|word| word.monospaced && !is_wide(word)) * 10 >= total * 8
                && total > 0,
            words,
            parts,
            ruled,
            framed,
        }
    }

    pub(crate) fn left(&self) -> f32 {
        self.bounds[0]
    }

    pub(crate) fn right(&self) -> f32 {
        self.bounds[2]
    }

    pub(crate) fn first_word(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    pub(crate) fn last_word(&self) -> &str {
        self.words.last().map_or("", |word| word.text.as_str())
    }

    /// Dots lead from one end to the other, as in a table of contents.
    pub(crate) fn has_leader(&self) -> bool {
        self.words
            .iter()
            .filter(|word| is_dots(word))
            .map(|word| word.text.len())
            .sum::<usize>()
            >= 4
    }

    /// The first word of each cell; the page number after a leader is a cell.
    pub(crate) fn cells(&self) -> Vec<usize> {
        if !self.has_leader() {
            return self.parts.iter().map(|part| part.0).collect();
        }
        let after = self
            .words
            .iter()
            .rposition(is_dots)
            .map_or(0, |last| last + 1);
        if after < self.words.len() {
            vec![0, after]
        } else {
            vec![0]
        }
    }
}

fn is_dots(word: &Fragment) -> bool {
    word.text.chars().all(|letter| letter == '.')
}

/// Han, kana and hangul have one width in every font.
fn is_wide(word: &Fragment) -> bool {
    word.text.chars().any(|letter| letter >= '\u{2e80}')
}

/// Joins the segments of each row, top to bottom.
pub(crate) fn join(mut segments: Vec<Segment>) -> Vec<LaidLine> {
    segments.sort_by(|a, b| a.row.cmp(&b.row).then(a.bounds[0].total_cmp(&b.bounds[0])));
    let mut lines = Vec::new();
    let mut row: Vec<Segment> = Vec::new();
    for segment in segments {
        if row.first().is_some_and(|first| first.row != segment.row) {
            lines.push(LaidLine::new(std::mem::take(&mut row)));
        }
        row.push(segment);
    }
    if !row.is_empty() {
        lines.push(LaidLine::new(row));
    }
    lines
}
