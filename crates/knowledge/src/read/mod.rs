//! Files into [`Document`]s: HTML, Markdown, reStructuredText, plain text and PDF, each also with `.gz`.
//!
//! Start at [`read_file`]. Boilerplate (navigation, running heads, footers) is left out; what is broken,
//! encrypted, too large or not text is an error that names the reason, never a panic.

mod builder;
mod html;
mod markdown;
mod paged;
mod plain;
mod restructured;

use std::io::Read as _;
use std::path::Path;

use crate::document::Document;

/// The most bytes of a file, after decompression.
const MOST_BYTES: u64 = 64 << 20;
/// How much of a file is looked at to tell text from other things.
const SNIFFED: usize = 8192;

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is larger than what is read.
    #[error("it has more than {} MiB; split it", MOST_BYTES >> 20)]
    TooLarge,
    /// It is neither text nor a format that is read.
    #[error("it is not text")]
    Binary,
    /// It is not one of the kinds of file that are read.
    #[error("files ending in .{0} are not read; convert it to text, Markdown, HTML or PDF")]
    Unknown(String),
    /// It is a PDF that cannot be read: encrypted, broken, or pictures only.
    #[error("{0}")]
    Pdf(String),
    /// It has pictures of text, or nothing.
    #[error("it has no text; if it is a scan, run it through OCR first")]
    NoText,
    /// It is damaged.
    #[error("it is broken: {0}")]
    Broken(String),
}

/// What a file is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Markdown,
    Restructured,
    Plain,
    Pdf,
}

/// Names without an ending that are documents by custom.
const BARE_NAMES: &[&str] = &[
    "readme",
    "install",
    "changes",
    "changelog",
    "news",
    "authors",
    "copying",
    "faq",
    "todo",
    "hacking",
    "copyright",
];

/// Whether a file with this name is a document, so that a walk over a folder takes it.
pub(crate) fn is_document(path: &Path) -> bool {
    let path = without_gz(path);
    match extension(&path) {
        Some(extension) => format(&extension).is_some(),
        None => {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().to_lowercase())
                .unwrap_or_default();
            BARE_NAMES.contains(&name.as_str())
        }
    }
}

/// Reads a file whose content is `bytes`; its name says the format where the content does not.
///
/// # Errors
/// [`ReadError`], which says what to do about it.
pub fn read_file(path: &Path, bytes: &[u8]) -> Result<Document, ReadError> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(ReadError::TooLarge);
    }
    let unpacked;
    let (path, bytes) = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = unpack(bytes)?;
        (without_gz(path), unpacked.as_slice())
    } else {
        (path.to_owned(), bytes)
    };
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let format = settle(&path, bytes)?;
    let mut document = match format {
        Format::Pdf => paged::read(bytes)?,
        Format::Html => html::read(&decoded(bytes, true)?),
        Format::Markdown => markdown::read(&decoded(bytes, false)?),
        Format::Restructured => restructured::read(&decoded(bytes, false)?),
        Format::Plain => plain::read(&decoded(bytes, false)?),
    };
    if document.blocks.is_empty() {
        return Err(ReadError::NoText);
    }
    document.title = document
        .title
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if document.title.is_empty() {
        document.title = name;
    }
    Ok(document)
}

fn extension(path: &Path) -> Option<String> {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
}

fn format(extension: &str) -> Option<Format> {
    match extension {
        "html" | "htm" | "xhtml" => Some(Format::Html),
        "md" | "markdown" | "mdown" => Some(Format::Markdown),
        "rst" => Some(Format::Restructured),
        "txt" | "text" => Some(Format::Plain),
        "pdf" => Some(Format::Pdf),
        _ => None,
    }
}

/// The format by what the file begins with, else by its name.
fn settle(path: &Path, bytes: &[u8]) -> Result<Format, ReadError> {
    let head = bytes.get(..SNIFFED).unwrap_or(bytes);
    if head
        .get(..1024)
        .unwrap_or(head)
        .windows(5)
        .any(|window| window == b"%PDF-")
    {
        return Ok(Format::Pdf);
    }
    let named = extension(path).and_then(|extension| format(&extension));
    if named == Some(Format::Pdf) {
        return Ok(Format::Pdf);
    }
    let wide = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    if head.contains(&0) && !wide {
        return Err(ReadError::Binary);
    }
    let start = String::from_utf8_lossy(head).trim_start().to_lowercase();
    match named {
        Some(format) => Ok(format),
        None if start.starts_with("<!doctype html") || start.starts_with("<html") => {
            Ok(Format::Html)
        }
        None => Ok(Format::Plain),
    }
}

fn without_gz(path: &Path) -> std::path::PathBuf {
    match extension(path).as_deref() {
        Some("gz") => path.with_extension(""),
        _ => path.to_owned(),
    }
}

/// Decompresses, but never more than what is read.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ReadError> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(MOST_BYTES + 1);
    match reader.read_to_end(&mut unpacked) {
        Err(error) => Err(ReadError::Broken(format!(
            "it cannot be decompressed ({error})"
        ))),
        Ok(_) if unpacked.len() as u64 > MOST_BYTES => Err(ReadError::TooLarge),
        Ok(_) => Ok(unpacked),
    }
}

/// Bytes to text: by byte order mark, as UTF-8, by what an HTML page declares, else as Windows-1252.
fn decoded(bytes: &[u8], html: bool) -> Result<String, ReadError> {
    if let Some((encoding, length)) = encoding_rs::Encoding::for_bom(bytes) {
        let (text, _) =
            encoding.decode_without_bom_handling(bytes.get(length..).unwrap_or_default());
        return Ok(text.into_owned());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(text.to_owned());
    }
    let declared = if html { declared_encoding(bytes) } else { None };
    let (text, _, _) = declared.unwrap_or(encoding_rs::WINDOWS_1252).decode(bytes);
    let strange = text
        .chars()
        .filter(|c| c.is_control() && !c.is_whitespace())
        .count();
    if strange * 50 > text.chars().count() {
        Err(ReadError::Binary)
    } else {
        Ok(text.into_owned())
    }
}

fn declared_encoding(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = String::from_utf8_lossy(bytes.get(..2048).unwrap_or(bytes)).to_lowercase();
    let (_, after) = head.split_once("charset=")?;
    let label = after.trim_start_matches(['"', '\'']);
    let label = label
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .next()?;
    encoding_rs::Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests;
