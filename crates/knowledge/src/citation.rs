//! Checks that need no model: whether a quote stands in a text, and whether an answer says more than
//! its quote.

use std::collections::BTreeSet;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use crate::marks::{is_hyphen, is_mark};

/// Where `quote` stands in `text`, in bytes.
///
/// The words must be the same, in their case; white space, soft hyphens, hyphens in words,
/// ligatures and typographic quotes and dashes are taken as equal, and the marks that readers add count for
/// nothing. An empty quote stands nowhere.
pub fn locate(quote: &str, text: &str) -> Option<Range<usize>> {
    let wanted: Vec<char> = normalised(quote)
        .into_iter()
        .map(|(character, _)| character)
        .collect();
    let held = normalised(text);
    if wanted.is_empty() || wanted.len() > held.len() {
        return None;
    }
    let matches = |window: &[(char, Range<usize>)]| window.iter().map(|(c, _)| c).eq(wanted.iter());
    let found = held.windows(wanted.len()).find(|window| matches(window))?;
    Some(found.first()?.1.start..found.last()?.1.end)
}

/// The characters that count, each with the bytes that it comes from. White space does not count at
/// all: words that run together differ in their letters too.
fn normalised(text: &str) -> Vec<(char, Range<usize>)> {
    let mut out: Vec<(char, Range<usize>)> = Vec::new();

    for (at, character) in text.char_indices() {
        let end = at + character.len_utf8();
        let is_soft = matches!(character, '\u{ad}' | '\u{200b}');
        if character.is_whitespace() || is_soft || is_mark(character) {
            continue;
        }
        // Whether a hyphen joins or divides its word nobody can tell where a line ends with it.
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after_letter = before.is_some_and(char::is_alphabetic);
        let next = text
            .get(end..)
            .and_then(|rest| rest.trim_start().chars().next());
        let in_word = after_letter && next.is_some_and(char::is_alphabetic);
        if is_hyphen(character) && in_word {
            continue;
        }
        let plain = match character {
            '“' | '”' | '„' | '«' | '»' => '"',
            '‘' | '’' | '‚' => '\'',
            '\u{2010}'..='\u{2015}' | '−' => '-',
            other => other,
        };
        for part in plain.nfkc().filter(|c| !c.is_whitespace()) {
            out.push((part, at..end));
        }
    }
    out
}

/// A word of an answer that its quote does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The word as the answer has it.
    pub token: String,
}

/// The numbers, names and identifiers of `answer` that neither `quote` nor `question` nor `context` (the
/// title and headings above the quote) has.
///
/// A number counts whatever its thousands separators, and as a word up to twenty. What is neither a
/// number, a name nor an identifier is not checked.
pub fn check_answer(answer: &str, quote: &str, question: &str, context: &str) -> Vec<Mismatch> {
    let known: BTreeSet<String> = [quote, question, context]
        .into_iter()
        .flat_map(tokens)
        .flat_map(|token| {
            // `skip=88` says 88.
            let parts = token.text.split('=').flat_map(forms);
            let ends = ends(&token.text).into_iter().flatten().flat_map(forms);
            let whole = forms(&token.text);
            parts.chain(ends).chain(whole).collect::<Vec<_>>()
        })
        .collect();
    let held = letters(quote);
    let mut seen = BTreeSet::new();
    tokens(answer)
        .into_iter()
        .filter(Token::is_checked)
        .filter(|token| !forms(&token.text).iter().any(|form| known.contains(form)))
        .filter(|token| !is_part(&token.text, &held))
        .filter(|token| {
            let is_known = |end: &str| forms(end).iter().any(|form| known.contains(form));
            !ends(&token.text).is_some_and(|ends| ends.into_iter().all(is_known))
        })
        .filter(|token| seen.insert(token.text.to_lowercase()))
        .map(|token| Mismatch { token: token.text })
        .collect()
}

/// The two numbers of a range (`20-50`), which may as well be written out ("between 20 and 50").
fn ends(token: &str) -> Option<[&str; 2]> {
    let (from, to) = token.split_once(['-', '\u{2013}'])?;
    let is_number = |end: &str| !end.is_empty() && end.chars().all(|c| c.is_ascii_digit());
    (is_number(from) && is_number(to)).then_some([from, to])
}

