#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::embed::tests::model_files;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder {
            folder: tempfile::tempdir().unwrap(),
        };
        files
            .iter()
            .for_each(|(file, text)| folder.write(file, text));
        folder
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn library(&self) -> Library {
        Library::open(&self.path(".plumb"), LibraryOptions::default()).unwrap()
    }

    fn embedding_library(&self, files: EmbeddingFiles) -> Library {
        let options = LibraryOptions {
            embedding_model: Some(files),
            embedding_threads: 2,
        };
        Library::open(&self.path(".plumb"), options).unwrap()
    }
}

fn index(library: &Library, path: &Path) -> IndexReport {
    library
        .index(&[path.to_owned()], &AtomicBool::new(false), &|_| ())
        .unwrap()
}

fn search(library: &Library, query: &str, under: &[PathBuf]) -> Vec<Hit> {
    let options = SearchOptions {
        under: under.to_vec(),
        limit: 50,
        ..SearchOptions::default()
    };
    library.search(query, &options).unwrap()
}

fn files(library: &Library, query: &str) -> BTreeSet<String> {
    search(library, query, &[])
        .into_iter()
        .map(|hit| hit.passage.file)
        .collect()
}

fn set(files: &[&str]) -> BTreeSet<String> {
    files.iter().map(|file| (*file).to_owned()).collect()
}

fn database() -> Folder {
    Folder::new(&[
        (
            "docs/log.txt",
            "The write-ahead log is flushed at every commit.\n",
        ),
        (
            "docs/vacuum.txt",
            "Vacuum reclaims the storage of dead rows.\n",
        ),
        ("notes/bread.txt", "Bake the bread for forty minutes.\n"),
    ])
}

#[test]
fn finds_what_was_indexed() {
    let folder = database();
    let library = folder.library();
    let report = index(&library, &folder.path("docs"));
    assert_eq!((report.files, report.read, report.passages), (2, 2, 2));
    let hits = search(&library, "when is the write ahead log flushed?", &[]);
    assert_eq!(hits[0].passage.file, "docs/log.txt");
    assert_eq!(hits[0].keyword_rank, Some(1));
    assert!(files(&library, "penguins").is_empty());
    assert!(files(&library, "").is_empty());
    assert!(files(&library, "?!").is_empty());
    let passage = &hits[0].passage;
    assert_eq!(library.passage(&passage.id).unwrap(), *passage);
    let document = library.document_text(&passage.file).unwrap();
    assert_eq!(document.text[passage.range.clone()], passage.text);
}

#[test]
fn a_second_call_reads_only_what_changed() {
    let folder = database();
    let library = folder.library();
    index(&library, folder.folder.path());
    let generation = library.status().unwrap().generation;

    let report = index(&library, folder.folder.path());
    assert_eq!(
        (report.files, report.read, report.unchanged, report.removed),
        (3, 0, 3, 0)
    );
    assert_eq!(
        library.status().unwrap().generation,
        generation,
        "nothing was written"
    );

    folder.write(
        "docs/log.txt",
        "Checkpoints are timed; a penguin was here.\n",
    );
    std::fs::rename(
        folder.path("docs/vacuum.txt"),
        folder.path("docs/autovacuum.txt"),
    )
    .unwrap();
    std::fs::remove_file(folder.path("notes/bread.txt")).unwrap();
    let report = index(&library, folder.folder.path());
    assert_eq!(
        (report.files, report.read, report.unchanged, report.removed),
        (2, 2, 0, 2)
    );
    assert_eq!(files(&library, "penguin"), set(&["docs/log.txt"]));
    assert_eq!(files(&library, "dead rows"), set(&["docs/autovacuum.txt"]));
    assert!(files(&library, "flushed").is_empty());
    assert!(files(&library, "bread").is_empty());
    assert_eq!(library.status().unwrap().passages, 2);
}

