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

/// A code of TeX's text fonts (encoding OT1).
pub(crate) fn tex_letter(code: u8) -> Text {
    match code {
        11..=15 => {
            let ligatures = ["ff", "fi", "fl", "ffi", "ffl"];
            ligatures
                .get(usize::from(code - 11))
                .map_or(Text::None, |letters| Text::Many((*letters).into()))
        }
        16 => Text::One('ı'),
        18 => Text::One('`'),
        19 => Text::One('´'),
        20 => Text::One('ˇ'),
        25 => Text::One('ß'),
        34 => Text::One('”'),
        39 => Text::One('’'),
        92 => Text::One('“'),
        94 => Text::One('ˆ'),
        96 => Text::One('‘'),
        123 => Text::One('–'),
        124 => Text::One('—'),
        127 => Text::One('¨'),
        33..=126 => Text::One(char::from(code)),
        _ => Text::None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ligatures_spaces_and_the_invisible() {
        let clean = |letter: char| clean(Some(BfString::Char(letter)));
        assert_eq!(clean('ﬁ'), Text::Many("fi".into()));
        assert_eq!(clean('\u{a0}'), Text::Space);
        assert_eq!(clean('\u{200b}'), Text::None);
        assert_eq!(clean('\u{f0b7}'), Text::One('•'));
        assert_eq!(clean_string("a\u{ad}b ﬀ"), Text::Many("a\u{ad}b ff".into()));
        assert_eq!(clean_string(" \t"), Text::Space);
        assert_eq!(clean_string(""), Text::None);
    }

    #[test]
    fn codes_of_tex_fonts() {
        assert_eq!(tex_letter(b'a'), Text::One('a'));
        assert_eq!(tex_letter(12), Text::Many("fi".into()));
        assert_eq!(tex_letter(200), Text::None);
    }
}
