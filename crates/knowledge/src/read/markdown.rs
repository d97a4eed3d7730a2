//! Markdown: the file's own text, its blocks by their offsets.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::document::{Block, BlockKind, Document};

/// Reads Markdown; front matter, comments and paragraphs of pictures are no text.
pub(super) fn read(text: &str) -> Document {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM;
    let mut reader = Reader {
        text,
        ..Reader::default()
    };
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        reader.event(event, range);
    }
    reader.close();
    let title = if reader.front_title.is_empty() {
        reader.first_heading
    } else {
        reader.front_title
    };
    Document {
        title,
        text: text.to_owned(),
        blocks: reader.blocks,
    }
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    front_title: String,
    first_heading: String,
    /// The block being read.
    open: Option<Open>,
    /// Where the list item began that has no text yet.
    item: Option<usize>,
    /// How deep we are in an element whose content is taken whole or left out.
    whole: usize,
    in_front: bool,
    in_picture: usize,
}

struct Open {
    kind: BlockKind,
    range: Range<usize>,
    /// Whether it has words that are not in a picture.
    has_words: bool,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        if self.whole > 0 {
            match event {
                Event::Start(_) => self.whole += 1,
                Event::End(_) => self.end_whole(),
                Event::Text(front) if self.in_front && self.front_title.is_empty() => {
                    self.front_title = title_in(&front)
                }
                _ => {}
            }
            return;
        }
        match event {
            Event::Start(tag) => self.start(&tag, range),
            Event::End(tag) => self.end(tag),
            Event::Text(words) | Event::Code(words) => self.words(&words, range),
            Event::Html(html) => self.html(&html, range),
            Event::Rule => self.close(),
            _ => self.extend(&range),
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Heading { level, .. } => {
                self.item = None;
                self.open(BlockKind::Heading(number(*level)), range);
            }
            Tag::Paragraph => self.open(BlockKind::Paragraph, range),
            Tag::CodeBlock(_) | Tag::Table(_) => {
                self.item = None;
                let kind = if matches!(tag, Tag::Table(_)) {
                    BlockKind::Table
                } else {
                    BlockKind::Code
                };
                self.open(kind, range);
                if let Some(open) = &mut self.open {
                    open.has_words = true;
                }
                self.whole = 1;
            }
            Tag::MetadataBlock(_) => {
                self.close();
                self.in_front = true;
                self.whole = 1;
            }
            Tag::Item => {
                self.close();
                self.item = Some(range.start);
            }
            Tag::List(_) | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_) | Tag::HtmlBlock => {
                self.close()
            }
            Tag::Image { .. } => {
                self.extend(&range);
                self.in_picture += 1;
            }
            _ => self.extend(&range),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::HtmlBlock => self.close(),
            TagEnd::Item => {
                self.close();
                self.item = None;
            }
            TagEnd::Image => self.in_picture = self.in_picture.saturating_sub(1),
            _ => {}
        }
    }

    fn end_whole(&mut self) {
        self.whole -= 1;
        if self.whole == 0 {
            self.in_front = false;
            self.close();
        }
    }

    /// Begins a block; the first one of a list item is the item.
    fn open(&mut self, kind: BlockKind, range: Range<usize>) {
        self.close();
        let (kind, range) = match (kind, self.item.take()) {
            (BlockKind::Paragraph, Some(start)) => (BlockKind::ListItem, start..range.end),
            (kind, _) => (kind, range),
        };
        self.open = Some(Open {
            kind,
            range,
            has_words: false,
        });
    }

    /// Text of a block that has no element of its own, as in tight lists, begins one.
    fn extend(&mut self, range: &Range<usize>) {
        match &mut self.open {
            Some(open) => open.range.end = open.range.end.max(range.end),
            None => self.open(BlockKind::Paragraph, range.clone()),
        }
    }

    fn words(&mut self, words: &str, range: Range<usize>) {
        self.extend(&range);
        let Some(open) = &mut self.open else { return };
        open.has_words |= self.in_picture == 0 && words.chars().any(|c| !c.is_whitespace());
        let in_title = matches!(open.kind, BlockKind::Heading(_)) && self.in_picture == 0;
        if in_title
            && self
                .blocks
                .iter()
                .all(|block| !matches!(block.kind, BlockKind::Heading(_)))
        {
            self.first_heading.push_str(words);
        }
    }

    /// HTML in Markdown is text where it has words between its tags.
    fn html(&mut self, html: &str, range: Range<usize>) {
        self.extend(&range);
        let mut in_tag = false;
        let words = html.chars().any(|c| {
            in_tag = (in_tag || c == '<') && c != '>';
            !in_tag && c.is_alphanumeric()
        });
        if let Some(open) = &mut self.open {
            open.has_words |= words && !html.trim_start().starts_with("<!--");
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let body = self.text.get(open.range.clone()).unwrap_or_default();
        let indent = match open.kind {
            BlockKind::Code => 0,
            _ => body.len() - body.trim_start().len(),
        };
        let range = open.range.start + indent..open.range.start + body.trim_end().len();
        let after = self
            .blocks
            .last()
            .is_none_or(|last| last.range.end <= range.start);
        if open.has_words && range.start < range.end && after {
            self.blocks.push(Block {
                kind: open.kind,
                range,
                place: None,
            });
        }
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// The title that front matter gives.
fn title_in(front: &str) -> String {
    let line = front.lines().find_map(|line| {
        line.strip_prefix("title:")
            .or_else(|| line.strip_prefix("title ="))
    });
    line.unwrap_or_default()
        .trim()
        .trim_matches(['"', '\''])
        .to_owned()
}
