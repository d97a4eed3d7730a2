//! An export being read: every line is checked, and kept in a database of its own until all have been.
//!
//! That database is a temporary file of SQLite's, so memory stays bounded; the journal itself is not
//! touched before the whole file has been found good. `lines` takes the lines one by one.

mod lines;

use std::io::BufRead;

use rusqlite::{Connection, OptionalExtension, params};

use self::lines::Reading;
use super::read::unpack;
use super::writer::{Packed, pack};
use crate::payload::{self, Hash, Node, NodeKind, Nodes};
use crate::{Error, Result};

const SCHEMA: &str = "
    PRAGMA synchronous = OFF;
    PRAGMA journal_mode = OFF;
    CREATE TABLE payload (
        hash BLOB PRIMARY KEY, kind INTEGER NOT NULL, size INTEGER NOT NULL, body NOT NULL,
        depth INTEGER NOT NULL,     -- of arrays and objects, references followed
        whole INTEGER NOT NULL      -- bytes, references followed
    );
    CREATE TABLE event (
        number INTEGER PRIMARY KEY, run INTEGER NOT NULL, kind INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, path TEXT, effect INTEGER, fingerprint BLOB, body TEXT NOT NULL,
        digest INTEGER NOT NULL
    );
    CREATE TABLE run (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL,
        parent INTEGER, status INTEGER NOT NULL, reason TEXT, created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL, steps INTEGER NOT NULL, finished_steps INTEGER NOT NULL,
        started INTEGER NOT NULL, ended INTEGER
    );
    CREATE TABLE question (
        run INTEGER NOT NULL, path TEXT NOT NULL, asked INTEGER NOT NULL, expires_ms INTEGER
    );
    CREATE TABLE budget (
        run INTEGER NOT NULL, dimension INTEGER NOT NULL, most INTEGER NOT NULL,
        spent INTEGER NOT NULL, reserved INTEGER NOT NULL
    );";

/// A file that has been read and found good, ready to be written to a journal.
pub(crate) struct Staging {
    pub(super) connection: Connection,
}

/// What is known of a payload that has been read.
pub(super) struct Shape {
    pub(super) depth: i64,
    pub(super) whole: i64,
}

impl Staging {
    /// Reads an export to its end.
    pub(crate) fn read(from: impl BufRead) -> Result<Staging> {
        // No name: SQLite makes a temporary file and takes it away again.
        let connection = Connection::open("").map_err(at)?;
        connection.execute_batch(SCHEMA).map_err(at)?;
        connection.execute_batch("BEGIN").map_err(at)?;
        let mut reading = Reading::new(Staging { connection });
        reading.read(from)?;
        let staging = reading.finish()?;
        staging.connection.execute_batch("COMMIT").map_err(at)?;
        Ok(staging)
    }

    /// How deep a payload goes and how long it is, if it has been read.
    fn shape(&self, hash: &Hash) -> Result<Option<Shape>> {
        let sql = "SELECT depth, whole FROM payload WHERE hash = ?1";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([hash], |row| {
                        Ok(Shape {
                            depth: row.get(0)?,
                            whole: row.get(1)?,
                        })
                    })
                    .optional()
            })
            .map_err(at)
    }

    fn keep(&self, node: Node, shape: &Shape) -> Result<()> {
        let Packed {
            hash,
            kind,
            size,
            body,
        } = pack(node)?;
        self.connection
            .prepare_cached(
                "INSERT INTO payload (hash, kind, size, body, depth, whole) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    hash,
                    kind.code(),
                    size,
                    body,
                    shape.depth,
                    shape.whole
                ])
            })
            .map_err(at)?;
        Ok(())
    }
}

impl Nodes for &Staging {
    type Error = String;

    fn node(&mut self, hash: &Hash) -> std::result::Result<Node, String> {
        let sql = "SELECT kind, size, body FROM payload WHERE hash = ?1";
        let found: rusqlite::Result<std::result::Result<(NodeKind, Vec<u8>), String>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row([hash], |row| Ok(unpack(row))));
        let (kind, text) =
            found.map_err(|error| format!("payload {}: {error}", payload::hex(hash)))??;
        Ok(Node {
            hash: *hash,
            kind,
            text,
        })
    }

    fn malformed(&self, what: String) -> String {
        what
    }
}

fn at(error: rusqlite::Error) -> Error {
    Error::store("read the export", error)
}
