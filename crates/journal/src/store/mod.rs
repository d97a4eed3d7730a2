//! The store: one SQLite file, one writer thread that commits in groups, and readers beside it.
//!
//! Start at [`Store`]. `writer` owns every write, `read` every query, `schema` the file's version.
//! It knows events and payload nodes; what a step means is `run`'s business.

mod answers;
mod blocks;
mod chronicle;
mod event;
mod read;
mod schema;
mod shrink;
mod staging;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, Semaphore, broadcast, oneshot};
use tokio_util::sync::CancellationToken;

use answers::Answers;
pub(crate) use event::{EventRow, Kind, Notice, status_code, status_from_code};
pub(crate) use read::{Outcome, Payloads, Reader, Recorded};
pub(crate) use staging::Staging;
use writer::{Append, Command, Known, Writer};
pub(crate) use writer::{Begin, Ground, QuestionChange, Take, Wait, Write, cancel_run, wake};

use crate::budget::{Dimension, Entry};
use crate::clock::Clock;
use crate::lease::Holder;
use crate::payload::Node;
use crate::records::{Event, RunId};
use crate::{Error, Options, Result, WorkProbe};

/// Appends that nobody waits for and that may wait for the writer, before the next one waits to be queued.
const QUEUE: usize = 4096;
/// Events that a slow watcher may fall behind before it misses some.
const WATCH: usize = 4096;
/// Readers kept open.
const READERS: usize = 4;
/// Cache of each reader; negative means KiB. Hashes are spread over the whole index of payloads.
const READER_CACHE_KIB: i64 = -16_384;

/// Cache of the writer. It adds to the end, so more gains little; and the larger, the longer a commit.
const WRITER_CACHE_KIB: i64 = -8_192;

/// A random number that proves who took a lease.
pub(crate) type Token = [u8; 16];

/// Why a run takes no more writes, once it does not. Shared by its handles and the writer.
#[derive(Debug, Default)]
pub(crate) struct Fate(OnceLock<Error>);

impl Fate {
    /// The first reason stays.
    pub(crate) fn end(&self, error: Error) {
        let _ = self.0.set(error);
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.0.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

/// A run as the writer knows it.
#[derive(Clone, Debug)]
pub(crate) struct RunKey {
    pub(crate) key: i64,
    pub(crate) id: RunId,
    pub(crate) token: Token,
    pub(crate) fate: Arc<Fate>,
    /// Which budgets its steps count against: those of these runs, itself or its ancestors.
    pub(crate) ledgers: Arc<[i64]>,
    /// When its last event was queued; the time since then counts as worked.
    pub(crate) worked_ms: Arc<AtomicI64>,
}

impl RunKey {
    pub(crate) fn new(key: i64, id: RunId, token: Token, ledgers: Vec<i64>, now_ms: i64) -> RunKey {
        RunKey {
            key,
            id,
            token,
            fate: Arc::default(),
            ledgers: ledgers.into(),
            worked_ms: Arc::new(AtomicI64::new(now_ms)),
        }
    }
}

/// An event to be written, with all that changes in the same transaction.
pub(crate) struct Record {
    pub(crate) event: EventRow,
    pub(crate) nodes: Vec<Node>,
    pub(crate) notice: Notice,
    /// What it changes in the ledgers.
    pub(crate) entry: Entry,
    /// Of a parking: what the run waits for.
    pub(crate) waits: Vec<Wait>,
    pub(crate) question: Option<QuestionChange>,
    /// An event of the same run that follows at once: both are written, or neither.
    pub(crate) then: Option<Box<Record>>,
}

impl Record {
    pub(crate) fn new(event: EventRow, nodes: Vec<Node>, notice: Notice) -> Record {
        Record {
            event,
            nodes,
            notice,
            entry: Entry::default(),
            waits: Vec::new(),
            question: None,
            then: None,
        }
    }
}

/// A cheap handle to the store. The writer ends when the last one goes.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    line: Line,
    thread: Option<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    /// The latest time that this process has seen.
    latest_ms: AtomicI64,
    answers: Answers,
    lease_ms: u64,
    /// Told whenever a run may have become ready.
    ready: Arc<Notify>,
    /// The runs that this process works on, to be told when they are cancelled.
    running: Arc<Running>,
    work_probe: Option<WorkProbe>,
    room: Arc<Semaphore>,
    known: Arc<Known>,
    events: broadcast::Sender<Event>,
    holder: Holder,
    place: Place,
    busy_timeout: Duration,
    readers: Mutex<Vec<Connection>>,
}

/// The runs that this process works on.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashMap<RunId, (Arc<Fate>, CancellationToken)>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, (Arc<Fate>, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the work on a run that has been cancelled.
    pub(crate) fn cancelled(&self, id: &RunId, reason: &str) {
        if let Some((fate, cancel)) = self.lock().get(id) {
            fate.end(Error::RunCancelled {
                run: id.to_string(),
                reason: reason.to_string(),
            });
            cancel.cancel();
        }
    }
}

