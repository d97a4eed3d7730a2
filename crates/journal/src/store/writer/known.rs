//! Nodes on their way to the disk, and which of them are there already.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ToSql, Transaction, params};
use zstd::bulk::Compressor;

use crate::payload::{Hash, Node, NodeKind};
use crate::{Error, Result};

/// Shorter texts are not worth the time: there the pages of the database round up what is saved.
const COMPRESS_BYTES: usize = 2048;
/// How hard to compress. 1 takes about 3 µs per KB of prose.
const LEVEL: i32 = 1;
/// Hashes in each of the two generations.
const GENERATION: usize = 1 << 16;

/// A node as it goes into its row.
pub(crate) struct Packed {
    pub(crate) hash: Hash,
    pub(crate) kind: NodeKind,
    /// Bytes of the text.
    pub(crate) size: i64,
    pub(crate) body: Body,
}

/// The text of a node, compressed where that saves something.
pub(crate) enum Body {
    Text(Vec<u8>),
    Zstd(Vec<u8>),
}

impl ToSql for Body {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Body::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            Body::Zstd(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// Nodes that are certainly on disk. Without it a conversation of n messages would send n nodes to
/// the writer at each step, only to find them there. Forgetting a hash costs time, nothing else; a
/// hash must leave it before its row may be deleted.
#[derive(Default)]
pub(crate) struct Known(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashSet<Hash>,
    old: HashSet<Hash>,
    /// How often payloads had been collected when these were certain.
    collections: i64,
}

/// The nodes of an event, on their way to the disk.
#[derive(Default)]
pub(crate) struct Nodes {
    packed: Vec<Packed>,
    /// Those that were on disk after so many collections, whole: they may have been collected since.
    assumed: Vec<Node>,
    collections: i64,
}

impl Nodes {
    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.packed.iter().map(|node| node.hash)
    }

    /// Writes them. Payloads have been collected so often now; those that were taken to be on disk
    /// before the last time are written again where they are not.
    pub(super) fn insert(
        &self,
        transaction: &Transaction<'_>,
        collections: i64,
    ) -> rusqlite::Result<()> {
        for node in &self.packed {
            insert_node(transaction, node)?;
        }
        if collections == self.collections || self.assumed.is_empty() {
            return Ok(());
        }
        let mut statement = transaction.prepare_cached("SELECT 1 FROM payload WHERE hash = ?1")?;
        for node in &self.assumed {
            if !statement.exists([node.hash])? {
                let packed = pack(node.clone())
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
                insert_node(transaction, &packed)?;
            }
        }
        Ok(())
    }
}

/// Writes a node, unless it is there.
pub(crate) fn insert_node(transaction: &Transaction<'_>, node: &Packed) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO payload (hash, kind, size, body) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![node.hash, node.kind.code(), node.size, node.body])?;
    Ok(())
}

impl Known {
    /// Drops the nodes that are on disk or occur twice and makes the others ready for their rows.
    pub(crate) fn pack(&self, nodes: Vec<Node>) -> Result<Nodes> {
        if nodes.is_empty() {
            return Ok(Nodes::default());
        }
        let (fresh, assumed, collections) = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (assumed, fresh): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(|node| {
                known.young.contains(&node.hash) || known.old.contains(&node.hash)
            });
            (fresh, assumed, known.collections)
        };
        let mut seen = HashSet::new();
        let packed = fresh
            .into_iter()
            .filter(|node| seen.insert(node.hash))
            .map(pack)
            .collect::<Result<Vec<Packed>>>()?;
        Ok(Nodes {
            packed,
            assumed,
            collections,
        })
    }

    /// Forgets everything when payloads have been collected since.
    pub(crate) fn begin(&self, collections: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.collections != collections {
            *known = Generations {
                collections,
                ..Generations::default()
            };
        }
    }

    /// Notes nodes that have been committed.
    pub(crate) fn add(&self, hashes: impl Iterator<Item = Hash>) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.extend(hashes);
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
    }
}

thread_local! {
    /// Making a compressor takes longer than using it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Makes a node ready for its row.
pub(crate) fn pack(node: Node) -> Result<Packed> {
    let Node { hash, kind, text } = node;
    let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let compressed = if text.len() >= COMPRESS_BYTES {
        compress(&text)?
    } else {
        None
    };
    let body = match compressed {
        Some(bytes) => Body::Zstd(bytes),
        None => Body::Text(text),
    };
    Ok(Packed {
        hash,
        kind,
        size,
        body,
    })
}

/// The text compressed, when that saves at least a tenth.
fn compress(text: &[u8]) -> Result<Option<Vec<u8>>> {
    let compressed = COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(text)
    });
    let bytes = compressed.map_err(|error| {
        let error = rusqlite::Error::ToSqlConversionFailure(error.into());
        Error::store("compress a payload", error)
    })?;
    Ok(Some(bytes).filter(|bytes| bytes.len() < text.len() / 10 * 9))
}
