//! The one thread that writes. It takes what has queued up while the disk was busy and commits it
//! as one group: many runs, one fsync.
//!
//! Commands are applied in the order in which they were queued. A command that the journal refuses
//! (another process took the run over, the run has ended) leaves the others of its group alone; when
//! SQLite refuses a group, its commands are tried one by one, so that each gets its own answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{OwnedSemaphorePermit, broadcast, oneshot};

use self::apply::{Group, Lease, Written, apply};
pub(crate) use self::known::Known;
use self::known::Packed;
use super::event::{EventRow, Notice};
use super::{RunKey, Token};
use crate::lease::Holder;
use crate::records::{Event, EventKind, RunId};
use crate::{Error, Moment, Options, Result};

mod apply;
mod known;

/// Commands in a group at most.
const GROUP: usize = 1024;
/// How long an append that nobody waits for may wait for company.
const LINGER: Duration = Duration::from_millis(40);

type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer can be asked for.
pub(crate) enum Command {
    Begin(Box<Begin>, Reply<i64>),
    Take(Box<Take>, Reply<i64>),
    Append(Box<Append>),
    Release(i64, Token),
}

/// Create a run and take its lease.
pub(crate) struct Begin {
    pub(crate) id: RunId,
    pub(crate) agent: String,
    pub(crate) token: Token,
    pub(crate) event: EventRow,
    pub(crate) nodes: Vec<Packed>,
}

/// Take the lease of a run that exists.
pub(crate) struct Take {
    pub(crate) key: i64,
    pub(crate) id: RunId,
    pub(crate) token: Token,
    pub(crate) event: EventRow,
}

/// Write an event.
pub(crate) struct Append {
    pub(crate) run: RunKey,
    pub(crate) event: EventRow,
    pub(crate) digest: i64,
    pub(crate) nodes: Vec<Packed>,
    pub(crate) notice: Notice,
    pub(crate) reply: Option<Reply<()>>,
    /// Its place in the queue, given back when the command is done.
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Command {
    /// Whether somebody waits for it.
    fn urgent(&self) -> bool {
        match self {
            Command::Begin(..) | Command::Take(..) | Command::Release(..) => true,
            Command::Append(append) => append.reply.is_some(),
        }
    }
}

pub(crate) struct Writer {
    connection: Connection,
    receiver: Receiver<Command>,
    known: Arc<Known>,
    events: broadcast::Sender<Event>,
    holder: Holder,
    /// Marks the leases of this writer.
    owner: Token,
    /// The leases that this writer has given out.
    held: HashSet<Token>,
    /// Leases found to be ours when the database stood at `data_version`; empty after a failure.
    ours: HashSet<Token>,
    data_version: i64,
    next_renewal: Instant,
    options: Options,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        receiver: Receiver<Command>,
        known: Arc<Known>,
        events: broadcast::Sender<Event>,
        holder: Holder,
        options: Options,
    ) -> Writer {
        Writer {
            connection,
            receiver,
            known,
            events,
            holder,
            owner: rand::random(),
            held: HashSet::new(),
            ours: HashSet::new(),
            data_version: 0,
            next_renewal: Instant::now() + Duration::from_millis(options.lease_ms / 3),
            options,
        }
    }

    /// Works until nobody can send commands any more.
    pub(crate) fn run(mut self) {
        let mut group = Vec::new();
        loop {
            let open = self.collect(&mut group);
            if !group.is_empty() {
                self.commit(std::mem::take(&mut group));
            }
            if Instant::now() >= self.next_renewal {
                self.renew();
            }
            if !open {
                break;
            }
        }
        if !self.held.is_empty() {
            let sql = "DELETE FROM lease WHERE owner = ?1";
            if let Err(error) = self.connection.execute(sql, [self.owner]) {
                tracing::warn!(%error, "the journal's leases were not given back; they expire");
            }
        }
    }

