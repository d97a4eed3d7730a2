//! Words to rows: what stands on one baseline across the whole page, cut where a column or a cell
//! may end.

use super::words::{Fragment, MAX_OVERLAP, WORD_GAP, share_baseline};
use super::{NOWHERE, union};

/// A gap wider than this (shares of the font size) may separate columns or cells.
const SEGMENT_GAP: f32 = 1.0;
/// Baselines this close (shares of the smaller font size) are one row.
const ROW_TOLERANCE: f32 = 0.25;

/// Words of one row without a wide gap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    pub(crate) words: Vec<Fragment>,
    pub(crate) bounds: [f32; 4],
    /// Number of the row, counted from the top of the page.
    pub(crate) row: usize,
    /// Where its first word stands in drawing order.
    pub(crate) order: usize,
    /// A vertical ruling line stands right before it.
    pub(crate) ruled: bool,
    /// It is a row of a ruled table.
    pub(crate) framed: bool,
    /// Index of the first word and left edge of each of its cells.
    pub(crate) parts: Vec<(usize, f32)>,
}

impl Segment {
    /// Adds the words of another one, behind its own.
    pub(crate) fn absorb(&mut self, other: Segment) {
        self.bounds = union(self.bounds, other.bounds);
        self.row = self.row.min(other.row);
        self.order = self.order.min(other.order);
        self.words.extend(other.words);
    }

    pub(crate) fn width(&self) -> f32 {
        self.bounds[2] - self.bounds[0]
    }

    pub(crate) fn size(&self) -> f32 {
        self.words.iter().map(|word| word.size).fold(0.0, f32::max)
    }

    pub(crate) fn middle(&self) -> f32 {
        (self.bounds[1] + self.bounds[3]) / 2.0
    }
}

/// Groups words to rows and cuts these into segments, top to bottom and left to right.
pub(crate) fn group(fragments: Vec<Fragment>, rules: &[[f32; 4]]) -> Vec<Segment> {
    let mut rows = by_baseline(fragments);
    attach_small(&mut rows);
    rows.retain(|row| !row.is_empty());
    let uprights: Vec<[f32; 4]> = rules
        .iter()
        .copied()
        .filter(|rule| rule[3] - rule[1] > rule[2] - rule[0])
        .collect();
    let mut segments = Vec::new();
    for (number, mut row) in rows.into_iter().enumerate() {
        row.sort_by(|a, b| a.left.total_cmp(&b.left));
        let row = merge_pieces(row);
        cut(row, number, &uprights, &mut segments);
    }
    segments
}

fn by_baseline(mut fragments: Vec<Fragment>) -> Vec<Vec<Fragment>> {
    fragments.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut rows: Vec<Vec<Fragment>> = Vec::new();
    let mut anchor: Option<(f32, f32)> = None;
    for fragment in fragments {
        let fits = anchor.is_some_and(|(baseline, size)| {
            fragment.baseline - baseline <= ROW_TOLERANCE * size.min(fragment.size)
        });
        if fits && let Some(row) = rows.last_mut() {
            anchor = anchor.map(|(baseline, size)| (baseline, size.max(fragment.size)));
            row.push(fragment);
        } else {
            anchor = Some((fragment.baseline, fragment.size));
            rows.push(vec![fragment]);
        }
    }
    rows
}

/// Moves superscripts, subscripts and footnote marks into the row of the word they hang on.
fn attach_small(rows: &mut [Vec<Fragment>]) {
    for index in 0..rows.len() {
        let Some(row) = rows.get_mut(index) else {
            continue;
        };
        let (small, kept): (Vec<_>, Vec<_>) = std::mem::take(row)
            .into_iter()
            .partition(|word| word.text.chars().count() <= 12);
        *row = kept;
        for fragment in small {
            let near = index.saturating_sub(3)..(index + 4).min(rows.len());
            let home = near.filter(|other| *other != index).find(|other| {
                rows.get(*other)
                    .is_some_and(|row| row.iter().any(|word| hangs_on(&fragment, word)))
            });
            if let Some(row) = rows.get_mut(home.unwrap_or(index)) {
                row.push(fragment);
            }
        }
    }
}

fn hangs_on(small: &Fragment, word: &Fragment) -> bool {
    let gap = (small.left - word.right).max(word.left - small.right);
    let overlap = small.bottom.min(word.bottom) - small.top.max(word.top);
    small.size < 0.87 * word.size
        && gap < 0.35 * word.size
        && overlap > 0.45 * (small.bottom - small.top)
}

/// Puts together what was drawn in pieces, for example letter by letter in any order.
fn merge_pieces(row: Vec<Fragment>) -> Vec<Fragment> {
    let mut merged: Vec<Fragment> = Vec::with_capacity(row.len());
    for fragment in row {
        match merged.last_mut() {
            Some(last) if belongs(last, &fragment) => last.absorb(fragment),
            _ => merged.push(fragment),
        }
    }
    merged
}

fn belongs(last: &Fragment, next: &Fragment) -> bool {
    let size = last.size.max(next.size);
    let gap = next.left - last.right;
    !last.closed
        && !next.opened
        && gap <= WORD_GAP * size
        && gap >= -MAX_OVERLAP * size
        && share_baseline((last.size, last.baseline), (next.size, next.baseline))
}

fn cut(row: Vec<Fragment>, number: usize, uprights: &[[f32; 4]], segments: &mut Vec<Segment>) {
    let first = segments.len();
    for word in row {
        push_word(word, number, uprights, first, segments);
    }
}

fn push_word(
    word: Fragment,
    number: usize,
    uprights: &[[f32; 4]],
    first: usize,
    segments: &mut Vec<Segment>,
) {
    let has_neighbour = segments.len() > first;
    let mut ruled = false;
    if has_neighbour && let Some(segment) = segments.last_mut() {
        let gap = word.left - segment.bounds[2];
        let size = word
            .size
            .max(segment.words.last().map_or(0.0, |last| last.size));
        ruled = gap > 0.0
            && has_rule(
                uprights,
                segment.bounds[2],
                word.left,
                word.baseline - 0.3 * word.size,
            );
        if !ruled && gap <= SEGMENT_GAP * size {
            segment.bounds = union(segment.bounds, word.bounds());
            segment.order = segment.order.min(word.order);
            segment.words.push(word);
            return;
        }
    }
    let bounds = union(NOWHERE, word.bounds());
    segments.push(Segment {
        bounds,
        row: number,
        order: word.order,
        ruled,
        framed: false,
        parts: vec![(0, word.left)],
        words: vec![word],
    });
}

fn has_rule(uprights: &[[f32; 4]], left: f32, right: f32, y: f32) -> bool {
    uprights
        .iter()
        .any(|rule| rule[0] >= left - 1.0 && rule[2] <= right + 1.0 && rule[1] <= y && rule[3] >= y)
}