/// Whether a long identifier stands in the quote as part of a longer run (`--name=value`, `(name)`).
fn is_part(token: &str, held: &str) -> bool {
    token.len() >= 4 && token.chars().any(char::is_alphabetic) && held.contains(&letters(token))
}

/// The characters of a text that count, in lower case.
fn letters(text: &str) -> String {
    let letters = normalised(text).into_iter().map(|(character, _)| character);
    letters.collect::<String>().to_lowercase()
}

struct Token {
    text: String,
    /// Whether it begins a sentence, where every word has a capital.
    first: bool,
}

impl Token {
    fn is_checked(&self) -> bool {
        let text = self.text.as_str();
        let has_digit = text.chars().any(|c| c.is_ascii_digit());
        let inner = text.chars().skip(1);
        let identifier = text.contains(['_', '/', '\\', '@', '=', '$'])
            || text.starts_with('-')
            || (text.contains('.')
                && !text.ends_with('.')
                && text.chars().any(char::is_alphabetic))
            || inner.clone().any(char::is_uppercase);
        let name = text.starts_with(char::is_uppercase) && !self.first && text.chars().count() > 1;
        has_digit || identifier || name || number_word(&text.to_lowercase()).is_some_and(|n| n > 1)
    }
}

/// The words of a text, punctuation taken from their ends.
fn tokens(text: &str) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::new();
    let mut first = true;
    let spaced: String = (text.char_indices())
        .map(|(at, c)| match c {
            ',' if is_thousands(text, at) => c,
            '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '"' | '`' | '“' | '”' | ',' | ';'
            | '|' | '…' => ' ',
            _ if is_mark(c) => ' ',
            '.' if is_dotted(text, at) => ' ',
            _ => c,
        })
        .collect();
    for word in spaced.split_whitespace() {
        let trimmed = word.trim_matches(|c: char| ".:!?'’‘*".contains(c));
        if trimmed.is_empty() {
            continue;
        }
        out.push(Token {
            text: trimmed.to_owned(),
            first,
        });
        first = word.ends_with(['.', '!', '?', ':']);
    }
    out
}

/// Whether the dot at this byte has another beside it, as between the ends of a range.
fn is_dotted(text: &str, dot: usize) -> bool {
    let (before, after) = text.as_bytes().split_at(dot);
    before.last() == Some(&b'.') || after.get(1) == Some(&b'.')
}

/// Whether the comma at this byte belongs to a number like 1,600.
fn is_thousands(text: &str, comma: usize) -> bool {
    let (before, after) = text.as_bytes().split_at(comma);
    let digits = after.iter().skip(1).take_while(|b| b.is_ascii_digit());
    before.last().is_some_and(u8::is_ascii_digit) && digits.count() == 3
}

/// What a word may be written as: lower case, without separators, without a plural or a possessive,
/// and a number word as digits.
fn forms(token: &str) -> Vec<String> {
    let lower: String = token.nfkc().collect::<String>().to_lowercase();
    let lower = lower.trim_end_matches(',').to_owned();
    let mut forms = vec![lower.clone()];
    let without_commas = lower.replace([',', '\u{a0}', '\u{202f}'], "");
    if without_commas.starts_with(|c: char| c.is_ascii_digit()) {
        let digits: String = without_commas
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        // The number of `16MB` and the unit apart, for a text that has a space between them.
        if digits.len() < without_commas.len() && !without_commas.contains(['-', ':', '/']) {
            forms.push(digits.trim_end_matches('.').to_owned());
        }
        forms.push(without_commas.clone());
    }
    if let Some(number) = number_word(&lower) {
        forms.push(number.to_string());
    }
    for ending in ["'s", "’s", "es", "s"] {
        if let Some(stem) = lower.strip_suffix(ending).filter(|stem| stem.len() > 2) {
            forms.push(stem.to_owned());
        }
    }
    let bare = lower.trim_start_matches('-');
    if bare != lower && !bare.is_empty() {
        forms.push(bare.to_owned());
    }
    forms
}

