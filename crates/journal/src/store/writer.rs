//! The one thread that writes. It takes what has queued up while the disk was busy and commits it
//! as one group: many runs, one fsync.
//!
//! Commands are applied in the order in which they were queued. A command that the journal refuses
//! (another process took the run over, the run has ended) leaves the others of its group alone; when
//! SQLite refuses a group, its commands are tried one by one, so that each gets its own answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast, oneshot};

use self::apply::{Group, Lease, Sum, Written, apply};
use self::ending::delete_run;
pub(crate) use self::ending::{cancel_run, wake};
pub(crate) use self::known::{Known, Nodes, Packed, insert_node, pack};
use self::pace::Pace;
pub(crate) use self::pace::{CommitTime, has_one_processor};
use self::rows::Tally;
pub(crate) use self::rows::insert_event;
use super::event::{EventRow, Notice};
use super::{RunKey, Running, Token};
use crate::budget::{Budget, Entry};
use crate::lease::Holder;
use crate::records::{Event, EventKind, RunId};
use crate::{Error, Moment, Options, Result, StoreFault};

mod adopt;
mod apply;
mod collect;
mod ending;
mod known;
mod ledger;
mod pace;
mod rows;

/// Commands in a group at most.
const GROUP: usize = 1024;
/// Events of a run that its row may leave out of its sums: a commit need not write every run's row.
const UNCOUNTED: u32 = 512;
/// How long an append that nobody waits for may wait for company.
const LINGER: Duration = Duration::from_millis(40);

type Reply<T> = oneshot::Sender<Result<T>>;
/// What became of an append, and what is left of it and of another: whoever made them has to take them
/// apart, which takes the writer longer than answering.
pub(crate) type AppendReply = oneshot::Sender<(Result<()>, [Option<Box<Append>>; 2])>;
/// What is left of appends that have been answered, or that nobody waited for.
type Spent = Vec<Box<Append>>;

/// What the writer can be asked for.
pub(crate) enum Command {
    Begin(Box<Begin>, Reply<i64>),
    Take(Box<Take>, Reply<i64>),
    Append(Box<Append>),
    Write(Write, Reply<i64>),
    Release(i64, Token),
}

/// Create a run.
pub(crate) struct Begin {
    pub(crate) id: RunId,
    pub(crate) agent: String,
    /// Of the lease to be taken with it; none: the run is left for an engine.
    pub(crate) token: Option<Token>,
    pub(crate) event: EventRow,
    pub(crate) nodes: Nodes,
    pub(crate) budget: Budget,
    pub(crate) parent: Option<i64>,
    /// The run whose first events it shares, the number of the first event that it does not, and how
    /// that run was called by whoever asked.
    pub(crate) forked: Option<(i64, i64, RunId)>,
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
    pub(crate) run: Arc<RunKey>,
    pub(crate) event: EventRow,
    pub(crate) digest: i64,
    pub(crate) nodes: Nodes,
    pub(crate) notice: Notice,
    pub(crate) entry: Entry,
    pub(crate) waits: Vec<Wait>,
    pub(crate) question: Option<QuestionChange>,
    /// See [`Record`](super::Record).
    pub(crate) then: Option<Box<Append>>,
    pub(crate) reply: Option<AppendReply>,
    /// Its place in the queue, given back when the command is done.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Something that takes no lease: an answer, a cancellation, an import.
#[expect(clippy::type_complexity, reason = "it is said once, here")]
pub(crate) struct Write(
    pub(crate) Box<dyn FnMut(&Ground<'_>) -> rusqlite::Result<Result<Vec<Event>>> + Send>,
);

/// What a [`Write`] stands on.
pub(crate) struct Ground<'a> {
    pub(crate) transaction: &'a Transaction<'a>,
    pub(crate) holder: &'a Holder,
    pub(crate) now_ms: i64,
}

/// What a parked run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// An answer to the question at this address.
    Question(String),
    /// This time.
    Timer(i64),
    /// The end of the run with this key.
    Child(i64),
    /// Somebody's word on what became of the step at this address.
    Doubt(String),
    /// Nothing: it may go on at once, in another process.
    Engine,
}

