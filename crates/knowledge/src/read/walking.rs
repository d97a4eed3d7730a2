//! The files of folders, in an order that does not change from one walk to the next.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ignore::{DirEntry, WalkBuilder};

/// How folders are walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Also take what `.gitignore` and `.ignore` files leave out.
    pub take_ignored: bool,
    /// Also go into hidden folders and take hidden files; `.plumb` is never entered.
    pub take_hidden: bool,
}

/// A file that could be a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The path, as it follows from the path given.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last changed, where the system knows.
    pub modified: Option<SystemTime>,
    /// Whether the file itself was given, not a folder around it: then it is taken whatever it is called.
    pub given: bool,
}

/// A path that could not be looked at: a folder without permission, a loop of links, a missing file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct Obstacle {
    /// The path, as far as it is known.
    pub path: PathBuf,
    /// What is in the way.
    pub reason: String,
}

/// All files below the paths that could be documents, each once, in the order of the paths given and of
/// their names.
///
/// Links to files are followed, links to folders only where they are given, so that a walk always ends
/// and stays below what it was given.
pub fn walk(paths: &[PathBuf], options: WalkOptions) -> Walk {
    Walk {
        paths: VecDeque::from(paths.to_vec()),
        current: None,
        options,
        seen: HashSet::new(),
    }
}

/// The walk over files; see [`walk`].
pub struct Walk {
    paths: VecDeque<PathBuf>,
    current: Option<ignore::Walk>,
    options: WalkOptions,
    /// Files that were given out, by their real path.
    seen: HashSet<PathBuf>,
}

impl Iterator for Walk {
    type Item = Result<FileEntry, Obstacle>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(walk) = &mut self.current else {
                let path = self.paths.pop_front()?;
                self.current = Some(builder(&path, self.options).build());
                continue;
            };
            let found = match walk.next() {
                None => {
                    self.current = None;
                    continue;
                }
                Some(Ok(entry)) => entry,
                Some(Err(error)) => return Some(Err(obstacle(&error))),
            };
            match self.entry(&found) {
                Some(result) => return Some(result),
                None => continue,
            }
        }
    }
}

impl Walk {
    /// The entry as a file, unless it is a folder, no document, or was there before.
    fn entry(&mut self, found: &DirEntry) -> Option<Result<FileEntry, Obstacle>> {
        let path = found.path();
        let given = found.depth() == 0;
        let kind = found.file_type()?;
        if kind.is_dir() || (!given && !super::is_document(path)) {
            return None;
        }
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                return Some(Err(Obstacle {
                    path: path.to_owned(),
                    reason: error.to_string(),
                }));
            }
        };
        if !metadata.is_file() {
            let reason = "it is neither a file nor a folder".to_owned();
            return (given && !metadata.is_dir()).then(|| {
                Err(Obstacle {
                    path: path.to_owned(),
                    reason,
                })
            });
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let entry = || FileEntry {
            path: path.to_owned(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            given,
        };
        self.seen.insert(real).then(|| Ok(entry()))
    }
}

fn builder(path: &Path, options: WalkOptions) -> WalkBuilder {
    let mut builder = WalkBuilder::new(path);
    let rules = !options.take_ignored;
    builder
        .require_git(false)
        .hidden(!options.take_hidden)
        .ignore(rules)
        .git_ignore(rules)
        .git_exclude(rules)
        .git_global(rules)
        .parents(rules)
        .follow_links(false)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".plumb");
    builder
}

fn obstacle(error: &ignore::Error) -> Obstacle {
    let path = path_of(error).unwrap_or_default();
    let reason = error
        .io_error()
        .map_or_else(|| error.to_string(), |error| error.to_string());
    Obstacle { path, reason }
}

fn path_of(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path.clone()),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        ignore::Error::Loop { child, .. } => Some(child.clone()),
        _ => None,
    }
}
