//! One letter as the page draws it.

use super::fonts::Face;

/// The text of a glyph. Nearly always one character, so that nothing is allocated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Text {
    /// The font does not say what the glyph means, or it means nothing visible.
    #[default]
    None,
    Space,
    One(char),
    Many(Box<str>),
}

impl Text {
    pub(crate) fn push_to(&self, text: &mut String) {
        match self {
            Text::None | Text::Space => {}
            Text::One(letter) => text.push(*letter),
            Text::Many(letters) => text.push_str(letters),
        }
    }
}

/// Which way a line of text runs on the displayed page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Right,
    Down,
    Left,
    Up,
}

impl Direction {
    pub(crate) const ALL: [Self; 4] = [Self::Right, Self::Down, Self::Left, Self::Up];

    /// The direction nearest to a vector whose y points down.
    pub(crate) fn of(x: f64, y: f64) -> Self {
        match (x.abs() >= y.abs(), x >= 0.0, y >= 0.0) {
            (true, true, _) => Self::Right,
            (true, false, _) => Self::Left,
            (false, _, true) => Self::Down,
            (false, _, false) => Self::Up,
        }
    }

    /// Turns the page so that text of this direction runs to the right.
    pub(crate) fn upright(self, x: f32, y: f32) -> (f32, f32) {
        match self {
            Self::Right => (x, y),
            Self::Down => (y, -x),
            Self::Left => (-x, -y),
            Self::Up => (-y, x),
        }
    }

    /// Turns a box found in the upright frame back: left, top, right, bottom.
    pub(crate) fn displayed(self, [left, top, right, bottom]: [f32; 4]) -> [f32; 4] {
        match self {
            Self::Right => [left, top, right, bottom],
            Self::Down => [-bottom, left, -top, right],
            Self::Left => [-right, -bottom, -left, -top],
            Self::Up => [top, -right, bottom, -left],
        }
    }
}

/// A letter at its place, in points of the displayed page with y pointing down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Glyph {
    pub(crate) text: Text,
    pub(crate) direction: Direction,
    /// Start on the baseline, in the upright frame of `direction`.
    pub(crate) left: f32,
    /// Where the next letter would start if nothing was added between letters.
    pub(crate) right: f32,
    pub(crate) baseline: f32,
    pub(crate) size: f32,
    /// Space that the document adds between all letters, in points.
    pub(crate) tracking: f32,
    pub(crate) face: Face,
}

/// A straight line or thin bar drawn on the page: left, top, right, bottom in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule(pub(crate) [f32; 4]);

/// What a page draws.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) glyphs: Vec<Glyph>,
    pub(crate) rules: Vec<Rule>,
    /// The content ended early: an undecodable stream or a limit was hit.
    pub(crate) cut_off: bool,
}
