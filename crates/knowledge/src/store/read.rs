//! The queries that read.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row};

use super::{Store, from_sql, to_sql};
use crate::document::{Document, Passage};
use crate::error::{Error, Result};

/// A file that was read, or tried, before.
#[derive(Clone, Debug)]
pub(crate) struct KnownFile {
    /// Its document; `None` when it was skipped.
    pub(crate) document: Option<u64>,
    pub(crate) bytes: u64,
    pub(crate) modified_ns: i64,
    /// The hash of its bytes; empty when it was skipped.
    pub(crate) hash: Vec<u8>,
    /// Why it was skipped.
    pub(crate) reason: Option<String>,
}

/// What the indexes need of a passage.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) id: u64,
    pub(crate) document: u64,
    pub(crate) content: u64,
    pub(crate) title: String,
    pub(crate) headings: Vec<String>,
    pub(crate) text: String,
}

/// A passage's number with its document's and its content's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) id: u64,
    pub(crate) document: u64,
    pub(crate) content: u64,
}

/// How many documents, passages, different contents, and contents with a vector there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) documents: u64,
    pub(crate) passages: u64,
    pub(crate) contents: u64,
    pub(crate) vectors: u64,
    pub(crate) skipped: u64,
}

const PASSAGE: &str = "SELECT p.id, d.file, d.title, p.headings, p.text, p.first_byte, p.end_byte, p.places, p.ordinal
    FROM passages p JOIN documents d ON d.id = p.document";

const PIECE: &str = "SELECT p.id, p.document, p.content, d.title, p.headings, p.text
    FROM passages p JOIN documents d ON d.id = p.document";

