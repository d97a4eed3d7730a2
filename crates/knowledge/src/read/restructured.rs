//! reStructuredText: the file's own text; markup stays, what is no text is left out.

use super::plain::{is_adornment, paragraphs};
use crate::document::{Block, BlockKind, Document};

/// Reads reStructuredText. The levels of headings follow from the order in which their adornments
/// first appear, as the specification says ("Sections").
pub(super) fn read(text: &str) -> Document {
    let mut reader = Reader {
        text: text.replace("\r\n", "\n"),
        ..Reader::default()
    };
    for range in paragraphs(&reader.text) {
        reader.paragraph(range);
    }
    Document {
        title: reader.title,
        text: reader.text,
        blocks: reader.blocks,
    }
}

#[derive(Default)]
struct Reader {
    text: String,
    title: String,
    blocks: Vec<Block>,
    /// The adornments seen so far, the first that of the highest level.
    adornments: Vec<(char, bool)>,
    /// Whether an indented block is literal.
    literal: bool,
}

impl Reader {
    fn paragraph(&mut self, range: std::ops::Range<usize>) {
        let body = self.text.get(range.clone()).unwrap_or_default().to_owned();
        let lines: Vec<&str> = body.lines().collect();
        if let Some((name, adornment)) = heading(&lines) {
            return self.heading(name, adornment, &body, range);
        }
        let indented = lines.iter().all(|line| line.starts_with([' ', '\t']));
        let first = lines
            .first()
            .map(|line| line.trim_start())
            .unwrap_or_default();
        let kind = if indented && self.literal {
            BlockKind::Code
        } else if first.starts_with(".. ") && !first.contains("::") {
            // A comment or the target of a link.
            return;
        } else if ["- ", "* ", "#. "]
            .iter()
            .any(|bullet| first.starts_with(bullet))
        {
            BlockKind::ListItem
        } else if lines
            .iter()
            .filter(|line| line.trim_start().starts_with(['+', '=']))
            .count()
            >= 2
        {
            BlockKind::Table
        } else {
            BlockKind::Paragraph
        };
        let announced = body.trim_end().ends_with("::") || first.starts_with(".. code");
        self.literal = (indented && self.literal) || announced;
        self.blocks.push(Block {
            kind,
            range,
            place: None,
        });
    }

    fn heading(
        &mut self,
        name: &str,
        adornment: (char, bool),
        body: &str,
        range: std::ops::Range<usize>,
    ) {
        let known = self.adornments.iter().position(|known| *known == adornment);
        let level = known.unwrap_or_else(|| {
            self.adornments.push(adornment);
            self.adornments.len() - 1
        });
        if self.title.is_empty() {
            self.title = name.to_owned();
        }
        let level = u8::try_from(level + 1).unwrap_or(6).min(6);
        let lines = if adornment.1 { 3 } else { 2 };
        let length: usize = body.split_inclusive('\n').take(lines).map(str::len).sum();
        let end = range.start + body.get(..length).unwrap_or(body).trim_end().len();
        self.blocks.push(Block {
            kind: BlockKind::Heading(level),
            range: range.start..end,
            place: None,
        });
        let rest = range.start + length.min(body.len())..range.end;
        if rest.start < rest.end {
            self.blocks.push(Block {
                kind: BlockKind::Paragraph,
                range: rest,
                place: None,
            });
        }
        self.literal = false;
    }
}

/// The heading that a block begins with, and its adornment: the mark, and whether it stands above too.
fn heading<'a>(lines: &[&'a str]) -> Option<(&'a str, (char, bool))> {
    let mark = |line: &str| line.chars().next();
    match lines {
        [over, name, under, ..]
            if is_adornment(over) && is_adornment(under) && mark(over) == mark(under) =>
        {
            Some((name.trim(), (mark(over)?, true)))
        }
        [name, under, ..]
            if is_adornment(under)
                && !is_adornment(name)
                && under.trim_end().len() + 2 >= name.trim_end().len() =>
        {
            Some((name.trim(), (mark(under)?, false)))
        }
        _ => None,
    }
}
