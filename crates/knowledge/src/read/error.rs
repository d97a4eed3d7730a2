//! Why a file is not read.

use std::path::PathBuf;

/// A file that was not read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct ReadError {
    /// The file.
    pub file: PathBuf,
    /// What is the matter with it.
    pub problem: Problem,
}

/// What is the matter with a file, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is larger than what is read.
    #[error("it has more than {} MiB of text or data; split it", limit >> 20)]
    TooLarge {
        /// The most bytes that are read.
        limit: u64,
    },
    /// It is neither text nor a format that is read.
    #[error("it is not text; convert it to HTML, Markdown, text or PDF")]
    Binary,
    /// It needs a password.
    #[error("it is encrypted ({0}); save a copy without a password")]
    Encrypted(String),
    /// It has pictures of text, only navigation, or nothing.
    #[error("it has no text; if it is a scan, run it through OCR first")]
    NoText,
    /// It is damaged.
    #[error("it is broken: {0}; get it anew or repair it")]
    Broken(String),
    /// The system does not let us read it.
    #[error("it cannot be read: {0}; check that it is there and that you may read it")]
    Unreadable(#[from] std::io::Error),
}
