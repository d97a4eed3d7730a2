//! Nodes on their way to the disk, and which of them are there already.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
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
}

impl Known {
    /// Drops the nodes that are on disk or occur twice and makes the others ready for their rows.
    pub(crate) fn pack(&self, mut nodes: Vec<Node>) -> Result<Vec<Packed>> {
        {
            let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.retain(|node| {
                !generations.young.contains(&node.hash) && !generations.old.contains(&node.hash)
            });
        }
        let mut seen = HashSet::new();
        nodes
            .into_iter()
            .filter(|node| seen.insert(node.hash))
            .map(pack)
            .collect()
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

fn pack(node: Node) -> Result<Packed> {
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
