//! Reading order: finds the gutters between columns and orders what they separate.
//!
//! A gutter is a corridor that no segment crosses, with text on both sides over several rows.
//! Columns are told from tables by the order of drawing (columns are drawn one after the other,
//! tables row by row) and by how full their lines are. What stands above and below a gutter is
//! looked at again, as is each column.

use super::rows::Segment;
use super::{NOWHERE, union};

/// Rows needed on each side of a gutter.
const MIN_ROWS: usize = 3;
/// Full lines on both sides over so many rows are columns however they were drawn.
const LONG_COLUMN: usize = 12;
/// Columns in columns deeper than this are not looked for.
const MAX_DEPTH: usize = 6;
/// A gutter is at least this wide, as a share of the size of its text.
const MIN_GUTTER: f32 = 0.8;

/// A gutter that was found: everything between `top` and `bottom` is left or right of `at`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gutter {
    at: f32,
    top: f32,
    bottom: f32,
    score: f32,
}

/// Regions in reading order, each with one column of segments.
pub(crate) fn split(segments: Vec<Segment>) -> Vec<Vec<Segment>> {
    let mut regions = Vec::new();
    split_region(segments, 0, &mut regions);
    regions
}

fn split_region(segments: Vec<Segment>, depth: usize, regions: &mut Vec<Vec<Segment>>) {
    if segments.is_empty() {
        return;
    }
    let gutter = (depth < MAX_DEPTH).then(|| find(&segments)).flatten();
    let Some(gutter) = gutter else {
        regions.push(segments);
        return;
    };
    let (mut above, mut left, mut right, mut below) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for segment in segments {
        let middle = segment.middle();
        if middle < gutter.top {
            above.push(segment);
        } else if middle > gutter.bottom {
            below.push(segment);
        } else if segment.bounds[0] < gutter.at {
            left.push(segment);
        } else {
            right.push(segment);
        }
    }
    take_back(&mut left, &right, &mut below);
    for part in [above, left, right, below] {
        split_region(part, depth + 1, regions);
    }
}

/// Text under the left column that was drawn after the right column began is not part of it, but
/// follows both.
fn take_back(left: &mut Vec<Segment>, right: &[Segment], below: &mut Vec<Segment>) {
    let bottom = right
        .iter()
        .map(|segment| segment.bounds[3])
        .fold(f32::MIN, f32::max);
    let first = right
        .iter()
        .map(|segment| segment.order)
        .min()
        .unwrap_or(usize::MAX);
    let follows = |segment: &Segment| segment.middle() > bottom && segment.order > first;
    below.extend(left.extract_if(.., |segment| follows(segment)));
}

fn find(segments: &[Segment]) -> Option<Gutter> {
    if segments.len() < 2 * MIN_ROWS {
        return None;
    }
    let bounds = segments
        .iter()
        .fold(NOWHERE, |all, segment| union(all, segment.bounds));
    let mut best: Option<Gutter> = None;
    for at in candidates(segments, bounds) {
        for gutter in corridors(segments, bounds, at) {
            if best.is_none_or(|best| gutter.score > best.score) {
                best = Some(gutter);
            }
        }
    }
    best
}

/// Left edges that several segments share, away from the left edge of the region.
fn candidates(segments: &[Segment], bounds: [f32; 4]) -> Vec<f32> {
    let inner = bounds[0] + 0.12 * (bounds[2] - bounds[0]);
    let mut edges: Vec<f32> = segments
        .iter()
        .map(|segment| segment.bounds[0])
        .filter(|left| *left > inner)
        .collect();
    edges.sort_by(f32::total_cmp);
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(first) = edges.get(index) {
        let group = edges
            .iter()
            .skip(index)
            .take_while(|edge| **edge - first < 4.0)
            .count();
        if group >= MIN_ROWS {
            found.push(first - 0.5);
        }
        index += group;
    }
    found
}

