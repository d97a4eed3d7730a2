//! Bringing a library up to date with files.
//!
//! Files are read by as many threads as there are processors; the calling thread writes what they found, in
//! batches. After each batch the store is complete, so a kill at any moment costs at most the batch under
//! way, and the next call goes on from there.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::sources::{self, Found};
use super::{IndexProgress, IndexReport, Library, Skipped};
use crate::error::{Error, Result};
use crate::index::keywords::{Entry, Writer};
use crate::store::{Change, KnownFile, NewDocument};

/// A batch is written when it holds this many passages ...
const BATCH_PASSAGES: usize = 4000;
/// ... or this many bytes of text ...
const BATCH_BYTES: usize = 8 << 20;
/// ... or when the last one was written this long ago.
const BATCH_TIME: Duration = Duration::from_secs(2);

/// The version of the reader: raised when the same file would yield other text or other passages than before,
/// so that libraries that older versions made are brought up to date.
const READER: &str = "7";

/// Tells how far indexing has come.
type Progress<'a> = &'a (dyn Fn(IndexProgress) + Sync);

impl Library {
    /// Brings the library up to date with files and folders: reads what is new or changed, removes what is
    /// gone from below `paths`, and leaves the rest of the library as it is.
    ///
    /// A file whose size and time are as before is not opened; one whose content turns out to be the same
    /// is not read into passages again, unless an older version of Plumb read it. What is read becomes searchable while the call still works. When
    /// it is cancelled it keeps what it did and returns normally.
    ///
    /// # Errors
    /// When the library itself cannot be read or written. A file that cannot be read is no error: it is in
    /// [`IndexReport::skipped`].
    pub fn index(
        &self,
        paths: &[PathBuf],
        cancel: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<IndexReport> {
        let started = Instant::now();
        let changing = self.change(|| cancel.load(Ordering::Relaxed))?;
        self.catch_up(&changing)?;
        let paths: Vec<PathBuf> = paths.iter().map(|path| sources::absolute(path)).collect();
        let (found, in_the_way) = sources::walk(&self.0.root, &paths);
        self.0.store.use_reader(READER)?;
        let known = self.0.store.known_files()?;
        let (to_read, same): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|file| {
            known
                .get(&file.file)
                .is_none_or(|known| !sources::looks_the_same(file, known))
        });
        let mut report = IndexReport {
            files: to_read.len() + same.len(),
            embedding_model: self.0.options.embedding_model.is_some(),
            skipped: in_the_way,
            ..IndexReport::default()
        };
        for file in &same {
            match known.get(&file.file).and_then(|known| known.reason.clone()) {
                Some(reason) => report.skipped.push(Skipped {
                    file: file.file.clone(),
                    reason,
                }),
                None => report.unchanged += 1,
            }
        }
        let vanished = self.vanished(&paths, &known, to_read.iter().chain(&same));
        self.read_all(&to_read, &known, vanished, &mut report, cancel, progress)?;
        report.skipped.sort_by(|a, b| a.file.cmp(&b.file));
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// The files that were below `paths` and are not any more.
    fn vanished<'a>(
        &self,
        paths: &[PathBuf],
        known: &HashMap<String, KnownFile>,
        found: impl Iterator<Item = &'a Found>,
    ) -> Vec<String> {
        let found: HashSet<&str> = found.map(|file| file.file.as_str()).collect();
        let folders: Vec<String> = paths
            .iter()
            .map(|path| sources::name(&self.0.root, path))
            .collect();
        let below = |file: &str| folders.iter().any(|folder| sources::is_under(file, folder));
        known
            .keys()
            .filter(|file| below(file) && !found.contains(file.as_str()))
            .cloned()
            .collect()
    }

    fn read_all(
        &self,
        files: &[Found],
        known: &HashMap<String, KnownFile>,
        vanished: Vec<String>,
        report: &mut IndexReport,
        cancel: &AtomicBool,
        progress: Progress<'_>,
    ) -> Result<()> {
        if files.is_empty() && vanished.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(self)?;
        for file in vanished {
            report.removed += usize::from(
                known
                    .get(&file)
                    .is_some_and(|known| known.document.is_some()),
            );
            batch.add(Change::Removed { file })?;
        }
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(files.len());
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let (sender, receiver) = sync_channel(64);
        let written = std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                scope.spawn(|| read_some(files, known, &next, &[cancel, &stop], sender));
            }
            drop(sender);
            let written = write_all(receiver, &mut batch, files.len(), report, progress);
            stop.store(true, Ordering::Relaxed);
            written
        });
        written.and_then(|()| batch.finish())
    }
}

