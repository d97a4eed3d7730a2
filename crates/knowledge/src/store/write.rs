//! The changes.

use rusqlite::Connection;

use super::{Store, to_sql};
use crate::document::{Document, Place};
use crate::error::{Error, Result};

/// What was found out about one file.
pub(crate) enum Change {
    /// It was read; this replaces what was known of it.
    Read(NewDocument),
    /// Its bytes are the same, only its time is not.
    Touched {
        file: String,
        bytes: u64,
        modified_ns: i64,
    },
    /// It cannot be read.
    Skipped {
        file: String,
        bytes: u64,
        modified_ns: i64,
        reason: String,
    },
    /// It is gone.
    Removed { file: String },
}

/// A document with its passages.
pub(crate) struct NewDocument {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) modified_ns: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) document: Document,
    pub(crate) passages: Vec<NewPassage>,
}

/// A passage; its text is what `range` cuts out of its document.
pub(crate) struct NewPassage {
    pub(crate) id: u64,
    pub(crate) content: u64,
    pub(crate) headings: Vec<String>,
    pub(crate) places: Vec<Place>,
    pub(crate) range: std::ops::Range<usize>,
    pub(crate) text: String,
}

/// What a batch of changes did.
#[derive(Default)]
pub(crate) struct Applied {
    /// The generation after it.
    pub(crate) generation: u64,
    /// The passages that are gone.
    pub(crate) removed: Vec<u64>,
    /// The ids of the documents of the `Read` changes, in order.
    pub(crate) documents: Vec<u64>,
}

impl Store {
    /// Applies changes all together or, on an error, none.
    pub(crate) fn apply(&self, changes: &[Change]) -> Result<Applied> {
        self.write(|connection| {
            let mut applied = Applied::default();
            for change in changes {
                match change {
                    Change::Read(new) => {
                        forget(connection, &new.file, &mut applied.removed)?;
                        applied.documents.push(insert(connection, new)?);
                    }
                    Change::Touched {
                        file,
                        bytes,
                        modified_ns,
                    } => {
                        let sql =
                            "UPDATE documents SET bytes = ?2, modified_ns = ?3 WHERE file = ?1";
                        connection.prepare_cached(sql)?.execute((
                            file,
                            to_sql(*bytes),
                            modified_ns,
                        ))?;
                    }
                    Change::Skipped {
                        file,
                        bytes,
                        modified_ns,
                        reason,
                    } => {
                        forget(connection, file, &mut applied.removed)?;
                        let sql = "INSERT INTO skipped VALUES (?1, ?2, ?3, ?4)";
                        connection.prepare_cached(sql)?.execute((
                            file,
                            to_sql(*bytes),
                            modified_ns,
                            reason,
                        ))?;
                    }
                    Change::Removed { file } => forget(connection, file, &mut applied.removed)?,
                }
            }
            applied.generation = raise(connection, "generation")?;
            Ok(applied)
        })
    }

    /// Keeps vectors; those that are there already stay as they are. Returns the version this makes.
    pub(crate) fn put_vectors(&self, vectors: &[(u64, Vec<u8>)]) -> Result<u64> {
        self.write(|connection| {
            let sql = "INSERT OR IGNORE INTO vectors VALUES (?1, ?2)";
            let mut statement = connection.prepare_cached(sql)?;
            for (content, vector) in vectors {
                statement.execute((to_sql(*content), vector))?;
            }
            raise(connection, "vectors_version")
        })
    }

    /// Deletes the vectors that no passage has any more; says how many.
    pub(crate) fn drop_unused_vectors(&self) -> Result<usize> {
        self.write(|connection| {
            let sql = "DELETE FROM vectors WHERE content NOT IN (SELECT content FROM passages)";
            let dropped = connection.execute(sql, [])?;
            if dropped > 0 {
                raise(connection, "vectors_version")?;
            }
            Ok(dropped)
        })
    }

    /// Has every file read again that was read by another version of the reader. What it yielded stays until
    /// then.
    pub(crate) fn use_reader(&self, version: &str) -> Result<()> {
        let kept = self.read(|connection| super::meta(connection, "reader"))?;
        if kept.as_deref() == Some(version) {
            return Ok(());
        }
        self.write(|connection| {
            connection.execute("UPDATE documents SET modified_ns = -1, hash = x''", [])?;
            connection.execute("DELETE FROM skipped", [])?;
            let sql = "INSERT OR REPLACE INTO meta VALUES ('reader', ?1)";
            connection.execute(sql, [version])?;
            Ok(())
        })
    }

    /// Makes the vectors those of the model with this hash: vectors of another model are deleted.
    pub(crate) fn use_model(&self, hash: &str) -> Result<()> {
        let kept = self.read(|connection| super::meta(connection, "embedding_model"))?;
        if kept.as_deref() == Some(hash) {
            return Ok(());
        }
        self.write(|connection| {
            connection.execute("DELETE FROM vectors", [])?;
            let sql = "INSERT OR REPLACE INTO meta VALUES ('embedding_model', ?1)";
            connection.execute(sql, [hash])?;
            raise(connection, "vectors_version").map(drop)
        })
    }
}

/// Deletes all that is known of a file and notes which passages go with it.
fn forget(connection: &Connection, file: &str, removed: &mut Vec<u64>) -> Result<()> {
    let sql = "SELECT p.id FROM passages p JOIN documents d ON d.id = p.document WHERE d.file = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([file])?;
    while let Some(row) = rows.next()? {
        removed.push(super::from_sql(row.get(0)?));
    }
    connection
        .prepare_cached("DELETE FROM documents WHERE file = ?1")?
        .execute([file])?;
    connection
        .prepare_cached("DELETE FROM skipped WHERE file = ?1")?
        .execute([file])?;
    Ok(())
}

fn insert(connection: &Connection, new: &NewDocument) -> Result<u64> {
    let sql = "INSERT INTO documents (file, bytes, modified_ns, hash, title, text, blocks)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    connection.prepare_cached(sql)?.execute((
        &new.file,
        to_sql(new.bytes),
        new.modified_ns,
        &new.hash,
        &new.document.title,
        &new.document.text,
        to_json(&new.document.blocks)?,
    ))?;
    let document = connection.last_insert_rowid();
    let sql = "INSERT INTO passages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut statement = connection.prepare_cached(sql)?;
    for (ordinal, passage) in new.passages.iter().enumerate() {
        let number = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        statement.execute((
            to_sql(passage.id),
            document,
            number(ordinal),
            number(passage.range.start),
            number(passage.range.end),
            to_json(&passage.headings)?,
            to_json(&passage.places)?,
            &passage.text,
            to_sql(passage.content),
        ))?;
    }
    Ok(super::from_sql(document))
}

/// Raises a counter and returns its new value.
fn raise(connection: &Connection, name: &str) -> Result<u64> {
    let sql = "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = ?1 RETURNING value";
    let mut statement = connection.prepare_cached(sql)?;
    let value: String = statement.query_row([name], |row| row.get(0))?;
    value
        .parse()
        .map_err(|_| Error::Damaged(format!("{name} {value:?}")))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Damaged(error.to_string()))
}
