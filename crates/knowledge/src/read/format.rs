//! What a file is, by its name and by what it begins with.

use std::path::{Path, PathBuf};

use super::error::Problem;

/// How much of a file is looked at to tell text from other things.
const SNIFFED: usize = 8192;
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
    "contributing",
    "history",
    "release",
    "license",
    "notice",
    "thanks",
    "bugs",
    "overview",
    "manual",
    "description",
];
/// Endings that such names have by custom and that say nothing about the format.
const BARE_ENDINGS: &[&str] = &["debian", "source", "first", "1st", "unix", "linux", "en"];

/// What a file is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Html,
    Markdown,
    Restructured,
    Plain,
    Pdf,
}

/// Whether a file with this name is a document.
pub(super) fn is_document(path: &Path) -> bool {
    let path = without_gz(path);
    let Some(ending) = ending(&path) else {
        return is_bare_name(path.file_name());
    };
    named(&ending).is_some()
        || (BARE_ENDINGS.contains(&ending.as_str()) && is_bare_name(path.file_stem()))
}

/// The format that a file's name says.
pub(super) fn by_name(path: &Path) -> Option<Format> {
    ending(&without_gz(path)).and_then(|ending| named(&ending))
}

fn is_bare_name(name: Option<&std::ffi::OsStr>) -> bool {
    let name = name
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    BARE_NAMES.contains(&name.as_str())
}

/// What a name ends with after its last dot; the sources that Sphinx puts beside its pages end as before they were
/// copied there (`page.rst.txt`).
fn ending(path: &Path) -> Option<String> {
    let last = |path: &Path| {
        let ending = path.extension()?;
        Some(ending.to_string_lossy().to_lowercase())
    };
    let ending = last(path)?;
    let source = path.file_stem().and_then(|stem| last(Path::new(stem)));
    let source = source.filter(|source| ending == "txt" && ["rst", "md"].contains(&&**source));
    source.or(Some(ending))
}

fn named(ending: &str) -> Option<Format> {
    match ending {
        "html" | "htm" | "xhtml" | "xht" => Some(Format::Html),
        "md" | "markdown" | "mdown" | "mkd" => Some(Format::Markdown),
        "rst" => Some(Format::Restructured),
        "txt" | "text" => Some(Format::Plain),
        "pdf" => Some(Format::Pdf),
        _ => None,
    }
}

/// Whether bytes are compressed by gzip.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// The name that a file has once it is decompressed.
pub(super) fn without_gz(path: &Path) -> PathBuf {
    match ending(path).as_deref() {
        Some("gz") => path.with_extension(""),
        _ => path.to_owned(),
    }
}

/// The format by what the file begins with, else by its name.
pub(super) fn settle(path: &Path, bytes: &[u8]) -> Result<Format, Problem> {
    let head = bytes.get(..SNIFFED).unwrap_or(bytes);
    let start = head.get(..1024).unwrap_or(head);
    let named = by_name(path);
    let is_pdf = head.starts_with(b"%PDF-") || start.windows(5).any(|window| window == b"%PDF-");
    if is_pdf && (named == Some(Format::Pdf) || head.starts_with(b"%PDF-")) {
        return Ok(Format::Pdf);
    }
    if named == Some(Format::Pdf) {
        return Err(Problem::Broken(
            "it does not begin like a PDF file".to_owned(),
        ));
    }
    if head.contains(&0) && super::encoding::wide(head).is_none() {
        return Err(Problem::Binary);
    }
    let start = String::from_utf8_lossy(start)
        .trim_start_matches('\u{feff}')
        .trim_start()
        .to_lowercase();
    let is_html = start.starts_with("<!doctype html")
        || start.starts_with("<html")
        || (start.starts_with("<?xml") && start.contains("<html"));
    match named {
        None | Some(Format::Plain) if is_html => Ok(Format::Html),
        None => Ok(Format::Plain),
        Some(format) => Ok(format),
    }
}
