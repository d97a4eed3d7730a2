//! The file of the memory: `memory.db`.
//!
//! A row of `entries` is a version: it is written once, and later only closed (superseded), accepted, rejected or
//! emptied (forgotten). Each write is a *generation*, a number that only grows, with its time.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior};

use super::entry::{Entry, Filter, MemoryKind, Said, Source, State};
use crate::error::{Error, Result};

/// The format of the file; raised when a change cannot be read by older versions.
const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE generations (generation INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    attribute TEXT NOT NULL,
    -- Subject and attribute as they are compared.
    identity TEXT NOT NULL,
    text TEXT NOT NULL,
    said_by TEXT NOT NULL,
    run TEXT,
    step TEXT,
    state TEXT NOT NULL,
    accepted_by TEXT,
    valid_from_ms INTEGER NOT NULL,
    valid_to_ms INTEGER,
    recorded INTEGER NOT NULL,
    recorded_ms INTEGER NOT NULL,
    -- The run that wrote the row, which sees it at once.
    writer TEXT,
    superseded INTEGER,
    superseded_ms INTEGER,
    superseded_by INTEGER,
    superseder TEXT,
    version_of INTEGER
);
CREATE INDEX entries_by_identity ON entries (scope, kind, identity);
-- What a write with a key came to, so that it is done once. Holds ids only.
CREATE TABLE keys (key TEXT PRIMARY KEY, saved TEXT NOT NULL);
CREATE TABLE vectors (content INTEGER PRIMARY KEY, vector BLOB NOT NULL);
PRAGMA user_version = 1;
";

/// One row: an entry, with what only the store goes by.
pub(super) struct Version {
    pub(super) number: i64,
    pub(super) entry: Entry,
    pub(super) identity: String,
    pub(super) recorded: u64,
    pub(super) superseded: Option<u64>,
    writer: Option<String>,
    superseder: Option<String>,
}

impl Version {
    /// Whether it is the last word: live, and nothing has superseded it.
    pub(super) fn is_current(&self) -> bool {
        self.entry.state == State::Live && self.superseded.is_none()
    }

    /// Whether it is seen from there.
    pub(super) fn is_in(&self, view: &super::View) -> bool {
        let own = |run: &Option<String>| run.is_some() && *run == view.run;
        let is_known = self.recorded <= view.generation || own(&self.writer);
        let is_over = self
            .superseded
            .is_some_and(|generation| generation <= view.generation || own(&self.superseder));
        // What the run has written itself holds since then, which is after it began to look.
        let at_ms = match own(&self.writer) {
            true => view.at_ms.max(self.entry.recorded_ms),
            false => view.at_ms,
        };
        let holds = self.entry.valid_from_ms <= at_ms
            && self.entry.valid_to_ms.is_none_or(|end| end > at_ms);
        self.entry.state == State::Live && is_known && !is_over && holds
    }
}

pub(super) struct Store(Mutex<Connection>);

impl Store {
    pub(super) fn open(path: &Path) -> Result<Store> {
        Store::opened(path).map_err(of_memory)
    }

    fn opened(path: &Path) -> Result<Store> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(30))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is remembered is not to be lost: it cannot be computed anew.
        connection.pragma_update(None, "synchronous", "FULL")?;
        // What is deleted is overwritten.
        connection.pragma_update(None, "secure_delete", true)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            0 => transaction.execute_batch(SCHEMA)?,
            FORMAT => {}
            _ => {
                return Err(Error::Newer {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
        }
        transaction.commit()?;
        Ok(Store(Mutex::new(connection)))
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        work(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).map_err(of_memory)
    }

    /// Runs `work` in a transaction; an error undoes it.
    pub(super) fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.written(work).map_err(of_memory)
    }

    fn written<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// What the database says is about the memory's file here, which cannot be made anew.
fn of_memory(error: Error) -> Error {
    match error {
        Error::Store(source) => Error::MemoryStore(source),
        other => other,
    }
}