#[test]
fn a_new_time_alone_does_not_make_a_file_be_read() {
    let folder = database();
    let library = folder.library();
    index(&library, folder.folder.path());
    let file = std::fs::File::open(folder.path("docs/log.txt")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let report = index(&library, folder.folder.path());
    assert_eq!((report.read, report.unchanged), (0, 3));
}

#[test]
fn what_lies_elsewhere_stays_as_it_is() {
    let folder = database();
    let library = folder.library();
    index(&library, folder.folder.path());
    std::fs::remove_dir_all(folder.path("docs")).unwrap();
    std::fs::remove_dir_all(folder.path("notes")).unwrap();
    // A folder that is gone is taken out; the other one was not asked about.
    let report = index(&library, &folder.path("docs"));
    assert_eq!(report.removed, 2);
    assert_eq!(files(&library, "bread commit"), set(&["notes/bread.txt"]));
}

#[test]
fn a_search_can_be_restricted_to_paths() {
    let folder = Folder::new(&[
        ("docs/a.txt", "The cache is flushed.\n"),
        ("docs/deep/b.txt", "The cache is filled.\n"),
        ("docs-old/c.txt", "The cache is gone.\n"),
    ]);
    let library = folder.library();
    index(&library, folder.folder.path());
    let under = |paths: &[&str]| -> BTreeSet<String> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| folder.path(path)).collect();
        search(&library, "cache", &paths)
            .into_iter()
            .map(|hit| hit.passage.file)
            .collect()
    };
    assert_eq!(under(&["docs"]), set(&["docs/a.txt", "docs/deep/b.txt"]));
    assert_eq!(
        under(&["docs/deep/../a.txt", "docs-old"]),
        set(&["docs/a.txt", "docs-old/c.txt"])
    );
    assert_eq!(under(&["."]).len(), 3);
    assert!(under(&["nowhere"]).is_empty());
}

#[test]
fn passages_around_a_hit_are_in_reading_order() {
    let paragraphs: Vec<String> = (0..12)
        .map(|n| format!("Paragraph {n}. {}", "Some words. ".repeat(90)))
        .collect();
    let folder = Folder::new(&[("a.txt", &paragraphs.join("\n\n"))]);
    let library = folder.library();
    let report = index(&library, folder.folder.path());
    assert!(report.passages >= 5, "{}", report.passages);
    let all = search(&library, "words", &[]);
    let middle = all.iter().find(|hit| hit.passage.ordinal == 2).unwrap();
    let around = library.around(&middle.passage.id, 1, 2).unwrap();
    let ordinals: Vec<u32> = around.iter().map(|passage| passage.ordinal).collect();
    assert_eq!(ordinals, [1, 2, 3, 4]);
    assert!(matches!(
        library.around("0123456789abcdef", 1, 1),
        Err(Error::NoPassage(_))
    ));
    assert!(matches!(library.passage("no id"), Err(Error::NoPassage(_))));
}

#[test]
fn a_file_that_cannot_be_read_is_reported_and_not_tried_again() {
    let folder = database();
    std::fs::write(folder.path("docs/x.txt"), [0_u8, 159, 146, 150, 0, 255]).unwrap();
    let library = folder.library();
    for _ in 0..2 {
        let report = index(&library, folder.folder.path());
        assert_eq!(report.skipped.len(), 1);
        assert_eq!(report.skipped[0].file, "docs/x.txt");
    }
    assert_eq!(library.status().unwrap().skipped, 1);
    folder.write("docs/x.txt", "Now it is text about penguins.\n");
    assert!(index(&library, folder.folder.path()).skipped.is_empty());
    assert_eq!(files(&library, "penguins"), set(&["docs/x.txt"]));
}

#[test]
fn a_damaged_or_missing_index_is_made_anew() {
    let folder = database();
    index(&folder.library(), folder.folder.path());
    type Damage = fn(&Path);
    let damage: [(&str, Damage); 4] = [
        ("gone", |keywords| {
            std::fs::remove_dir_all(keywords).unwrap()
        }),
        ("cut short", |keywords| {
            for_each_file(keywords, |bytes| bytes.truncate(bytes.len() / 2))
        }),
        ("overwritten", |keywords| {
            for_each_file(keywords, |bytes| bytes.fill(7))
        }),
        ("a bit flipped", |keywords| {
            for_each_file(keywords, |bytes| {
                let middle = bytes.len() / 2;
                bytes
                    .iter_mut()
                    .skip(middle)
                    .take(1)
                    .for_each(|byte| *byte ^= 1);
            });
        }),
    ];
    for (name, damage) in damage {
        damage(&folder.path(".plumb/keywords"));
        let library = folder.library();
        assert_eq!(files(&library, "commit"), set(&["docs/log.txt"]), "{name}");
        let report = index(&library, folder.folder.path());
        assert_eq!(
            (report.read, report.unchanged),
            (0, 3),
            "{name}: no file had to be read"
        );
    }
}

