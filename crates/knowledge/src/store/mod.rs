//! The truth about a library: one SQLite file with its documents, passages and vectors.
//!
//! Why SQLite: a file that survives a kill at any moment, read by several processes while one writes.
//! The search indexes beside it are derived from it and may be deleted; this file too can be made anew from
//! the documents, but the vectors in it took long to compute.
//!
//! Every change to documents and passages raises the *generation*, a counter by which an index, or another
//! process, sees that it is behind. Vectors are kept by the hash of the text they stand for, so they survive
//! renamed files and moved passages; a new vector does not raise the generation.
//!
//! Start with [`Store::open`]; [`read`] and [`write`] hold the queries. Nothing here searches.

mod read;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

pub(crate) use read::{KnownFile, Located};
pub(crate) use write::{Change, NewDocument, NewPassage};

use crate::error::{Error, Result};

/// The format of the file; raised when a change cannot be read by older versions.
const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    hash BLOB NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    blocks TEXT NOT NULL
);
-- A passage's id is a hash over its file, headings, text and position.
CREATE TABLE passages (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    first_byte INTEGER NOT NULL,
    end_byte INTEGER NOT NULL,
    headings TEXT NOT NULL,
    places TEXT NOT NULL,
    text TEXT NOT NULL,
    content INTEGER NOT NULL
);
CREATE UNIQUE INDEX passages_in_order ON passages (document, ordinal);
CREATE INDEX passages_by_content ON passages (content);
-- One vector for each different content, whichever passages have it.
CREATE TABLE vectors (content INTEGER PRIMARY KEY, vector BLOB NOT NULL);
-- Files that could not be read, so that they are not tried again before they change.
CREATE TABLE skipped (
    file TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('generation', '0'), ('vectors_version', '0');
PRAGMA user_version = 1;
";

/// One library's database: any number of readers, one writer.
pub(crate) struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens the database, creating it if need be.
    pub(crate) fn open(path: &Path) -> Result<Store> {
        let mut writer = Connection::open(path)?;
        configure(&writer)?;
        // A kill of the process loses nothing with NORMAL; a loss of power loses the last commits, whose
        // files are then read again.
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        writer.pragma_update(None, "foreign_keys", true)?;
        let transaction =
            writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
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
        Ok(Store {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
        })
    }

    /// Runs `work` on a connection that sees the last committed state.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let pooled = self
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let connection =
                    Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                configure(&connection)?;
                connection
            }
        };
        let result = work(&connection);
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result
    }

    /// Runs `work` in a transaction; an error undoes it.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction =
            writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// The number that every change to documents or passages raises.
    pub(crate) fn generation(&self) -> Result<u64> {
        self.counter("generation")
    }

    /// The number that every change to the vectors raises.
    pub(crate) fn vectors_version(&self) -> Result<u64> {
        self.counter("vectors_version")
    }

    fn counter(&self, name: &str) -> Result<u64> {
        let text = self
            .read(|connection| meta(connection, name))?
            .unwrap_or_default();
        text.parse()
            .map_err(|_| Error::Damaged(format!("{name} {text:?}")))
    }
}

fn configure(connection: &Connection) -> Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    connection.pragma_update(None, "mmap_size", 1_i64 << 30)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn meta(connection: &Connection, name: &str) -> Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// SQLite's integers are signed; ids are hashes of all 64 bits.
fn to_sql(id: u64) -> i64 {
    id.cast_signed()
}

fn from_sql(id: i64) -> u64 {
    id.cast_unsigned()
}
