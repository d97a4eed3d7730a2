//! Headings: by the outline, else larger than the body, or bold and by themselves.

use super::DraftPage;
use super::outline::{Outline, normal};
use crate::layout::{DraftBlock, DraftLine, Shape};
use rustc_hash::FxHashMap;

/// A heading has at most this many letters.
const MAX_LETTERS: usize = 200;
/// Larger than the body by this factor is a heading.
const LARGER: f32 = 1.12;

/// The sizes of a document's text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    body: f32,
    /// Sizes of headings, largest first.
    sizes: Vec<f32>,
}

impl Scale {
    pub(crate) fn new(pages: &[DraftPage]) -> Self {
        let mut letters: FxHashMap<i32, usize> = FxHashMap::default();
        let blocks = || pages.iter().flat_map(|page| &page.blocks);
        for line in blocks().flat_map(|block| &block.lines) {
            *letters.entry(step(line.size)).or_default() += count(line);
        }
        let body = letters
            .iter()
            .max_by_key(|(size, count)| (**count, **size))
            .map_or(0, |(size, _)| *size);
        let body = body as f32 / 2.0;
        let mut steps: Vec<i32> = Vec::new();
        for block in blocks().filter(|block| could_head(block)) {
            let size = size(block);
            if size > LARGER * body {
                steps.push(step(size));
            }
        }
        steps.sort_unstable_by(|a, b| b.cmp(a));
        steps.dedup();
        Self {
            body,
            sizes: steps.into_iter().map(|step| step as f32 / 2.0).collect(),
        }
    }

    /// The level of a block, if it is a heading.
    pub(crate) fn heading(&self, block: &DraftBlock, outline: &Outline) -> Option<u8> {
        if !could_head(block) {
            return None;
        }
        let size = size(block);
        let bold = block.lines.iter().all(|line| line.bold);
        if size >= 0.95 * self.body && !outline.is_empty() {
            let text = normal(&text(block));
            let unnumbered = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
            if let Some(level) = outline.get(&text).or_else(|| outline.get(unnumbered)) {
                return Some(*level);
            }
        }
        let letters = text(block)
            .chars()
            .filter(|letter| letter.is_alphabetic())
            .count();
        if block.shape == Shape::Code || letters < 2 {
            return None;
        }
        if size > LARGER * self.body {
            let above = self
                .sizes
                .iter()
                .filter(|other| **other > size + 0.3)
                .count();
            return Some(u8::try_from(above + 1).unwrap_or(6).min(6));
        }
        let ends_open = !text(block).ends_with(['.', ',', ';', ':']);
        let is_label = bold && block.lines.len() <= 2 && ends_open && size >= 0.95 * self.body;
        is_label.then(|| u8::try_from(self.sizes.len() + 1).unwrap_or(6).min(6))
    }
}

/// Half points, so that rounding in the file makes no new sizes.
fn step(size: f32) -> i32 {
    (size * 2.0).round() as i32
}

fn size(block: &DraftBlock) -> f32 {
    block.lines.iter().map(|line| line.size).fold(0.0, f32::max)
}

fn count(line: &DraftLine) -> usize {
    line.words
        .iter()
        .map(|word| word.text.chars().count())
        .sum()
}

fn could_head(block: &DraftBlock) -> bool {
    let letters: usize = block.lines.iter().map(count).sum();
    let mut all = block
        .lines
        .iter()
        .flat_map(|line| &line.words)
        .flat_map(|word| word.text.chars());
    block.lines.len() <= 4
        && letters <= MAX_LETTERS
        && block.shape != Shape::Table
        && all.any(char::is_alphabetic)
}

fn text(block: &DraftBlock) -> String {
    let words: Vec<&str> = block
        .lines
        .iter()
        .flat_map(|line| &line.words)
        .map(|word| word.text.as_str())
        .collect();
    words.join(" ")
}