fn for_each_file(folder: &Path, change: impl Fn(&mut Vec<u8>)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn another_handle_sees_what_was_indexed_since() {
    let folder = database();
    let (one, other) = (folder.library(), folder.library());
    assert!(files(&other, "commit").is_empty());
    index(&one, &folder.path("docs"));
    assert_eq!(files(&other, "commit"), set(&["docs/log.txt"]));
    index(&other, &folder.path("notes"));
    assert_eq!(files(&one, "bread"), set(&["notes/bread.txt"]));
}

#[test]
fn searches_go_on_while_documents_are_read() {
    let folder = database();
    let library = folder.library();
    index(&library, folder.folder.path());
    let words = "Rows are written in pages of eight kilobytes. ".repeat(200);
    (0..120).for_each(|number| folder.write(&format!("more/{number}.txt"), &words));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in [folder.library(), library.clone()] {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(files(&reader, "commit"), set(&["docs/log.txt"]));
                }
            });
        }
        let writers = [folder.library(), library.clone()].map(|writer| {
            let path = folder.path("more");
            scope.spawn(move || index(&writer, &path))
        });
        let reports = writers.map(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        // Whoever came second found everything done.
        let mut read = reports.map(|report| report.read);
        read.sort_unstable();
        assert_eq!(read, [0, 120]);
    });
    assert_eq!(library.status().unwrap().documents, 123);
}

#[test]
fn a_cancelled_call_keeps_what_it_did() {
    let folder = Folder::new(&[]);
    (0..500).for_each(|number| folder.write(&format!("{number}.txt"), "Some words.\n"));
    let library = folder.library();
    let cancel = AtomicBool::new(false);
    let stop = |progress: IndexProgress| cancel.store(progress.done >= 5, Ordering::Relaxed);
    let report = library
        .index(&[folder.folder.path().to_owned()], &cancel, &stop)
        .unwrap();
    assert!((5..500).contains(&report.read), "{}", report.read);
    let rest = index(&library, folder.folder.path());
    assert_eq!(
        (rest.unchanged, rest.read),
        (report.read, 500 - report.read)
    );
}

const CHILD_FOLDER: &str = "PLUMB_TEST_INDEX_FOLDER";

/// Not a test of its own: what the test below starts and kills.
#[test]
fn child_that_indexes() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER).map(PathBuf::from) else {
        return;
    };
    let library = Library::open(&folder.join(".plumb"), LibraryOptions::default()).unwrap();
    let tell = |progress: IndexProgress| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nread {}", progress.done).unwrap();
        out.flush().unwrap();
    };
    library
        .index(&[folder.join("docs")], &AtomicBool::new(false), &tell)
        .unwrap();
}

#[test]
fn indexing_goes_on_after_a_kill() {
    let folder = Folder::new(&[]);
    let paragraph =
        "Pages of eight kilobytes hold the rows of a table, and free space in between. ".repeat(13);
    for file in 0..60 {
        let text: Vec<String> = (0..200)
            .map(|number| format!("Part {file} {number}. {paragraph}"))
            .collect();
        folder.write(&format!("docs/{file}.txt"), &text.join("\n\n"));
    }
    let name = "library::tests::child_that_indexes";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD_FOLDER, folder.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reached = lines
        .map_while(std::result::Result::ok)
        .any(|line| line.trim() == "read 45");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reached, "the child read too little");

    let library = folder.library();
    let kept = library.status().unwrap();
    assert!((1..60).contains(&kept.documents), "{kept}");
    assert!(
        !search(&library, "kilobytes", &[]).is_empty(),
        "what was kept is searchable at once"
    );
    let report = index(&library, &folder.path("docs"));
    assert_eq!(
        report.unchanged as u64, kept.documents,
        "what was kept is not read again"
    );
    assert_eq!(report.read as u64, 60 - kept.documents);
    assert_eq!(library.0.keywords.len(), library.status().unwrap().passages);
    assert_eq!(library.documents().unwrap().len(), 60);
}

#[test]
fn search_by_vectors_alone_needs_a_model() {
    let folder = database();
    let library = folder.library();
    assert!(!index(&library, folder.folder.path()).embedding_model);
    let options = SearchOptions {
        mode: SearchMode::Vectors,
        ..SearchOptions::default()
    };
    assert!(matches!(
        library.search("log", &options),
        Err(Error::NoEmbeddingModel)
    ));
    assert_eq!(
        library
            .fill_vectors(&AtomicBool::new(false), &|_, _| ())
            .unwrap(),
        0
    );
}

