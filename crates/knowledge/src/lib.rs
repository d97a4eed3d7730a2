//! Documents, passages, the search index and the check of citations.
//!
//! What: a [`Library`] reads files into [`Document`]s, cuts them into [`Passage`]s, finds the passages that
//! answer a query, and a quote can be checked against the passage it is cited from.
//!
//! Why: a report is only worth what its sources are. So the chain from a quote to its passage, block, page
//! and box is never broken, and whether a quote is verbatim is decided without a model.
//!
//! Where to start: [`Library`] for searching, `document` for what is read.
//!
//! What it does not do: decide what to search for or what an answer is worth (that is an agent's), or
//! download models.

pub mod citation;
mod document;
mod embed;
mod error;
mod index;
mod library;
pub mod marks;
pub mod memory;
pub mod passages;
pub mod read;
pub mod sentences;
mod store;

pub use document::{Block, BlockKind, Document, Passage, Place};
pub use embed::{EmbeddingFiles, Embeddings};
pub use error::{Error, Result};
pub use library::{
    Candidate, DocumentRecord, Fusion, Hit, IndexProgress, IndexReport, Library, LibraryOptions,
    SearchMode, SearchOptions, Skipped, Status,
};
