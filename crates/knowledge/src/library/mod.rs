//! A library: a set of documents that can be searched.
//!
//! [`Library`] is the handle; cloning shares it. Everything it keeps is in one folder: `library.db` (the
//! truth, see [`crate::store`]), `keywords/` and `vectors-*` (derived, see [`crate::index`]).
//!
//! - [`Library::index`] (`indexing.rs`) brings the library up to date with files and folders;
//! - [`Library::search`] (`searching.rs`) finds passages;
//! - [`Library::search_together`] (`together.rs`) searches in several wordings at once;
//! - [`Library::fill_vectors`] (`filling.rs`) computes the embeddings that are still missing.
//!
//! What it does not do: read file formats ([`crate::read`]), cut passages ([`crate::passages`]), check
//! citations ([`crate::citation`]), or run anything in the background by itself.

mod filling;
mod indexing;
mod report;
mod searching;
mod sources;
mod syncing;
#[cfg(test)]
mod tests;
mod together;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;

pub use report::{IndexProgress, IndexReport, Skipped, Status};
pub use searching::{Fusion, Hit, SearchMode, SearchOptions};
pub use together::Candidate;

use crate::document::{Document, Passage};
use crate::embed::{EmbeddingFiles, Embeddings};
use crate::error::{Error, Result};
use crate::index::keywords::Keywords;
use crate::index::vectors::Vectors;
use crate::marks;
use crate::store::Store;

/// How a library is opened.
#[derive(Clone, Debug, Default)]
pub struct LibraryOptions {
    /// The embedding model; without it, search is by keywords alone.
    pub embedding_model: Option<EmbeddingFiles>,
    /// Threads that run the embedding model; 0 means as many as there are processors.
    pub embedding_threads: usize,
}

/// A set of documents that can be searched; a cheap handle.
#[derive(Clone)]
pub struct Library(Arc<Shared>);

struct Shared {
    /// Where the library keeps its files.
    directory: PathBuf,
    /// File names are relative to this folder where possible.
    root: PathBuf,
    options: LibraryOptions,
    store: Store,
    keywords: Keywords,
    vectors: Vectors,
    embeddings: OnceLock<std::result::Result<Embeddings, String>>,
    /// One thread of this process at a time changes the library; other processes are kept out by a lock on
    /// a file.
    changing: Mutex<()>,
    scope: Mutex<Option<Arc<searching::Scope>>>,
}

/// What a library knows about one of its documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DocumentRecord {
    /// The file, relative to the project's folder where possible.
    pub file: String,
    /// The document's title.
    pub title: String,
    /// The file's size.
    pub bytes: u64,
    /// How many passages it was cut into.
    pub passages: u64,
}

