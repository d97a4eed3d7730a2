//! Regular expressions as JSON Schema has them (ECMA-262) in the words of the constraint engine.
//!
//! The two differ in what the same signs mean: `.` takes a carriage return in one, `\s` a byte order mark
//! in the other, and a class has operators inside. What comes out allows what both allow, so that what is
//! written under it matches for every reader. What cannot be said so is refused.

use std::iter::Peekable;
use std::str::Chars;

/// Space in ASCII: space for both.
const SPACE: &str = " \\t\\n\\r\\f\\v";
/// What is no space for both; the engine's own `\s` has all but the byte order mark.
const NO_SPACE: &str = "[^\\s\\u{feff}]";
/// What is no end of a line.
const NO_LINE_END: &str = "[^\\n\\r\\u{2028}\\u{2029}]";

/// The pattern for the constraint engine.
///
/// # Errors
/// What in it cannot be said.
pub(super) fn translated(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '.' => out.push_str(NO_LINE_END),
            '[' => class(&mut rest, &mut out)?,
            '\\' => match escaped(&mut rest)? {
                's' => out.push_str(&format!("[{SPACE}]")),
                'S' => out.push_str(NO_SPACE),
                other => out.extend(['\\', other]),
            },
            other => out.push(other),
        }
    }
    Ok(out)
}

/// What a backslash stands before.
fn escaped(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    match rest.next() {
        None => Err("it ends with a backslash".to_owned()),
        // Of control characters and letters that mean something in one of the two alone.
        Some(letter) if letter.is_ascii_alphabetic() && !"dDwWsStnrfvxupPbB".contains(letter) => {
            Err(format!("\\{letter} is not enforced"))
        }
        Some(other) => Ok(other),
    }
}

/// A class, of which the opening bracket was read.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), String> {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut inside = String::new();
    let (mut has_space, mut has_no_space) = (false, false);
    loop {
        match rest.next() {
            None => return Err("a class does not end".to_owned()),
            Some(']') => break,
            Some('\\') => match escaped(rest)? {
                's' if is_negated => inside.push_str("\\s\\u{feff}"),
                's' => {
                    has_space = true;
                    inside.push_str(SPACE);
                }
                'S' => has_no_space = true,
                'b' => inside.push_str("\\x08"),
                other => inside.extend(['\\', other]),
            },
            Some('-') if rest.peek() == Some(&'-') => {
                return Err("-- in a class is not enforced".to_owned());
            }
            // These begin operators in the engine's classes.
            Some(sign @ ('[' | '&' | '~')) => inside.extend(['\\', sign]),
            Some(other) => inside.push(other),
        }
    }
    match (is_negated, has_no_space, has_space) {
        // Everything, which `[\s\S]` is the usual way to say.
        (false, true, true) => out.push_str("(?s:.)"),
        (false, true, false) if inside.is_empty() => out.push_str(NO_SPACE),
        (false, true, false) => out.push_str(&format!("(?:{NO_SPACE}|[{inside}])")),
        (true, true, _) => return Err("\\S in a negated class is not enforced".to_owned()),
        (false, false, _) if inside.is_empty() => {
            return Err("an empty class fits nothing".to_owned());
        }
        (true, false, _) if inside.is_empty() => out.push_str("(?s:.)"),
        (negated, false, _) => {
            let sign = if negated { "^" } else { "" };
            out.push_str(&format!("[{sign}{inside}]"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_stays_and_what_does_not_is_said_otherwise() {
        for (pattern, expected) in [
            ("^[a-z]+\\.\\d{2}$", "^[a-z]+\\.\\d{2}$"),
            ("a.b", "a[^\\n\\r\\u{2028}\\u{2029}]b"),
            ("\\s*", "[ \\t\\n\\r\\f\\v]*"),
            ("\\S", "[^\\s\\u{feff}]"),
            ("[\\s\\S]*", "(?s:.)*"),
            ("[^]", "(?s:.)"),
            ("[\\sx]", "[ \\t\\n\\r\\f\\vx]"),
            ("[^\\s,]", "[^\\s\\u{feff},]"),
            ("[\\S ]", "(?:[^\\s\\u{feff}]|[ ])"),
            ("[a&&b~[:x:]", "[a\\&\\&b\\~\\[:x:]"),
            ("[.\\]]", "[.\\]]"),
        ] {
            assert_eq!(translated(pattern).as_deref(), Ok(expected), "{pattern}");
        }
        for pattern in ["\\", "[a", "[]", "\\cJ", "\\Z", "[a--b]", "[^\\S]"] {
            assert!(translated(pattern).is_err(), "{pattern}");
        }
    }
}
