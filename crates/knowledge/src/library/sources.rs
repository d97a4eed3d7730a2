//! Files: which there are, what they are called in the library, and reading one into passages.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::Skipped;
use crate::document::Document;
use crate::passages::{Draft, SplitOptions, split};
use crate::read::{is_document, read_file};
use crate::store::{Change, KnownFile, NewDocument, NewPassage};

/// More bytes of a file are never read into memory; the readers refuse files far smaller.
const MOST_BYTES: u64 = 256 << 20;

/// A file as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// What it is called in the library.
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) modified_ns: i64,
}

/// The path without `.` and `..`, from the root of the file system; links are followed where it exists.
pub(super) fn absolute(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component)
            }
        }
    }
    plain
}

/// What an absolute path is called in a library: relative to its root where possible.
pub(super) fn name(root: &Path, path: &Path) -> String {
    let shown = path
        .strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned();
    if std::path::MAIN_SEPARATOR == '/' {
        shown
    } else {
        shown.replace(std::path::MAIN_SEPARATOR, "/")
    }
}

/// Whether the file with this name lies at or below the path with this name; the root has the empty name.
pub(super) fn is_under(file: &str, folder: &str) -> bool {
    if folder.is_empty() {
        return !Path::new(file).is_absolute();
    }
    file.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.ends_with('/'))
}

/// All documents below the paths (absolute ones), each once, and what is in the way. Hidden files and what
/// `.gitignore` and `.ignore` files leave out are left out; a file that is named itself is taken, whatever
/// it is called.
pub(super) fn walk(root: &Path, paths: &[PathBuf]) -> (Vec<Found>, Vec<Skipped>) {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    for path in paths {
        for entry in ignore::WalkBuilder::new(path).require_git(false).build() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let reason = error.to_string();
                    skipped.push(Skipped {
                        file: name(root, path),
                        reason,
                    });
                    continue;
                }
            };
            let named = entry.depth() == 0;
            if entry.file_type().is_some_and(|kind| kind.is_file())
                && (named || is_document(entry.path()))
            {
                match file(root, entry.into_path()) {
                    Ok(file) => found.push(file),
                    Err(skip) => skipped.push(skip),
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    (found, skipped)
}

fn file(root: &Path, path: PathBuf) -> Result<Found, Skipped> {
    let name = name(root, &path);
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            return Err(Skipped {
                file: name,
                reason: error.to_string(),
            });
        }
    };
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified
        .and_then(|time| i64::try_from(time.as_nanos()).ok())
        .unwrap_or(0);
    Ok(Found {
        path,
        file: name,
        bytes: metadata.len(),
        modified_ns,
    })
}

/// Whether a file looks as it did when it was last read or tried, without opening it.
pub(super) fn looks_the_same(found: &Found, known: &KnownFile) -> bool {
    known.bytes == found.bytes && known.modified_ns == found.modified_ns
}

/// Reads a file and cuts it into passages.
pub(super) fn read(found: &Found, known: Option<&KnownFile>) -> Change {
    let Found {
        path,
        file,
        bytes,
        modified_ns,
    } = found.clone();
    let content = match content(&path) {
        Ok(content) => content,
        Err(error) => {
            return Change::Skipped {
                file,
                bytes,
                modified_ns,
                reason: error.to_string(),
            };
        }
    };
    let hash = blake3::hash(&content).as_bytes().to_vec();
    if known.is_some_and(|known| known.document.is_some() && known.hash == hash) {
        return Change::Touched {
            file,
            bytes,
            modified_ns,
        };
    }
    // A reader of a foreign format that panics costs its file, not the whole library.
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        read_document(&path, &content)
    }));
    match read.unwrap_or_else(|_| Err("its content made the reader fail".to_owned())) {
        Ok((document, passages)) => {
            let passages = number_passages(&file, &document, passages);
            Change::Read(NewDocument {
                file,
                bytes,
                modified_ns,
                hash,
                document,
                passages,
            })
        }
        Err(reason) => Change::Skipped {
            file,
            bytes,
            modified_ns,
            reason,
        },
    }
}

fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(MOST_BYTES)
        .read_to_end(&mut content)?;
    Ok(content)
}

fn read_document(path: &Path, content: &[u8]) -> Result<(Document, Vec<Draft>), String> {
    let document = read_file(path, content).map_err(|error| error.problem.to_string())?;
    let drafts = split(&document, &SplitOptions::default());
    Ok((document, drafts))
}

/// Gives each passage its number, a hash over all that is kept of it.
fn number_passages(file: &str, document: &Document, drafts: Vec<Draft>) -> Vec<NewPassage> {
    let mut passages = Vec::with_capacity(drafts.len());
    for Draft {
        range,
        headings,
        places,
    } in drafts
    {
        let Some(text) = document.text.get(range.clone()) else {
            continue;
        };
        let path = headings.join("\u{1f}");
        let position = (range.start as u64).to_le_bytes();
        let embedded = super::embedded_text(&document.title, &headings, text);
        passages.push(NewPassage {
            id: super::hash64([
                file.as_bytes(),
                document.title.as_bytes(),
                path.as_bytes(),
                text.as_bytes(),
                &position,
            ]),
            content: super::hash64([embedded.as_bytes()]),
            text: text.to_owned(),
            headings,
            places,
            range,
        });
    }
    passages
}
