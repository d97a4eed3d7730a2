//! Computing the embeddings that are missing.
//!
//! Vectors are kept as soon as they are computed, so this can be stopped or killed at any moment and goes on
//! where it was.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Library, embedded_text};
use crate::embed::{Embeddings, quantised};
use crate::error::{Error, Result};
use crate::index::vectors::Version;

/// Passages whose vectors are kept together.
const BATCH: usize = 64;

/// Passages that are sorted by length before they are embedded, so that those of a batch are of one length.
const SORTED: usize = 1024;

impl Library {
    /// Computes the vectors of all texts that have none, until `cancel`; says how many it computed.
    ///
    /// `progress` is told how many of the missing ones are done and how many there were. Without an
    /// embedding model there is nothing to do.
    ///
    /// # Errors
    /// When the library or the model fails. What was computed before is kept.
    pub fn fill_vectors(
        &self,
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<usize> {
        self.fill_vectors_within(Duration::MAX, cancel, progress)
    }

    /// As [`Library::fill_vectors`], but for about `time` at most.
    ///
    /// # Errors
    /// As for [`Library::fill_vectors`].
    pub fn fill_vectors_within(
        &self,
        time: Duration,
        cancel: &AtomicBool,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<usize> {
        let deadline = Instant::now().checked_add(time);
        let stop = || {
            cancel.load(Ordering::Relaxed)
                || deadline.is_some_and(|deadline| Instant::now() >= deadline)
        };
        let Some(embeddings) = self.embeddings()? else {
            return Ok(0);
        };
        self.refresh_vectors(embeddings)?;
        let missing = self.0.store.without_vector()?;
        let mut done = 0;
        for some in missing.chunks(SORTED) {
            let mut pieces = self.0.store.pieces(some)?;
            pieces.sort_by_key(|piece| piece.text.len());
            for batch in pieces.chunks(BATCH) {
                if stop() {
                    self.save_vectors()?;
                    return Ok(done);
                }
                let ids: Vec<u64> = batch.iter().map(|piece| piece.id).collect();
                let vectors = self.embed_passages(embeddings, &ids)?;
                self.keep_vectors(&vectors)?;
                done += batch.len();
                progress(done, missing.len());
            }
        }
        self.save_vectors()?;
        Ok(done)
    }

    /// The packed vectors of passages, with their contents.
    pub(super) fn embed_passages(
        &self,
        embeddings: &Embeddings,
        ids: &[u64],
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let pieces = self.0.store.pieces(ids)?;
        let texts: Vec<String> = pieces
            .iter()
            .map(|piece| embedded_text(&piece.title, &piece.headings, &piece.text))
            .collect();
        let mut vectors = Vec::with_capacity(pieces.len());
        for (position, vector) in embeddings.embed(&texts)? {
            vectors.extend(
                pieces
                    .get(position)
                    .map(|piece| (piece.content, quantised::pack(&vector))),
            );
        }
        Ok(vectors)
    }

    /// Keeps vectors in the store and puts them into the index.
    pub(super) fn keep_vectors(&self, vectors: &[(u64, Vec<u8>)]) -> Result<()> {
        let version = self.0.store.put_vectors(vectors)?;
        self.0.vectors.replace(
            &[],
            &unpacked(vectors.iter().map(|(id, packed)| (*id, packed))),
            Version::Next(version),
        );
        Ok(())
    }

    /// Makes the vector index hold what the store holds.
    pub(super) fn refresh_vectors(&self, embeddings: &Embeddings) -> Result<()> {
        self.0.store.use_model(embeddings.hash())?;
        let version = self.0.store.vectors_version()?;
        if !self.0.vectors.is_behind(version) {
            return Ok(());
        }
        let held = self.0.vectors.ids();
        let wanted = self.0.store.contents_with_vector()?;
        let missing: Vec<u64> = wanted
            .iter()
            .filter(|id| !held.contains(id))
            .copied()
            .collect();
        let wanted: std::collections::HashSet<u64> = wanted.into_iter().collect();
        let gone: Vec<u64> = held.into_iter().filter(|id| !wanted.contains(id)).collect();
        self.0
            .vectors
            .replace(&gone, &[], Version::Compared(version));
        for some in missing.chunks(4096) {
            let packed: HashMap<u64, Vec<u8>> = self.0.store.vectors(some.iter().copied())?;
            let vectors = unpacked(packed.iter().map(|(id, packed)| (*id, packed)));
            self.0
                .vectors
                .replace(&[], &vectors, Version::Compared(version));
        }
        Ok(())
    }

    fn save_vectors(&self) -> Result<()> {
        self.0.vectors.save().map_err(Error::io(&self.0.directory))
    }
}

fn unpacked<'a>(packed: impl Iterator<Item = (u64, &'a Vec<u8>)>) -> Vec<(u64, Vec<f32>)> {
    packed
        .filter_map(|(id, packed)| Some((id, quantised::unpack(packed)?)))
        .collect()
}
