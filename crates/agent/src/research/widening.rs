//! How much of a passage is quoted to explain something.

use std::ops::Range;
use std::path::Path;

use knowledge::marks;
use knowledge::read::is_html;
use knowledge::sentences::sentences;

use super::quoting::Source;

/// Bytes of a quote that explains: at least, where the passage has them, and at most; a longer one is an example of many
/// lines.
const LEAST: usize = 400;
const MOST: usize = 700;

/// Before the items of a list.
const BULLET: &str = "• ";

impl Source<'_> {
    /// The units of a quote with what it needs to be understood: the line that it announces with a colon, or the
    /// announcement of the line (a command, an example) that it begins with. Such a line without an announcement is left
    /// out before others. `None` where nothing is left that is short enough.
    pub(super) fn understood(&self, quote: &str) -> Option<Range<usize>> {
        let mut span = self.span(quote)?;
        if !self.ends(span.start, &['.', '!', '?', ':']) {
            let announced = span.start > 0 && self.ends(span.start - 1, &[':']);
            if announced && self.joins(span.start - 1) {
                span = span.start - 1..span.start + 1;
            } else if span.len() > 1 {
                span.start += 1;
            }
        }
        if self.ends(span.end - 1, &[':']) && self.joins(span.end - 1) {
            span.end += 1;
        }
        self.is_short(&span).then_some(span)
    }

    /// The units of quotes with those after and before them, as far as they can be quoted together, until they are long
    /// enough to explain something and announce nothing more; quotes that meet are one.
    pub(super) fn widened(&self, spans: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = spans.iter().map(|span| self.wide(span)).collect();
        spans.sort_by_key(|span| span.start);
        let mut whole: Vec<Range<usize>> = Vec::new();
        for span in spans {
            match whole.last_mut() {
                Some(last) if span.start < last.end || self.meet(last, &span) => {
                    last.end = last.end.max(span.end);
                }
                _ => whole.push(span),
            }
        }
        whole
    }

    /// One of these, as long as it has to be.
    fn wide(&self, span: &Range<usize>) -> Range<usize> {
        let mut span = span.clone();
        loop {
            let explains = self.text(&span).len() >= LEAST;
            let is_whole = explains && !self.ends(span.end - 1, &[':']);
            let goes_on = !is_whole && self.joins(span.end - 1);
            let later = goes_on.then(|| span.start..span.end + 1);
            let begins_earlier = !explains && span.start > 0 && self.joins(span.start - 1);
            let earlier = begins_earlier.then(|| span.start - 1..span.end);
            let mut longer = later.into_iter().chain(earlier);
            match longer.find(|longer| self.is_short(longer)) {
                Some(longer) => span = longer,
                None => return span,
            }
        }
    }

    /// Whether a unit ends with one of these.
    fn ends(&self, unit: usize, with: &[char]) -> bool {
        let unit = self.units.get(unit);
        unit.is_some_and(|unit| unit.ends_with(with))
    }

    /// Whether the next quote begins where one ends, and can be quoted together with it.
    fn meet(&self, one: &Range<usize>, next: &Range<usize>) -> bool {
        one.end == next.start && self.joins(one.end - 1)
    }

    fn is_short(&self, span: &Range<usize>) -> bool {
        self.text(span).len() <= MOST
    }

    /// The units of a quote on one line.
    pub(super) fn text(&self, span: &Range<usize>) -> String {
        let units = self.units.get(span.clone()).unwrap_or_default();
        units.join(" ")
    }

    /// The units of a quote, where its passage begins a line for an item, a row or a line of code also on a line.
    pub(super) fn laid_out(&self, span: &Range<usize>) -> String {
        let text = self.passage.text.as_str();
        let units = self.ranges.get(span.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (units.first(), units.last()) else {
            return String::new();
        };
        let quoted = text.get(first.start..last.end).unwrap_or_default();
        let keeps_lines = is_html(Path::new(&self.passage.file));
        let folded = |words: &str| match keeps_lines {
            true => words
                .lines()
                .map(marks::without)
                .collect::<Vec<_>>()
                .join("\n"),
            false => marks::without(words),
        };
        let mut laid_out = String::new();
        let mut end = 0;
        for part in sentences(quoted) {
            let between = quoted.get(end..part.start).unwrap_or_default();
            let words = quoted.get(part.clone()).unwrap_or_default();
            let item = words.strip_prefix(marks::ITEM);
            let goes_on = laid_out.ends_with(['.', '!', '?']) && item.is_none();
            let paragraph = between.matches('\n').count() > 1;
            laid_out.push_str(match between.contains('\n') && (paragraph || !goes_on) {
                _ if end == 0 => "",
                true => "\n",
                false => " ",
            });
            if item.is_some() {
                laid_out.push_str(BULLET);
            }
            laid_out.push_str(&folded(words));
            end = part.end;
        }
        laid_out
    }
}

#[cfg(test)]
mod tests {
    use knowledge::Passage;

