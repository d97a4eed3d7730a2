//! Reads PDF files with a text layer into pages, blocks, lines and words with boxes.
//!
//! Why: an answer cites a place in a document, so every word keeps its page and its box, and what
//! belongs together is found before anything is searched: columns in reading order, headings,
//! lists, tables, code, and the running heads that are no text.
//!
//! Start at [`read`]. It goes bytes → `content` (operators to glyphs and ruling lines) → `layout`
//! (one page: glyphs to blocks) → `structure` (the whole document: headings, running heads,
//! hyphenation) → [`Pdf`].
//!
//! What it does not do: draw, decode images, recognise text in scans (that is [`Error::NoText`]),
//! ask for passwords, write PDF.

mod content;
mod document;
mod error;
mod layout;
mod reader;
mod structure;

pub use document::{Block, Kind, Line, LineEnd, Page, Pdf, Word};
pub use error::Error;
pub use reader::{Options, read};
