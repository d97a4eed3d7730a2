//! How the events of one run are found among those of all.
//!
//! The index of events is by block of [`BLOCK`] numbers, and in a block by run. Events of runs that are
//! worked on side by side so come into the same few pages of it; an index by run alone has a page for
//! each run, and a commit for 64 runs had to write 64 of them. The price is a look into each block from
//! the run's first on, which takes some microseconds.

use rusqlite::Connection;

/// Events in a block. The schema says the same number.
pub(super) const BLOCK: i64 = 4096;

/// The conditions that the index serves, for `?1` the block and `?2` the run.
pub(super) const IN_BLOCK: &str = "seq / 4096 = ?1 AND run = ?2";

/// The blocks that may have events of a run.
pub(super) fn blocks(
    connection: &Connection,
    key: i64,
) -> rusqlite::Result<std::ops::RangeInclusive<i64>> {
    connection
        .prepare_cached(
            "SELECT (SELECT CAST(started_seq AS INTEGER) FROM run WHERE key = ?1), \
             (SELECT max(seq) FROM event)",
        )?
        .query_row([key], |row| {
            let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
            let block = |seq: Option<i64>| seq.unwrap_or(0).max(0) / BLOCK;
            Ok(block(first)..=block(last))
        })
}

/// The number of the last event of a run.
pub(super) fn last_of(connection: &Connection, key: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!("SELECT max(seq) FROM event WHERE {IN_BLOCK}");
    let mut statement = connection.prepare_cached(&sql)?;
    for block in blocks(connection, key)?.rev() {
        let last: Option<i64> = statement.query_row([block, key], |row| row.get(0))?;
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

/// The bytes of the events of a run, without their payloads.
pub(super) fn bytes_of(connection: &Connection, key: i64) -> rusqlite::Result<f64> {
    let sql = format!("SELECT total(octet_length(body)) FROM event WHERE {IN_BLOCK}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut bytes = 0.0;
    for block in blocks(connection, key)? {
        bytes += statement.query_row([block, key], |row| row.get::<_, f64>(0))?;
    }
    Ok(bytes)
}

/// Deletes the events of a run.
pub(super) fn delete_of(connection: &Connection, key: i64) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM event WHERE {IN_BLOCK}");
    let mut statement = connection.prepare_cached(&sql)?;
    for block in blocks(connection, key)? {
        statement.execute([block, key])?;
    }
    Ok(())
}
