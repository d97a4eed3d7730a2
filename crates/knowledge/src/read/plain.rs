//! Plain text: paragraphs between blank lines.

use crate::document::{Block, BlockKind, Document};

/// Reads plain text.
pub(super) fn read(text: &str) -> Document {
    let text = text.replace("\r\n", "\n").replace('\u{c}', "\n");
    let mut blocks = Vec::new();
    for range in paragraphs(&text) {
        let body = text.get(range.clone()).unwrap_or_default();
        blocks.push(Block {
            kind: kind(body),
            range,
            place: None,
        });
    }
    let title = blocks
        .first()
        .filter(|block| matches!(block.kind, BlockKind::Heading(_)))
        .and_then(|block| text.get(block.range.clone()))
        .and_then(|title| title.lines().next())
        .unwrap_or_default()
        .to_owned();
    Document {
        title,
        text,
        blocks,
    }
}

/// The ranges between blank lines, without white space at the end but with that of the first line.
pub(super) fn paragraphs(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let mut open = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let end = start + line.trim_end().len();
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        match found.last_mut() {
            Some(last) if open => last.end = end,
            _ => found.push(start..end),
        }
        open = true;
    }
    found
}

fn kind(body: &str) -> BlockKind {
    let lines: Vec<&str> = body.lines().collect();
    if lines
        .iter()
        .all(|line| line.starts_with("    ") || line.starts_with('\t'))
    {
        return BlockKind::Code;
    }
    let first = lines.first().map(|line| line.trim()).unwrap_or_default();
    if lines.len() == 2 && lines.last().is_some_and(|line| is_adornment(line)) {
        return BlockKind::Heading(2);
    }
    let letters = first.chars().filter(|c| c.is_alphabetic()).count();
    let shouted = letters > 2 && first.chars().all(|c| !c.is_lowercase());
    let words = first.split_whitespace().count();
    if lines.len() == 1
        && words <= 10
        && !first.ends_with(['.', ',', ';', ':'])
        && (shouted || is_numbered(first))
    {
        return BlockKind::Heading(2);
    }
    match first.starts_with("- ") || first.starts_with("* ") {
        true => BlockKind::ListItem,
        false => BlockKind::Paragraph,
    }
}

/// A line of one punctuation mark, as under a heading.
pub(super) fn is_adornment(line: &str) -> bool {
    let line = line.trim_end();
    let first = line.chars().next();
    line.len() >= 3
        && first.is_some_and(|c| c.is_ascii_punctuation() && line.chars().all(|other| other == c))
}

/// A heading like `3.2 Setting up`.
fn is_numbered(line: &str) -> bool {
    let Some((number, rest)) = line.split_once(' ') else {
        return false;
    };
    let number = number.trim_end_matches('.');
    number.starts_with(|c: char| c.is_ascii_digit())
        && number.chars().all(|c| c.is_ascii_digit() || c == '.')
        && rest.trim_start().starts_with(char::is_uppercase)
}
