//! Giving room in the file back.

use std::time::Duration;

use rusqlite::Connection;

use super::Store;
use crate::{Error, Result};

/// Free pages worth rewriting the file for: at least so many bytes, and at least a quarter of it.
const WORTH_BYTES: i64 = 1 << 20;
/// How long to wait for others; what cannot be done now can be done the next time.
const WAIT: Duration = Duration::from_secs(1);

impl Store {
    /// Makes the file as small as it can be made now: rewrites it when much of it is free and nobody
    /// works on a run, and empties the write-ahead log.
    pub(crate) async fn shrink(&self) -> Result<()> {
        if self.file().is_none() {
            return Ok(());
        }
        let (place, now_ms) = (self.0.place.clone(), self.clock().now_ms());
        let task = tokio::task::spawn_blocking(move || {
            let connection = place.connect(WAIT)?;
            // The deletion itself is done; that the room is not given back now is no failure of it.
            if let Err(error) = shrink(&connection, now_ms) {
                tracing::warn!(%error, "the journal file was not made smaller");
            }
            Ok(())
        });
        task.await.map_err(|_| Error::Gone)?
    }
}

fn shrink(connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, pages) = (pragma("freelist_count")?, pragma("page_count")?);
    let worth = free.saturating_mul(pragma("page_size")?) >= WORTH_BYTES && free * 4 >= pages;
    // Rewriting locks the file for as long as it takes.
    let at_work: i64 = connection.query_row(
        "SELECT count(*) FROM lease WHERE expires_ms > ?1",
        [now_ms],
        |row| row.get(0),
    )?;
    if worth && at_work == 0 {
        connection.execute_batch("VACUUM")?;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
