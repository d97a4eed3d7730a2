//! How runs end, and what that means for their children, their parents and their questions.

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Map;

use super::super::RunKey;
use super::super::blocks::delete_of;
use super::super::event::{EventRow, Kind, status_code};
use super::super::read::{Outcome, Reader, holder_of};
use super::apply::ended;
use super::rows::count_up;
use super::{Append, Ground, Wait, insert_event, ledger};
use crate::Error;
use crate::budget::{Amounts, Cost, Dimension, Entry};
use crate::records::{Event, EventKind, RunId, RunStatus};

/// Notes a run's end or parking and gives its lease back; tells the children's ends.
pub(super) fn end_run(
    ground: &Ground<'_>,
    append: &Append,
    seq: i64,
) -> rusqlite::Result<Vec<Event>> {
    let (transaction, key) = (ground.transaction, append.run.key);
    let Some(status) = append.event.kind.ending() else {
        return Ok(Vec::new());
    };
    let (ready_ms, waiting) = match status {
        RunStatus::Parked => (
            ready_ms(ground, key, &append.waits)?,
            !append.waits.is_empty(),
        ),
        RunStatus::Running | RunStatus::Finished | RunStatus::Failed | RunStatus::Cancelled => {
            (None, false)
        }
    };
    transaction
        .prepare_cached(
            "UPDATE run SET status = ?2, reason = ?3, ended_seq = ?4, ready_ms = ?5, \
             waiting = ?6 WHERE key = ?1",
        )?
        .execute(params![
            key,
            status_code(status),
            append.notice.reason,
            seq,
            ready_ms,
            waiting
        ])?;
    count_up(transaction, key)?;
    end_lease(transaction, key)?;
    if status == RunStatus::Parked {
        return Ok(Vec::new());
    }
    if status == RunStatus::Finished {
        forget_questions(transaction, key)?;
        release(ground, key, &append.run.id)?;
    }
    wake_parent(ground, key)?;
    cancel_children(ground, key, "its parent has ended")
}

