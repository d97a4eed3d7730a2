//! Rows of events and leases, and what the rows of runs sum up.

use rusqlite::{CachedStatement, Transaction, params};

use super::super::Token;
use super::super::blocks::{Uncounted, uncounted};
use super::super::event::{EventRow, Kind, effect_code};
use super::apply::Lease;

/// What writes events.
pub(super) struct InsertEvent<'a>(CachedStatement<'a>);

impl<'a> InsertEvent<'a> {
    pub(super) fn new(transaction: &'a Transaction<'_>) -> rusqlite::Result<InsertEvent<'a>> {
        let statement = transaction.prepare_cached(
            "INSERT INTO event (run, kind, at_ms, path, effect, fingerprint, body, digest) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        Ok(InsertEvent(statement))
    }

    /// Writes an event; gives its number.
    pub(super) fn insert(
        &mut self,
        key: i64,
        event: &EventRow,
        digest: i64,
    ) -> rusqlite::Result<i64> {
        self.0.insert(params![
            key,
            event.kind.code(),
            event.at_ms,
            event.path,
            event.effect.map(effect_code),
            event.fingerprint,
            event.body,
            digest
        ])
    }
}

/// Writes an event; gives its number.
pub(crate) fn insert_event(
    transaction: &Transaction<'_>,
    key: i64,
    event: &EventRow,
    digest: i64,
) -> rusqlite::Result<i64> {
    InsertEvent::new(transaction)?.insert(key, event, digest)
}

/// Gives a run to whoever has the token.
pub(super) fn insert_lease(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    key: i64,
    token: Token,
) -> rusqlite::Result<()> {
    let holder = lease.holder;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO lease (run, token, owner, machine, pid, born, expires_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            key,
            token,
            lease.owner,
            holder.machine,
            holder.pid,
            holder.born,
            lease.expires_ms
        ])?;
    Ok(())
}

/// Brings what the row of a run sums up of its events up to date; gives the last event that it counts
/// now, if it counts any that it did not before.
pub(super) fn count_up(transaction: &Transaction<'_>, key: i64) -> rusqlite::Result<Option<i64>> {
    let sum = uncounted(transaction, key)?;
    if sum.last.is_some() {
        add_to_row(transaction, key, sum, None)?;
    }
    Ok(sum.last)
}

/// Adds to the sums of a run's row; `false`, and nothing is done, when it is not `since` this event that
/// it counts no more.
fn add_to_row(
    transaction: &Transaction<'_>,
    key: i64,
    sum: Uncounted,
    since: Option<i64>,
) -> rusqlite::Result<bool> {
    let changed = transaction
        .prepare_cached(
            "UPDATE run SET steps = steps + ?2, finished_steps = finished_steps + ?3, \
             updated_ms = max(updated_ms, ?4), counted_seq = ?5 \
             WHERE key = ?1 AND counted_seq = ifnull(?6, counted_seq)",
        )?
        .execute(params![
            key, sum.begun, sum.ended, sum.at_ms, sum.last, since
        ])?;
    Ok(changed == 1)
}

/// What one writer has written of a run since its row was counted up, so that it need not read it again.
/// Whoever else writes an event of the run counts it up in the same transaction.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    /// The last event that the row counts; none: not known.
    since: Option<i64>,
    events: u32,
    sum: Uncounted,
}

impl Tally {
    /// Of a run whose row counts all its events, this being the last.
    pub(super) fn from(counted: i64) -> Tally {
        Tally {
            since: Some(counted),
            ..Tally::default()
        }
    }

    pub(super) fn add(&mut self, seq: i64, kind: Kind, at_ms: i64) {
        self.events += 1;
        self.sum.add(seq, kind, at_ms);
    }

    /// Both together, `later` being of later events.
    pub(super) fn and(self, later: &Tally) -> Tally {
        Tally {
            since: self.since,
            events: self.events + later.events,
            sum: self.sum.and(later.sum),
        }
    }

    /// Counts the run up where its row has left out so many events; gives what is left out then.
    pub(super) fn count_up(
        self,
        transaction: &Transaction<'_>,
        key: i64,
        most: u32,
    ) -> rusqlite::Result<Tally> {
        if self.events < most {
            return Ok(self);
        }
        let since = match self.since {
            Some(since) if add_to_row(transaction, key, self.sum, Some(since))? => self.sum.last,
            _ => count_up(transaction, key)?,
        };
        Ok(Tally {
            since,
            ..Tally::default()
        })
    }
}