#[test]
fn what_an_older_version_read_is_read_again_and_found_until_then() {
    let folder = database();
    index(&folder.library(), &folder.path("docs"));
    let connection = rusqlite::Connection::open(folder.path(".plumb/library.db")).unwrap();
    let older = "UPDATE meta SET value = '1' WHERE name = 'reader'";
    assert_eq!(connection.execute(older, []).unwrap(), 1);
    drop(connection);
    let library = folder.library();
    assert_eq!(files(&library, "vacuum"), set(&["docs/vacuum.txt"]));
    let report = index(&library, &folder.path("docs"));
    assert_eq!((report.read, report.unchanged), (2, 0));
    let report = index(&library, &folder.path("docs"));
    assert_eq!((report.read, report.unchanged), (0, 2));
    assert_eq!(files(&library, "vacuum"), set(&["docs/vacuum.txt"]));
}

#[test]
fn a_library_of_a_newer_version_is_refused() {
    let folder = Folder::new(&[]);
    drop(folder.library());
    let connection = rusqlite::Connection::open(folder.path(".plumb/library.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = Library::open(&folder.path(".plumb"), LibraryOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
}

#[test]
fn candidates_are_embedded_on_demand_and_kept() {
    let Some(model) = model_files() else { return };
    let folder = database();
    let library = folder.embedding_library(model);
    index(&library, folder.folder.path());
    let hits = search(
        &library,
        "How does a database reclaim the space of deleted rows?",
        &[],
    );
    assert_eq!(hits[0].passage.file, "docs/vacuum.txt");
    assert_eq!(hits[0].vector_rank, Some(1));
    let status = library.status().unwrap();
    assert!(status.vectors > 0);
    // What only the model knows to be near is found once it has a vector.
    assert_eq!(
        library
            .fill_vectors(&AtomicBool::new(false), &|_, _| ())
            .unwrap() as u64,
        3 - status.vectors
    );
    let hits = search(&library, "pastry oven time", &[]);
    assert_eq!(
        (hits[0].passage.file.as_str(), hits[0].keyword_rank),
        ("notes/bread.txt", None)
    );
    assert!(
        search(&library, "pastry oven time", &[folder.path("docs")])
            .iter()
            .all(|hit| hit.passage.file != "notes/bread.txt")
    );
}

/// The files of what these wordings find together, in order.
fn together(library: &Library, queries: &[&str], also: &[String]) -> Vec<String> {
    let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
    let options = SearchOptions::default();
    let found = library.search_together(&queries, also, &options).unwrap();
    let files = found.into_iter().map(|candidate| candidate.passage.file);
    files.collect()
}

#[test]
fn wordings_find_together_what_each_finds_and_the_same_words_once() {
    let folder = database();
    folder.write(
        "copies/vacuum.txt",
        "Vacuum reclaims the storage of\ndead rows.\n",
    );
    let library = folder.library();
    index(&library, folder.folder.path());
    let found = together(&library, &["bake bread", "dead rows"], &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|file| file.ends_with("vacuum.txt")));
    assert!(found.contains(&"notes/bread.txt".to_owned()));
    // What is named beside them is ranked, too; what is no passage is left out.
    let log = search(&library, "flushed", &[])[0].passage.id.clone();
    let also = [log, "ffffffffffffffff".to_owned(), "none".to_owned()];
    assert_eq!(together(&library, &["penguins"], &also), ["docs/log.txt"]);
    assert!(together(&library, &[], &[]).is_empty());
}

#[test]
fn vectors_survive_renames_kills_and_damage() {
    let Some(model) = model_files() else { return };
    let folder = database();
    let library = folder.embedding_library(model.clone());
    index(&library, folder.folder.path());
    // A budget that is over at once computes nothing, and the next call goes on.
    let nothing = library.fill_vectors_within(Duration::ZERO, &AtomicBool::new(false), &|_, _| ());
    assert_eq!(nothing.unwrap(), 0);
    assert_eq!(
        library
            .fill_vectors(&AtomicBool::new(false), &|_, _| ())
            .unwrap(),
        3
    );
    std::fs::rename(folder.path("notes"), folder.path("kitchen")).unwrap();
    index(&library, folder.folder.path());
    assert_eq!(
        library.status().unwrap().vectors,
        3,
        "the text is the same, so is its vector"
    );
    drop(library);

    for entry in std::fs::read_dir(folder.path(".plumb")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "tv") {
            std::fs::write(path, "no vectors").unwrap();
        }
    }
    let library = folder.embedding_library(model);
    let hits = search(&library, "pastry oven time", &[]);
    assert_eq!(hits[0].passage.file, "kitchen/bread.txt");
    folder.write("kitchen/bread.txt", "Something else.\n");
    index(&library, folder.folder.path());
    assert_eq!(
        library.status().unwrap().vectors,
        2,
        "vectors that nothing needs are dropped"
    );
}
