//! Tables that are ruled: what stands in one of their rows is put together, cell by cell.
//!
//! By baselines alone the lines of a cell are mixed with what its neighbours have at its middle, and a gutter
//! between two columns parts what belongs together.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::Segment;
use super::{NOWHERE, union};

/// Rules this close (points) are at one place.
const NEAR: f32 = 3.0;
/// Pages with more rules than this are drawings.
const MAX_RULES: usize = 2_000;
/// A cell with more lines than this is a page in a frame.
const MAX_LINES: usize = 12;
/// White between the lines of one cell, as a share of the size of its text.
const WHITE: f32 = 0.9;

/// Makes one segment of each row of each ruled table. All others stay as they are.
pub(crate) fn gather(mut segments: Vec<Segment>, rules: &[[f32; 4]]) -> Vec<Segment> {
    let mut rows = Vec::new();
    for grid in grids(rules) {
        let (bands, outside) = grid.bands(segments);
        segments = outside;
        let is_table = bands.values().filter(|band| band.len() > 1).count() > 1;
        for band in bands.into_values() {
            match is_table && grid.is_row(&band) {
                true => rows.extend(row(band)),
                false => segments.extend(band.into_values().flatten()),
            }
        }
    }
    segments.extend(rows);
    segments
}

/// The segments of each column of one row.
type Band = BTreeMap<usize, Vec<Segment>>;

/// Rules that touch, and the places where they stand.
struct Grid {
    uprights: Vec<[f32; 4]>,
    /// Turned, so that they are upright, too.
    levels: Vec<[f32; 4]>,
    /// Where columns begin, and where the last one ends.
    columns: Vec<f32>,
    /// Where rows begin, and where the last one ends.
    rows: Vec<f32>,
}

impl Grid {
    fn new(rules: Vec<[f32; 4]>) -> Grid {
        let (uprights, levels): (Vec<_>, Vec<_>) = rules.into_iter().partition(is_upright);
        let turned = |[left, top, right, bottom]: [f32; 4]| [top, left, bottom, right];
        let levels: Vec<[f32; 4]> = levels.into_iter().map(turned).collect();
        Grid {
            columns: places(&uprights, &levels),
            rows: places(&levels, &uprights),
            uprights,
            levels,
        }
    }

    /// The row and the column in which a segment stands, before cells that span several are looked for.
    fn cell(&self, segment: &Segment) -> Option<(usize, usize)> {
        let inside = segment.bounds[0] + (0.5 * segment.size()).min(middle(0.0, segment.width()));
        let row = index(&self.rows, segment.middle())?;
        Some((row, index(&self.columns, inside)?))
    }

    /// Where a cell begins that goes over several columns or rows because no rule parts them.
    fn begin(&self, (mut row, mut column): (usize, usize)) -> (usize, usize) {
        let y = centre(&self.rows, row);
        while column > 0 && !parts(&self.uprights, self.columns.get(column), y) {
            column -= 1;
        }
        let x = centre(&self.columns, column);
        while row > 0 && !parts(&self.levels, self.rows.get(row), x) {
            row -= 1;
        }
        (row, column)
    }

    /// The segments in the cells by row and column, and those outside.
    fn bands(&self, segments: Vec<Segment>) -> (BTreeMap<usize, Band>, Vec<Segment>) {
        let mut bands: BTreeMap<usize, Band> = BTreeMap::new();
        let mut outside = Vec::new();
        for segment in segments {
            match self.cell(&segment).map(|cell| self.begin(cell)) {
                None => outside.push(segment),
                Some((row, column)) => {
                    let band = bands.entry(row).or_default();
                    band.entry(column).or_default().push(segment);
                }
            }
        }
        (bands, outside)
    }

    /// Whether what stands between two level rules is one row, and not several without a rule between them.
    fn is_row(&self, band: &Band) -> bool {
        let cells = band.iter().map(|(column, cell)| (*column, Lines::of(cell)));
        let cells: Vec<(usize, Lines)> = cells.collect();
        let Some((_, deepest)) = cells.iter().max_by_key(|(_, lines)| lines.0.len()) else {
            return false;
        };
        let lists = cells.iter().filter(|(column, lines)| {
            let side = |column: usize| self.columns.get(column).copied().unwrap_or(f32::MAX);
            lines.are_a_list(side(*column), side(column + 1))
        });
        // Three cells seldom happen to have equally many lines.
        let even = cells.len() > 2 && deepest.0.len() > 1;
        let even = even
            && cells
                .iter()
                .all(|(_, lines)| lines.0.len() == deepest.0.len());
        !even
            && deepest.0.len() <= MAX_LINES
            && (cells.len() > 1 || deepest.0.len() == 1)
            && lists.count() <= 1
            && (cells.iter()).all(|(_, lines)| lines.are_together() && lines.stand_beside(deepest))
    }
}

/// The lines of a cell, from above.
struct Lines(Vec<Line>);

/// Where a line of a cell stands, the size of its text, and the width of its first word.
struct Line {
    bounds: [f32; 4],
    size: f32,
    first: f32,
}