impl Library {
    /// Opens the library in `directory`, creating both if need be.
    ///
    /// File names in the library are relative to the folder above `directory` where possible. The
    /// embedding model is loaded when it is first needed.
    ///
    /// # Errors
    /// When the folder cannot be written or the library was made by a newer version.
    pub fn open(directory: &Path, options: LibraryOptions) -> Result<Library> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        let directory = directory.canonicalize().map_err(Error::io(directory))?;
        let root = directory.parent().unwrap_or(&directory).to_owned();
        let library = Library(Arc::new(Shared {
            store: Store::open(&directory.join("library.db"))?,
            keywords: Keywords::at(directory.join("keywords")),
            vectors: Vectors::at(directory.clone()),
            embeddings: OnceLock::new(),
            changing: Mutex::new(()),
            scope: Mutex::new(None),
            directory,
            root,
            options,
        }));
        library.refresh()?;
        Ok(library)
    }

    /// The passage with this id.
    ///
    /// # Errors
    /// [`Error::NoPassage`] when there is none, for instance because its file changed since.
    pub fn passage(&self, id: &str) -> Result<Passage> {
        let missing = || Error::NoPassage(id.to_owned());
        let number = number(id).ok_or_else(missing)?;
        self.0.store.passages(&[number])?.pop().ok_or_else(missing)
    }

    /// The passage with this id between its neighbours, in reading order: up to `before` passages of the
    /// same document before it and up to `after` after it.
    ///
    /// # Errors
    /// [`Error::NoPassage`] as for [`Library::passage`].
    pub fn around(&self, id: &str, before: u32, after: u32) -> Result<Vec<Passage>> {
        let missing = || Error::NoPassage(id.to_owned());
        let passages = self
            .0
            .store
            .around(number(id).ok_or_else(missing)?, before, after)?;
        if passages.is_empty() {
            Err(missing())
        } else {
            Ok(passages)
        }
    }

    /// All documents, by file name.
    ///
    /// # Errors
    /// When the library's database fails.
    pub fn documents(&self) -> Result<Vec<DocumentRecord>> {
        let records = self.0.store.document_records()?;
        let record = |(file, title, bytes, passages)| DocumentRecord {
            file,
            title,
            bytes,
            passages,
        };
        Ok(records.into_iter().map(record).collect())
    }

    /// The document that was read from `file` (as in [`Passage::file`]), as it was when it was read: what the
    /// ranges of its passages point into.
    ///
    /// # Errors
    /// [`Error::NoDocument`] when there is none.
    pub fn document_text(&self, file: &str) -> Result<Document> {
        self.0
            .store
            .document(file)?
            .ok_or_else(|| Error::NoDocument(file.to_owned()))
    }

    /// What the library holds.
    ///
    /// # Errors
    /// When the library's database fails.
    pub fn status(&self) -> Result<Status> {
        let counts = self.0.store.counts()?;
        Ok(Status {
            documents: counts.documents,
            passages: counts.passages,
            embeddable: counts.contents,
            vectors: counts.vectors,
            skipped: counts.skipped,
            generation: self.0.store.generation()?,
            embedding_model: self.0.options.embedding_model.is_some(),
        })
    }

    /// The embedding model, loaded at the first call; `None` when the library was opened without one.
    /// The words of an English text in lower case that are no common English: `restic`, `nginx`. Common is what the
    /// embedding model's vocabulary has as a whole; without a model all are.
    ///
    /// # Errors
    /// [`Error::Embedding`] when the model cannot be loaded.
    pub fn uncommon_words(&self, text: &str) -> Result<Vec<String>> {
        let Some(embeddings) = self.embeddings()? else {
            return Ok(Vec::new());
        };
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let lower = |word: &&str| word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase());
        let uncommon = words
            .filter(lower)
            .filter(|word| !embeddings.is_common(word));
        Ok(uncommon.map(str::to_owned).collect())
    }

    fn embeddings(&self) -> Result<Option<&Embeddings>> {
        let Some(files) = &self.0.options.embedding_model else {
            return Ok(None);
        };
        let load = || {
            Embeddings::load(files, self.0.options.embedding_threads)
                .map_err(|error| error.to_string())
        };
        match self.0.embeddings.get_or_init(load) {
            Ok(embeddings) => Ok(Some(embeddings)),
            Err(reason) => Err(Error::Embedding {
                path: files.model.clone(),
                reason: reason.clone(),
            }),
        }
    }
}

/// The number behind a passage's id.
fn number(id: &str) -> Option<u64> {
    (id.len() == 16)
        .then(|| u64::from_str_radix(id, 16).ok())
        .flatten()
}

/// What is embedded of a passage: its text below its title and headings.
pub(crate) fn embedded_text(title: &str, headings: &[String], text: &str) -> String {
    let mut embedded = String::with_capacity(title.len() + text.len() + 64);
    embedded.push_str(title);
    for heading in headings.iter().filter(|heading| heading.as_str() != title) {
        embedded.push_str(" > ");
        embedded.push_str(heading);
    }
    embedded.push('\n');
    embedded.push_str(&marks::plain(text));
    embedded
}

/// The first 64 bits of a hash over parts, each ended so that they cannot run into each other.
pub(crate) fn hash64<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
