//! The search indexes: what finds passages fast.
//!
//! **Invariant**: everything here is derived from the [store](crate::store) and can be deleted at any time.
//! Each index holds one entry per passage, named by the passage's number. A passage's number is a hash over
//! all that is indexed of it, so an index is brought up to date by comparing two sets of numbers; there is
//! no log of changes that could be lost.
//!
//! Start with [`keywords`] (BM25) and [`vectors`] (nearest vectors); [`fusion`] makes one ranking of theirs.
//! Nothing here reads files, runs a model or knows what is searched for.

pub(crate) mod fusion;
pub(crate) mod keywords;
mod stop_words;

pub(crate) mod words;