    use super::super::testing::{self, passage};
    use super::*;

    /// What is quoted of a text to explain it, where a model picked `quote`.
    fn quoted(text: &str, quote: &str) -> Option<String> {
        let passage = passage(text);
        let source = Source::of(&passage);
        let span = source.understood(quote)?;
        Some(source.text(&span))
    }

    const STOP: &str = "server stop --now --all --log file --user me --wait";

    #[test]
    fn a_command_is_quoted_with_what_announces_it() {
        let text = format!(
            "To stop the server at once, give it this command:\n\n{STOP}\n\nAll of it stops. In the terminal you then see this line:\n\n{STOP}\n\nLogs are kept.\n"
        );
        for (picked, understood) in [
            (
                format!("{STOP} All of it stops."),
                format!("To stop the server at once, give it this command: {STOP}"),
            ),
            (
                "All of it stops. In the terminal you then see this line:".to_owned(),
                format!("All of it stops. In the terminal you then see this line: {STOP}"),
            ),
            ("Logs are kept.".to_owned(), "Logs are kept.".to_owned()),
            // A model elsewhere quotes as it likes.
            ("are\nkept".to_owned(), "Logs are kept.".to_owned()),
        ] {
            assert_eq!(quoted(&text, &picked), Some(understood));
        }
        assert_eq!(quoted(&text, "Not there."), None);
        assert_eq!(quoted(&text, " "), None);
        let unannounced = format!("It stops.\n\n{STOP}\n\nLogs are kept.");
        let understood = quoted(&unannounced, &format!("{STOP} Logs are kept."));
        assert_eq!(understood.as_deref(), Some("Logs are kept."));
        let long = format!("{}ends.", "It goes on and on and ".repeat(40));
        assert_eq!(quoted(&long, &long), None);
    }

    /// The spans of what is quoted, where a model picked `units` of as many sentences of some 90 bytes.
    fn widened(sentences: usize, units: &[usize]) -> Vec<(usize, usize)> {
        let sentence = |n: usize| format!("Sentence {n} says {}so.", "now and then ".repeat(5));
        let text: Vec<String> = (0..sentences).map(sentence).collect();
        let passage = passage(&text.join(" "));
        let spans: Vec<Range<usize>> = units.iter().map(|unit| *unit..unit + 1).collect();
        let widened = Source::of(&passage).widened(&spans);
        let ends = widened.iter().map(|span| (span.start, span.end));
        ends.collect()
    }

    #[test]
    fn a_quote_goes_on_until_it_explains() {
        assert_eq!(widened(9, &[0]), [(0, 5)]);
        // At the end of the passage it begins earlier.
        assert_eq!(widened(9, &[7]), [(4, 9)]);
        assert_eq!(widened(3, &[1]), [(0, 3)]);
        // Those that overlap or meet are one.
        assert_eq!(widened(12, &[3, 0]), [(0, 8)]);
        assert_eq!(widened(12, &[5, 0]), [(0, 10)]);
        assert_eq!(widened(14, &[6, 0]), [(0, 5), (6, 11)]);
    }

    #[test]
    fn a_quote_that_announces_a_line_goes_on_to_it() {
        let announced = format!("{}. Give this command:", "It goes on and on".repeat(24));
        let passage = passage(&format!("{announced}\n\n{STOP}\n\nIt stops."));
        let source = Source::of(&passage);
        let widened = source.widened(std::slice::from_ref(&(0..2)));
        let quoted: Vec<String> = widened.iter().map(|span| source.text(span)).collect();
        assert_eq!(quoted, [format!("{announced} {STOP}")]);
    }

    #[test]
    fn a_quote_goes_on_over_nothing_long() {
        let long = format!("It {}ends.", "goes on and on and ".repeat(40));
        let passage = passage(&format!("It begins. {long} So it is."));
        assert_eq!(Source::of(&passage).widened(&[0..1, 2..3]), [0..1, 2..3]);
    }

    #[test]
    fn items_rows_and_lines_of_code_are_on_lines_of_their_own() {
        let passage = passage(
            "Put this into\nthe file. Then\nrestart:\n\n    listen 80\n    redirect all\n\n‣ It is on.\n‣ It was off.\n\nAll is well.\nSo it is.\n\nThe end.\n",
        );
        let source = Source::of(&passage);
        assert_eq!(
            source.laid_out(&(0..source.units.len())),
            "Put this into the file. Then restart:\nlisten 80\nredirect all\n• It is on.\n• It was off.\nAll is well. So it is.\nThe end."
        );
        assert_eq!(source.laid_out(&(0..0)), "");
        let page = Passage {
            file: "a.html.gz".to_owned(),
            ..testing::passage("Do this:\n\ndig one @server\n\ndig\ttwo @server +all\n  again")
        };
        let source = Source::of(&page);
        assert_eq!(
            source.laid_out(&(0..source.units.len())),
            "Do this:\ndig one @server\ndig two @server +all\nagain"
        );
    }
}
