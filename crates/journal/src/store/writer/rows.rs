//! Rows of events and leases, and what the rows of runs sum up.

use rusqlite::{Transaction, params};

use super::super::Token;
use super::super::blocks::uncounted;
use super::super::event::{EventRow, effect_code};
use super::apply::Lease;

/// Writes an event; gives its number.
pub(crate) fn insert_event(
    transaction: &Transaction<'_>,
    key: i64,
    event: &EventRow,
    digest: i64,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO event (run, kind, at_ms, path, effect, fingerprint, body, digest) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .insert(params![
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

/// Brings what the row of a run sums up of its events up to date.
pub(super) fn count_up(transaction: &Transaction<'_>, key: i64) -> rusqlite::Result<()> {
    let sum = uncounted(transaction, key)?;
    if sum.last.is_none() {
        return Ok(());
    }
    transaction
        .prepare_cached(
            "UPDATE run SET steps = steps + ?2, finished_steps = finished_steps + ?3, \
             updated_ms = max(updated_ms, ?4), counted_seq = ?5 WHERE key = ?1",
        )?
        .execute(params![key, sum.begun, sum.ended, sum.at_ms, sum.last])?;
    Ok(())
}
