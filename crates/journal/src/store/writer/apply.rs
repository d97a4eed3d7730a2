//! What each command does to the database, inside its group's transaction.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, Transaction, params};

use super::super::blocks::last_of;
use super::super::event::{status_code, status_from_code};
use super::super::read::holder_of;
use super::super::{RunKey, Token};
use super::ending::end_run;
use super::rows::{InsertEvent, Tally, count_up, insert_lease};
use super::{Append, Begin, Command, Ground, QuestionChange, Take, ledger};
use crate::lease::Holder;
use crate::records::{Event, EventKind, RunStatus};
use crate::{Error, Result};

/// What became of a command, valid once the group is committed.
pub(super) struct Written {
    /// A new run's key; of a run taken up, the number of its last event before that.
    pub(super) answer: i64,
    pub(super) event: Option<Event>,
    /// What else came of it.
    pub(super) more: Vec<Event>,
}

impl Written {
    fn new(answer: i64, event: Option<Event>) -> Written {
        Written {
            answer,
            event,
            more: Vec::new(),
        }
    }
}

/// A group whose commands are being applied.
pub(super) struct Group<'a> {
    events: InsertEvent<'a>,
    ended: HashSet<i64>,
    sum: Sum,
}

/// What the commands of a group add up to: valid once it is committed.
#[derive(Default)]
pub(super) struct Sum {
    /// Leases that are certainly ours: found so, and nobody else has written since.
    pub(super) ours: HashSet<Token>,
    /// What has been written of which runs.
    pub(super) appended: HashMap<i64, Tally>,
    /// The runs that have been begun or taken up, with the last event that their rows count: all.
    pub(super) taken: Vec<(i64, i64)>,
    /// The runs that nobody writes any more, and whose rows count all of their events.
    pub(super) left: Vec<i64>,
    /// How often payloads have been collected.
    pub(super) collections: i64,
}

impl<'a> Group<'a> {
    pub(super) fn new(transaction: &'a Transaction<'_>, sum: Sum) -> rusqlite::Result<Group<'a>> {
        Ok(Group {
            events: InsertEvent::new(transaction)?,
            ended: HashSet::new(),
            sum,
        })
    }

    pub(super) fn sum(self) -> Sum {
        self.sum
    }
}

/// A lease to be written.
pub(super) struct Lease<'a> {
    pub(super) holder: &'a Holder,
    pub(super) owner: Token,
    pub(super) now_ms: i64,
    pub(super) expires_ms: i64,
    /// Whether anybody is told of events.
    pub(super) told: bool,
}

/// Applies a command inside the group's transaction. The outer error is SQLite's and ends the group,
/// the inner one is a refusal of this command, which has then changed nothing.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    group: &mut Group<'_>,
    command: &mut Command,
) -> rusqlite::Result<Result<Written>> {
    match command {
        Command::Begin(begin, _) => apply_begin(transaction, lease, group, begin),
        Command::Take(take, _) => {
            group.sum.ours.clear();
            group.ended.remove(&take.key);
            apply_take(transaction, lease, group, take)
        }
        Command::Append(append) => apply_append(transaction, lease, group, append),
        Command::Write(write, _) => {
            // It may end runs or give leases back.
            group.sum.ours.clear();
            let outcome = (write.0)(&ground(transaction, lease))?;
            group.sum.collections = super::collections(transaction)?;
            Ok(outcome.map(|more| Written {
                answer: 0,
                event: None,
                more,
            }))
        }
        Command::Release(key, token) => {
            let (key, token) = (*key, *token);
            group.sum.ours.remove(&token);
            count_if_there(transaction, group, key)?;
            transaction
                .prepare_cached("DELETE FROM lease WHERE run = ?1 AND token = ?2")?
                .execute(params![key, token])?;
            Ok(Ok(Written::new(key, None)))
        }
    }
}

/// Counts up a run that is let go; it may have been collected meanwhile.
fn count_if_there(
    transaction: &Transaction<'_>,
    group: &mut Group<'_>,
    key: i64,
) -> rusqlite::Result<()> {
    let is_there = transaction
        .prepare_cached("SELECT 1 FROM run WHERE key = ?1")?
        .exists([key])?;
    if is_there {
        count_up(transaction, key)?;
    }
    group.sum.left.push(key);
    Ok(())
}

fn ground<'a>(transaction: &'a Transaction<'a>, lease: &Lease<'a>) -> Ground<'a> {
    Ground {
        transaction,
        holder: lease.holder,
        now_ms: lease.now_ms,
    }
}

