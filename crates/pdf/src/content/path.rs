//! Ruling lines: the straight strokes and thin bars among the paths of a page.

use super::glyph::Rule;
use super::matrix::Matrix;

/// More than this many rules on a page are a drawing, not the lines of tables.
const MAX_RULES: usize = 5_000;
/// A filled box at most this thick (points) is a line.
const MAX_THICKNESS: f32 = 2.5;
/// Shorter lines (points) are marks, not rules.
const MIN_LENGTH: f32 = 6.0;

/// The path under construction, as straight segments and boxes in page points.
#[derive(Debug, Default)]
pub(crate) struct Path {
    segments: Vec<[f32; 4]>,
    boxes: Vec<[f32; 4]>,
    start: Option<(f32, f32)>,
    current: Option<(f32, f32)>,
}

impl Path {
    pub(crate) fn move_to(&mut self, matrix: &Matrix, x: f64, y: f64) {
        self.current = Some(place(matrix, x, y));
        self.start = self.current;
    }

    pub(crate) fn line_to(&mut self, matrix: &Matrix, x: f64, y: f64) {
        let end = place(matrix, x, y);
        if let Some(from) = self.current
            && self.segments.len() < MAX_RULES
        {
            self.segments.push([from.0, from.1, end.0, end.1]);
        }
        self.current = Some(end);
    }

    pub(crate) fn curve_to(&mut self, matrix: &Matrix, x: f64, y: f64) {
        self.current = Some(place(matrix, x, y));
    }

    pub(crate) fn close(&mut self) {
        if let (Some(from), Some(to)) = (self.current, self.start) {
            self.segments.push([from.0, from.1, to.0, to.1]);
            self.current = self.start;
        }
    }

    pub(crate) fn rectangle(&mut self, matrix: &Matrix, [x, y, width, height]: [f64; 4]) {
        let (x0, y0) = place(matrix, x, y);
        let (x1, y1) = place(matrix, x + width, y + height);
        if self.boxes.len() < MAX_RULES {
            self.boxes
                .push([x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]);
        }
    }

    /// Ends the path; painted parts that are rules go to `rules`.
    pub(crate) fn finish(&mut self, stroked: bool, filled: bool, rules: &mut Vec<Rule>) {
        if stroked {
            for [x0, y0, x1, y1] in self.segments.drain(..) {
                push(rules, [x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1)]);
            }
        } else if filled {
            self.fill_segments(rules);
        }
        for [left, top, right, bottom] in self.boxes.drain(..) {
            let thin = right - left <= MAX_THICKNESS || bottom - top <= MAX_THICKNESS;
            if thin && (stroked || filled) {
                push(rules, [left, top, right, bottom]);
            } else if stroked {
                push(rules, [left, top, right, top]);
                push(rules, [left, bottom, right, bottom]);
                push(rules, [left, top, left, bottom]);
                push(rules, [right, top, right, bottom]);
            }
        }
        self.segments.clear();
        self.boxes.clear();
        self.start = None;
        self.current = None;
    }

    /// A thin bar drawn as a polygon.
    fn fill_segments(&self, rules: &mut Vec<Rule>) {
        if !(3..=5).contains(&self.segments.len()) {
            return;
        }
        let mut bounds = [f32::MAX, f32::MAX, f32::MIN, f32::MIN];
        for [x0, y0, x1, y1] in &self.segments {
            bounds = [
                bounds[0].min(*x0).min(*x1),
                bounds[1].min(*y0).min(*y1),
                bounds[2].max(*x0).max(*x1),
                bounds[3].max(*y0).max(*y1),
            ];
        }
        push(rules, bounds);
    }
}

fn push(rules: &mut Vec<Rule>, [left, top, right, bottom]: [f32; 4]) {
    let (width, height) = (right - left, bottom - top);
    let is_line = width.min(height) <= MAX_THICKNESS && width.max(height) >= MIN_LENGTH;
    if is_line && rules.len() < MAX_RULES {
        rules.push(Rule([left, top, right, bottom]));
    }
}

fn place(matrix: &Matrix, x: f64, y: f64) -> (f32, f32) {
    let (x, y) = matrix.point(x, y);
    (x as f32, y as f32)
}
