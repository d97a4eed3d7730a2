//! The vector index: which contents have a vector near the query's.
//!
//! A scan over vectors of 4 bits a dimension ([`turbovec`], the TurboQuant algorithm), kept in memory and in
//! one file. A scan of 100,000 vectors takes about a millisecond and a new vector is there at once, so no
//! graph has to be built. Its ranking is approximate; the caller computes exact cosines for what it found.
//!
//! The index mirrors the store's table of vectors. Both carry a version, a counter of the table's changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use turbovec::IdMapIndex;

/// Bits for each dimension of a vector.
const BITS: usize = 4;

/// While somebody else computes vectors, the mirror is compared with the table at most this often.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// The vector index of one library.
pub(crate) struct Vectors {
    directory: PathBuf,
    mirror: RwLock<Mirror>,
}

#[derive(Default)]
struct Mirror {
    index: Option<IdMapIndex>,
    /// The version of the table that the index mirrors.
    version: u64,
    /// The version in the file.
    saved: Option<u64>,
    compared: Option<Instant>,
}

impl Vectors {
    /// The index in `directory`, not yet loaded.
    pub(crate) fn at(directory: PathBuf) -> Vectors {
        Vectors {
            directory,
            mirror: RwLock::default(),
        }
    }

    /// Whether the mirror has to be compared with the table, which has this version. Loads the file first,
    /// when there is one and nothing is loaded yet.
    pub(crate) fn is_behind(&self, version: u64) -> bool {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        if mirror.index.is_none()
            && let Some((path, saved)) = self.file()
        {
            match IdMapIndex::load(&path) {
                Ok(index) => {
                    *mirror = Mirror {
                        index: Some(index),
                        version: saved,
                        saved: Some(saved),
                        compared: None,
                    };
                }
                Err(error) => tracing::info!(%error, "making the vector index anew"),
            }
        }
        let recently = mirror
            .compared
            .is_some_and(|at| at.elapsed() < COMPARE_EVERY);
        mirror.version != version && !recently
    }

    /// The contents that are in the mirror.
    pub(crate) fn ids(&self) -> HashSet<u64> {
        let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
        mirror
            .index
            .as_ref()
            .map_or_else(HashSet::new, |index| index.iter_ids().collect())
    }

    /// Takes contents out and puts vectors in (those it has already stay as they are), after which it
    /// mirrors `version` of the table. A vector of another length than the first is left out.
    pub(crate) fn replace(&self, gone: &[u64], new: &[(u64, Vec<f32>)], version: Version) {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &mut mirror.index {
            for id in gone {
                index.remove(*id);
            }
        }
        if mirror.index.is_none()
            && let Some((_, first)) = new.first()
        {
            mirror.index = IdMapIndex::new(first.len(), BITS).ok();
        }
        if let Some(index) = &mut mirror.index {
            let mut ids = Vec::with_capacity(new.len());
            let mut values = Vec::new();
            let mut seen = HashSet::new();
            for (id, vector) in new {
                if index.dim_opt() == Some(vector.len()) && seen.insert(*id) && !index.contains(*id)
                {
                    ids.push(*id);
                    values.extend_from_slice(vector);
                }
            }
            if !ids.is_empty()
                && let Err(error) = index.add_with_ids(&values, &ids)
            {
                tracing::warn!(%error, "vectors were refused by the index");
            }
        }
        match version {
            Version::Compared(version) => {
                mirror.version = version;
                mirror.compared = Some(Instant::now());
            }
            Version::Next(version) if mirror.version + 1 == version => mirror.version = version,
            // Somebody else changed the table in between; the next comparison finds what.
            Version::Next(_) => {}
        }
    }

    /// How many vectors there are.
    pub(crate) fn len(&self) -> usize {
        let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
        mirror.index.as_ref().map_or(0, IdMapIndex::len)
    }

    /// The contents whose vectors are nearest to `query`, best first; only `allowed` ones, if given.
    pub(crate) fn search(&self, query: &[f32], limit: usize, allowed: Option<&[u64]>) -> Vec<u64> {
        let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = mirror
            .index
            .as_ref()
            .filter(|index| index.dim_opt() == Some(query.len()))
        else {
            return Vec::new();
        };
        let allowed: Option<Vec<u64>> = allowed.map(|ids| {
            ids.iter()
                .filter(|id| index.contains(**id))
                .copied()
                .collect()
        });
        if index.is_empty() || allowed.as_ref().is_some_and(Vec::is_empty) {
            return Vec::new();
        }
        match index.search_with_allowlist(query, limit, allowed.as_deref()) {
            Ok((_, ids)) => ids,
            Err(error) => {
                tracing::warn!(%error, "the vector index refused a query");
                Vec::new()
            }
        }
    }

