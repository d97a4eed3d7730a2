//! What can go wrong in this crate.

use std::path::PathBuf;

/// The result of a call to this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a library, grouped by who can mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that is not there.
    #[error(
        "there is no passage {0} in the library\nhint: its file changed or was removed since; search again"
    )]
    NoPassage(String),
    /// The caller asked for a document that was never read.
    #[error("{0} is not in the library\nhint: plumb index {0}")]
    NoDocument(String),
    /// The caller stopped the work.
    #[error("stopped; what was done is kept")]
    Cancelled,
    /// Vectors were asked for, but no embedding model is there.
    #[error("search by vectors needs the embedding model\nhint: plumb models pull minilm")]
    NoEmbeddingModel,
    /// A file or folder of the library cannot be used.
    #[error("cannot use {path}: {source}\nhint: is the disk full, or does the folder belong to another user?", path = path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The library was made by a newer version.
    #[error("{path} was made by a newer version of Plumb (format {found}, this one knows {known})\nhint: update, or delete the file and index again", path = path.display())]
    Newer {
        /// The library's file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The library's database fails.
    #[error(
        "the library's database failed: {0}\nhint: delete .plumb/library.db and index again; it holds nothing that cannot be read anew"
    )]
    Store(#[from] rusqlite::Error),
    /// The search index fails even after being rebuilt.
    #[error(
        "the search index failed: {0}\nhint: delete .plumb/keywords; it is rebuilt by the next search"
    )]
    Index(#[from] tantivy::TantivyError),
    /// The embedding model cannot be used.
    #[error("the embedding model {path} failed: {reason}\nhint: fetch it again with plumb models pull minilm", path = path.display())]
    Embedding {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A record of the library cannot be understood: a bug or a damaged file.
    #[error(
        "a record of the library cannot be read ({0})\nhint: delete .plumb/library.db and index again"
    )]
    Damaged(String),
    /// The caller wants something of the memory that cannot be.
    #[error("{message}\nhint: {hint}")]
    Memory {
        /// What.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The memory's database fails.
    #[error(
        "the memory's database failed: {0}\nhint: is the disk full? Do not delete .plumb/memory.db: it cannot be made anew"
    )]
    MemoryStore(#[source] rusqlite::Error),
    /// A record of the memory cannot be understood: a bug or a damaged file.
    #[error(
        "a record of the memory cannot be read ({0})\nhint: restore .plumb/memory.db from a backup; it cannot be made anew"
    )]
    DamagedMemory(String),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
