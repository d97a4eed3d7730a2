//! The search indexes: what finds passages fast.
//!
//! **Invariant**: everything here is derived from the [store](crate::store) and can be deleted at any time.
//! Entries are named by numbers that are hashes over all that is indexed (a passage's number over its file,
//! headings, text and position; a content's number over what is embedded), so an index is brought up to date
//! by comparing two sets of numbers; there is no log of changes that could be lost.
//!
//! Start with [`keywords`] (BM25) and [`vectors`] (nearest vectors); [`fusion`] makes one ranking of theirs.
//! Nothing here reads files, runs a model or knows what is searched for.

pub(crate) mod fusion;
pub(crate) mod keywords;
mod stop_words;
pub(crate) mod vectors;

pub(crate) mod words;