    /// Waits for commands; `false` when there will be no more.
    fn collect(&mut self, group: &mut Vec<Command>) -> bool {
        let mut deadline = self.next_renewal;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.receiver.recv_timeout(wait) {
                Ok(command) => {
                    if group.is_empty() {
                        deadline = deadline.min(Instant::now() + LINGER);
                    }
                    let mut urgent = command.urgent();
                    group.push(command);
                    while group.len() < GROUP
                        && let Ok(command) = self.receiver.try_recv()
                    {
                        urgent |= command.urgent();
                        group.push(command);
                    }
                    if urgent || group.len() >= GROUP {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Writes a group and answers its commands.
    fn commit(&mut self, group: Vec<Command>) {
        match self.attempt(&group) {
            Ok(outcomes) => {
                for (command, outcome) in group.into_iter().zip(outcomes) {
                    self.settle(command, outcome);
                }
            }
            // What one command ran into is not the others' fault. (Nobody gets past a lock, though.)
            Err(error) if group.len() > 1 && !is_locked(&error) => {
                for command in group {
                    self.commit(vec![command]);
                }
            }
            Err(error) => {
                let error = Error::store("write", error);
                tracing::error!(%error, "the journal could not write");
                for command in group {
                    self.settle(command, Err(error.clone()));
                }
            }
        }
    }

    fn attempt(&mut self, commands: &[Command]) -> rusqlite::Result<Vec<Result<Written>>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let lease = Lease {
            holder: &self.holder,
            owner: self.owner,
            expires_ms: expires_ms(&self.options),
        };
        let mut group = Group::default();
        // Changes when another connection has written: then every lease is looked at again.
        let version = transaction
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version == self.data_version {
            group.ours = std::mem::take(&mut self.ours);
        }
        self.data_version = version;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            outcomes.push(apply(&transaction, &lease, &mut group, command)?);
        }
        for (key, tally) in &group.tallies {
            transaction
                .prepare_cached(
                    "UPDATE run SET steps = steps + ?2, finished_steps = finished_steps + ?3, \
                     updated_ms = max(updated_ms, ?4) WHERE key = ?1",
                )?
                .execute(params![key, tally.begun, tally.ended, tally.at_ms])?;
        }
        probe(&self.options, Moment::Before, &outcomes);
        transaction.commit()?;
        probe(&self.options, Moment::After, &outcomes);
        self.ours = group.ours;
        Ok(outcomes)
    }

    /// Tells everybody what became of a command.
    fn settle(&mut self, command: Command, outcome: Result<Written>) {
        match command {
            Command::Begin(begin, reply) => {
                if outcome.is_ok() {
                    self.held.insert(begin.token);
                    self.known.add(begin.nodes.iter().map(|node| node.hash));
                }
                let mut unwanted = None;
                self.answer(outcome, |key| unwanted = reply.send(key).err());
                self.give_back(unwanted.and_then(Result::ok), begin.token);
            }
            Command::Take(take, reply) => {
                if outcome.is_ok() {
                    self.held.insert(take.token);
                }
                let mut unwanted = None;
                self.answer(outcome, |key| unwanted = reply.send(key).err());
                self.give_back(unwanted.and_then(Result::ok).map(|_| take.key), take.token);
            }
            Command::Release(_, token) => {
                self.held.remove(&token);
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a run's lease was not given back; it expires");
                }
            }
            Command::Append(append) => self.settle_append(*append, outcome),
        }
    }

    /// Gives the lease of a run back whose caller went away before it was started or taken up.
    fn give_back(&mut self, key: Option<i64>, token: Token) {
        if let Some(key) = key {
            self.commit(vec![Command::Release(key, token)]);
        }
    }

    fn settle_append(&mut self, append: Append, outcome: Result<Written>) {
        match &outcome {
            Ok(_) => {
                self.known.add(append.nodes.iter().map(|node| node.hash));
                if append.event.kind.ending().is_some() {
                    append.run.fate.end(closed(&append.run.id, &append.notice));
                    self.held.remove(&append.run.token);
                }
            }
            Err(error) => {
                append.run.fate.end(error.clone());
                self.held.remove(&append.run.token);
            }
        }
        self.answer(outcome, |written| {
            if let Some(reply) = append.reply {
                // A step that was dropped meanwhile does not wait any more.
                let _ = reply.send(written.map(|_| ()));
            }
        });
    }

    fn answer(&self, outcome: Result<Written>, reply: impl FnOnce(Result<i64>)) {
        match outcome {
            Ok(written) => {
                if let Some(event) = written.event {
                    // Nobody may be watching.
                    let _ = self.events.send(event);
                }
                reply(Ok(written.answer));
            }
            Err(error) => reply(Err(error)),
        }
    }

    /// Puts the expiry of this writer's leases off.
    fn renew(&mut self) {
        self.next_renewal = Instant::now() + Duration::from_millis(self.options.lease_ms / 3);
        if self.held.is_empty() {
            return;
        }
        let sql = "UPDATE lease SET expires_ms = ?2 WHERE owner = ?1";
        let expires_ms = expires_ms(&self.options);
        if let Err(error) = self
            .connection
            .execute(sql, params![self.owner, expires_ms])
        {
            // Not an end yet: whoever takes the run over changes the token, and the next write sees.
            tracing::warn!(%error, "the journal's leases were not renewed");
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseBusy | DatabaseLocked)
    )
}

fn expires_ms(options: &Options) -> i64 {
    crate::now_ms().saturating_add(i64::try_from(options.lease_ms).unwrap_or(i64::MAX))
}

fn probe(options: &Options, moment: Moment, outcomes: &[Result<Written>]) {
    if let Some(probe) = &options.probe {
        for event in outcomes
            .iter()
            .flatten()
            .filter_map(|written| written.event.as_ref())
        {
            probe(moment, event);
        }
    }
}

fn closed(run: &RunId, notice: &Notice) -> Error {
    let how = match &notice.kind {
        EventKind::RunFinished => "finished".to_string(),
        EventKind::RunFailed { error } => format!("failed ({error})"),
        EventKind::RunParked { reason } => format!("parked ({reason})"),
        EventKind::RunStarted { .. }
        | EventKind::RunResumed
        | EventKind::StepStarted { .. }
        | EventKind::StepFinished { .. }
        | EventKind::StepFailed { .. }
        | EventKind::StepFaulted { .. } => "closed".to_string(),
    };
    Error::Closed {
        run: run.to_string(),
        how,
    }
}
