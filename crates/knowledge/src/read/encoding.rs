//! Bytes into text.

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::error::Problem;

/// How much of a page is searched for the encoding that it declares, as browsers do.
const DECLARED_WITHIN: usize = 4096;

/// Decodes a file: by its byte order mark, as UTF-8, by what an HTML page declares, else as Windows-1252,
/// of which Latin-1 is a part.
pub(super) fn decoded(bytes: &[u8], is_html: bool) -> Result<String, Problem> {
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        let (text, _) =
            encoding.decode_without_bom_handling(bytes.get(length..).unwrap_or_default());
        return checked(text.into_owned());
    }
    if let Some(encoding) = wide(bytes.get(..1024).unwrap_or(bytes)) {
        return checked(encoding.decode_without_bom_handling(bytes).0.into_owned());
    }
    let declared = if is_html { declared(bytes) } else { None };
    // This one encoding looks like ASCII.
    if declared != Some(ISO_2022_JP)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return checked(text.to_owned());
    }
    let encoding = match declared {
        Some(encoding) if encoding != UTF_8 => encoding,
        _ if is_mostly_utf8(bytes) => UTF_8,
        _ => WINDOWS_1252,
    };
    checked(encoding.decode_without_bom_handling(bytes).0.into_owned())
}

/// UTF-16 without a byte order mark: every other byte of text is zero then.
pub(super) fn wide(head: &[u8]) -> Option<&'static Encoding> {
    if let Some((encoding, _)) = Encoding::for_bom(head) {
        return Some(encoding).filter(|encoding| *encoding != UTF_8);
    }
    let pairs = head.len() / 2;
    let zeros = |odd: usize| {
        head.iter()
            .skip(odd)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    match pairs {
        0..4 => None,
        _ if odd * 10 > pairs * 7 && even * 10 < pairs => Some(UTF_16LE),
        _ if even * 10 > pairs * 7 && odd * 10 < pairs => Some(UTF_16BE),
        _ => None,
    }
}

/// Text that is full of control characters is none.
fn checked(text: String) -> Result<String, Problem> {
    let is_strange =
        |c: &char| c.is_control() && !c.is_whitespace() && !matches!(c, '\u{8}' | '\u{1b}');
    let head: Vec<char> = text.chars().take(1 << 16).collect();
    let strange = head.iter().filter(|c| is_strange(c)).count();
    if strange * 50 > head.len() {
        Err(Problem::Binary)
    } else {
        Ok(text)
    }
}

/// Whether a text is UTF-8 but for a few damaged characters.
fn is_mostly_utf8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad * 10
}

/// The encoding that a page declares in `<meta charset>` or `<?xml encoding?>`.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes
        .get(..DECLARED_WITHIN)
        .unwrap_or(bytes)
        .to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let after = |mark: &str| head.split_once(mark).map(|(_, after)| after);
    let label = after("charset=")
        .or_else(|| after("encoding="))?
        .trim_start_matches(['"', '\'', ' ']);
    let label = label
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.')))
        .next()?;
    Encoding::for_label(label.as_bytes())
}
