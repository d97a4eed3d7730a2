//! Files into [`Document`]s: HTML, Markdown, reStructuredText, plain text and PDF, each also with `.gz`.
//!
//! Why: passages, citations and the search are only as good as the text that is read. So blocks keep
//! what they are (heading, item, table, code), and boilerplate (navigation, running heads, footers) is
//! left out, but no content.
//!
//! Start at [`read_file`] for one file and at [`walk`] for the files of folders. What is broken,
//! encrypted, too large or not text is a [`ReadError`] that names the file and says what to do, never a
//! panic.
//!
//! What it does not do: fetch anything, run scripts in pages, recognise text in pictures.

mod builder;
mod encoding;
mod error;
mod format;
mod html;
mod lines;
mod markdown;
mod paged;
mod plain;
mod restructured;
mod walking;

use std::io::Read as _;
use std::path::Path;

pub use error::{Problem, ReadError};
pub use walking::{FileEntry, Obstacle, Walk, WalkOptions, walk};

use crate::document::Document;
use format::Format;

/// Limits for a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The most bytes of a file, after decompression.
    pub max_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            max_bytes: 64 << 20,
        }
    }
}

/// Whether a file with this name is a document, so that a walk over a folder takes it.
pub fn is_document(path: &Path) -> bool {
    format::is_document(path)
}

/// Whether a file with this name is HTML: in its passages a line is one that is shown, and no text is wrapped.
pub fn is_html(path: &Path) -> bool {
    format::by_name(path) == Some(Format::Html)
}

/// Whether a file with this name is Markdown.
pub fn is_markdown(path: &Path) -> bool {
    format::by_name(path) == Some(Format::Markdown)
}

/// Reads a file whose content is `bytes`; its name says the format where the content does not.
///
/// # Errors
/// [`ReadError`], which says what to do about it.
pub fn read_file(path: &Path, bytes: &[u8]) -> Result<Document, ReadError> {
    read_file_with(path, bytes, &ReadOptions::default())
}

/// [`read_file`] with other limits.
///
/// # Errors
/// [`ReadError`], which says what to do about it.
pub fn read_file_with(
    path: &Path,
    bytes: &[u8],
    options: &ReadOptions,
) -> Result<Document, ReadError> {
    read(path, bytes, options).map_err(|problem| ReadError {
        file: path.to_owned(),
        problem,
    })
}

fn read(path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<Document, Problem> {
    if bytes.len() as u64 > options.max_bytes {
        return Err(Problem::TooLarge {
            limit: options.max_bytes,
        });
    }
    let unpacked;
    let (path, bytes) = if format::is_packed(bytes) {
        unpacked = unpack(bytes, options.max_bytes)?;
        (format::without_gz(path), unpacked.as_slice())
    } else {
        (path.to_owned(), bytes)
    };
    let mut document = match format::settle(&path, bytes)? {
        Format::Pdf => paged::read(bytes, options)?,
        Format::Html => {
            let too_deep =
                || Problem::Broken("its elements nest more than a thousand deep".to_owned());
            html::read(&encoding::decoded(bytes, true)?).ok_or_else(too_deep)?
        }
        Format::Markdown => own_text(bytes, markdown::read)?,
        Format::Restructured => own_text(bytes, restructured::read)?,
        Format::Plain => own_text(bytes, plain::read)?,
    };
    if document.blocks.is_empty() {
        return Err(Problem::NoText);
    }
    document.title = document
        .title
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if document.title.is_empty() {
        let name = path.file_stem().or(path.file_name());
        document.title = name
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
    }
    debug_assert!(
        is_sound(&document),
        "blocks of {} overlap or cut a character",
        path.display()
    );
    Ok(document)
}

/// Reads a format whose text is the file's own, without what is in no block: comments, front matter,
/// heads and feet of pages.
fn own_text(bytes: &[u8], read: fn(&str) -> Document) -> Result<Document, Problem> {
    let document = read(&lines::normalised(encoding::decoded(bytes, false)?));
    debug_assert!(
        is_sound(&document),
        "blocks overlap or cut a character: {}",
        document.title
    );
    let mut kept = Document {
        title: document.title,
        ..Document::default()
    };
    let mut end = 0;
    for mut block in document.blocks {
        let gap = document
            .text
            .get(end..block.range.start)
            .unwrap_or_default();
        let is_white = gap.chars().all(char::is_whitespace);
        kept.text.push_str(if is_white { gap } else { "\n\n" });
        end = block.range.end;
        let start = kept.text.len();
        kept.text
            .push_str(document.text.get(block.range).unwrap_or_default());
        block.range = start..kept.text.len();
        kept.blocks.push(block);
    }
    Ok(kept)
}

/// Whether the blocks are in order, do not overlap, and begin and end between characters.
fn is_sound(document: &Document) -> bool {
    let mut end = 0;
    document.blocks.iter().all(|block| {
        let in_order = block.range.start >= end && block.range.start < block.range.end;
        end = block.range.end;
        in_order && document.text.get(block.range.clone()).is_some()
    })
}

/// Decompresses, but never more than `limit` bytes.
fn unpack(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Problem> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(limit.saturating_add(1));
    match reader.read_to_end(&mut unpacked) {
        Err(error) => Err(Problem::Broken(format!(
            "it cannot be decompressed ({error})"
        ))),
        Ok(_) if unpacked.len() as u64 > limit => Err(Problem::TooLarge { limit }),
        Ok(_) => Ok(unpacked),
    }
}

#[cfg(test)]
mod tests;