fn apply_begin(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    group: &mut Group<'_>,
    begin: &Begin,
) -> rusqlite::Result<Result<Written>> {
    let existing: Option<(i64, Option<i64>)> = transaction
        .prepare_cached("SELECT key, parent FROM run WHERE id = ?1")?
        .query_row([begin.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match existing {
        // A child whose parent was cut off right after it had begun it.
        Some((key, Some(parent))) if Some(parent) == begin.parent => {
            return Ok(Ok(Written::new(key, None)));
        }
        Some(_) => {
            return Ok(Err(Error::Exists {
                id: begin.id.to_string(),
            }));
        }
        None => {}
    }
    if let Some(parent) = begin.parent
        && let Some(error) = ended(transaction, parent)?
    {
        return Ok(Err(error));
    }
    if let Some(id) = forked_from_nothing(transaction, begin)? {
        return Ok(Err(Error::NotFound { id }));
    }
    let key = insert_run(transaction, begin)?;
    begin.nodes.insert(transaction, group.sum.collections)?;
    let digest = begin.event.digest(&begin.id);
    let seq = group.events.insert(key, &begin.event, digest)?;
    transaction
        .prepare_cached("UPDATE run SET started_seq = ?2, counted_seq = ?2 WHERE key = ?1")?
        .execute(params![key, seq])?;
    group.sum.taken.push((key, seq));
    ledger::open(transaction, key, &begin.budget)?;
    if let Some(token) = begin.token {
        insert_lease(transaction, lease, key, token)?;
    }
    let kind = EventKind::RunStarted {
        agent: begin.agent.clone(),
    };
    let event = Event {
        seq,
        run: begin.id.clone(),
        at_ms: begin.event.at_ms,
        kind,
    };
    Ok(Ok(Written::new(key, Some(event))))
}

/// The row of a run that begins; gives its key.
fn insert_run(transaction: &Transaction<'_>, begin: &Begin) -> rusqlite::Result<i64> {
    let (forked_from, forked_seq) = match &begin.forked {
        Some((key, seq, _)) => (Some(key), Some(seq)),
        None => (None, None),
    };
    transaction
        .prepare_cached(
            "INSERT INTO run (id, agent, status, created_ms, updated_ms, steps, finished_steps, \
             started_seq, ready_ms, parent, forked_from, forked_seq) \
             VALUES (?1, ?2, ?3, ?4, ?4, 0, 0, 0, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            begin.id.as_str(),
            begin.agent,
            status_code(RunStatus::Running),
            begin.event.at_ms,
            begin.parent,
            forked_from,
            forked_seq
        ])?;
    Ok(transaction.last_insert_rowid())
}

/// The run to be forked, when it has been collected since it was looked at.
fn forked_from_nothing(
    transaction: &Transaction<'_>,
    begin: &Begin,
) -> rusqlite::Result<Option<String>> {
    let Some((key, seq, id)) = &begin.forked else {
        return Ok(None);
    };
    let found = transaction
        .prepare_cached("SELECT 1 FROM event WHERE seq = ?2 AND run = ?1")?
        .exists(params![key, seq])?;
    Ok((!found).then(|| id.to_string()))
}

/// Why a run that has been ended for good takes nothing more.
pub(super) fn ended(transaction: &Transaction<'_>, key: i64) -> rusqlite::Result<Option<Error>> {
    let found: Option<(String, i64, Option<String>)> = transaction
        .prepare_cached("SELECT id, status, reason FROM run WHERE key = ?1")?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, status, reason)) = found else {
        return Ok(None);
    };
    Ok(match status_from_code(status) {
        Some(RunStatus::Finished) => Some(Error::Finished { id }),
        Some(RunStatus::Cancelled) => Some(Error::RunCancelled {
            run: id,
            reason: reason.unwrap_or_default(),
        }),
        Some(RunStatus::Running | RunStatus::Parked | RunStatus::Failed) | None => None,
    })
}

