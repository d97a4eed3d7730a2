//! Units to quote: sentences, list items, table rows and lines of code.

use std::ops::Range;

use crate::marks;

/// Words with a full stop that do not end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "cf", "vs", "resp", "approx", "dr", "mr", "mrs", "ms", "prof", "st", "no",
    "nos", "fig", "figs", "sec", "ch", "chap", "vol", "eq", "ref", "al", "inc", "ltd", "co",
    "corp", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
    "a.m", "p.m", "min", "max", "ver",
];

/// What stands before the items of a list in plain text.
pub const BULLETS: &[&str] = &["- ", "* ", "+ ", "• ", "– "];

/// The units of `text`, in order, in bytes, without the white space around them. Together they hold all
/// text that is not white space.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut units = Vec::new();
    let mut start = 0;
    for part in paragraphs(text) {
        debug_assert!(part.start >= start);
        start = part.end;
        split(text, part, &mut units);
    }
    units
}

/// A line that is set off goes on in the next one if it has at least so many characters and both are set off
/// alike: wrapped text, as in manual pages, has long lines, and code seldom.
const WRAPPED: usize = 60;

/// Runs of lines that are wrapped text, and single lines that stand for themselves.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut before: Option<&str> = None;
    let mut offset = 0;
    let mut fenced = begins_fenced(text);
    for line in text.split_inclusive('\n') {
        let range = offset..offset + line.len();
        offset = range.end;
        let bare = line.trim();
        let fence = is_fence(bare);
        if bare.is_empty() {
            before = None;
            continue;
        }
        let alone = fence || fenced || is_row(bare);
        let wrapped = |before| is_wrapped(before, line, parts.len() == 1);
        let goes_on = !alone && !starts_item(bare) && before.is_some_and(wrapped);
        match parts.last_mut() {
            Some(last) if goes_on => last.end = range.end,
            _ => parts.push(range),
        }
        before = (!alone).then_some(line);
        fenced ^= fence;
    }
    parts
}

/// Whether a line of Markdown, without the white space around it, opens or closes a block of code.
pub fn is_fence(bare: &str) -> bool {
    bare.starts_with("```") || bare.starts_with("~~~")
}

/// Whether a text that was cut out of a file begins in a block of code: its first fence closes one. It has no
/// partner, names no language, and stands right below a line that is no heading.
fn begins_fenced(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let fences = lines.iter().filter(|line| is_fence(line)).count();
    let first = lines.iter().position(|line| is_fence(line));
    let (Some(first), true) = (first, fences % 2 == 1) else {
        return false;
    };
    let names_none = lines
        .get(first)
        .is_some_and(|fence| fence.trim_matches(['`', '~']).is_empty());
    let above = first.checked_sub(1).and_then(|above| lines.get(above));
    names_none && above.is_some_and(|above| !above.is_empty() && !above.starts_with('#'))
}

/// Whether the second of two lines goes on with the first, which may be the `start` of the text: there the
/// white space before it is missing.
fn is_wrapped(line: &str, next: &str, start: bool) -> bool {
    let length = line.trim_end().chars().count();
    match (set_off(line), set_off(next)) {
        (None, None) => true,
        (None, Some(space)) => start && space.len() + length >= WRAPPED,
        (one, other) => one == other && length >= WRAPPED,
    }
}

/// The white space before a line that is set off like code.
fn set_off(line: &str) -> Option<&str> {
    let (space, _) = line.split_at(line.len() - line.trim_start().len());
    (space.len() >= 4 || space.contains('\t')).then_some(space)
}

/// Whether a line is the row of a table.
pub fn is_row(bare: &str) -> bool {
    bare.contains(" | ") || bare.starts_with('|') || bare.contains(marks::CELL)
}

fn starts_item(line: &str) -> bool {
    let bullet =
        line.starts_with(marks::ITEM) || BULLETS.iter().any(|bullet| line.starts_with(bullet));
    let digits = line.chars().take_while(char::is_ascii_digit).count();
    let numbered = (1..=3).contains(&digits)
        && line
            .get(digits..)
            .is_some_and(|rest| rest.starts_with(". ") || rest.starts_with(") "));
    bullet || numbered
}

/// Splits a paragraph at the ends of its sentences.
fn split(text: &str, part: Range<usize>, units: &mut Vec<Range<usize>>) {
    let body = text.get(part.clone()).unwrap_or_default();
    let mut start = 0;
    for (at, character) in body.char_indices() {
        if !matches!(character, '.' | '!' | '?' | '。' | '！' | '？') {
            continue;
        }
        let after = at + character.len_utf8();
        let closing = body.get(after..).unwrap_or_default();
        let closed = closing.len()
            - closing
                .trim_start_matches(['"', '\'', ')', ']', '”', '’', '»'])
                .len();
        let end = after + closed;
        if ends_sentence(body, start, at, end, character) {
            push(text, part.start + start..part.start + end, units);
            start = end;
        }
    }
    push(text, part.start + start..part.end, units);
}

