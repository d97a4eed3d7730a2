//! Payload nodes from the store, checked against their hash.

use std::cell::RefCell;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use zstd::bulk::Decompressor;

use crate::payload::{self, Hash, Node, NodeKind, Nodes};
use crate::records::RunId;
use crate::{Error, Result};

/// Nodes from the store, with whom to blame when one is damaged.
pub(super) struct Source<'a> {
    pub(super) connection: &'a Connection,
    pub(super) id: &'a RunId,
    pub(super) place: &'a str,
}

impl Nodes for Source<'_> {
    type Error = Error;

    fn node(&mut self, hash: &Hash) -> Result<Node> {
        let sql = "SELECT kind, size, body FROM payload WHERE hash = ?1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([hash], |row| Ok(unpack(row)))
                    .optional()
            })
            .map_err(super::at)?;
        let name = payload::hex(hash);
        let (kind, text) = found
            .ok_or_else(|| self.malformed(format!("payload {name} is missing")))?
            .map_err(|what| self.malformed(format!("payload {name} cannot be read: {what}")))?;
        if payload::hash_of(kind, &text) != *hash {
            let what = format!("payload {name} is not what was written (its hash differs)");
            return Err(self.malformed(what));
        }
        Ok(Node {
            hash: *hash,
            kind,
            text,
        })
    }

    fn malformed(&self, what: String) -> Error {
        damaged(self.id, self.place, what)
    }
}

/// For a body that refers to no payloads.
pub(super) struct Inline<'a> {
    pub(super) id: &'a RunId,
    pub(super) place: &'a str,
}

impl Nodes for Inline<'_> {
    type Error = Error;

    fn node(&mut self, hash: &Hash) -> Result<Node> {
        Err(self.malformed(format!("payload {} is not at hand", payload::hex(hash))))
    }

    fn malformed(&self, what: String) -> Error {
        damaged(self.id, self.place, what)
    }
}

fn damaged(id: &RunId, place: &str, what: String) -> Error {
    let place = match place {
        "its start" | "its end" => place.to_string(),
        path => format!("step {path}"),
    };
    Error::Damaged {
        run: id.to_string(),
        place,
        what,
    }
}

thread_local! {
    /// Making a decompressor takes longer than using it.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress(bytes: &[u8], size: usize) -> std::io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new()?),
        };
        decompressor.decompress(bytes, size)
    })
}

/// A payload's kind and text, from its columns `kind`, `size`, `body`, in this order and the first.
pub(in crate::store) fn unpack(row: &Row<'_>) -> std::result::Result<(NodeKind, Vec<u8>), String> {
    let text = |error: rusqlite::Error| error.to_string();
    let kind: i64 = row.get(0).map_err(text)?;
    let kind = NodeKind::from_code(kind).ok_or_else(|| format!("its kind is {kind}"))?;
    let size: i64 = row.get(1).map_err(text)?;
    match row.get_ref(2).map_err(text)? {
        ValueRef::Text(text) => Ok((kind, text.to_vec())),
        ValueRef::Blob(bytes) => {
            let size = usize::try_from(size)
                .ok()
                .filter(|size| *size <= MOST_BYTES);
            let size = size.ok_or("its size makes no sense")?;
            let text = decompress(bytes, size).map_err(|error| error.to_string())?;
            Ok((kind, text))
        }
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {
            Err("its body is no text".to_string())
        }
    }
}

/// SQLite's own limit for a row; a larger size can only be damage.
const MOST_BYTES: usize = 1_000_000_000;
