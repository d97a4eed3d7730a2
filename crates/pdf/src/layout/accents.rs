//! Accents that are drawn by themselves over or under a letter, as TeX's older fonts do.

use super::words::Fragment;
use crate::content::glyph::{Glyph, Text};
use unicode_normalization::char::compose;

/// The middles of an accent and its letter are at most this far apart (shares of the font size).
const MAX_OFFSET: f32 = 0.25;

/// Joins an accent with its letter, whichever of them was drawn first. False if they are none.
pub(super) fn combine(last: &mut Fragment, glyph: &Glyph) -> bool {
    let Text::One(next) = glyph.text else {
        return false;
    };
    let Some(previous) = last.text.chars().next_back() else {
        return false;
    };
    let offset = (last.last_left + last.right - glyph.left - glyph.right) / 2.0;
    let size = last.size.max(glyph.size);
    let stacked =
        offset.abs() < MAX_OFFSET * size && (last.baseline - glyph.baseline).abs() < 0.5 * size;
    if !stacked {
        return false;
    }
    match (combining(previous), combining(next)) {
        (Some(accent), None) if next.is_alphabetic() => {
            last.text.pop();
            push(&mut last.text, next, accent);
            if last.text.chars().count() <= 2 {
                last.baseline = glyph.baseline;
                last.left = last.left.min(glyph.left);
            }
            last.last_left = glyph.left;
            last.right = glyph.right;
            last.bottom = last
                .bottom
                .max(glyph.baseline + glyph.face.descent * glyph.size);
            true
        }
        (None, Some(accent)) if previous.is_alphabetic() => {
            last.text.pop();
            push(&mut last.text, previous, accent);
            true
        }
        _ => false,
    }
}

fn push(text: &mut String, letter: char, accent: char) {
    // An i that takes an accent loses its dot in the font, not in the text.
    let letter = match letter {
        'ı' => 'i',
        'ȷ' => 'j',
        _ => letter,
    };
    match compose(letter, accent) {
        Some(composed) => text.push(composed),
        None => text.extend([letter, accent]),
    }
}

/// The combining form of an accent that stands by itself.
fn combining(accent: char) -> Option<char> {
    Some(match accent {
        '`' | 'ˋ' => '\u{300}',
        '´' | 'ˊ' => '\u{301}',
        'ˆ' | '^' => '\u{302}',
        '˜' => '\u{303}',
        '¯' | 'ˉ' => '\u{304}',
        '˘' => '\u{306}',
        '˙' => '\u{307}',
        '¨' => '\u{308}',
        '˚' => '\u{30a}',
        '˝' => '\u{30b}',
        'ˇ' => '\u{30c}',
        '¸' => '\u{327}',
        '˛' => '\u{328}',
        '\u{300}'..='\u{30c}' | '\u{327}' | '\u{328}' => accent,
        _ => return None,
    })
}