impl Store {
    /// All files that were read or tried.
    pub(crate) fn known_files(&self) -> Result<HashMap<String, KnownFile>> {
        self.read(|connection| {
            let mut known = HashMap::new();
            let mut statement =
                connection.prepare("SELECT file, id, bytes, modified_ns, hash FROM documents")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let file = KnownFile {
                    document: Some(from_sql(row.get(1)?)),
                    bytes: from_sql(row.get(2)?),
                    modified_ns: row.get(3)?,
                    hash: row.get(4)?,
                    reason: None,
                };
                known.insert(row.get(0)?, file);
            }
            let mut statement =
                connection.prepare("SELECT file, bytes, modified_ns, reason FROM skipped")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let file = KnownFile {
                    document: None,
                    bytes: from_sql(row.get(1)?),
                    modified_ns: row.get(2)?,
                    hash: Vec::new(),
                    reason: Some(row.get(3)?),
                };
                known.insert(row.get(0)?, file);
            }
            Ok(known)
        })
    }

    /// The passages with these ids, in the order of `ids`; those that are gone are left out.
    pub(crate) fn passages(&self, ids: &[u64]) -> Result<Vec<Passage>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{PASSAGE} WHERE p.id = ?1"))?;
            let mut passages = Vec::with_capacity(ids.len());
            for id in ids {
                passages.extend(
                    statement
                        .query_row([to_sql(*id)], |row| Ok(passage(row)))
                        .optional()?
                        .transpose()?,
                );
            }
            Ok(passages)
        })
    }

    /// The passages before and after passage `id` in its document, with itself, in reading order.
    pub(crate) fn around(&self, id: u64, before: u32, after: u32) -> Result<Vec<Passage>> {
        self.read(|connection| {
            let sql = format!(
                "{PASSAGE} JOIN passages q ON q.document = p.document WHERE q.id = ?1
                 AND p.ordinal BETWEEN q.ordinal - ?2 AND q.ordinal + ?3 ORDER BY p.ordinal"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map((to_sql(id), before, after), |row| Ok(passage(row)))?;
            rows.map(|row| row?).collect()
        })
    }

    /// What the indexes need of the passages with these ids.
    pub(crate) fn pieces(&self, ids: &[u64]) -> Result<Vec<Piece>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{PIECE} WHERE p.id = ?1"))?;
            let mut pieces = Vec::with_capacity(ids.len());
            for id in ids {
                pieces.extend(
                    statement
                        .query_row([to_sql(*id)], |row| Ok(piece(row)))
                        .optional()?
                        .transpose()?,
                );
            }
            Ok(pieces)
        })
    }

    /// The ids of all passages, with the content of each.
    pub(crate) fn passage_contents(&self) -> Result<HashMap<u64, u64>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, content FROM passages")?;
            let rows = statement
                .query_map([], |row| Ok((from_sql(row.get(0)?), from_sql(row.get(1)?))))?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// The passages that have one of these contents, in the order of `contents`.
    pub(crate) fn passages_with(&self, contents: &[u64]) -> Result<Vec<Located>> {
        self.read(|connection| {
            let sql = "SELECT id, document, content FROM passages WHERE content = ?1 ORDER BY document, ordinal";
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = Vec::new();
            for content in contents {
                let rows = statement.query_map([to_sql(*content)], located)?;
                for row in rows {
                    found.push(row?);
                }
            }
            Ok(found)
        })
    }

    /// Where these passages belong; those that are gone are left out.
    pub(crate) fn locate(&self, ids: &[u64]) -> Result<Vec<Located>> {
        self.read(|connection| {
            let sql = "SELECT id, document, content FROM passages WHERE id = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(statement.query_row([to_sql(*id)], located).optional()?);
            }
            Ok(found)
        })
    }

    /// The vector of each of these contents that has one, as it was put.
    pub(crate) fn vectors(
        &self,
        contents: impl Iterator<Item = u64>,
    ) -> Result<HashMap<u64, Vec<u8>>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT vector FROM vectors WHERE content = ?1")?;
            let mut vectors = HashMap::new();
            for content in contents {
                if let Some(vector) = statement
                    .query_row([to_sql(content)], |row| row.get(0))
                    .optional()?
                {
                    vectors.insert(content, vector);
                }
            }
            Ok(vectors)
        })
    }

    /// One passage of each content that has no vector, in the order in which they were read.
    pub(crate) fn without_vector(&self) -> Result<Vec<u64>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT min(p.id) FROM passages p
                 WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.content = p.content)
                 GROUP BY p.content ORDER BY min(p.document), min(p.ordinal)",
            )?;
            let rows = statement.query_map([], |row| Ok(from_sql(row.get(0)?)))?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// The contents that have a vector.
    pub(crate) fn contents_with_vector(&self) -> Result<Vec<u64>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT content FROM vectors")?;
            let rows = statement.query_map([], |row| Ok(from_sql(row.get(0)?)))?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// The contents of the passages of these documents.
    pub(crate) fn contents_of(&self, documents: impl Iterator<Item = u64>) -> Result<Vec<u64>> {
        self.read(|connection| {
            let sql = "SELECT content FROM passages WHERE document = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut contents = Vec::new();
            for document in documents {
                for row in statement.query_map([to_sql(document)], |row| row.get(0))? {
                    contents.push(from_sql(row?));
                }
            }
            contents.sort_unstable();
            contents.dedup();
            Ok(contents)
        })
    }

    /// The files of all documents with their ids.
    pub(crate) fn documents(&self) -> Result<Vec<(String, u64)>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT file, id FROM documents ORDER BY file")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, from_sql(row.get(1)?))))?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// Title, size and number of passages of every document.
    pub(crate) fn document_records(&self) -> Result<Vec<(String, String, u64, u64)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT d.file, d.title, d.bytes, (SELECT count(*) FROM passages p WHERE p.document = d.id)
                 FROM documents d ORDER BY d.file",
            )?;
            let rows = statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, from_sql(row.get(2)?), from_sql(row.get(3)?))))?;
            rows.map(|row| Ok(row?)).collect()
        })
    }

    /// The document read from `file`.
    pub(crate) fn document(&self, file: &str) -> Result<Option<Document>> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT title, text, blocks FROM documents WHERE file = ?1")?;
            let found = statement
                .query_row([file], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
                })
                .optional()?;
            let Some((title, text, blocks)) = found else {
                return Ok(None);
            };
            Ok(Some(Document {
                title,
                text,
                blocks: from_json(&blocks)?,
            }))
        })
    }

    pub(crate) fn counts(&self) -> Result<Counts> {
        self.read(|connection| {
            let count = |sql: &str| -> Result<u64> { Ok(from_sql(connection.query_row(sql, [], |row| row.get(0))?)) };
            Ok(Counts {
                documents: count("SELECT count(*) FROM documents")?,
                passages: count("SELECT count(*) FROM passages")?,
                contents: count("SELECT count(DISTINCT content) FROM passages")?,
                vectors: count(
                    "SELECT count(*) FROM (SELECT DISTINCT p.content FROM passages p JOIN vectors v ON v.content = p.content)",
                )?,
                skipped: count("SELECT count(*) FROM skipped")?,
            })
        })
    }

    /// Hands all passages to `take`, some thousand at a time.
    pub(crate) fn all_pieces(
        &self,
        ids: &[u64],
        mut take: impl FnMut(Vec<Piece>) -> Result<()>,
    ) -> Result<()> {
        for some in ids.chunks(2000) {
            take(self.pieces(some)?)?;
        }
        Ok(())
    }
}

fn located(row: &Row<'_>) -> rusqlite::Result<Located> {
    Ok(Located {
        id: from_sql(row.get(0)?),
        document: from_sql(row.get(1)?),
        content: from_sql(row.get(2)?),
    })
}

fn passage(row: &Row<'_>) -> Result<Passage> {
    let first: i64 = row.get(5)?;
    let end: i64 = row.get(6)?;
    let damaged = |_| Error::Damaged("a passage's range".to_owned());
    Ok(Passage {
        id: format!("{:016x}", from_sql(row.get(0)?)),
        file: row.get(1)?,
        title: row.get(2)?,
        headings: from_json(&row.get::<_, String>(3)?)?,
        text: row.get(4)?,
        range: usize::try_from(first).map_err(damaged)?..usize::try_from(end).map_err(damaged)?,
        places: from_json(&row.get::<_, String>(7)?)?,
        ordinal: row.get(8)?,
    })
}

fn piece(row: &Row<'_>) -> Result<Piece> {
    Ok(Piece {
        id: from_sql(row.get(0)?),
        document: from_sql(row.get(1)?),
        content: from_sql(row.get(2)?),
        title: row.get(3)?,
        headings: from_json(&row.get::<_, String>(4)?)?,
        text: row.get(5)?,
    })
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Damaged(error.to_string()))
}
