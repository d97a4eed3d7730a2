//! What indexing tells while it works and afterwards.

use std::fmt;

use serde::Serialize;

/// How far indexing has come.
#[derive(Clone, Debug)]
pub struct IndexProgress {
    /// Files that were looked at.
    pub done: usize,
    /// Files that there are.
    pub total: usize,
    /// The file that was read last.
    pub file: String,
}

/// What a call of [`crate::Library::index`] found and did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IndexReport {
    /// Files found below the paths.
    pub files: usize,
    /// Files that were read because they are new or changed.
    pub read: usize,
    /// Files whose content is the same as before.
    pub unchanged: usize,
    /// Files that are gone from below the paths, and with them from the library.
    pub removed: usize,
    /// Passages that were cut from the files read.
    pub passages: usize,
    /// Bytes of the files read.
    pub bytes: u64,
    /// Time taken.
    pub seconds: f64,
    /// Files that could not be read, now or before.
    pub skipped: Vec<Skipped>,
    /// Whether there is an embedding model; without it, search is by keywords alone.
    pub embedding_model: bool,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What a library holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Documents that were read.
    pub documents: u64,
    /// Passages they were cut into.
    pub passages: u64,
    /// Different texts among the passages: how many vectors there can be.
    pub embeddable: u64,
    /// Different texts that have a vector.
    pub vectors: u64,
    /// Files that could not be read.
    pub skipped: u64,
    /// Rises with every change.
    pub generation: u64,
    /// Whether there is an embedding model.
    pub embedding_model: bool,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.reason)
    }
}

impl fmt::Display for IndexReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes as f64 / 1e6;
        write!(
            f,
            "{} files: {} read ({megabytes:.1} MB, {} passages), {} unchanged, {} removed, {} skipped; {:.1} s",
            self.files,
            self.read,
            self.passages,
            self.unchanged,
            self.removed,
            self.skipped.len(),
            self.seconds
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "library: {} documents, {} passages",
            self.documents, self.passages
        )?;
        if self.embedding_model {
            write!(
                f,
                ", {} of {} texts embedded",
                self.vectors, self.embeddable
            )
        } else {
            write!(f, ", searched by keywords alone (no embedding model)")
        }
    }
}