/// How commands get to the writer.
enum Line {
    Thread(mpsc::Sender<Command>),
    /// The caller's own thread does the writing: one command, one commit. For the simulator.
    Inline(Box<Mutex<Writer>>),
    Closed,
}

/// How far the clock may be set back before a run stops.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// Where the database is.
#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    /// A name in SQLite's `memdb`, which lets several connections of one process share a database.
    Memory(String),
}

impl Place {
    fn connect(&self, busy_timeout: Duration) -> Result<Connection> {
        let at = |error| Error::store("open the journal file", error);
        let connection = match self {
            Place::File(path) => Connection::open(path),
            Place::Memory(name) => Connection::open_with_flags(
                format!("file:/{name}?vfs=memdb"),
                OpenFlags::default() | OpenFlags::SQLITE_OPEN_URI,
            ),
        }
        .map_err(at)?;
        connection.busy_timeout(busy_timeout).map_err(at)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    /// The file, or what stands for it in memory.
    fn path(&self) -> &Path {
        match self {
            Place::File(path) => path,
            Place::Memory(name) => Path::new(name),
        }
    }

    /// Makes the tables, brings those of an older version up to date, and sets the file to survive a
    /// power cut.
    fn set_up(&self, connection: &mut Connection, options: &Options) -> Result<()> {
        let busy_timeout = Duration::from_millis(options.busy_timeout_ms);
        let path = self.path();
        if let Place::File(_) = self {
            schema::use_wal(connection, path, busy_timeout)?;
        }
        let at = |error| Error::store("set the journal file up", error);
        let synchronous = if options.inline { "OFF" } else { "FULL" };
        connection
            .pragma_update(None, "synchronous", synchronous)
            .map_err(at)?;
        connection
            .pragma_update(None, "cache_size", WRITER_CACHE_KIB)
            .map_err(at)?;
        connection
            .pragma_update(None, "journal_size_limit", 64 << 20)
            .map_err(at)?;
        schema::migrate(connection, path)?;
        if let Some(bytes) = options.max_bytes {
            let page: i64 = connection
                .pragma_query_value(None, "page_size", |row| row.get(0))
                .map_err(at)?;
            let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
            connection
                .pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))
                .map_err(at)?;
        }
        Ok(())
    }
}

