//! What several of the tests need.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use journal::{Journal, NewRun, Run, StepError};
use serde_json::{Value, json};

pub(crate) fn new_run(id: &str) -> NewRun {
    NewRun {
        id: Some(id.to_string()),
        agent: "test".to_string(),
        definition: "the definition".to_string(),
        input: json!({"question": "why?"}),
        budget: Default::default(),
    }
}

/// A step that only says its name.
pub(crate) async fn say(run: &Run, name: &str) -> journal::Result<String> {
    let answer = format!("answer of {name}");
    run.step(name, journal::Effect::Read, &name, |_| async { Ok(answer) })
        .await
}

/// A step whose work must not happen.
pub(crate) async fn recorded(run: &Run, name: &str) -> journal::Result<String> {
    run.step(name, journal::Effect::Read, &name, |_| async {
        Err::<String, _>(StepError::Failed("the work ran again".to_string()))
    })
    .await
}

/// A journal in a folder that goes away with it.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    pub(crate) fn open(&self) -> Journal {
        Journal::open(&self.path()).unwrap()
    }

    /// For damage and for looking: SQL behind the journal's back.
    pub(crate) fn sql(&self, sql: &str) -> usize {
        rusqlite::Connection::open(self.path())
            .unwrap()
            .execute(sql, [])
            .unwrap()
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn text(&self, sql: &str) -> String {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

/// This test binary again, running one test that acts as a child when `PLUMB_CHILD` is set.
pub(crate) fn child(test: &str, journal: &Path, role: &Value) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env("PLUMB_CHILD", role.to_string())
        .env("PLUMB_CHILD_JOURNAL", journal)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The role of this process and its journal, when it is a child.
pub(crate) fn role() -> Option<(Value, PathBuf)> {
    let role = std::env::var("PLUMB_CHILD").ok()?;
    let journal = std::env::var_os("PLUMB_CHILD_JOURNAL")?;
    Some((serde_json::from_str(&role).unwrap(), journal.into()))
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
