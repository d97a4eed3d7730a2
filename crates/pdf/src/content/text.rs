//! From what a font says to text worth searching.

use super::glyph::Text;
use hayro_cmap::BfString;

/// Spells out ligatures, maps all kinds of spaces to one, drops what cannot be seen.
pub(crate) fn clean(unicode: Option<BfString>) -> Text {
    match unicode {
        None => Text::None,
        Some(BfString::Char(letter)) => clean_letter(letter),
        Some(BfString::String(letters)) => clean_string(&letters),
    }
}

/// Cleans a replacement text or a mapping to several letters.
pub(crate) fn clean_string(letters: &str) -> Text {
    let mut text = String::new();
    for letter in letters.chars() {
        match clean_letter(letter) {
            Text::None => {}
            Text::Space => text.push(' '),
            other => other.push_to(&mut text),
        }
    }
    let mut inner = text.chars();
    match (inner.next(), inner.next()) {
        (None, _) => Text::None,
        (Some(' '), None) => Text::Space,
        (Some(letter), None) => Text::One(letter),
        _ if text.trim().is_empty() => Text::Space,
        _ => Text::Many(text.into_boxed_str()),
    }
}

fn clean_letter(letter: char) -> Text {
    if let Some(spelled) = ligature(letter) {
        return Text::Many(spelled.into());
    }
    match letter {
        '\u{20}'..='\u{7e}' if letter != ' ' => Text::One(letter),
        _ if letter.is_whitespace() => Text::Space,
        // Bullets of symbol fonts live in the private use area.
        '\u{f0b7}' | '\u{f0a7}' | '\u{f076}' | '\u{f0d8}' => Text::One('•'),
        '\u{fffd}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' => Text::None,
        _ if letter.is_control() => Text::None,
        _ => Text::One(letter),
    }
}

fn ligature(letter: char) -> Option<&'static str> {
    Some(match letter {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => return None,
    })
}
