//! Reading: what is remembered, as of now or of any time before.

use super::entry::{Entry, Filter, View};
use super::store;
use super::{Memory, writing};
use crate::error::Result;

impl Memory {
    /// The number of the last write.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn generation(&self) -> Result<u64> {
        self.0.store.read(store::generation)
    }

    /// The number of the last write up to a time, milliseconds since 1970 (UTC).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn generation_at(&self, at_ms: i64) -> Result<u64> {
        self.0.store.read(|connection| {
            let query = "SELECT max(generation) FROM generations WHERE at_ms <= ?1";
            let last: Option<i64> = connection.query_row(query, [at_ms], |row| row.get(0))?;
            Ok(last.unwrap_or(0).cast_unsigned())
        })
    }

    /// The memory as it is now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn now(&self, now_ms: i64) -> Result<View> {
        Ok(View {
            generation: self.generation()?,
            at_ms: now_ms,
            run: None,
        })
    }

    /// The memory as it was at a time.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn as_of(&self, at_ms: i64) -> Result<View> {
        Ok(View {
            generation: self.generation_at(at_ms)?,
            at_ms,
            run: None,
        })
    }

    /// The entries that pass the filter, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Entry>> {
        let versions = self
            .0
            .store
            .read(|connection| store::all(connection, filter))?;
        Ok(versions.into_iter().map(|version| version.entry).collect())
    }

    /// An entry and all versions of what it says, oldest first.
    ///
    /// # Errors
    /// [`crate::Error::Memory`] when there is none of this name.
    pub fn history(&self, id: &str) -> Result<Vec<Entry>> {
        self.0.store.read(|connection| {
            let version = match store::number(id) {
                Some(number) => store::version_of(connection, number)?,
                None => None,
            };
            let version = version.ok_or_else(|| writing::no_entry(id))?;
            if version.identity.is_empty() {
                return Ok(vec![version.entry]);
            }
            let entry = version.entry;
            let versions =
                store::versions(connection, &entry.scope, entry.kind, &version.identity)?;
            Ok(versions.into_iter().map(|version| version.entry).collect())
        })
    }
}
