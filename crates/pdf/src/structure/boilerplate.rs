//! Running heads, running feet and page numbers: lines near the top or the bottom of a page that
//! come back on other pages, up to the digits in them.

use super::DraftPage;
use crate::layout::{DraftBlock, DraftLine};
use rustc_hash::FxHashMap;

/// Running heads are looked for in this share of the page's height at the top and at the bottom.
const MARGIN: f32 = 0.13;
/// A line that stands on so many pages is a running head.
const MIN_PAGES: usize = 3;

/// Where on the page a line is, and what it says but for its numbers.
type Key = (bool, String);

/// Splits the outermost lines off their blocks, so that a running head close to the text can be
/// marked alone.
pub(crate) fn set_apart(pages: &mut [DraftPage]) {
    let counts = counts(pages);
    for page in pages {
        let height = page.height;
        let mut split = Vec::with_capacity(page.blocks.len());
        for mut block in page.blocks.drain(..) {
            let is_repeated = |line: &DraftLine| {
                key(line, height)
                    .is_some_and(|key| counts.get(&key).is_some_and(|count| *count >= MIN_PAGES))
            };
            if block.lines.len() > 1 && block.lines.first().is_some_and(is_repeated) {
                let rest = block.lines.split_off(1);
                split.push(DraftBlock {
                    shape: block.shape,
                    lines: block.lines,
                });
                block = DraftBlock {
                    shape: block.shape,
                    lines: rest,
                };
            }
            let foot = if block.lines.len() > 1 && block.lines.last().is_some_and(is_repeated) {
                block.lines.pop()
            } else {
                None
            };
            let shape = block.shape;
            split.push(block);
            split.extend(foot.map(|line| DraftBlock {
                shape,
                lines: vec![line],
            }));
        }
        page.blocks = split;
    }
}

/// For each page and block: is it a running head, a running foot or a page number?
pub(crate) fn find(pages: &[DraftPage]) -> Vec<Vec<bool>> {
    let counts = counts(pages);
    let several = pages.len() > 1;
    let is_repeated = |line: &DraftLine, height: f32| {
        let Some(key) = key(line, height) else {
            return false;
        };
        let count = counts.get(&key).copied().unwrap_or(0);
        count >= MIN_PAGES || (several && is_page_number(&key.1))
    };
    let is_head =
        |block: &DraftBlock, height: f32| block.lines.iter().all(|line| is_repeated(line, height));
    pages
        .iter()
        .map(|page| {
            page.blocks
                .iter()
                .map(|block| is_head(block, page.height))
                .collect()
        })
        .collect()
}

fn counts(pages: &[DraftPage]) -> FxHashMap<Key, usize> {
    let mut counts: FxHashMap<Key, usize> = FxHashMap::default();
    for page in pages {
        let mut keys: Vec<Key> = page
            .blocks
            .iter()
            .flat_map(|block| &block.lines)
            .filter_map(|line| key(line, page.height))
            .collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
    }
    counts
}

fn key(line: &DraftLine, height: f32) -> Option<Key> {
    let at_top = line.bounds[3] < MARGIN * height;
    let at_bottom = line.bounds[1] > (1.0 - MARGIN) * height;
    if !(at_top || at_bottom) {
        return None;
    }
    let mut text = String::new();
    for word in &line.words {
        for letter in word.text.chars() {
            if !letter.is_ascii_digit() {
                text.push(letter);
            } else if !text.ends_with('#') {
                text.push('#');
            }
        }
        text.push(' ');
    }
    Some((at_top, text.trim_end().to_owned()))
}

fn is_page_number(text: &str) -> bool {
    let inner = text.trim_matches(|letter: char| !letter.is_alphanumeric() && letter != '#');
    let inner = inner
        .strip_prefix("Page ")
        .or_else(|| inner.strip_prefix("page "))
        .unwrap_or(inner);
    let roman =
        inner.len() <= 6 && !inner.is_empty() && inner.bytes().all(|byte| b"ivxlc".contains(&byte));
    inner == "#" || inner == "# of #" || inner == "#/#" || inner == "# / #" || roman
}
