//! Text strings of dictionaries: titles, replacement text.

/// A text string: UTF-16 or UTF-8 with a byte order mark, else nearly Latin-1. PDF 32000-1, 7.9.2.2.
pub(crate) fn text_string(bytes: &[u8]) -> String {
    match bytes {
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => bytes.iter().map(|byte| pdf_doc_encoding(*byte)).collect(),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units)
        .map(|letter| letter.unwrap_or('\u{fffd}'))
        .collect()
}

/// PDF 32000-1, annex D.2: the codes in which PDFDocEncoding differs from Latin-1.
fn pdf_doc_encoding(byte: u8) -> char {
    const FROM_80: [char; 32] = [
        '•', '†', '‡', '…', '—', '–', 'ƒ', '⁄', '‹', '›', '−', '‰', '„', '“', '”', '‘', '’', '‚',
        '™', 'ﬁ', 'ﬂ', 'Ł', 'Œ', 'Š', 'Ÿ', 'Ž', 'ı', 'ł', 'œ', 'š', 'ž', '\u{fffd}',
    ];
    match byte {
        0x80..=0x9f => FROM_80
            .get(usize::from(byte - 0x80))
            .copied()
            .unwrap_or('\u{fffd}'),
        0xa0 => '€',
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::text_string;

    #[test]
    fn every_encoding() {
        assert_eq!(text_string(b"plain \x84 dash"), "plain — dash");
        assert_eq!(text_string(b"\xfe\xff\x00H\x00i\xd8\x3d\xde\x00"), "Hi😀");
        assert_eq!(text_string(b"\xff\xfeH\x00i\x00"), "Hi");
        assert_eq!(text_string(b"\xef\xbb\xbfna\xc3\xafve"), "naïve");
    }
}