/// The last generation.
pub(super) fn generation(connection: &Connection) -> Result<u64> {
    let last: Option<i64> =
        connection.query_row("SELECT max(generation) FROM generations", [], |row| {
            row.get(0)
        })?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

/// Begins a generation; gives it with its time, which is never before that of the one before.
pub(super) fn next_generation(connection: &Connection, now_ms: i64) -> Result<(u64, i64)> {
    let last: Option<i64> =
        connection.query_row("SELECT max(at_ms) FROM generations", [], |row| row.get(0))?;
    let at_ms = now_ms.max(last.unwrap_or(i64::MIN));
    connection.execute("INSERT INTO generations (at_ms) VALUES (?1)", [at_ms])?;
    Ok((generation(connection)?, at_ms))
}

const COLUMNS: &str = "id, scope, kind, subject, attribute, identity, text, said_by, run, step, state, accepted_by,
    valid_from_ms, valid_to_ms, recorded, recorded_ms, writer, superseded, superseded_ms, superseded_by, superseder,
    version_of";

/// The versions of one identity, oldest first.
pub(super) fn versions(
    connection: &Connection,
    scope: &str,
    kind: MemoryKind,
    identity: &str,
) -> Result<Vec<Version>> {
    let query = format!(
        "SELECT {COLUMNS} FROM entries WHERE scope = ?1 AND kind = ?2 AND identity = ?3 ORDER BY id"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map((scope, kind.as_str(), identity), version)?;
    collect(rows)
}

/// One version by its number.
pub(super) fn version_of(connection: &Connection, number: i64) -> Result<Option<Version>> {
    let query = format!("SELECT {COLUMNS} FROM entries WHERE id = ?1");
    let mut statement = connection.prepare_cached(&query)?;
    statement
        .query_row([number], version)
        .optional()?
        .transpose()
}

/// All versions that pass the filter, oldest first.
pub(super) fn all(connection: &Connection, filter: &Filter) -> Result<Vec<Version>> {
    let query =
        format!("SELECT {COLUMNS} FROM entries WHERE (?1 IS NULL OR scope = ?1) ORDER BY id");
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map([&filter.scope], version)?;
    let mut versions = collect(rows)?;
    versions.retain(|version| {
        let kinds = &filter.kinds;
        let is_wanted = kinds.is_empty() || kinds.contains(&version.entry.kind);
        is_wanted && filter.view.as_ref().is_none_or(|view| version.is_in(view))
    });
    Ok(versions)
}

fn collect(rows: impl Iterator<Item = rusqlite::Result<Result<Version>>>) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for row in rows {
        versions.push(row??);
    }
    Ok(versions)
}

/// The name of a row.
pub(super) fn name(number: i64) -> String {
    format!("m{number}")
}

/// The row of a name.
pub(super) fn number(id: &str) -> Option<i64> {
    id.strip_prefix('m')?.parse().ok()
}

fn version(row: &Row<'_>) -> rusqlite::Result<Result<Version>> {
    let word = |column: &str| row.get::<_, String>(column);
    let (kind, said_by, state) = (word("kind")?, word("said_by")?, word("state")?);
    let number: i64 = row.get("id")?;
    let unreadable = |what: &str| Error::DamagedMemory(format!("entry m{number}: {what}"));
    let (Some(kind), Some(said_by), Some(state)) = (
        parse(&kind),
        parse::<Said>(&said_by),
        parse::<State>(&state),
    ) else {
        return Ok(Err(unreadable(&format!("{kind} {said_by} {state}"))));
    };
    let entry = Entry {
        id: name(number),
        scope: word("scope")?,
        kind,
        subject: word("subject")?,
        attribute: word("attribute")?,
        text: word("text")?,
        source: Source {
            said_by,
            run: row.get("run")?,
            step: row.get("step")?,
        },
        state,
        accepted_by: row.get("accepted_by")?,
        valid_from_ms: row.get("valid_from_ms")?,
        valid_to_ms: row.get("valid_to_ms")?,
        recorded_ms: row.get("recorded_ms")?,
        superseded_ms: row.get("superseded_ms")?,
        superseded_by: row.get::<_, Option<i64>>("superseded_by")?.map(name),
        version_of: row.get::<_, Option<i64>>("version_of")?.map(name),
    };
    Ok(Ok(Version {
        number,
        entry,
        identity: word("identity")?,
        recorded: row.get::<_, i64>("recorded")?.cast_unsigned(),
        superseded: row
            .get::<_, Option<i64>>("superseded")?
            .map(i64::cast_unsigned),
        writer: row.get("writer")?,
        superseder: row.get("superseder")?,
    }))
}

fn parse<T: serde::de::DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(word.into()).ok()
}
