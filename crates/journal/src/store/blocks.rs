//! How the events of one run are found among those of all.
//!
//! The index of events is by block of [`BLOCK`] numbers, and in a block by run. Events of runs that are
//! worked on side by side so come into the same few pages of it; an index by run alone has a page for
//! each run, and a commit for 64 runs had to write 64 of them. The price is a look into each block from
//! the run's first on, which takes some microseconds.

use rusqlite::{Connection, params};

use super::event::Kind;

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

/// What the events of a run add up to that its row does not count yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uncounted {
    /// Steps begun.
    pub(super) begun: i64,
    /// Steps that have ended, with a result or an error.
    pub(super) ended: i64,
    /// When the latest of them was written; none: there are none.
    pub(super) at_ms: Option<i64>,
    /// The number of the last of them.
    pub(super) last: Option<i64>,
}

impl Uncounted {
    /// Adds an event that has been written.
    pub(super) fn add(&mut self, seq: i64, kind: Kind, at_ms: i64) {
        match kind {
            Kind::StepStarted => self.begun += 1,
            Kind::StepFinished | Kind::StepFailed => self.ended += 1,
            _ => {}
        }
        self.at_ms = self.at_ms.max(Some(at_ms));
        self.last = Some(seq);
    }

    /// Both together, `later` being of later events.
    pub(super) fn and(self, later: Uncounted) -> Uncounted {
        Uncounted {
            begun: self.begun + later.begun,
            ended: self.ended + later.ended,
            at_ms: self.at_ms.max(later.at_ms),
            last: self.last.max(later.last),
        }
    }
}

/// Adds up what the row of a run does not count yet.
pub(super) fn uncounted(connection: &Connection, key: i64) -> rusqlite::Result<Uncounted> {
    let counted: i64 = connection
        .prepare_cached("SELECT counted_seq FROM run WHERE key = ?1")?
        .query_row([key], |row| row.get(0))?;
    let sql = format!(
        "SELECT count(*) FILTER (WHERE kind = ?4), count(*) FILTER (WHERE kind IN (?5, ?6)), \
         max(at_ms), max(seq) FROM event WHERE {IN_BLOCK} AND seq > ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let [begun, finished, failed] =
        [Kind::StepStarted, Kind::StepFinished, Kind::StepFailed].map(Kind::code);
    let mut sum = Uncounted::default();
    let first = counted.saturating_add(1).max(0) / BLOCK;
    for block in blocks(connection, key)?.filter(|block| *block >= first) {
        let found = statement.query_row(
            params![block, key, counted, begun, finished, failed],
            |row| {
                Ok(Uncounted {
                    begun: row.get(0)?,
                    ended: row.get(1)?,
                    at_ms: row.get(2)?,
                    last: row.get(3)?,
                })
            },
        )?;
        sum = sum.and(found);
    }
    Ok(sum)
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
