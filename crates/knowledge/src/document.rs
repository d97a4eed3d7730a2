//! What reading a file yields, and the passages cut from it.
//!
//! The chain passage → block → page and box is kept from the first day, so that a citation can be
//! opened and highlighted; grounding cannot be added later.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A file read into text, without its boilerplate.
///
/// `text` is the text that all ranges point into. For Markdown, plain text and reStructuredText it is
/// the file's own text without what is no text (front matter, comments, heads and feet of pages); for
/// HTML and PDF it is the text extracted from the file, its blocks on lines of their own. What is
/// added there are only the marks of [`crate::marks`] between cells, before items and after terms, and `^`
/// before a power.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The title that the document gives itself, else its file name.
    pub title: String,
    /// The readable text.
    pub text: String,
    /// The blocks of `text` in reading order; they do not overlap, none is empty, and each begins and
    /// ends between characters. A paragraph of a PDF that goes on over a page break is two blocks with
    /// a space or nothing between them.
    pub blocks: Vec<Block>,
}

/// A paragraph, heading, list item, table, or piece of code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What the block is.
    pub kind: BlockKind,
    /// Where it stands in [`Document::text`], in bytes.
    pub range: Range<usize>,
    /// The page and box it was read from, for paged formats.
    pub place: Option<Place>,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// A heading; 1 is the highest level.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// One item of a list with its first paragraph; what is nested in it follows in blocks of its own.
    ListItem,
    /// A table, one row a line, cells separated by [`crate::marks::CELL`] where the file has no sign of its own.
    Table,
    /// Preformatted text.
    Code,
}

/// A box on a page, as a reader sees the page.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The page, counted from 1.
    pub page: u32,
    /// Left, top, right, bottom as fractions (0..1) of the displayed page, from its top left corner.
    pub bounds: [f32; 4],
}

/// A piece of a document, of the size that is searched, shown to a model and cited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Names the passage: the first 16 hex digits of a hash over file path, content and position.
    pub id: String,
    /// The file, as the user named it (relative to the working directory where possible).
    pub file: String,
    /// The document's title.
    pub title: String,
    /// The headings above the passage, outermost first.
    pub headings: Vec<String>,
    /// The text, exactly `Document::text[range]`.
    pub text: String,
    /// Where it stands in the document's text, in bytes.
    pub range: Range<usize>,
    /// One place for each page that the passage touches; empty for formats without pages.
    pub places: Vec<Place>,
    /// Its position among the passages of its document, from 0.
    pub ordinal: u32,
}
