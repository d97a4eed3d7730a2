//! The store: one SQLite file, one writer thread that commits in groups, and readers beside it.
//!
//! Start at [`Store`]. `writer` owns every write, `read` every query, `schema` the file's version.
//! It knows events and payload nodes; what a step means is `run`'s business.

mod event;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, broadcast, oneshot};

pub(crate) use event::{EventRow, Kind, Notice};
pub(crate) use read::{Outcome, Payloads, Reader, Recorded};
pub(crate) use writer::Take;
use writer::{Append, Begin, Command, Known};

use crate::lease::Holder;
use crate::payload::Node;
use crate::records::{Event, RunId};
use crate::{Error, Options, Result};

/// Appends that may wait for the writer before the next one has to wait to be queued.
const QUEUE: usize = 4096;
/// Events that a slow watcher may fall behind before it misses some.
const WATCH: usize = 4096;
/// Readers kept open.
const READERS: usize = 4;
/// Cache of each reader; negative means KiB. Hashes are spread over the whole index of payloads.
const READER_CACHE_KIB: i64 = -16_384;

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
}

/// A cheap handle to the store. The writer ends when the last one goes.
#[derive(Clone)]
pub(crate) struct Store(Arc<Inner>);

struct Inner {
    sender: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    room: Arc<Semaphore>,
    known: Arc<Known>,
    events: broadcast::Sender<Event>,
    holder: Holder,
    place: Place,
    busy_timeout: Duration,
    readers: Mutex<Vec<Connection>>,
}

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
        let path = match &place {
            Place::File(path) => path.clone(),
            Place::Memory(name) => PathBuf::from(name),
        };
        if let Place::File(_) = &place {
            schema::use_wal(&connection, &path, busy_timeout)?;
        }
        let at = |error| Error::store("set the journal file up", error);
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(at)?;
        connection
            .pragma_update(None, "cache_size", -32_768)
            .map_err(at)?;
        connection
            .pragma_update(None, "journal_size_limit", 64 << 20)
            .map_err(at)?;
        schema::migrate(&mut connection, &path)?;
        if let Some(bytes) = options.max_bytes {
            let page: i64 = connection
                .pragma_query_value(None, "page_size", |row| row.get(0))
                .map_err(at)?;
            let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
            connection
                .pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))
                .map_err(at)?;
        }
        let (sender, receiver) = mpsc::channel();
        let known = Arc::new(Known::default());
        let events = broadcast::Sender::new(WATCH);
        let holder = Holder::this_process();
        let writer = writer::Writer::new(
            connection,
            receiver,
            Arc::clone(&known),
            events.clone(),
            holder.clone(),
            options,
        );
        let thread = std::thread::Builder::new()
            .name("journal".to_string())
            .spawn(move || writer.run())
            .map_err(|error| Error::File {
                path,
                message: format!("no thread: {error}"),
            })?;
        Ok(Store(Arc::new(Inner {
            sender: Some(sender),
            thread: Some(thread),
            room: Arc::new(Semaphore::new(QUEUE)),
            known,
            events,
            holder,
            place,
            busy_timeout,
            readers: Mutex::new(Vec::new()),
        })))
    }

    /// Tells events from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Creates a run and takes its lease.
    pub(crate) async fn begin(
        &self,
        id: RunId,
        agent: String,
        token: Token,
        event: EventRow,
        nodes: Vec<Node>,
    ) -> Result<i64> {
        let begin = Begin {
            id,
            agent,
            token,
            event,
            nodes: self.0.known.pack(nodes)?,
        };
        let (reply, answer) = oneshot::channel();
        self.send(Command::Begin(Box::new(begin), reply))?;
        answer.await.map_err(|_| Error::Gone)?
    }

    /// Takes the lease of a run that exists; gives the number of the run's last event before that.
    pub(crate) async fn take(&self, take: Take) -> Result<i64> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Take(Box::new(take), reply))?;
        answer.await.map_err(|_| Error::Gone)?
    }

    /// Writes an event and comes back when it is on disk.
    pub(crate) async fn append(
        &self,
        run: &RunKey,
        event: EventRow,
        nodes: Vec<Node>,
        notice: Notice,
    ) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue(run, event, nodes, notice, Some(reply)).await?;
        answer.await.map_err(|_| Error::Gone)?
    }

    /// Writes an event with the next group. Should that fail, the run's fate is sealed.
    pub(crate) async fn append_later(
        &self,
        run: &RunKey,
        event: EventRow,
        nodes: Vec<Node>,
        notice: Notice,
    ) -> Result<()> {
        self.queue(run, event, nodes, notice, None).await
    }

    async fn queue(
        &self,
        run: &RunKey,
        event: EventRow,
        nodes: Vec<Node>,
        notice: Notice,
        reply: Option<oneshot::Sender<Result<()>>>,
    ) -> Result<()> {
        run.fate.check()?;
        let nodes = self.0.known.pack(nodes)?;
        let room = Arc::clone(&self.0.room)
            .acquire_owned()
            .await
            .map_err(|_| Error::Gone)?;
        let digest = event.digest(&run.id);
        let append = Append {
            run: run.clone(),
            event,
            digest,
            nodes,
            notice,
            reply,
            _room: room,
        };
        self.send(Command::Append(Box::new(append)))
    }

    /// Lets go of a run, with no word about how it stands.
    pub(crate) fn release(&self, run: &RunKey) {
        // When the writer is gone, so are its leases.
        let _ = self.send(Command::Release(run.key, run.token));
    }

    fn send(&self, command: Command) -> Result<()> {
        let sender = self.0.sender.as_ref().ok_or(Error::Gone)?;
        sender.send(command).map_err(|_| Error::Gone)
    }

    /// Reads on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
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
                    })
                });
            let mut readers = inner.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS {
                readers.push(connection);
            }
            result
        });
        task.await.map_err(|_| Error::Gone)?
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer drains its queue, gives its leases back and ends; waiting for it means that a
        // file is closed when its journal is.
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