/// From when on a run that waits for these may go on. `None`: not by the clock.
fn ready_ms(ground: &Ground<'_>, key: i64, waits: &[Wait]) -> rusqlite::Result<Option<i64>> {
    let mut ready_ms: Option<i64> = None;
    for wait in waits {
        let at_ms = match wait {
            Wait::Timer(at_ms) => Some(*at_ms),
            Wait::Engine => Some(ground.now_ms),
            Wait::Doubt(_) => None,
            Wait::Question(path) => {
                let open: Option<Option<i64>> = ground
                    .transaction
                    .prepare_cached("SELECT expires_ms FROM question WHERE run = ?1 AND path = ?2")?
                    .query_row(params![key, path], |row| row.get(0))
                    .optional()?;
                // Answered since it was last looked at: go on at once.
                open.unwrap_or(Some(ground.now_ms))
            }
            Wait::Child(child) => {
                let status: Option<i64> = ground
                    .transaction
                    .prepare_cached("SELECT status FROM run WHERE key = ?1")?
                    .query_row([child], |row| row.get(0))
                    .optional()?;
                let working = [RunStatus::Running, RunStatus::Parked].map(status_code);
                let ended = status.is_none_or(|status| !working.contains(&status));
                ended.then_some(ground.now_ms)
            }
        };
        ready_ms = match (ready_ms, at_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    Ok(ready_ms)
}

/// Lets a run that waits go on, because something that it waits for has happened.
pub(crate) fn wake(ground: &Ground<'_>, key: i64) -> rusqlite::Result<()> {
    ground
        .transaction
        .prepare_cached("UPDATE run SET ready_ms = ?2 WHERE key = ?1 AND status = ?3 AND waiting")?
        .execute(params![key, ground.now_ms, status_code(RunStatus::Parked)])?;
    Ok(())
}

fn wake_parent(ground: &Ground<'_>, key: i64) -> rusqlite::Result<()> {
    let parent: Option<i64> = ground
        .transaction
        .prepare_cached("SELECT parent FROM run WHERE key = ?1")?
        .query_row([key], |row| row.get(0))?;
    match parent {
        Some(parent) => wake(ground, parent),
        None => Ok(()),
    }
}

fn forget_questions(transaction: &Transaction<'_>, key: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM question WHERE run = ?1")?
        .execute([key])?;
    Ok(())
}

/// Cancels the children of a run that have not ended, and theirs.
fn cancel_children(ground: &Ground<'_>, key: i64, reason: &str) -> rusqlite::Result<Vec<Event>> {
    let children: Vec<i64> = ground
        .transaction
        .prepare_cached("SELECT key FROM run WHERE parent = ?1 AND status IN (0, 1) ORDER BY key")?
        .query_map([key], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut events = Vec::new();
    for child in children {
        events.extend(cancel_run(ground, child, reason)?);
    }
    Ok(events)
}

/// Ends a run that has neither finished nor been cancelled, and its descendants. Whoever works on it
/// finds its lease gone.
pub(crate) fn cancel_run(
    ground: &Ground<'_>,
    key: i64,
    reason: &str,
) -> rusqlite::Result<Vec<Event>> {
    let transaction = ground.transaction;
    let id: String = transaction
        .prepare_cached("SELECT id FROM run WHERE key = ?1")?
        .query_row([key], |row| row.get(0))?;
    let Ok(id) = RunId::parse(&id) else {
        return Ok(Vec::new());
    };
    let body = Map::from_iter([("reason".to_string(), reason.into())]);
    let Ok((mut event, _)) = EventRow::new(Kind::RunCancelled, &body) else {
        return Ok(Vec::new());
    };
    event.at_ms = ground.now_ms;
    let seq = insert_event(transaction, key, &event, event.digest(&id))?;
    transaction
        .prepare_cached(
            "UPDATE run SET status = ?2, reason = ?3, ended_seq = ?4, ready_ms = NULL, \
             waiting = 0 WHERE key = ?1",
        )?
        .execute(params![key, status_code(RunStatus::Cancelled), reason, seq])?;
    count_up(transaction, key)?;
    end_lease(transaction, key)?;
    forget_questions(transaction, key)?;
    release(ground, key, &id)?;
    wake_parent(ground, key)?;
    let kind = EventKind::RunCancelled {
        reason: reason.to_string(),
    };
    let mut events = vec![Event {
        seq,
        run: id,
        at_ms: event.at_ms,
        kind,
    }];
    events.extend(cancel_children(ground, key, reason)?);
    Ok(events)
}

/// Frees what is still set aside for steps of a run that does no more of them.
fn release(ground: &Ground<'_>, key: i64, id: &RunId) -> rusqlite::Result<()> {
    let Ground {
        transaction,
        holder,
        now_ms,
    } = *ground;
    let reader = Reader {
        connection: transaction,
        holder,
        now_ms,
    };
    let Ok(ledgers) = reader.ledgers(key) else {
        return Ok(());
    };
    // Mostly nothing is set aside, and the steps need not be read.
    let mut sets_aside =
        transaction.prepare_cached("SELECT 1 FROM budget WHERE run = ?1 AND reserved > 0")?;
    let mut nothing = true;
    for ledger in &ledgers {
        nothing &= !sets_aside.exists([ledger])?;
    }
    if nothing {
        return Ok(());
    }
    // What cannot be read stays set aside; whoever looks at the run is told of the damage.
    let history = reader.recorded(key, id);
    let steps = history.map_or_else(|_| Vec::new(), |history| history.steps);
    let held = steps
        .iter()
        .filter(|(_, step)| !step.shared && matches!(step.outcome, Outcome::Open))
        .fold(Cost::default(), |sum, (_, step)| sum.plus(step.reserved));
    let entry = Entry {
        release: held.amounts(),
        ..Entry::default()
    };
    ledger::enter(transaction, &ledgers, &entry).map(|_| ())
}

/// Deletes a run with all its events; payloads are left for whoever collects them.
pub(super) fn delete_run(transaction: &Transaction<'_>, key: i64) -> rusqlite::Result<()> {
    delete_of(transaction, key)?;
    for table in ["question", "budget", "lease", "pin"] {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE run = ?1"))?
            .execute([key])?;
    }
    transaction
        .prepare_cached("DELETE FROM run WHERE key = ?1")?
        .execute([key])?;
    Ok(())
}

impl Ground<'_> {
    /// Why nobody may write to a run any more: it has ended for good, or it has been collected since it
    /// was looked at, and its key is perhaps another run's.
    pub(crate) fn refuses(&self, key: i64, id: &RunId) -> rusqlite::Result<Option<Error>> {
        let is_there = self
            .transaction
            .prepare_cached("SELECT 1 FROM run WHERE key = ?1 AND id = ?2")?
            .exists(params![key, id.as_str()])?;
        if is_there {
            return ended(self.transaction, key);
        }
        let id = id.to_string();
        Ok(Some(Error::NotFound { id }))
    }

    /// Writes an event; gives its number.
    pub(crate) fn insert(&self, key: i64, event: &EventRow, digest: i64) -> rusqlite::Result<i64> {
        insert_event(self.transaction, key, event, digest)
    }

    /// Brings what the row of a run sums up of its events up to date.
    pub(crate) fn count_up(&self, key: i64) -> rusqlite::Result<()> {
        count_up(self.transaction, key)?;
        Ok(())
    }

    /// Parks a run whose lease this is, and gives the lease back.
    pub(crate) fn park(
        &self,
        run: &RunKey,
        event: &EventRow,
        reason: &str,
    ) -> rusqlite::Result<crate::Result<((), Vec<Event>)>> {
        let ours = self
            .transaction
            .prepare_cached("SELECT 1 FROM lease WHERE run = ?1 AND token = ?2")?
            .exists(params![run.key, run.token])?;
        if !ours {
            return Ok(Err(Error::LeaseLost {
                run: run.id.to_string(),
            }));
        }
        let seq = self.insert(run.key, event, event.digest(&run.id))?;
        self.transaction
            .prepare_cached(
                "UPDATE run SET status = ?2, reason = ?3, ended_seq = ?4, ready_ms = NULL \
                 WHERE key = ?1",
            )?
            .execute(params![
                run.key,
                status_code(RunStatus::Parked),
                reason,
                seq
            ])?;
        self.count_up(run.key)?;
        end_lease(self.transaction, run.key)?;
        let told = Event {
            seq,
            run: run.id.clone(),
            at_ms: event.at_ms,
            kind: EventKind::RunParked {
                reason: reason.to_string(),
            },
        };
        Ok(Ok(((), vec![told])))
    }

    /// Writes a payload node, unless it is there.
    pub(crate) fn node(&self, node: &super::Packed) -> rusqlite::Result<()> {
        super::insert_node(self.transaction, node)
    }

    /// Why nothing may be said of a run's steps: as [`Ground::refuses`], or somebody works on it.
    pub(crate) fn refuses_settling(&self, key: i64, id: &RunId) -> rusqlite::Result<Option<Error>> {
        if let Some(error) = self.refuses(key, id)? {
            return Ok(Some(error));
        }
        let by = holder_of(self.transaction, key, self.now_ms, self.holder)?;
        let id = id.to_string();
        Ok(by.map(|by| Error::Held { id, by }))
    }

    /// Settles what was set aside for a step: it has been used.
    pub(crate) fn spend(&self, ledgers: &[i64], amounts: Amounts) -> rusqlite::Result<()> {
        let entry = Entry {
            release: amounts,
            spend: amounts,
            ..Entry::default()
        };
        ledger::enter(self.transaction, ledgers, &entry).map(|_| ())
    }

    /// Raises a limit of a run.
    pub(crate) fn raise_limit(
        &self,
        key: i64,
        dimension: Dimension,
        most: u64,
    ) -> rusqlite::Result<bool> {
        ledger::raise(self.transaction, key, dimension, most)
    }

    /// Lets a run go on that nobody holds, whatever it waits for. A holder whose time has run out has
    /// not seen what was changed: it can write no more.
    pub(crate) fn ready_now(&self, key: i64) -> rusqlite::Result<()> {
        end_lease(self.transaction, key)?;
        self.transaction
            .prepare_cached("UPDATE run SET ready_ms = ?2 WHERE key = ?1 AND status = ?3")?
            .execute(params![key, self.now_ms, status_code(RunStatus::Parked)])?;
        Ok(())
    }
}

/// Whoever has the lease of a run, if anybody, can write to it no more.
fn end_lease(transaction: &Transaction<'_>, key: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM lease WHERE run = ?1")?
        .execute([key])?;
    Ok(())
}