    /// Writes the mirror to its file, whole or not at all.
    pub(crate) fn save(&self) -> std::io::Result<()> {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = mirror
            .index
            .as_ref()
            .filter(|_| mirror.saved != Some(mirror.version))
        else {
            return Ok(());
        };
        let path = self
            .directory
            .join(format!("{PREFIX}{}{SUFFIX}", mirror.version));
        let old: Vec<PathBuf> = files(&self.directory).map(|(path, _)| path).collect();
        index.write(&path)?;
        mirror.saved = Some(mirror.version);
        for file in old.into_iter().filter(|file| *file != path) {
            std::fs::remove_file(file)?;
        }
        Ok(())
    }

    /// The newest file.
    fn file(&self) -> Option<(PathBuf, u64)> {
        files(&self.directory).max_by_key(|(_, version)| *version)
    }
}

/// How a change to the mirror relates to the table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// The mirror was compared with this version.
    Compared(u64),
    /// The change made this version out of the one before.
    Next(u64),
}

const PREFIX: &str = "vectors-";
const SUFFIX: &str = ".tv";

fn files(directory: &Path) -> impl Iterator<Item = (PathBuf, u64)> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name();
        let version = name
            .to_str()?
            .strip_prefix(PREFIX)?
            .strip_suffix(SUFFIX)?
            .parse()
            .ok()?;
        Some((entry.path(), version))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::embed::{normalise, quantised::product};

    /// Reproducible vectors that point anywhere.
    fn vectors(count: u64) -> Vec<(u64, Vec<f32>)> {
        let mut state = 1_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
        };
        let mut vectors = Vec::new();
        for id in 0..count {
            let mut vector: Vec<f32> = (0..384).map(|_| next()).collect();
            normalise(&mut vector);
            vectors.push((id * 7, vector));
        }
        vectors
    }

    #[test]
    fn the_nearest_are_among_those_proposed() {
        let folder = tempfile::tempdir().unwrap();
        let index = Vectors::at(folder.path().to_owned());
        let vectors = vectors(2000);
        index.replace(&[], &vectors, Version::Compared(1));
        for (_, query) in vectors.iter().step_by(100) {
            let mut exact: Vec<(f32, u64)> = vectors
                .iter()
                .map(|(id, vector)| (product(query, vector), *id))
                .collect();
            exact.sort_by(|a, b| b.0.total_cmp(&a.0));
            let found = index.search(query, 100, None);
            assert_eq!(found.len(), 100);
            assert!(exact.iter().take(10).all(|(_, id)| found.contains(id)));
        }
    }

    #[test]
    fn a_file_brings_back_what_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let index = Vectors::at(folder.path().to_owned());
        let vectors = vectors(300);
        assert!(index.is_behind(4));
        index.replace(&[], &vectors, Version::Compared(4));
        index.save().unwrap();
        index.replace(&[7], &[], Version::Next(5));
        index.save().unwrap();
        assert_eq!(files(folder.path()).count(), 1, "older files are removed");
        let again = Vectors::at(folder.path().to_owned());
        assert!(!again.is_behind(5));
        assert_eq!((again.len(), again.ids()), (299, index.ids()));
        let query = &vectors[5].1;
        assert_eq!(again.search(query, 20, None), index.search(query, 20, None));
        assert!(again.is_behind(6));
    }

    #[test]
    fn only_what_is_allowed_is_proposed() {
        let folder = tempfile::tempdir().unwrap();
        let index = Vectors::at(folder.path().to_owned());
        let vectors = vectors(50);
        assert!(index.search(&vectors[0].1, 5, None).is_empty());
        index.replace(&[], &vectors, Version::Compared(1));
        assert_eq!(index.search(&vectors[0].1, 5, Some(&[7, 14, 1])).len(), 2);
        assert!(index.search(&vectors[0].1, 5, Some(&[])).is_empty());
        assert!(
            index.search(&[1.0, 2.0], 5, None).is_empty(),
            "another model's vector"
        );
    }
}