/// The number that an English word in lower case says, up to twenty.
pub fn number_word(word: &str) -> Option<usize> {
    const WORDS: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    WORDS.iter().position(|known| *known == word)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_are_found_however_they_are_set() {
        let text = "The ser-\nver  keeps “ﬁles” for 30\u{a0}minutes — no longer.";
        let range = locate(
            "The server keeps \"files\" for 30 minutes - no longer.",
            text,
        )
        .unwrap();
        assert_eq!(range, 0..text.len());
        let marked = "‣ Size¶ │ 16 ― MB";
        let marked = locate("Size 16 MB", marked).map(|range| &marked[range]);
        assert_eq!(marked, Some("Size¶ │ 16 ― MB"));
        assert_eq!(locate("the server", text), None, "case counts");
        assert_eq!(locate("31 minutes", text), None);
        assert_eq!(locate(" ", text), None);
        let range = locate("30 minutes", text).unwrap();
        assert_eq!(&text[range], "30\u{a0}minutes");
    }

    #[test]
    fn numbers_and_names_must_stand_in_the_quote() {
        let quote = "A table can have at most 1,600 columns; the limit is set by MaxHeapAttributeNumber in PostgreSQL.";
        let check = |answer: &str| {
            check_answer(answer, quote, "How many columns?", "Limits")
                .into_iter()
                .map(|m| m.token)
                .collect::<Vec<_>>()
        };
        assert!(check("At most 1600 columns.").is_empty());
        assert!(check("PostgreSQL's limit is 1,600.").is_empty());
        assert_eq!(check("At most 1500 columns."), ["1500"]);
        assert_eq!(
            check("In Oracle it is 1600, see max_columns."),
            ["Oracle", "max_columns"]
        );
        assert_eq!(check("There are five."), ["five"]);
        assert!(check_answer("At A,0.", "1,600 at A,0.", "", "").is_empty());
        assert!(check_answer("4294", "An integer in the range 0...4294.", "", "").is_empty());
        assert!(check_answer("It takes two steps.", "It takes 2 steps.", "", "").is_empty());
        assert!(check_answer("88 bytes", "Run dd bs=1 skip=88", "", "").is_empty());
        assert!(check_answer("max-size", "Use --max-size=5.", "", "").is_empty());
        for (range, quote, strange) in [
            ("20-50 times", "It is between 20 and 50 times slower.", 0),
            ("20\u{2013}50 times", "It is 20-50 times slower.", 0),
            ("from 20 to 50 times", "It is 20-50 times slower.", 0),
            ("20-60 times", "It is between 20 and 50 times slower.", 1),
        ] {
            assert_eq!(check_answer(range, quote, "", "").len(), strange, "{range}");
        }
        assert_eq!(
            check_answer("8 bytes", "Run dd bs=1 skip=88", "", "").len(),
            1
        );
        assert!(
            check_answer("Segments have 16 MB.", "It is 16MB.", "", "")
                .iter()
                .all(|m| m.token == "MB")
        );
    }

    proptest! {
        #[test]
        fn what_stands_there_is_found_however_it_is_wrapped(words in proptest::collection::vec("[a-zA-Z0-9]{1,9}", 3..12), breaks in proptest::collection::vec(any::<bool>(), 12)) {
            let plain = words.join(" ");
            let mut wrapped = String::new();
            for (index, word) in words.iter().enumerate() {
                if index > 0 {
                    wrapped.push_str(if breaks[index] { "\n   " } else { " " });
                }
                wrapped.push_str(word);
            }
            let text = format!("Before {wrapped} after");
            let range = locate(&plain, &text).unwrap();
            prop_assert_eq!(locate(&plain, &text[range]).is_some(), true);
        }

        #[test]
        fn an_answer_that_is_in_its_quote_is_never_refused(quote in "[A-Za-z0-9 .,_/-]{1,80}", from in 0usize..80, length in 1usize..80) {
            let words: Vec<&str> = quote.split(' ').collect();
            let answer = words.iter().skip(from % words.len()).take(length).copied().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(check_answer(&answer, &quote, "", ""), vec![]);
        }
    }
}
