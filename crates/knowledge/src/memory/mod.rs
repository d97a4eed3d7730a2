//! Memory: what agents keep from one run to the next.
//!
//! An [`Entry`] is a fact, an episode or an instruction, with who said it, the run and step it came from, and two
//! times: when it holds in the world (valid from, valid to), and when the memory knew it (recorded, superseded).
//! Nothing is changed in place: a fact that contradicts an earlier one (same subject and attribute) supersedes
//! it where the two overlap in time, and both stay. So a [`View`] gives the memory as it was at any point, which is
//! what a fork of a run sees.
//!
//! Start with [`Memory`]: `writing.rs` saves, accepts, reverts and forgets, `reading.rs` lists and shows,
//! `searching.rs` finds by keywords and embeddings, with the code of the library's index. `store.rs` has the file,
//! `entry.rs` the words.
//!
//! **Invariant**: a write with the same key is done once, whoever tries it again.
//! **Invariant**: what a tool or a model said never supersedes what a user or a person said; it waits for a person.
//! **Invariant**: an instruction takes effect only once somebody has accepted it.
//! **Invariant**: forgetting deletes the text from the disk, in every version.

mod entry;
mod reading;
mod searching;
mod store;
#[cfg(test)]
mod tests;
mod writing;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

pub use entry::{Entry, Filter, MemoryKind, NewEntry, Outcome, Said, Saved, Source, State, View};
pub use writing::Forgotten;

use crate::embed::{EmbeddingFiles, Embeddings};
use crate::error::{Error, Result};

/// The file's name in a project's folder.
const FILE: &str = "memory.db";

/// The memory of a project; a cheap handle.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    store: store::Store,
    embedding: Option<EmbeddingFiles>,
    embeddings: OnceLock<std::result::Result<Embeddings, String>>,
    /// Texts and their vectors are brought up to date by one search at a time.
    embedding_now: Mutex<()>,
}

impl Memory {
    /// Opens the memory in `directory`, creating both if need be. Without an embedding model, search is by
    /// keywords alone; it is loaded when it is first needed.
    ///
    /// # Errors
    /// When the folder cannot be written or the file was made by a newer version.
    pub fn open(directory: &Path, embedding: Option<EmbeddingFiles>) -> Result<Memory> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        Ok(Memory(Arc::new(Shared {
            store: store::Store::open(&directory.join(FILE))?,
            embedding,
            embeddings: OnceLock::new(),
            embedding_now: Mutex::new(()),
        })))
    }

    /// Whether there is a memory in `directory`.
    pub fn is_in(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The embedding model, loaded at the first call; `None` when the memory was opened without one.
    fn embeddings(&self) -> Result<Option<&Embeddings>> {
        let Some(files) = &self.0.embedding else {
            return Ok(None);
        };
        let load = || Embeddings::load(files, 0).map_err(|error| error.to_string());
        match self.0.embeddings.get_or_init(load) {
            Ok(embeddings) => Ok(Some(embeddings)),
            Err(reason) => Err(Error::Embedding {
                path: files.model.clone(),
                reason: reason.clone(),
            }),
        }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Memory").finish_non_exhaustive()
    }
}
