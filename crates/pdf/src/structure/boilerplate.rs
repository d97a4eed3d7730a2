//! Running heads, running feet and page numbers.
//!
//! A line near the top or the bottom of a page is one of them if it comes back on other pages (up
//! to the digits in it), if it is a page number, or if it stands exactly where the lines of other
//! pages stand that were recognised so: the heads of short chapters.

use super::DraftPage;
use crate::layout::{DraftBlock, DraftLine};
use rustc_hash::{FxHashMap, FxHashSet};

/// Running heads are looked for in this share of the page's height at the top and at the bottom.
const MARGIN: f32 = 0.13;
/// The outermost line of a page may be a page number also this far from the edge.
const NUMBER_MARGIN: f32 = 0.2;
/// A line that stands on so many pages is a running head.
const MIN_PAGES: usize = 3;

/// Where on the page a line is, and what it says but for its numbers.
type Key = (bool, String);
/// A height on the page in points, and the font size in half points.
type Place = (i32, i32);

/// What is known of the running heads of a document.
pub(crate) struct Repeated {
    keys: FxHashSet<Key>,
    places: FxHashSet<Place>,
    several_pages: bool,
}

impl Repeated {
    pub(crate) fn new(pages: &[DraftPage]) -> Self {
        let mut counts: FxHashMap<Key, usize> = FxHashMap::default();
        for page in pages {
            let keys: FxHashSet<Key> = lines(page)
                .filter_map(|line| key(line, page.height))
                .collect();
            for key in keys {
                *counts.entry(key).or_default() += 1;
            }
        }
        let keys = counts
            .into_iter()
            .filter(|(_, count)| *count >= MIN_PAGES)
            .map(|(key, _)| key)
            .collect();
        let mut repeated = Self {
            keys,
            places: FxHashSet::default(),
            several_pages: pages.len() > 1,
        };
        repeated.places = repeated.usual_places(pages);
        repeated
    }

    /// The places at which nearly all lines are running heads.
    fn usual_places(&self, pages: &[DraftPage]) -> FxHashSet<Place> {
        let mut counts: FxHashMap<Place, (usize, usize)> = FxHashMap::default();
        for page in pages {
            for line in lines(page) {
                let count = counts.entry(place(line)).or_default();
                count.0 += 1;
                count.1 +=
                    usize::from(key(line, page.height).is_some_and(|key| self.keys.contains(&key)));
            }
        }
        let usual =
            |(all, repeated): (usize, usize)| repeated >= MIN_PAGES && repeated * 10 >= all * 6;
        counts
            .into_iter()
            .filter(|(_, count)| usual(*count))
            .map(|(place, _)| place)
            .collect()
    }

    fn has(&self, line: &DraftLine, page: &DraftPage) -> bool {
        let outermost = || {
            let is_first = lines(page).all(|other| other.bounds[1] >= line.bounds[1] - 1.0);
            is_first || lines(page).all(|other| other.bounds[3] <= line.bounds[3] + 1.0)
        };
        if self.several_pages
            && is_near(line, page.height, NUMBER_MARGIN)
            && is_page_number(&pattern(line))
            && outermost()
        {
            return true;
        }
        key(line, page.height)
            .is_some_and(|key| self.keys.contains(&key) || self.places.contains(&place(line)))
    }
}

/// Splits running heads off the blocks they were grouped into. Returns for each page which of its
/// blocks are running heads.
pub(crate) fn set_apart(pages: &mut [DraftPage]) -> Vec<Vec<bool>> {
    let repeated = Repeated::new(pages);
    let mut marks = Vec::with_capacity(pages.len());
    for page in pages {
        let found: Vec<bool> = lines(page).map(|line| repeated.has(line, page)).collect();
        let mut found = found.into_iter();
        let mut blocks: Vec<DraftBlock> = Vec::with_capacity(page.blocks.len());
        let mut page_marks: Vec<bool> = Vec::new();
        for block in std::mem::take(&mut page.blocks) {
            let shape = block.shape;
            for (index, line) in block.lines.into_iter().enumerate() {
                let mark = found.next().unwrap_or(false);
                match (blocks.last_mut(), page_marks.last()) {
                    (Some(last), Some(last_mark)) if index > 0 && *last_mark == mark => {
                        last.lines.push(line)
                    }
                    _ => {
                        blocks.push(DraftBlock {
                            shape,
                            lines: vec![line],
                        });
                        page_marks.push(mark);
                    }
                }
            }
        }
        page.blocks = blocks;
        marks.push(page_marks);
    }
    marks
}

fn lines(page: &DraftPage) -> impl Iterator<Item = &DraftLine> {
    page.blocks.iter().flat_map(|block| &block.lines)
}

fn is_near(line: &DraftLine, height: f32, margin: f32) -> bool {
    line.bounds[3] < margin * height || line.bounds[1] > (1.0 - margin) * height
}

fn key(line: &DraftLine, height: f32) -> Option<Key> {
    let at_top = line.bounds[3] < MARGIN * height;
    is_near(line, height, MARGIN).then(|| (at_top, pattern(line)))
}

fn place(line: &DraftLine) -> Place {
    (
        line.bounds[1].round() as i32,
        (2.0 * line.size).round() as i32,
    )
}

/// What a line says, with every number as `#`.
fn pattern(line: &DraftLine) -> String {
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
    text.trim_end().to_owned()
}

fn is_page_number(pattern: &str) -> bool {
    let inner = pattern.trim_matches(|letter: char| !letter.is_alphanumeric() && letter != '#');
    let inner = inner
        .strip_prefix("Page ")
        .or_else(|| inner.strip_prefix("page "))
        .unwrap_or(inner);
    let roman =
        inner.len() <= 6 && !inner.is_empty() && inner.bytes().all(|byte| b"ivxlc".contains(&byte));
    inner == "#" || inner == "# of #" || inner == "#/#" || inner == "# / #" || roman
}
