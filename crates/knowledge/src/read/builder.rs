//! A document as it is put together block by block, for formats whose text is extracted.

use crate::document::{Block, BlockKind, Document, Place};

/// Collects blocks; each is set off by a blank line.
#[derive(Default)]
pub(super) struct Builder {
    document: Document,
}

impl Builder {
    /// Adds a block unless its text is empty.
    pub(super) fn push(&mut self, kind: BlockKind, text: &str, place: Option<Place>) {
        let text = text.trim_matches('\n').trim_end();
        if text.trim().is_empty() {
            return;
        }
        if !self.document.text.is_empty() {
            self.document.text.push_str("\n\n");
        }
        let start = self.document.text.len();
        self.document.text.push_str(text);
        self.document.blocks.push(Block {
            kind,
            range: start..self.document.text.len(),
            place,
        });
    }

    /// The text of the last block, if it is of this kind.
    pub(super) fn last(&self, kind: BlockKind) -> Option<&str> {
        let block = self
            .document
            .blocks
            .last()
            .filter(|block| block.kind == kind)?;
        self.document.text.get(block.range.clone())
    }

    pub(super) fn finish(mut self, title: String) -> Document {
        self.document.title = title;
        self.document
    }
}
