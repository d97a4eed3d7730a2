//! Lines of plain text: runs between empty lines, indents, bullets, adornments.

use std::ops::Range;

/// A line without its line break, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl Line<'_> {
    /// Columns before the first word; a tab goes to the next multiple of eight.
    pub(super) fn indent(&self) -> usize {
        let mut column = 0;
        for character in self.text.chars() {
            match character {
                '\t' => column += 8 - column % 8,
                '\u{c}' => column = 0,
                character if character.is_whitespace() => column += 1,
                _ => break,
            }
        }
        column
    }

    /// The line without white space around it.
    pub(super) fn bare(&self) -> &str {
        self.text.trim()
    }

    /// Where its words stand.
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.start + self.text.len() - self.text.trim_start().len();
        start..self.start + self.text.trim_end().len()
    }
}

/// Line breaks as `\n` alone, without the tricks by which terminals and printers set bold letters.
pub(super) fn normalised(text: String) -> String {
    let text = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text
    };
    if !text.contains(['\u{8}', '\u{1b}']) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '\u{8}' => drop(out.pop()),
            '\u{1b}' => drop(rest.by_ref().find(|c| c.is_ascii_alphabetic())),
            other => out.push(other),
        }
    }
    out
}

/// The lines of a text.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|line| {
            let here = start;
            start += line.len();
            Line {
                text: line.strip_suffix('\n').unwrap_or(line),
                start: here,
            }
        })
        .collect()
}

/// Where the words of a run of lines stand.
pub(super) fn range(lines: &[Line<'_>]) -> Range<usize> {
    match (lines.first(), lines.last()) {
        (Some(first), Some(last)) => first.range().start..last.range().end,
        _ => 0..0,
    }
}

/// Where a run of lines stands with the indent of its first one, for text whose columns matter.
pub(super) fn full_range(lines: &[Line<'_>]) -> Range<usize> {
    let range = range(lines);
    let start = lines.first().map_or(range.start, |first| {
        first.start + first.text.rfind('\u{c}').map_or(0, |at| at + 1)
    });
    start..range.end
}

/// The bytes of the mark that begins a list item, with the space after it.
pub(super) fn mark(line: &str) -> Option<usize> {
    let line = line.trim_start();
    let bullet = line
        .chars()
        .next()
        .filter(|c| matches!(c, '-' | '*' | '+' | '•' | '·' | '◦' | '‣' | '▪' | '–' | 'o'));
    if let Some(bullet) = bullet
        && line
            .get(bullet.len_utf8()..)
            .is_some_and(|rest| rest.starts_with([' ', '\t']) && !rest.trim().is_empty())
    {
        return (bullet != 'o' || line.starts_with("o  ")).then(|| bullet.len_utf8() + 1);
    }
    let open = usize::from(line.starts_with('('));
    let inner = line.get(open..)?;
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    let letter =
        usize::from(digits == 0 && inner.starts_with(|c: char| c.is_ascii_lowercase() || c == '#'));
    let length = if digits > 0 { digits } else { letter };
    let close = inner.get(length..)?.chars().next()?;
    let closed = close == ')'
        || (close == '.' && open == 0 && letter <= usize::from(inner.starts_with('#')));
    let spaced = inner.get(length + 1..)?.starts_with([' ', '\t']);
    ((1..=3).contains(&length) && closed && spaced).then_some(open + length + 2)
}

/// Whether a line is one punctuation mark over and over, as under a heading.
pub(super) fn is_adornment(line: &str) -> bool {
    let line = line.trim_end();
    let first = line.chars().next();
    line.len() >= 2
        && first.is_some_and(|c| c.is_ascii_punctuation() && line.chars().all(|other| other == c))
}

/// Cuts a run of lines where list items begin: the lines before the first one, if any, and one run for
/// each item. `None` where nothing begins an item.
pub(super) fn items<'a, 'b>(lines: &'b [Line<'a>]) -> Option<Vec<&'b [Line<'a>]>> {
    let first = lines.first()?;
    let mut starts: Vec<usize> = Vec::new();
    let mut indents: Vec<usize> = Vec::new();
    let marks = lines
        .iter()
        .filter(|line| mark(line.text).is_some())
        .count();
    for (at, line) in lines.iter().enumerate() {
        let Some(_) = mark(line.text) else { continue };
        let announced = at > 0
            && lines
                .get(at - 1)
                .is_some_and(|before| before.bare().ends_with(':'));
        // In the middle of a paragraph a line may begin with a dash or a number by chance.
        let begins = starts.is_empty()
            && (at == 0 || announced || (marks > 1 && line.indent() >= first.indent()));
        let goes_on = !starts.is_empty()
            && (indents.contains(&line.indent()) || line.indent() > *indents.first()?);
        if begins || goes_on {
            starts.push(at);
            indents.push(line.indent());
        }
    }
    let lead = starts.first().copied().filter(|first| *first > 0);
    let mut runs: Vec<&[Line<'_>]> = lead.and_then(|end| lines.get(..end)).into_iter().collect();
    let ends = starts
        .iter()
        .skip(1)
        .copied()
        .chain(std::iter::once(lines.len()));
    runs.extend(
        starts
            .iter()
            .copied()
            .zip(ends)
            .filter_map(|(start, end)| lines.get(start..end)),
    );
    (!starts.is_empty()).then_some(runs)
}

/// Runs of lines between empty lines.
pub(super) fn runs<'a, 'b>(
    lines: &'b [Line<'a>],
    is_break: impl Fn(usize, &Line<'a>) -> bool,
) -> Vec<&'b [Line<'a>]> {
    let mut runs = Vec::new();
    let mut start = None;
    for (at, line) in lines.iter().enumerate() {
        match (start, line.bare().is_empty() || is_break(at, line)) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                runs.extend(lines.get(from..at));
                start = None;
            }
            _ => {}
        }
    }
    runs.extend(start.and_then(|from| lines.get(from..)));
    runs
}
