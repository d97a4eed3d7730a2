//! The file itself: versions, foreign files, damage.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rusqlite::Connection;

use super::*;

#[test]
fn the_file_is_synced_at_every_commit_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/journal.db");
    let store = Store::open(&path, Options::default()).unwrap();
    let connection = Connection::open(&path).unwrap();
    let text = |name: &str| -> String {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .unwrap()
    };
    assert_eq!(text("journal_mode"), "Text(\"wal\")");
    assert_eq!(text("user_version"), "Integer(5)");
    assert_eq!(text("application_id"), format!("Integer({})", 0x706c_6d62));
    drop(store);
    assert!(Store::open(&path, Options::default()).is_ok());
}

#[test]
fn newer_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.db");
    drop(Store::open(&newer, Options::default()).unwrap());
    Connection::open(&newer)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let error = Store::open(&newer, Options::default()).err().unwrap();
    assert!(
        matches!(
            error,
            Error::Version {
                found: 99,
                known: 5,
                ..
            }
        ),
        "{error}"
    );

    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    let error = Store::open(&foreign, Options::default()).err().unwrap();
    assert!(error.to_string().contains("another program"), "{error}");

    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "not a database, but long enough to look at it".repeat(100),
    )
    .unwrap();
    let error = Store::open(&text, Options::default()).err().unwrap();
    assert!(error.to_string().contains("not a journal"), "{error}");
}

#[test]
fn two_openers_of_a_new_file_both_get_it() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let open = || {
            let path = path.clone();
            std::thread::spawn(move || Store::open(&path, Options::default()).map(drop))
        };
        let threads: Vec<_> = (0..4).map(|_| open()).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    }
}
