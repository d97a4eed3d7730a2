//! A document as it is put together block by block, for formats whose text is extracted.

use crate::document::{Block, BlockKind, Document, Place};
use crate::marks;

/// What stands between two blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Nothing: a word goes on.
    None,
    /// A space: a paragraph goes on.
    Space,
    /// A line break, as between the items of a list.
    Line,
    /// An empty line.
    Paragraph,
}

/// Collects blocks.
#[derive(Default)]
pub(super) struct Builder {
    document: Document,
}

impl Builder {
    /// Adds a block unless its text is empty; `gap` stands between it and the block before.
    pub(super) fn push(&mut self, kind: BlockKind, text: &str, place: Option<Place>, gap: Gap) {
        let text = text.trim_matches(['\n', '\r']).trim_end();
        if text.trim().is_empty() {
            return;
        }
        let whole = &mut self.document.text;
        if !whole.is_empty() {
            let before = self.document.blocks.last().and_then(|block| block.place);
            let turns = before.zip(place).is_some_and(|(a, b)| a.page != b.page);
            if turns && gap != Gap::None {
                whole.push(marks::PAGE);
            }
            whole.push_str(match gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        // White space before the first word is between blocks, in none of them; code keeps it, because
        // its lines belong under each other.
        let indent = match kind {
            BlockKind::Code => 0,
            _ => text.len() - text.trim_start().len(),
        };
        let start = whole.len() + indent;
        whole.push_str(text);
        let range = start..whole.len();
        self.document.blocks.push(Block { kind, range, place });
    }

    /// The document with its title.
    pub(super) fn finish(mut self, title: String) -> Document {
        self.document.title = title;
        self.document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_on_another_page_stands_behind_the_mark_of_a_page() {
        let mut builder = Builder::default();
        for (page, text, gap) in [
            (1, "It goes", Gap::Paragraph),
            (2, "on.", Gap::Space),
            (2, "It ends.", Gap::Paragraph),
            (3, "Another.", Gap::Paragraph),
        ] {
            let bounds = [0.0; 4];
            builder.push(
                BlockKind::Paragraph,
                text,
                Some(Place { page, bounds }),
                gap,
            );
        }
        let text = builder.finish(String::new()).text;
        assert_eq!(text, "It goes\u{c} on.\n\nIt ends.\u{c}\n\nAnother.");
    }
}