impl Store {
    /// Opens a file, and makes it and its folder when they are not there.
    pub(crate) fn open(path: &Path, options: Options) -> Result<Store> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| Error::File {
                path: folder.to_path_buf(),
                message: format!("the folder cannot be created: {error}"),
            })?;
        }
        Store::start(Place::File(path.to_path_buf()), options)
    }

    /// Opens a store that is gone with its last handle.
    pub(crate) fn in_memory(options: Options) -> Result<Store> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Store::start(Place::Memory(format!("plumb-journal-{number}")), options)
    }

    fn start(place: Place, options: Options) -> Result<Store> {
        let busy_timeout = Duration::from_millis(options.busy_timeout_ms);
        let mut connection = place.connect(busy_timeout)?;
        place.set_up(&mut connection, &options)?;
        let known = Arc::new(Known::default());
        let events = broadcast::Sender::new(WATCH);
        let holder = Holder::this_process();
        let ready = Arc::new(Notify::new());
        let clock = Arc::clone(&options.clock);
        let work_probe = options.work_probe.clone();
        let running = Arc::new(Running::default());
        let (lease_ms, inline) = (options.lease_ms, options.inline);
        let answers = Answers::default();
        let commit_time = answers.commit_time();
        let mut writer = Writer::new(
            connection,
            Arc::clone(&known),
            holder.clone(),
            options,
            commit_time,
        )?;
        writer.tell(events.clone(), Arc::clone(&ready), Arc::clone(&running));
        let (line, thread) = if inline {
            (Line::Inline(Box::new(Mutex::new(writer))), None)
        } else {
            let (sender, receiver) = mpsc::channel();
            let thread = std::thread::Builder::new()
                .name("journal".to_string())
                .spawn(move || writer.run(&receiver))
                .map_err(|error| Error::File {
                    path: place.path().to_path_buf(),
                    message: format!("no thread: {error}"),
                })?;
            (Line::Thread(sender), Some(thread))
        };
        Ok(Store(Arc::new(Inner {
            line,
            thread,
            clock,
            latest_ms: AtomicI64::new(i64::MIN),
            answers,
            lease_ms,
            ready,
            running,
            work_probe,
            room: Arc::new(Semaphore::new(QUEUE)),
            known,
            events,
            holder,
            place,
            busy_timeout,
            readers: Mutex::new(Vec::new()),
        })))
    }

    /// The journal's clock.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// See [`Options::work_probe`].
    pub(crate) fn work_probe(&self) -> Option<&WorkProbe> {
        self.0.work_probe.as_ref()
    }

    /// From now on a run that this process works on is told when it is cancelled.
    pub(crate) fn remember(&self, run: &RunKey, cancel: CancellationToken) {
        let mut running = self.0.running.lock();
        running.insert(run.id.clone(), (Arc::clone(&run.fate), cancel));
    }

    /// This process does not work on a run any more.
    pub(crate) fn forget(&self, id: &RunId) {
        self.0.running.lock().remove(id);
    }

    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.0.place {
            Place::File(path) => Some(path),
            Place::Memory(_) => None,
        }
    }

    /// How long a lease lasts, in milliseconds.
    pub(crate) fn lease_ms(&self) -> u64 {
        self.0.lease_ms
    }

    /// Told whenever a run may have become ready.
    pub(crate) fn ready(&self) -> Arc<Notify> {
        Arc::clone(&self.0.ready)
    }

    /// The time for an event: never before that of an earlier one. [`Error::Clock`] when the clock has
    /// been set back by more than a few seconds.
    pub(crate) fn stamp(&self) -> Result<i64> {
        let now_ms = self.0.clock.now_ms();
        let latest_ms = self.0.latest_ms.fetch_max(now_ms, Ordering::Relaxed);
        if now_ms < latest_ms.saturating_sub(CLOCK_TOLERANCE_MS) {
            return Err(Error::Clock { now_ms, latest_ms });
        }
        Ok(now_ms.max(latest_ms))
    }

    /// The time for an event that has to be written however the clock stands: a run's end.
    fn stamp_anyway(&self) -> i64 {
        let now_ms = self.0.clock.now_ms();
        now_ms.max(self.0.latest_ms.load(Ordering::Relaxed))
    }

    /// Tells events from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Creates a run; gives its key.
    pub(crate) async fn begin(&self, mut begin: Begin, nodes: Vec<Node>) -> Result<i64> {
        begin.event.at_ms = self.stamp()?;
        begin.nodes = self.0.known.pack(nodes)?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Begin(Box::new(begin), reply))?;
        answer.await.map_err(|_| Error::Gone)?
    }

    /// Takes the lease of a run that exists; gives the number of the run's last event before that.
    pub(crate) async fn take(&self, mut take: Take) -> Result<i64> {
        take.event.at_ms = self.stamp()?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Take(Box::new(take), reply))?;
        answer.await.map_err(|_| Error::Gone)?
    }

    /// Waits until everything is done that the writer was handed before.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        self.write(|_| Ok(Ok(((), Vec::new())))).await
    }

    /// Changes something that takes no lease, in a transaction of the writer's. `work` may be called
    /// again when the transaction has failed; what it returns is what it wants to tell the watchers,
    /// and its result.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&Ground<'_>) -> rusqlite::Result<Result<(T, Vec<Event>)>> + Send + 'static,
    ) -> Result<T> {
        let result: Arc<Mutex<Option<T>>> = Arc::default();
        let slot = Arc::clone(&result);
        let work = move |ground: &Ground<'_>| {
            Ok(work(ground)?.map(|(value, events)| {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                events
            }))
        };
        let (reply, answer) = oneshot::channel();
        self.send(Command::Write(Write(Box::new(work)), reply))?;
        answer.await.map_err(|_| Error::Gone)??;
        let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or(Error::Gone)
    }

    /// Makes nodes ready to be written by [`Store::write`]; all of them, whether known or not.
    pub(crate) fn pack_all(&self, nodes: Vec<Node>) -> Result<Vec<writer::Packed>> {
        nodes.into_iter().map(writer::pack).collect()
    }

    /// Writes an event and comes back when it is on disk.
    pub(crate) async fn append(&self, run: &Arc<RunKey>, record: Record) -> Result<()> {
        run.fate.check()?;
        let (reply, answer) = oneshot::channel();
        let mut append = self.to_append(run, record)?;
        append.reply = Some(reply);
        self.send(Command::Append(Box::new(append)))?;
        // What is left of the command is dropped here, where it was made: the writer has better to do.
        let (result, _spent) = self.0.answers.wait_for(answer).await?;
        result
    }

    /// Writes an event with the next group. Should that fail, the run's fate is sealed.
    pub(crate) async fn append_later(&self, run: &Arc<RunKey>, record: Record) -> Result<()> {
        run.fate.check()?;
        let room = Arc::clone(&self.0.room).acquire_owned().await;
        let mut append = self.to_append(run, record)?;
        append.room = Some(room.map_err(|_| Error::Gone)?);
        self.send(Command::Append(Box::new(append)))
    }

    fn to_append(&self, run: &Arc<RunKey>, record: Record) -> Result<Append> {
        let Record {
            mut event,
            nodes,
            notice,
            mut entry,
            waits,
            question,
            then,
        } = record;
        let nodes = self.0.known.pack(nodes)?;
        event.at_ms = match event.kind.ending() {
            Some(_) => self.stamp_anyway(),
            None => self.stamp()?,
        };
        if !run.ledgers.is_empty() {
            let since_ms = run.worked_ms.swap(event.at_ms, Ordering::Relaxed);
            let worked_ms = event.at_ms.saturating_sub(since_ms).max(0);
            entry.spend = entry.spend.with(Dimension::Time, worked_ms);
        }
        let then = match then {
            Some(then) => Some(Box::new(self.to_append(run, *then)?)),
            None => None,
        };
        Ok(Append {
            run: Arc::clone(run),
            digest: event.digest(&run.id),
            event,
            nodes,
            notice,
            entry,
            waits,
            question,
            then,
            reply: None,
            room: None,
        })
    }

    /// Lets go of a run, with no word about how it stands.
    pub(crate) fn release(&self, run: &RunKey) {
        // When the writer is gone, so are its leases.
        let _ = self.send(Command::Release(run.key, run.token));
    }

    fn send(&self, command: Command) -> Result<()> {
        match &self.0.line {
            Line::Thread(sender) => sender.send(command).map_err(|_| Error::Gone),
            Line::Inline(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.commit(vec![command]);
                Ok(())
            }
            Line::Closed => Err(Error::Gone),
        }
    }

    /// Reads on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        if let Line::Inline(_) = &inner.line {
            return inner.read_here(work);
        }
        let task = tokio::task::spawn_blocking(move || inner.read_here(work));
        task.await.map_err(|_| Error::Gone)?
    }

    /// Reads on a thread of its own in any case, beside the caller.
    pub(crate) fn read_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T> + Send + 'static,
    ) -> tokio::task::JoinHandle<Result<T>> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.read_here(work))
    }
}

impl Inner {
    fn read_here<T>(&self, work: impl FnOnce(&Reader<'_>) -> Result<T>) -> Result<T> {
        let inner = self;
        let pooled = inner
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let connection = inner.place.connect(inner.busy_timeout)?;
                let at = |error| Error::store("open the journal file", error);
                connection
                    .pragma_update(None, "cache_size", READER_CACHE_KIB)
                    .map_err(at)?;
                connection
                    .pragma_update(None, "query_only", true)
                    .map_err(at)?;
                connection
            }
        };
        // One transaction for all that `work` looks at: it sees one state of the journal, and the
        // file is locked once.
        let result = connection
            .unchecked_transaction()
            .map_err(|error| Error::store("read", error))
            .and_then(|transaction| {
                work(&Reader {
                    connection: &transaction,
                    holder: &inner.holder,
                    now_ms: inner.clock.now_ms(),
                })
            });
        let mut readers = inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer drains its queue, gives its leases back and ends; waiting for it means that a
        // file is closed when its journal is.
        self.line = Line::Closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
