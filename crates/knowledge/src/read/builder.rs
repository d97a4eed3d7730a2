//! A document as it is put together block by block, for formats whose text is extracted.

use crate::document::{Block, BlockKind, Document, Place};

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
