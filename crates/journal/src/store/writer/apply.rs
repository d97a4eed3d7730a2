//! What each command does to the database, inside its group's transaction.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, Transaction, params};

use super::super::event::{EventRow, Kind, effect_code, status_code};
use super::super::read::holder_of;
use super::super::{RunKey, Token};
use super::known::Packed;
use super::{Append, Begin, Command, Take};
use crate::lease::Holder;
use crate::records::{Event, EventKind, RunStatus};
use crate::{Error, Result};

/// What became of a command, valid once the group is committed.
pub(super) struct Written {
    /// A new run's key; of a run taken up, the number of its last event before that.
    pub(super) answer: i64,
    pub(super) event: Option<Event>,
}

/// What the commands of a group add up to.
#[derive(Default)]
pub(super) struct Group {
    /// Leases that are certainly ours: found so, and nobody else has written since.
    pub(super) ours: HashSet<Token>,
    ended: HashSet<i64>,
    pub(super) tallies: HashMap<i64, Tally>,
}

#[derive(Default)]
pub(super) struct Tally {
    pub(super) begun: i64,
    pub(super) ended: i64,
    pub(super) at_ms: i64,
}

/// A lease to be written.
pub(super) struct Lease<'a> {
    pub(super) holder: &'a Holder,
    pub(super) owner: Token,
    pub(super) expires_ms: i64,
}

/// Applies a command inside the group's transaction. The outer error is SQLite's and ends the group,
/// the inner one is a refusal of this command, which has then changed nothing.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    group: &mut Group,
    command: &Command,
) -> rusqlite::Result<Result<Written>> {
    match command {
        Command::Begin(begin, _) => apply_begin(transaction, lease, begin),
        Command::Take(take, _) => {
            group.ours.clear();
            group.ended.remove(&take.key);
            apply_take(transaction, lease, take)
        }
        Command::Append(append) => apply_append(transaction, group, append),
        Command::Release(key, token) => {
            group.ours.remove(token);
            transaction
                .prepare_cached("DELETE FROM lease WHERE run = ?1 AND token = ?2")?
                .execute(params![key, token])?;
            Ok(Ok(Written {
                answer: *key,
                event: None,
            }))
        }
    }
}

fn apply_begin(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    begin: &Begin,
) -> rusqlite::Result<Result<Written>> {
    let exists = transaction
        .prepare_cached("SELECT 1 FROM run WHERE id = ?1")?
        .exists([begin.id.as_str()])?;
    if exists {
        return Ok(Err(Error::Exists {
            id: begin.id.to_string(),
        }));
    }
    transaction
        .prepare_cached(
            "INSERT INTO run (id, agent, status, created_ms, updated_ms, steps, finished_steps, \
             started_seq) VALUES (?1, ?2, ?3, ?4, ?4, 0, 0, 0)",
        )?
        .execute(params![
            begin.id.as_str(),
            begin.agent,
            status_code(RunStatus::Running),
            begin.event.at_ms
        ])?;
    let key = transaction.last_insert_rowid();
    insert_nodes(transaction, &begin.nodes)?;
    let seq = insert_event(
        transaction,
        key,
        &begin.event,
        begin.event.digest(&begin.id),
    )?;
    transaction
        .prepare_cached("UPDATE run SET started_seq = ?2 WHERE key = ?1")?
        .execute(params![key, seq])?;
    insert_lease(transaction, lease, key, begin.token)?;
    let kind = EventKind::RunStarted {
        agent: begin.agent.clone(),
    };
    let event = Event {
        seq,
        run: begin.id.clone(),
        at_ms: begin.event.at_ms,
        kind,
    };
    Ok(Ok(Written {
        answer: key,
        event: Some(event),
    }))
}

