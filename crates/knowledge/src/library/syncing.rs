//! Bringing the derived indexes up to date with the store, and keeping other writers out meanwhile.

use std::collections::HashSet;
use std::fs::File;
use std::sync::{MutexGuard, TryLockError};

use super::Library;
use crate::error::{Error, Result};
use crate::index::keywords::Entry;

/// The right to change the library; given back when dropped.
pub(super) struct Changing<'a> {
    _thread: MutexGuard<'a, ()>,
    /// Closing the file gives the lock back, also when the process is killed.
    _process: File,
}

impl Library {
    /// Takes the right to change the library, if nobody else has it.
    pub(super) fn try_change(&self) -> Result<Option<Changing<'_>>> {
        let thread = match self.0.changing.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let path = self.0.directory.join("library.lock");
        let file = File::create(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Changing {
                _thread: thread,
                _process: file,
            })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(Error::io(path)(error)),
        }
    }

    /// Takes the right to change the library, waiting for it until `cancelled`.
    pub(super) fn change(&self, cancelled: impl Fn() -> bool) -> Result<Changing<'_>> {
        loop {
            if let Some(changing) = self.try_change()? {
                return Ok(changing);
            }
            if cancelled() {
                return Err(Error::Cancelled);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Makes the indexes hold what the store holds, as far as that is possible without waiting: while
    /// somebody else changes the library, searches go on with what is there.
    pub(super) fn refresh(&self) -> Result<()> {
        let keywords = &self.0.keywords;
        let generation = self.0.store.generation()?;
        if keywords.generation() == Some(generation) {
            return Ok(());
        }
        if keywords.reload().is_ok() && keywords.generation() == Some(generation) {
            return Ok(());
        }
        match self.try_change()? {
            Some(changing) => self.catch_up(&changing),
            None => {
                // Another process may just have made it; what cannot be opened now finds nothing.
                if keywords.generation().is_none() {
                    keywords.open().ok();
                }
                Ok(())
            }
        }
    }

    /// Makes the keyword index hold exactly the passages of the store, rebuilding it if it is damaged.
    pub(super) fn catch_up(&self, changing: &Changing<'_>) -> Result<()> {
        let keywords = &self.0.keywords;
        if keywords.generation().is_none()
            && let Err(error) = keywords.open()
        {
            tracing::info!(%error, "making the keyword index anew");
            keywords.create()?;
        }
        keywords.reload()?;
        if keywords.generation() == Some(self.0.store.generation()?) {
            return Ok(());
        }
        let held = match keywords.ids() {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(%error, "the keyword index is damaged; making it anew");
                keywords.create()?;
                HashSet::new()
            }
        };
        self.add_and_remove(&held, changing)
    }

    fn add_and_remove(&self, held: &HashSet<u64>, _: &Changing<'_>) -> Result<()> {
        // The generation is read first: what is changed afterwards is found by the next comparison.
        let generation = self.0.store.generation()?;
        let wanted = self.0.store.passage_contents()?;
        let mut writer = self.0.keywords.writer()?;
        for gone in held.iter().filter(|id| !wanted.contains_key(id)) {
            writer.remove(*gone);
        }
        let missing: Vec<u64> = wanted
            .keys()
            .filter(|id| !held.contains(id))
            .copied()
            .collect();
        self.0.store.all_pieces(&missing, |pieces| {
            for piece in pieces {
                writer.add(&Entry {
                    id: piece.id,
                    document: piece.document,
                    title: &piece.title,
                    headings: &piece.headings,
                    text: &piece.text,
                })?;
            }
            Ok(())
        })?;
        writer.commit(generation)?;
        writer.finish()?;
        Ok(())
    }

    /// Throws the keyword index away and makes it anew: the way out when it fails in use.
    pub(super) fn rebuild_keywords(&self) -> Result<()> {
        let changing = self.change(|| false)?;
        self.0.keywords.create()?;
        self.catch_up(&changing)
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("directory", &self.0.directory)
            .finish_non_exhaustive()
    }
}