/// Reads files until there are no more or somebody says stop.
fn read_some(
    files: &[Found],
    known: &HashMap<String, KnownFile>,
    next: &AtomicUsize,
    stop: &[&AtomicBool],
    sender: SyncSender<Change>,
) {
    while !stop.iter().any(|stop| stop.load(Ordering::Relaxed)) {
        let Some(found) = files.get(next.fetch_add(1, Ordering::Relaxed)) else {
            return;
        };
        if sender
            .send(sources::read(found, known.get(&found.file)))
            .is_err()
        {
            return;
        }
    }
}

fn write_all(
    changes: Receiver<Change>,
    batch: &mut Batch<'_>,
    total: usize,
    report: &mut IndexReport,
    progress: Progress<'_>,
) -> Result<()> {
    for (done, change) in changes.into_iter().enumerate() {
        let file = match &change {
            Change::Read(new) => {
                report.read += 1;
                report.bytes += new.bytes;
                report.passages += new.passages.len();
                &new.file
            }
            Change::Touched { file, .. } => {
                report.unchanged += 1;
                file
            }
            Change::Skipped { file, reason, .. } => {
                report.skipped.push(Skipped {
                    file: file.clone(),
                    reason: reason.clone(),
                });
                file
            }
            Change::Removed { file } => file,
        };
        progress(IndexProgress {
            done: done + 1,
            total,
            file: file.clone(),
        });
        batch.add(change)?;
    }
    Ok(())
}

/// Changes that are not written yet.
struct Batch<'a> {
    library: &'a Library,
    writer: Writer,
    changes: Vec<Change>,
    passages: usize,
    bytes: usize,
    written: Instant,
    /// Whether passages went, and perhaps the last ones that needed their vector.
    removed: bool,
}

impl<'a> Batch<'a> {
    fn new(library: &'a Library) -> Result<Batch<'a>> {
        let writer = library.0.keywords.writer()?;
        Ok(Batch {
            library,
            writer,
            changes: Vec::new(),
            passages: 0,
            bytes: 0,
            written: Instant::now(),
            removed: false,
        })
    }

    fn add(&mut self, change: Change) -> Result<()> {
        if let Change::Read(new) = &change {
            self.passages += new.passages.len();
            self.bytes += new.document.text.len();
        }
        self.changes.push(change);
        let full = self.passages >= BATCH_PASSAGES || self.bytes >= BATCH_BYTES;
        if full || self.written.elapsed() >= BATCH_TIME {
            self.write()
        } else {
            Ok(())
        }
    }

    /// Writes the batch to the store, then to the index. A kill between the two leaves the index a
    /// generation behind, which the next opening makes good.
    fn write(&mut self) -> Result<()> {
        let changes = std::mem::take(&mut self.changes);
        let applied = self.library.0.store.apply(&changes)?;
        for id in &applied.removed {
            self.writer.remove(*id);
        }
        self.removed |= !applied.removed.is_empty();
        let read = changes.iter().filter_map(|change| match change {
            Change::Read(new) => Some(new),
            Change::Touched { .. } | Change::Skipped { .. } | Change::Removed { .. } => None,
        });
        for (new, document) in read.zip(&applied.documents) {
            add_passages(&self.writer, new, *document)?;
        }
        self.writer.commit(applied.generation)?;
        (self.passages, self.bytes, self.written) = (0, 0, Instant::now());
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.write()?;
        self.writer.finish()?;
        if self.removed {
            self.library.0.store.drop_unused_vectors()?;
        }
        Ok(())
    }
}

fn add_passages(writer: &Writer, new: &NewDocument, document: u64) -> Result<()> {
    for passage in &new.passages {
        writer.add(&Entry {
            id: passage.id,
            document,
            title: &new.document.title,
            headings: &passage.headings,
            text: &passage.text,
        })?;
    }
    Ok::<(), Error>(())
}