/// What an event does to the list of open questions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QuestionChange {
    Open {
        expires_ms: Option<i64>,
    },
    /// Refused when somebody has answered it meanwhile.
    Close,
}

impl Command {
    /// Whether somebody waits for it.
    fn urgent(&self) -> bool {
        match self {
            Command::Begin(..) | Command::Take(..) | Command::Write(..) | Command::Release(..) => {
                true
            }
            Command::Append(append) => append.reply.is_some(),
        }
    }

    /// Whether a run may become ready by it.
    fn readies(&self) -> bool {
        match self {
            Command::Begin(..) | Command::Write(..) | Command::Release(..) => true,
            Command::Take(..) => false,
            Command::Append(append) => append.event.kind.ending().is_some(),
        }
    }
}

pub(crate) struct Writer {
    connection: Connection,
    known: Arc<Known>,
    events: broadcast::Sender<Event>,
    ready: Arc<Notify>,
    running: Arc<Running>,
    holder: Holder,
    /// Marks the leases of this writer.
    owner: Token,
    /// The leases that this writer has given out.
    held: HashSet<Token>,
    /// What has been written of runs that the sums in their rows leave out.
    tallies: HashMap<i64, Tally>,
    /// Leases found to be ours when the database stood at `data_version`; empty after a failure.
    ours: HashSet<Token>,
    data_version: i64,
    /// How often payloads have been collected, see [`Nodes`].
    collections: i64,
    next_renewal: Instant,
    pace: Pace,
    options: Options,
}

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        known: Arc<Known>,
        holder: Holder,
        options: Options,
        commit_time: CommitTime,
    ) -> Result<Writer> {
        let collections = collections(&connection).map_err(|error| Error::store("read", error))?;
        known.begin(collections);
        Ok(Writer {
            connection,
            known,
            events: broadcast::Sender::new(1),
            ready: Arc::default(),
            running: Arc::default(),
            holder,
            owner: rand::random(),
            held: HashSet::new(),
            tallies: HashMap::new(),
            ours: HashSet::new(),
            data_version: 0,
            collections,
            next_renewal: Instant::now() + Duration::from_millis(options.lease_ms / 3),
            pace: Pace::new(commit_time),
            options,
        })
    }

    /// Whom to tell what has been written.
    pub(crate) fn tell(
        &mut self,
        events: broadcast::Sender<Event>,
        ready: Arc<Notify>,
        running: Arc<Running>,
    ) {
        self.events = events;
        self.ready = ready;
        self.running = running;
    }

    /// Works until nobody can send commands any more.
    pub(crate) fn run(mut self, receiver: &Receiver<Command>) {
        let mut group = Vec::new();
        loop {
            let open = self.collect(receiver, &mut group);
            if !group.is_empty() {
                self.write(std::mem::take(&mut group), Some(receiver));
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

    fn now_ms(&self) -> i64 {
        self.options.clock.now_ms()
    }

    fn expires_ms(&self) -> i64 {
        let lease_ms = i64::try_from(self.options.lease_ms).unwrap_or(i64::MAX);
        self.now_ms().saturating_add(lease_ms)
    }

    /// Waits for commands; `false` when there will be no more.
    fn collect(&mut self, receiver: &Receiver<Command>, group: &mut Vec<Command>) -> bool {
        let mut deadline = self.next_renewal;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.pace.first(receiver, wait) {
                Ok(command) => {
                    if group.is_empty() {
                        deadline = deadline.min(Instant::now() + LINGER);
                    }
                    group.push(command);
                    take(receiver, group);
                    if group.iter().any(Command::urgent) {
                        return true;
                    }
                    if group.len() >= GROUP {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Writes a group and answers its commands.
    pub(crate) fn commit(&mut self, group: Vec<Command>) {
        self.write(group, None);
    }

    /// Writes a group, with those that come `late`, and answers its commands.
    fn write(&mut self, mut group: Vec<Command>, late: Option<&Receiver<Command>>) {
        match self.attempt(&mut group, late) {
            Ok((outcomes, swept)) => {
                let readies = group.iter().any(Command::readies);
                let mut spent = Spent::new();
                for (command, outcome) in group.into_iter().zip(outcomes) {
                    self.settle(command, outcome, swept, &mut spent);
                }
                if readies {
                    self.ready.notify_waiters();
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
                let mut spent = Spent::new();
                for command in group {
                    self.settle(command, Err(error.clone()), false, &mut spent);
                }
            }
        }
    }

    /// Gives what became of each command, and whether payloads were collected among them.
    fn attempt(
        &mut self,
        commands: &mut Vec<Command>,
        late: Option<&Receiver<Command>>,
    ) -> rusqlite::Result<(Vec<Result<Written>>, bool)> {
        let (now_ms, expires_ms) = (self.now_ms(), self.expires_ms());
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let lease = Lease {
            holder: &self.holder,
            owner: self.owner,
            now_ms,
            expires_ms,
            told: self.options.probe.is_some() || self.events.receiver_count() > 0,
        };
        // Changes when another connection has written: then every lease is looked at again.
        let version = transaction
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        let mut sum = Sum::default();
        if version == self.data_version {
            sum.ours = std::mem::take(&mut self.ours);
        } else {
            self.ours.clear();
            self.collections = collections(&transaction)?;
        }
        sum.collections = self.collections;
        self.data_version = version;
        let mut group = Group::new(&transaction, sum)?;
        let mut outcomes = Vec::with_capacity(commands.len());
        let (start, mut applied) = (Instant::now(), 0);
        loop {
            for command in &mut commands[applied..] {
                outcomes.push(apply(&transaction, &lease, &mut group, command)?);
            }
            applied = commands.len();
            match late {
                Some(receiver) if self.pace.more(receiver, commands, start) => {}
                _ => break,
            }
        }
        let mut sum = group.sum();
        for (key, appended) in &mut sum.appended {
            let before = self.tallies.get(key).copied().unwrap_or_default();
            *appended = before
                .and(appended)
                .count_up(&transaction, *key, UNCOUNTED)?;
        }
        probe(&self.options, Moment::Before, &outcomes)?;
        let start = Instant::now();
        transaction.commit()?;
        self.pace.took(start.elapsed(), commands);
        // After the commit, nothing can be taken back.
        let _ = probe(&self.options, Moment::After, &outcomes);
        Ok((outcomes, self.keep(sum)))
    }

    /// Keeps what a group that has been committed adds up to. Gives whether payloads were collected in it.
    fn keep(&mut self, sum: Sum) -> bool {
        self.tallies.extend(sum.appended);
        for (key, counted) in sum.taken {
            self.tallies.insert(key, Tally::from(counted));
        }
        for key in sum.left {
            self.tallies.remove(&key);
        }
        self.ours = sum.ours;
        let swept = self.collections != sum.collections;
        self.collections = sum.collections;
        self.known.begin(self.collections);
        swept
    }

    /// Tells everybody what became of a command. When payloads have been `swept` in its group, those
    /// that it wrote may be gone already. What is left of an append goes with its answer, or to the `spent`.
    fn settle(
        &mut self,
        command: Command,
        outcome: Result<Written>,
        swept: bool,
        spent: &mut Spent,
    ) {
        match command {
            Command::Append(append) => self.settle_append(append, outcome, swept, spent),
            Command::Begin(begin, reply) => {
                if outcome.is_ok() {
                    self.held.extend(begin.token);
                    if !swept {
                        self.known.add(begin.nodes.hashes());
                    }
                }
                let mut unwanted = None;
                self.answer(outcome, |key| unwanted = reply.send(key).err());
                if let Some(token) = begin.token {
                    self.give_back(unwanted.and_then(Result::ok), token);
                }
            }
            Command::Take(take, reply) => {
                if outcome.is_ok() {
                    self.held.insert(take.token);
                }
                let mut unwanted = None;
                self.answer(outcome, |key| unwanted = reply.send(key).err());
                self.give_back(unwanted.and_then(Result::ok).map(|_| take.key), take.token);
            }
            Command::Write(_, reply) => self.answer(outcome, |key| {
                // Whoever asked may have gone; it is done all the same.
                let _ = reply.send(key);
            }),
            Command::Release(_, token) => {
                self.held.remove(&token);
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a run's lease was not given back; it expires");
                }
            }
        }
    }

    /// Gives the lease of a run back whose caller went away before it was started or taken up.
    fn give_back(&mut self, key: Option<i64>, token: Token) {
        if let Some(key) = key {
            self.commit(vec![Command::Release(key, token)]);
        }
    }

    fn settle_append(
        &mut self,
        mut append: Box<Append>,
        outcome: Result<Written>,
        swept: bool,
        spent: &mut Spent,
    ) {
        match &outcome {
            Ok(_) => {
                if !swept {
                    self.known.add(append.nodes.hashes());
                    if let Some(then) = &append.then {
                        self.known.add(then.nodes.hashes());
                    }
                }
                if append.event.kind.ending().is_some() {
                    append.run.fate.end(closed(&append.run.id, &append.notice));
                    self.held.remove(&append.run.token);
                }
            }
            // The run may go on: nothing was to be written for good.
            Err(Error::OverBudget { .. } | Error::Answered { .. }) => {}
            Err(error) => {
                append.run.fate.end(error.clone());
                self.held.remove(&append.run.token);
            }
        }
        append.room = None;
        self.answer(outcome, |written| match append.reply.take() {
            Some(reply) => {
                let left = [Some(append), spent.pop()];
                // A step that was dropped meanwhile does not wait any more.
                let _ = reply.send((written.map(|_| ()), left));
            }
            None => spent.push(append),
        });
    }

    fn answer(&self, outcome: Result<Written>, reply: impl FnOnce(Result<i64>)) {
        match outcome {
            Ok(written) => {
                for event in written.event.into_iter().chain(written.more) {
                    if let EventKind::RunCancelled { reason } = &event.kind {
                        self.running.cancelled(&event.run, reason);
                    }
                    if self.events.receiver_count() > 0 {
                        // Whoever watched may have gone meanwhile.
                        let _ = self.events.send(event);
                    }
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
        let expires_ms = self.expires_ms();
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

fn probe(options: &Options, moment: Moment, outcomes: &[Result<Written>]) -> rusqlite::Result<()> {
    let Some(probe) = &options.probe else {
        return Ok(());
    };
    for written in outcomes.iter().flatten() {
        for event in written.event.iter().chain(&written.more) {
            if let Err(fault) = probe(moment, event) {
                let code = match fault {
                    StoreFault::Write => rusqlite::ffi::SQLITE_IOERR_WRITE,
                    StoreFault::Full => rusqlite::ffi::SQLITE_FULL,
                };
                let message = Some("a fault that was asked for".to_string());
                let error = rusqlite::ffi::Error::new(code);
                return Err(rusqlite::Error::SqliteFailure(error, message));
            }
        }
    }
    Ok(())
}

/// Takes what is in the queue, up to a group.
fn take(receiver: &Receiver<Command>, group: &mut Vec<Command>) {
    while group.len() < GROUP
        && let Ok(command) = receiver.try_recv()
    {
        group.push(command);
    }
}

/// How often payloads have been collected.
fn collections(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'collections'")?
        .query_row([], |row| row.get(0))
}

fn closed(run: &RunId, notice: &Notice) -> Error {
    let how = match &notice.kind {
        EventKind::RunFinished => "finished".to_string(),
        EventKind::RunFailed { error } => format!("failed ({error})"),
        EventKind::RunParked { reason } => format!("parked ({reason})"),
        EventKind::RunCancelled { reason } => format!("cancelled ({reason})"),
        EventKind::RunStarted { .. }
        | EventKind::RunResumed
        | EventKind::BudgetRaised { .. }
        | EventKind::StepSettled { .. }
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