impl Lines {
    fn of(cell: &[Segment]) -> Lines {
        let mut lines: BTreeMap<usize, Line> = BTreeMap::new();
        for segment in cell {
            let line = lines.entry(segment.row).or_insert(Line {
                bounds: NOWHERE,
                size: 0.0,
                first: 0.0,
            });
            if segment.bounds[0] < line.bounds[0] {
                let first = segment.words.first();
                line.first = first.map_or(0.0, |word| word.right - word.left);
            }
            line.bounds = union(line.bounds, segment.bounds);
            line.size = line.size.max(segment.size());
        }
        Lines(lines.into_values().collect())
    }

    fn breaks(&self) -> impl Iterator<Item = (&Line, &Line)> {
        self.0.iter().zip(self.0.iter().skip(1))
    }

    fn bounds(&self) -> [f32; 4] {
        let bounds = self.0.iter().map(|line| line.bounds);
        bounds.fold(NOWHERE, union)
    }

    fn are_together(&self) -> bool {
        self.breaks()
            .all(|(above, below)| below.bounds[1] - above.bounds[3] <= WHITE * below.size)
    }

    fn stand_beside(&self, other: &Lines) -> bool {
        let (a, b) = (self.bounds(), other.bounds());
        a[1] < b[3] && b[1] < a[3]
    }

    /// Whether most lines end though the first word of the next had a place between the sides of the cell.
    fn are_a_list(&self, left: f32, right: f32) -> bool {
        let white = self.bounds()[0] - left;
        let has_place = |(above, below): &(&Line, &Line)| {
            let space = 0.25 * below.size;
            above.bounds[2] + space + below.first < right - white
        };
        self.breaks().filter(has_place).count() * 2 > self.breaks().count()
    }
}

/// All that stands in a row, cell after cell.
fn row(band: Band) -> Option<Segment> {
    let mut cells = band.into_values().filter_map(cell);
    let mut row = cells.next()?;
    for cell in cells {
        row.parts.push((row.words.len(), cell.bounds[0]));
        row.absorb(cell);
    }
    row.ruled = true;
    row.framed = true;
    Some(row)
}

/// All that stands in a cell, line after line.
fn cell(mut segments: Vec<Segment>) -> Option<Segment> {
    segments.sort_by(|a, b| a.row.cmp(&b.row).then(a.bounds[0].total_cmp(&b.bounds[0])));
    let cell = segments.into_iter().reduce(|mut cell, segment| {
        cell.absorb(segment);
        cell
    });
    cell.map(|cell| Segment {
        parts: vec![(0, cell.bounds[0])],
        ..cell
    })
}

/// Rules that touch each other, where they make rows and columns.
fn grids(rules: &[[f32; 4]]) -> Vec<Grid> {
    if rules.len() > MAX_RULES {
        return Vec::new();
    }
    let mut left: BTreeSet<usize> = (0..rules.len()).collect();
    let mut grids = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut group = vec![first];
        let mut next = 0;
        while let Some(rule) = group.get(next).and_then(|index| rules.get(*index)) {
            let touching =
                |other: &usize| rules.get(*other).is_some_and(|other| touch(rule, other));
            let found: Vec<usize> = left.iter().copied().filter(touching).collect();
            found.iter().for_each(|index| {
                left.remove(index);
            });
            group.extend(found);
            next += 1;
        }
        let group = group.iter().filter_map(|index| rules.get(*index).copied());
        let grid = Grid::new(group.collect());
        if grid.columns.len() > 2 && grid.rows.len() > 2 {
            grids.push(grid);
        }
    }
    grids
}

fn touch(a: &[f32; 4], b: &[f32; 4]) -> bool {
    a[0] <= b[2] + NEAR && b[0] <= a[2] + NEAR && a[1] <= b[3] + NEAR && b[1] <= a[3] + NEAR
}

fn is_upright(rule: &[f32; 4]) -> bool {
    rule[3] - rule[1] > rule[2] - rule[0]
}

fn middle(a: f32, b: f32) -> f32 {
    (a + b) / 2.0
}

/// Where upright rules stand, and where those `across` end: a table may have none at its sides. In order; of
/// places that are near each other the first.
fn places(rules: &[[f32; 4]], across: &[[f32; 4]]) -> Vec<f32> {
    let ends = across.iter().flat_map(|rule| [rule[1], rule[3]]);
    let outermost = [
        ends.clone().min_by(f32::total_cmp),
        ends.max_by(f32::total_cmp),
    ];
    let inner = rules.iter().map(|rule| middle(rule[0], rule[2]));
    let mut places: Vec<f32> = inner.chain(outermost.into_iter().flatten()).collect();
    places.sort_by(f32::total_cmp);
    places.dedup_by(|next, kept| *next - *kept <= NEAR);
    places
}

/// Whether one of these upright rules stands at a place and goes past another; so it is where there is none.
fn parts(rules: &[[f32; 4]], at: Option<&f32>, past: Option<f32>) -> bool {
    let (Some(at), Some(past)) = (at, past) else {
        return true;
    };
    rules.iter().any(|rule| {
        (middle(rule[0], rule[2]) - at).abs() <= NEAR && rule[1] <= past && rule[3] >= past
    })
}

/// Between which two of `places` a value lies.
fn index(places: &[f32], value: f32) -> Option<usize> {
    let after = places.partition_point(|place| *place <= value);
    (after > 0 && after < places.len()).then(|| after - 1)
}

/// What lies between a place and the next.
fn centre(places: &[f32], index: usize) -> Option<f32> {
    Some(middle(*places.get(index)?, *places.get(index + 1)?))
}
