//! From a code in a text matrix to a glyph at its place on the displayed page.

use super::fonts::Face;
use super::glyph::{Direction, Glyph, Text};
use super::matrix::Matrix;
use super::text;

/// Where a code's glyph goes.
pub(super) struct Placed {
    pub(super) to_page: Matrix,
    pub(super) advance: (f64, f64),
    pub(super) tracking: (f64, f64),
    pub(super) vertical: bool,
}

impl Placed {
    pub(super) fn glyph(&self, text: Text, face: Face) -> Option<Glyph> {
        let (x, y) = self.to_page.point(0.0, 0.0);
        let along = if self.vertical {
            self.to_page.vector(0.0, -1.0)
        } else {
            self.to_page.vector(1.0, 0.0)
        };
        let up = self.to_page.vector(0.0, 1.0);
        let advance = if self.vertical {
            self.to_page.vector(0.0, self.advance.1)
        } else {
            self.to_page.vector(self.advance.0, 0.0)
        };
        let size = (up.0.hypot(up.1) as f32) * face.scale;
        let direction = Direction::of(along.0, along.1);
        let (left, mut baseline) = direction.upright(x as f32, y as f32);
        let (width, _) = direction.upright(advance.0 as f32, advance.1 as f32);
        if self.vertical {
            // The origin of a vertical glyph is the middle of its top edge.
            baseline += 0.3 * size;
        }
        let tracking = direction
            .upright(self.tracking.0 as f32, self.tracking.1 as f32)
            .0;
        let sane = [left, baseline, width, size, tracking]
            .iter()
            .all(|value| value.is_finite() && value.abs() < 1e6);
        (sane && size > 0.05).then(|| Glyph {
            text,
            direction,
            left,
            right: left + width.max(0.0),
            baseline,
            size,
            tracking,
            face,
        })
    }
}

/// Replacement text spread evenly over the room of the glyphs it replaces.
pub(super) fn spread(words: &str, replaced: &[Glyph], first: &Glyph) -> Vec<Glyph> {
    let left = replaced
        .iter()
        .map(|glyph| glyph.left)
        .fold(f32::MAX, f32::min);
    let right = replaced
        .iter()
        .map(|glyph| glyph.right)
        .fold(f32::MIN, f32::max);
    let letters: Vec<char> = words.chars().collect();
    let step = (right - left) / letters.len().max(1) as f32;
    let place = |(index, letter): (usize, &char)| Glyph {
        text: text::clean_string(letter.encode_utf8(&mut [0; 4])),
        left: left + step * index as f32,
        right: left + step * (index + 1) as f32,
        tracking: 0.0,
        ..first.clone()
    };
    letters
        .iter()
        .enumerate()
        .map(place)
        .filter(|glyph| glyph.text != Text::None)
        .collect()
}