/// The stretches of the vertical line at `at` that nothing crosses, if they separate columns.
fn corridors(segments: &[Segment], bounds: [f32; 4], at: f32) -> Vec<Gutter> {
    let mut crossed: Vec<(f32, f32)> = segments
        .iter()
        .filter(|segment| segment.bounds[0] < at && segment.bounds[2] > at)
        .map(|segment| (segment.bounds[1], segment.bounds[3]))
        .collect();
    crossed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = Vec::new();
    let mut top = bounds[1] - 1.0;
    for (start, end) in crossed {
        if start > top {
            free.push((top, start));
        }
        top = top.max(end);
    }
    free.push((top, bounds[3] + 1.0));
    free.into_iter()
        .filter_map(|(top, bottom)| judge(segments, at, top, bottom))
        .collect()
}

fn judge(segments: &[Segment], at: f32, top: f32, bottom: f32) -> Option<Gutter> {
    let inside: Vec<&Segment> = segments
        .iter()
        .filter(|one| one.middle() >= top && one.middle() <= bottom)
        .collect();
    let (left, right): (Vec<&Segment>, Vec<&Segment>) =
        inside.iter().partition(|segment| segment.bounds[0] < at);
    if left.len() < MIN_ROWS || right.len() < MIN_ROWS {
        return None;
    }
    let (left, right) = (Side::new(&left), Side::new(&right));
    let height = left.bounds[3].min(right.bounds[3]) - left.bounds[1].max(right.bounds[1]);
    let width = right.bounds[0] - left.bounds[2];
    let size = left.size.max(right.size);
    if width < MIN_GUTTER * size
        || height < 2.5 * size
        || left.rows < MIN_ROWS
        || right.rows < MIN_ROWS
    {
        return None;
    }
    let narrow = left.width().min(right.width()) < 6.0 * size;
    let switches = switches(&inside, at);
    let rows = left.rows.min(right.rows);
    let drawn_apart = switches * 4 <= rows.max(4) + 3;
    let full = left.fill > 0.6 && right.fill > 0.6;
    let is_columns = match (drawn_apart, narrow) {
        (true, true) => full,
        (true, false) => true,
        (false, true) => false,
        (false, false) => full && (switches * 2 <= rows || rows >= LONG_COLUMN),
    };
    is_columns.then_some(Gutter {
        at,
        top,
        bottom,
        score: height * width.min(3.0 * size),
    })
}

/// How often drawing went from one side of the gutter to the other.
fn switches(inside: &[&Segment], at: f32) -> usize {
    let mut drawn: Vec<(usize, bool)> = inside
        .iter()
        .map(|segment| (segment.order, segment.bounds[0] < at))
        .collect();
    drawn.sort_unstable();
    drawn
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if a.1 != b.1))
        .count()
}

/// The segments on one side of a gutter.
struct Side {
    bounds: [f32; 4],
    size: f32,
    rows: usize,
    /// Median share of the side's width that its rows fill.
    fill: f32,
}

impl Side {
    fn new(segments: &[&Segment]) -> Self {
        let bounds = segments
            .iter()
            .fold(NOWHERE, |all, segment| union(all, segment.bounds));
        let mut sizes: Vec<f32> = segments.iter().map(|segment| segment.size()).collect();
        sizes.sort_by(f32::total_cmp);
        let mut rows: Vec<(usize, f32)> = Vec::new();
        let mut ordered: Vec<&&Segment> = segments.iter().collect();
        ordered.sort_by_key(|segment| segment.row);
        for segment in ordered {
            let width = segment.width();
            match rows.last_mut() {
                Some(last) if last.0 == segment.row => last.1 += width,
                _ => rows.push((segment.row, width)),
            }
        }
        let mut widths: Vec<f32> = rows.iter().map(|row| row.1).collect();
        widths.sort_by(f32::total_cmp);
        let middle = |sorted: &[f32]| sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let fill = middle(&widths) / (bounds[2] - bounds[0]).max(1.0);
        Self {
            bounds,
            size: middle(&sizes),
            rows: rows.len(),
            fill,
        }
    }

    fn width(&self) -> f32 {
        self.bounds[2] - self.bounds[0]
    }
}