fn apply_take(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    group: &mut Group<'_>,
    take: &Take,
) -> rusqlite::Result<Result<Written>> {
    // It may have been collected since it was looked for, and its key given to another run.
    let is_there = transaction
        .prepare_cached("SELECT 1 FROM run WHERE key = ?1 AND id = ?2")?
        .exists(params![take.key, take.id.as_str()])?;
    if !is_there {
        let id = take.id.to_string();
        return Ok(Err(Error::NotFound { id }));
    }
    if let Some(error) = ended(transaction, take.key)? {
        return Ok(Err(error));
    }
    if let Some(by) = holder_of(transaction, take.key, lease.now_ms, lease.holder)? {
        return Ok(Err(Error::Held {
            id: take.id.to_string(),
            by,
        }));
    }
    let before = last_of(transaction, take.key)?.unwrap_or_default();
    insert_lease(transaction, lease, take.key, take.token)?;
    let digest = take.event.digest(&take.id);
    let seq = group.events.insert(take.key, &take.event, digest)?;
    transaction
        .prepare_cached(
            "UPDATE run SET status = ?2, reason = NULL, ended_seq = NULL, waiting = 0, \
             ready_ms = ?3 WHERE key = ?1",
        )?
        .execute(params![
            take.key,
            status_code(RunStatus::Running),
            take.event.at_ms
        ])?;
    count_up(transaction, take.key)?;
    group.sum.taken.push((take.key, seq));
    let at_ms = take.event.at_ms;
    let event = Event {
        seq,
        run: take.id.clone(),
        at_ms,
        kind: EventKind::RunResumed,
    };
    Ok(Ok(Written::new(before, Some(event))))
}

fn apply_append(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    group: &mut Group<'_>,
    append: &Append,
) -> rusqlite::Result<Result<Written>> {
    let RunKey {
        key, id, ledgers, ..
    } = &*append.run;
    if let Some(refusal) = may_not_write(transaction, group, &append.run)? {
        return Ok(Err(refusal));
    }
    if let Some(QuestionChange::Close) = append.question
        && !close_question(transaction, *key, append.event.path.as_deref())?
    {
        return Ok(Err(Error::Answered {
            run: id.to_string(),
            path: append.event.path.clone().unwrap_or_default(),
        }));
    }
    // What closes a question begins no work, so this refuses only where nothing has changed yet.
    if let Err(refusal) = ledger::enter(transaction, ledgers, &append.entry)? {
        return Ok(Err(refusal));
    }
    append.nodes.insert(transaction, group.sum.collections)?;
    let seq = group.events.insert(*key, &append.event, append.digest)?;
    if let Some(QuestionChange::Open { expires_ms }) = append.question {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO question (run, path, asked_seq, expires_ms) \
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![key, append.event.path, seq, expires_ms])?;
    }
    let mut more = Vec::new();
    let appended = group.sum.appended.entry(*key).or_default();
    appended.add(seq, append.event.kind, append.event.at_ms);
    if append.event.kind.ending().is_some() {
        group.ended.insert(*key);
        group.sum.left.push(*key);
        group.sum.ours.clear();
        more = end_run(&ground(transaction, lease), append, seq)?;
    }
    if let Some(then) = &append.then {
        more.extend(apply_then(transaction, lease, group, then)?);
    }
    let event = lease.told.then(|| Event {
        seq,
        run: id.clone(),
        at_ms: append.event.at_ms,
        kind: append.notice.kind.clone(),
    });
    Ok(Ok(Written {
        answer: *key,
        event,
        more,
    }))
}

/// Writes an event that must not be parted from the one before it: what is refused takes the group back.
fn apply_then(
    transaction: &Transaction<'_>,
    lease: &Lease<'_>,
    group: &mut Group<'_>,
    then: &Append,
) -> rusqlite::Result<Option<Event>> {
    match apply_append(transaction, lease, group, then)? {
        Ok(written) => Ok(written.event),
        Err(refusal) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(refusal))),
    }
}

/// Why a handle may not write to its run any more.
fn may_not_write(
    transaction: &Transaction<'_>,
    group: &mut Group<'_>,
    run: &RunKey,
) -> rusqlite::Result<Option<Error>> {
    let RunKey {
        key,
        id,
        token,
        fate,
        ..
    } = run;
    if let Err(error) = fate.check() {
        return Ok(Some(error));
    }
    let run = id.to_string();
    if group.ended.contains(key) {
        let how = "ended".to_string();
        return Ok(Some(Error::Closed { run, how }));
    }
    if !group.sum.ours.contains(token) {
        let found: Option<Token> = transaction
            .prepare_cached("SELECT token FROM lease WHERE run = ?1")?
            .query_row([key], |row| row.get(0))
            .optional()?;
        if found != Some(*token) {
            let lost = Error::LeaseLost { run };
            return Ok(Some(ended(transaction, *key)?.unwrap_or(lost)));
        }
        group.sum.ours.insert(*token);
    }
    Ok(None)
}

/// Takes a question off the list; `false` when it was not on it.
fn close_question(
    transaction: &Transaction<'_>,
    key: i64,
    path: Option<&str>,
) -> rusqlite::Result<bool> {
    let closed = transaction
        .prepare_cached("DELETE FROM question WHERE run = ?1 AND path = ?2")?
        .execute(params![key, path])?;
    Ok(closed > 0)
}
