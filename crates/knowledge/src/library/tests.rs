#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::*;

pub(super) struct Folder {
    pub(super) folder: tempfile::TempDir,
}

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder {
            folder: tempfile::tempdir().unwrap(),
        };
        files
            .iter()
            .for_each(|(file, text)| folder.write(file, text));
        folder
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn library(&self) -> Library {
        Library::open(&self.path(".plumb"), LibraryOptions::default()).unwrap()
    }
}

pub(super) fn index(library: &Library, path: &Path) -> IndexReport {
    library
        .index(&[path.to_owned()], &AtomicBool::new(false), &|_| ())
        .unwrap()
}

fn files(library: &Library, query: &str) -> Vec<String> {
    let hits = library.search(query, &SearchOptions::default()).unwrap();
    hits.into_iter().map(|hit| hit.passage.file).collect()
}

#[test]
fn finds_what_was_indexed() {
    let folder = Folder::new(&[
        (
            "docs/a.txt",
            "The write-ahead log is flushed at every commit.",
        ),
        ("docs/b.txt", "Vacuum reclaims the storage of dead rows."),
    ]);
    let library = folder.library();
    let report = index(&library, &folder.path("docs"));
    assert_eq!((report.files, report.read, report.passages), (2, 2, 2));
    assert_eq!(
        files(&library, "when is the write ahead log flushed?")[0],
        "docs/a.txt"
    );
    assert_eq!(files(&library, "dead rows"), ["docs/b.txt"]);
    assert!(files(&library, "penguins").is_empty());
}
