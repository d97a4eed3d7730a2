//! The schema of the journal file, its version, and how an older file becomes a current one.
//!
//! A migration is never changed once it has been released: files in the wild have passed it.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::{Error, Result};

/// Marks the file as a journal: `plmb`.
const APPLICATION_ID: i64 = 0x706c_6d62;

/// Step number n (from 1) turns a file of version n - 1 into one of version n.
const MIGRATIONS: &[&str] = &[
    include_str!("v1.sql"),
    include_str!("v2.sql"),
    include_str!("v3.sql"),
    include_str!("v4.sql"),
    include_str!("v5.sql"),
];

/// The version that this program writes.
pub(crate) fn current_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Makes the file a journal of the current version.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let doing = "read the version of the journal file";
    let at = |error| Error::store(doing, error);
    if pragma(connection, "user_version").map_err(at)? == current_version()
        && pragma(connection, "application_id").map_err(at)? == APPLICATION_ID
    {
        return Ok(());
    }
    // Looked at again under the write lock: two processes may open a new file at the same time.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(at)?;
    let found = pragma(&transaction, "user_version").map_err(at)?;
    let application = pragma(&transaction, "application_id").map_err(at)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = transaction
        .query_row(count, [], |row| row.get(0))
        .map_err(at)?;
    if application != APPLICATION_ID && (objects > 0 || application != 0) {
        let message = "it is a database of another program".to_string();
        return Err(Error::File {
            path: path.to_path_buf(),
            message,
        });
    }
    if found > current_version() {
        let known = current_version();
        return Err(Error::Version {
            path: path.to_path_buf(),
            found,
            known,
        });
    }
    let at = |error| Error::store("bring the journal file to the current version", error);
    for migration in MIGRATIONS
        .iter()
        .skip(usize::try_from(found).unwrap_or_default())
    {
        transaction.execute_batch(migration).map_err(at)?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(at)?;
    transaction
        .pragma_update(None, "user_version", current_version())
        .map_err(at)?;
    transaction.commit().map_err(at)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Turns write-ahead logging on. SQLite does not wait for other processes here, so this does.
pub(crate) fn use_wal(connection: &Connection, path: &Path, wait: Duration) -> Result<()> {
    let give_up = Instant::now() + wait;
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                let message = format!(
                    "its file system allows no write-ahead log (SQLite chose `{mode}`); put the \
                     journal on a local disk"
                );
                return Err(Error::File {
                    path: path.to_path_buf(),
                    message,
                });
            }
            Err(error) => {
                let busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
                if !busy || Instant::now() >= give_up {
                    return Err(Error::store("open the journal file for writing", error));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