fn apply_take(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    take: &Take,
) -> rusqlite::Result<Result<Written>> {
    let status: i64 = transaction
        .prepare_cached("SELECT status FROM run WHERE key = ?1")?
        .query_row([take.key], |row| row.get(0))?;
    if status == status_code(RunStatus::Finished) {
        return Ok(Err(Error::Finished {
            id: take.id.to_string(),
        }));
    }
    let now_ms = crate::now_ms();
    if let Some(by) = holder_of(transaction, take.key, now_ms, lease.holder)? {
        return Ok(Err(Error::Held {
            id: take.id.to_string(),
            by,
        }));
    }
    let before = transaction
        .prepare_cached("SELECT max(seq) FROM event WHERE run = ?1")?
        .query_row([take.key], |row| row.get(0))?;
    insert_lease(transaction, lease, take.key, take.token)?;
    let seq = insert_event(
        transaction,
        take.key,
        &take.event,
        take.event.digest(&take.id),
    )?;
    transaction
        .prepare_cached(
            "UPDATE run SET status = ?2, reason = NULL, ended_seq = NULL, \
             updated_ms = max(updated_ms, ?3) WHERE key = ?1",
        )?
        .execute(params![
            take.key,
            status_code(RunStatus::Running),
            take.event.at_ms
        ])?;
    let at_ms = take.event.at_ms;
    let event = Event {
        seq,
        run: take.id.clone(),
        at_ms,
        kind: EventKind::RunResumed,
    };
    Ok(Ok(Written {
        answer: before,
        event: Some(event),
    }))
}

fn apply_append(
    transaction: &Transaction<'_>,
    group: &mut Group,
    append: &Append,
) -> rusqlite::Result<Result<Written>> {
    let RunKey {
        key,
        id,
        token,
        fate,
    } = &append.run;
    if let Err(error) = fate.check() {
        return Ok(Err(error));
    }
    if group.ended.contains(key) {
        return Ok(Err(Error::Closed {
            run: id.to_string(),
            how: "ended".to_string(),
        }));
    }
    if !group.ours.contains(token) {
        let found: Option<Token> = transaction
            .prepare_cached("SELECT token FROM lease WHERE run = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if found != Some(*token) {
            return Ok(Err(Error::LeaseLost {
                run: id.to_string(),
            }));
        }
        group.ours.insert(*token);
    }
    insert_nodes(transaction, &append.nodes)?;
    let seq = insert_event(transaction, *key, &append.event, append.digest)?;
    let tally = group.tallies.entry(*key).or_default();
    tally.at_ms = tally.at_ms.max(append.event.at_ms);
    match append.event.kind {
        Kind::StepStarted => tally.begun += 1,
        Kind::StepFinished | Kind::StepFailed => tally.ended += 1,
        Kind::StepRestarted | Kind::StepFaulted | Kind::RunStarted | Kind::RunResumed => {}
        Kind::RunParked | Kind::RunFinished | Kind::RunFailed => {
            group.ended.insert(*key);
            group.ours.remove(token);
            end_run(transaction, append, seq)?;
        }
    }
    let at_ms = append.event.at_ms;
    let event = Event {
        seq,
        run: id.clone(),
        at_ms,
        kind: append.notice.kind.clone(),
    };
    Ok(Ok(Written {
        answer: *key,
        event: Some(event),
    }))
}

/// Notes a run's end and gives its lease back.
fn end_run(transaction: &Transaction<'_>, append: &Append, seq: i64) -> rusqlite::Result<()> {
    let key = append.run.key;
    if let Some(status) = append.event.kind.ending() {
        transaction
            .prepare_cached(
                "UPDATE run SET status = ?2, reason = ?3, ended_seq = ?4 WHERE key = ?1",
            )?
            .execute(params![key, status_code(status), append.notice.reason, seq])?;
    }
    transaction
        .prepare_cached("DELETE FROM lease WHERE run = ?1")?
        .execute([key])?;
    Ok(())
}

fn insert_nodes(transaction: &Transaction<'_>, nodes: &[Packed]) -> rusqlite::Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(
        "INSERT INTO payload (hash, kind, size, body) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO NOTHING",
    )?;
    for node in nodes {
        statement.execute(params![node.hash, node.kind.code(), node.size, node.body])?;
    }
    Ok(())
}

fn insert_event(
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

fn insert_lease(
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
