//! What can go wrong when a PDF file is read.

/// Why a PDF file gave no text. Every message says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a PDF file at all.
    #[error("not a PDF file: no %PDF- header; check that the file was saved completely")]
    NotPdf,
    /// The file asks for a password.
    #[error("the PDF is encrypted ({reason}); save a copy without a password and read that")]
    Encrypted {
        /// What the decryption stumbled over.
        reason: &'static str,
    },
    /// The file is a PDF, but its structure cannot be followed.
    #[error(
        "the PDF is broken: {reason}; try to repair it, for example with `qpdf in.pdf out.pdf`"
    )]
    Broken {
        /// What could not be followed.
        reason: String,
    },
    /// All pages were read and none has text: a scan or pictures only.
    #[error("the PDF has no text layer ({pages} pages of pictures?); run it through OCR first")]
    NoText {
        /// How many pages were looked at.
        pages: usize,
    },
    /// The file is larger than the caller allows.
    #[error(
        "the PDF has {actual} {unit}, more than the limit of {limit}; raise the limit or split the file"
    )]
    TooLarge {
        /// How many there are.
        actual: usize,
        /// How many the options allow.
        limit: usize,
        /// What was counted: `bytes` or `pages`.
        unit: &'static str,
    },
}