/// Whether the mark at `at`, with its closing quotes up to `end`, ends the sentence from `start`.
fn ends_sentence(body: &str, start: usize, at: usize, end: usize, mark: char) -> bool {
    let rest = body.get(end..).unwrap_or_default();
    if !matches!(mark, '。' | '！' | '？') && !rest.starts_with(char::is_whitespace) {
        return false;
    }
    let Some(next) = rest
        .trim_start()
        .chars()
        .find(|c| !"\"'([“‘«`".contains(*c))
    else {
        return false;
    };
    if next.is_lowercase() {
        return false;
    }
    if mark != '.' {
        return true;
    }
    let sentence = body.get(start..at).unwrap_or_default();
    let word = sentence
        .rsplit(|c: char| c.is_whitespace() || "([\"'“".contains(c))
        .next()
        .unwrap_or_default();
    let lower = word.to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let number_of_item = sentence.trim() == word && word.chars().all(|c| c.is_ascii_digit());
    !(ABBREVIATIONS.contains(&lower.as_str()) || initial || number_of_item)
}

/// Adds a unit without the white space around it, if anything is left.
fn push(text: &str, range: Range<usize>, units: &mut Vec<Range<usize>>) {
    let body = text.get(range.clone()).unwrap_or_default();
    let start = range.start + (body.len() - body.trim_start().len());
    let end = start + body.trim().len();
    if start < end {
        units.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> Vec<&str> {
        sentences(text)
            .into_iter()
            .filter_map(|range| text.get(range))
            .collect()
    }

    #[test]
    fn documentation_is_split_where_a_reader_would() {
        for (text, expected) in [
            ("It is on. It was off.", vec!["It is on.", "It was off."]),
            (
                "Use e.g. Perl, i.e. a script. Done.",
                vec!["Use e.g. Perl, i.e. a script.", "Done."],
            ),
            (
                "Since version 3.14 it works. Edit foo.conf now.",
                vec!["Since version 3.14 it works.", "Edit foo.conf now."],
            ),
            (
                "J. Smith wrote it. See Fig. 3 for more.",
                vec!["J. Smith wrote it.", "See Fig. 3 for more."],
            ),
            (
                "Is it so? Yes! (Really.) Fine.",
                vec!["Is it so?", "Yes!", "(Really.)", "Fine."],
            ),
            (
                "wrapped\nline goes on. Next\none.",
                vec!["wrapped\nline goes on.", "Next\none."],
            ),
            (
                "- one item\n- another\n  goes on",
                vec!["- one item", "- another\n  goes on"],
            ),
            ("a | b\nc | d", vec!["a | b", "c | d"]),
            (
                "    let x = 1;\n    let y = 2;",
                vec!["let x = 1;", "let y = 2;"],
            ),
            (
                "Label=\n           The label for the prefix, an unsigned integer in the range\n           0...4294. It is so.\n",
                vec![
                    "Label=",
                    "The label for the prefix, an unsigned integer in the range\n           0...4294.",
                    "It is so.",
                ],
            ),
            (
                "The label for the prefix, an unsigned integer in the range\n           0...4294. It is so.\n",
                vec![
                    "The label for the prefix, an unsigned integer in the range\n           0...4294.",
                    "It is so.",
                ],
            ),
            (
                "  gc  Delete old runs\n  doctor  Check for damage\n```\n\nIt is\nso.",
                vec![
                    "gc  Delete old runs",
                    "doctor  Check for damage",
                    "```",
                    "It is\nso.",
                ],
            ),
            (
                "It is\nso.\n\n```\nplumb gc\nplumb doctor",
                vec!["It is\nso.", "```", "plumb gc", "plumb doctor"],
            ),
            (
                "1. First step.\n2. Second step.",
                vec!["1. First step.", "2. Second step."],
            ),
        ] {
            assert_eq!(units(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn units_are_in_order_and_hold_everything(text in "[a-zA-Z0-9.!? \n\t|()\"'-]{0,200}|\\PC{0,80}") {
            let mut end = 0;
            let mut held = String::new();
            for range in sentences(&text) {
                prop_assert!(range.start >= end && range.end > range.start);
                end = range.end;
                held.push_str(text.get(range).unwrap_or_default());
            }
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&held), solid(&text));
        }
    }
}
