//! Markdown: the file's own text, its blocks by their offsets.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::document::{Block, BlockKind, Document};

/// Reads Markdown; front matter and HTML comments are no text.
pub(super) fn read(text: &str) -> Document {
    let text = text.replace("\r\n", "\n");
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_FOOTNOTES;
    let mut blocks: Vec<Block> = Vec::new();
    let mut title = String::new();
    let mut in_title = false;
    // How deep we are in a block that is taken whole.
    let mut inside = 0usize;
    for (event, range) in Parser::new_ext(&text, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                let kind = if inside == 0 { kind(&tag) } else { None };
                match kind {
                    Some(kind) => {
                        in_title = title.is_empty() && matches!(kind, BlockKind::Heading(_));
                        inside = 1;
                        push(&text, &mut blocks, kind, range);
                    }
                    None if inside > 0 || matches!(tag, Tag::MetadataBlock(_) | Tag::HtmlBlock) => {
                        inside += 1
                    }
                    None => {}
                }
            }
            Event::End(tag) => {
                let container = matches!(
                    tag,
                    TagEnd::List(_) | TagEnd::BlockQuote(_) | TagEnd::FootnoteDefinition
                );
                if inside > 0 && !(inside == 0 && container) {
                    inside -= 1;
                }
                in_title &= inside > 0;
            }
            Event::Text(words) | Event::Code(words) if in_title => title.push_str(&words),
            _ => {}
        }
    }
    Document {
        title,
        text: text.clone(),
        blocks,
    }
}

/// The kind of a block that is taken whole; `None` for containers and what is no text.
fn kind(tag: &Tag<'_>) -> Option<BlockKind> {
    match tag {
        Tag::Heading { level, .. } => Some(BlockKind::Heading(match level {
            HeadingLevel::H1 => 1,
            HeadingLevel::H2 => 2,
            HeadingLevel::H3 => 3,
            HeadingLevel::H4 => 4,
            HeadingLevel::H5 => 5,
            HeadingLevel::H6 => 6,
        })),
        Tag::Paragraph => Some(BlockKind::Paragraph),
        Tag::CodeBlock(_) => Some(BlockKind::Code),
        Tag::Item => Some(BlockKind::ListItem),
        Tag::Table(_) => Some(BlockKind::Table),
        _ => None,
    }
}

fn push(text: &str, blocks: &mut Vec<Block>, kind: BlockKind, range: std::ops::Range<usize>) {
    let body = text.get(range.clone()).unwrap_or_default();
    let end = range.start + body.trim_end().len();
    if end > range.start
        && blocks
            .last()
            .is_none_or(|last| last.range.end <= range.start)
    {
        blocks.push(Block {
            kind,
            range: range.start..end,
            place: None,
        });
    }
}
