//! reStructuredText: the file's own text; markup stays, what is no text is left out.

use super::plain::{is_adornment, paragraphs};
use crate::document::{Block, BlockKind, Document};

/// Reads reStructuredText. The levels of headings follow from the order in which their adornments
/// first appear, as the specification says ("Sections").
pub(super) fn read(text: &str) -> Document {
    let text = text.replace("\r\n", "\n");
    let mut adornments: Vec<(char, bool)> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut title = String::new();
    let mut literal = false;
    for range in paragraphs(&text) {
        let body = text.get(range.clone()).unwrap_or_default();
        let lines: Vec<&str> = body.lines().collect();
        let indented = lines.iter().all(|line| line.starts_with(' ') || line.starts_with('\t'));
        if let Some((name, adornment)) = heading(&lines) {
            let level = adornments.iter().position(|known| *known == adornment).unwrap_or_else(|| {
                adornments.push(adornment);
                adornments.len() - 1
            });
            if title.is_empty() {
                title = name.to_owned();
            }
            let level = u8::try_from(level + 1).unwrap_or(6).min(6);
            let used = if adornment.1 { 3 } else { 2 };
            let length: usize = body.split_inclusive('\n').take(used).map(str::len).sum();
            let split = range.start + body.get(..length).unwrap_or(body).trim_end().len();
            blocks.push(Block { kind: BlockKind::Heading(level), range: range.start..split, place: None });
            let rest = range.start + length.min(body.len())..range.end;
            if rest.start < rest.end {
                blocks.push(Block { kind: BlockKind::Paragraph, range: rest, place: None });
            }
            literal = false;
            continue;
        }
        let first = lines.first().map(|line| line.trim_start()).unwrap_or_default();
        let kind = if indented && literal {
            BlockKind::Code
        } else if first.starts_with(".. ") && !first.contains("::") {
            // A comment or the target of a link.
            continue;
        } else if first.starts_with("- ") || first.starts_with("* ") || first.starts_with("#. ") {
            BlockKind::ListItem
        } else if lines.iter().filter(|line| line.trim_start().starts_with(['+', '='])).count() >= 2 {
            BlockKind::Table
        } else {
            BlockKind::Paragraph
        };
        literal = (indented && literal) || body.trim_end().ends_with("::") || first.starts_with(".. code");
        blocks.push(Block { kind, range, place: None });
    }
    Document { title, text, blocks }
}

/// The heading that a block begins with, and its adornment: the mark, and whether it stands above too.
fn heading<'a>(lines: &[&'a str]) -> Option<(&'a str, (char, bool))> {
    let mark = |line: &str| line.chars().next();
    match lines {
        [over, name, under, ..] if is_adornment(over) && is_adornment(under) && mark(over) == mark(under) => {
            Some((name.trim(), (mark(over)?, true)))
        }
        [name, under, ..] if is_adornment(under) && !is_adornment(name) && under.trim_end().len() + 2 >= name.trim_end().len() => {
            Some((name.trim(), (mark(under)?, false)))
        }
        _ => None,
    }
}
