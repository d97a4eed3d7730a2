//! Letters to words.
//!
//! A word ends at a drawn space, at a gap of more than a tenth of the font size beyond what the
//! document adds between all its letters, or where the baseline moves. Letters come in the order
//! in which they are drawn; words drawn in pieces are put together later, in `rows`.

use super::accents;
use crate::content::glyph::{Glyph, Text};
use rustc_hash::FxHashMap;

/// Wider gaps (shares of the font size) separate words.
pub(crate) const WORD_GAP: f32 = 0.1;
/// A letter that starts further back than this (shares of the font size) begins something new.
pub(crate) const MAX_OVERLAP: f32 = 0.35;
/// Letters of a word share a baseline up to this (shares of the font size),
const BASELINE_SHIFT: f32 = 0.12;
/// or up to this if they have the same size: an asterisk that is moved up is no exponent.
const SAME_SIZE_SHIFT: f32 = 0.35;

/// Whether two sizes and baselines fit into one word.
pub(crate) fn share_baseline(a: (f32, f32), b: (f32, f32)) -> bool {
    let ((size, baseline), (other_size, other_baseline)) = (a, b);
    let larger = size.max(other_size);
    let same_size = (size - other_size).abs() < 0.05 * larger;
    let allowed = if same_size {
        SAME_SIZE_SHIFT
    } else {
        BASELINE_SHIFT
    };
    (baseline - other_baseline).abs() <= allowed * larger
}

/// A word, or a piece of one, in the upright frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fragment {
    pub(crate) text: String,
    pub(crate) left: f32,
    pub(crate) right: f32,
    pub(crate) top: f32,
    pub(crate) bottom: f32,
    pub(crate) baseline: f32,
    pub(crate) size: f32,
    pub(crate) bold: bool,
    pub(crate) monospaced: bool,
    /// Place in drawing order.
    pub(crate) order: usize,
    /// A space was drawn before it.
    pub(crate) opened: bool,
    /// A space was drawn after it.
    pub(crate) closed: bool,
    /// What the document adds after the last letter.
    tracking: f32,
    /// Where the last letter starts.
    pub(super) last_left: f32,
}

impl Fragment {
    pub(crate) fn bounds(&self) -> [f32; 4] {
        [self.left, self.top, self.right, self.bottom]
    }

    fn new(glyph: &Glyph, order: usize, opened: bool) -> Self {
        let mut text = String::new();
        glyph.text.push_to(&mut text);
        Self {
            text,
            left: glyph.left,
            right: glyph.right,
            top: glyph.baseline - glyph.face.ascent * glyph.size,
            bottom: glyph.baseline + glyph.face.descent * glyph.size,
            baseline: glyph.baseline,
            size: glyph.size,
            bold: glyph.face.bold,
            monospaced: glyph.face.monospaced,
            order,
            opened,
            closed: false,
            tracking: glyph.tracking,
            last_left: glyph.left,
        }
    }

    fn continues_with(&self, glyph: &Glyph) -> bool {
        let size = self.size.max(glyph.size);
        let mut gap = glyph.left - self.right;
        if self.tracking.abs() <= 0.6 * size {
            gap -= self.tracking;
        }
        share_baseline((self.size, self.baseline), (glyph.size, glyph.baseline))
            && gap <= WORD_GAP * size
            && gap >= -MAX_OVERLAP * size
    }

    /// The same letter again on top of the last one: bold for the poor.
    fn repeats(&self, glyph: &Glyph) -> bool {
        let near = |a: f32, b: f32| (a - b).abs() <= 0.1 * glyph.size;
        near(glyph.left, self.last_left)
            && near(glyph.baseline, self.baseline)
            && near(glyph.size, self.size)
            && matches!(&glyph.text, Text::One(letter) if self.text.ends_with(*letter))
    }

    /// Takes the letter in if it belongs to the word.
    fn take(&mut self, glyph: &Glyph) -> bool {
        if self.repeats(glyph) {
            self.bold = true;
            return true;
        }
        if accents::combine(self, glyph) {
            return true;
        }
        let continues = self.continues_with(glyph);
        if continues {
            self.push(glyph);
        }
        continues
    }

    fn push(&mut self, glyph: &Glyph) {
        if !self.text.contains(char::is_alphanumeric) {
            // A sign that is moved up or down does not say where the line is.
            self.baseline = glyph.baseline;
        }
        glyph.text.push_to(&mut self.text);
        self.right = self.right.max(glyph.right);
        self.top = self
            .top
            .min(glyph.baseline - glyph.face.ascent * glyph.size);
        self.bottom = self
            .bottom
            .max(glyph.baseline + glyph.face.descent * glyph.size);
        self.size = self.size.max(glyph.size);
        self.bold &= glyph.face.bold;
        self.monospaced &= glyph.face.monospaced;
        self.tracking = glyph.tracking;
        self.last_left = glyph.left;
    }

    /// Takes in the piece that follows on the same row.
    pub(crate) fn absorb(&mut self, next: Self) {
        self.text.push_str(&next.text);
        self.right = self.right.max(next.right);
        self.top = self.top.min(next.top);
        self.bottom = self.bottom.max(next.bottom);
        self.size = self.size.max(next.size);
        self.bold &= next.bold;
        self.monospaced &= next.monospaced;
        self.closed = next.closed;
    }
}

/// Groups letters of one direction, in drawing order, to words and pieces of words.
pub(crate) fn group<'g>(glyphs: impl Iterator<Item = &'g Glyph>) -> Vec<Fragment> {
    let mut fragments: Vec<Fragment> = Vec::new();
    let mut open = false;
    let mut after_space = false;
    for glyph in glyphs {
        if glyph.text == Text::Space {
            if let Some(last) = fragments.last_mut() {
                last.closed |= open;
            }
            open = false;
            after_space = true;
            continue;
        }
        let taken = open && fragments.last_mut().is_some_and(|last| last.take(glyph));
        if !taken {
            fragments.push(Fragment::new(glyph, fragments.len(), after_space));
            open = true;
        }
        after_space = false;
    }
    drop_repeated(fragments)
}

/// Drops words drawn a second time at nearly the same place, and takes them for bold.
fn drop_repeated(fragments: Vec<Fragment>) -> Vec<Fragment> {
    let mut seen: FxHashMap<String, Vec<usize>> = FxHashMap::default();
    let mut kept: Vec<Fragment> = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        let places = seen.entry(fragment.text.clone()).or_default();
        let first = places.iter().copied().find(|index| {
            kept.get(*index).is_some_and(|other| {
                let near = |a: f32, b: f32| (a - b).abs() <= 0.1 * fragment.size;
                near(other.left, fragment.left)
                    && near(other.baseline, fragment.baseline)
                    && near(other.size, fragment.size)
            })
        });
        if let Some(first) = first.and_then(|index| kept.get_mut(index)) {
            first.bold = true;
        } else {
            places.push(kept.len());
            kept.push(fragment);
        }
    }
    kept
}
