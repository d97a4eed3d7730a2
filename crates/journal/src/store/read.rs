//! Queries. Whatever is read is checked: events against their digest, payloads against their hash.

mod check;
mod export;
mod history;
mod lists;
mod row;
mod source;
mod steps;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

pub(crate) use self::history::{Outcome, Recorded};
use self::row::{EVENT_COLUMNS, RUN_COLUMNS, event_columns, run_columns, unreadable};
pub(in crate::store) use self::source::unpack;
use self::source::{Inline, Source};
pub(crate) use self::steps::Payloads;
use super::blocks::{IN_BLOCK, blocks, uncounted};
use super::event::EventRow;
use crate::lease::Holder;
use crate::list::Recalled;
use crate::payload::{self, Chain};
use crate::records::{Page, RunId, RunRecord, RunStatus};
use crate::{Error, Result};

/// A connection to read with.
pub(crate) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) holder: &'a Holder,
    pub(super) now_ms: i64,
}

/// Who holds a run's lease, if it is still good.
pub(super) fn holder_of(
    connection: &Connection,
    key: i64,
    now_ms: i64,
    me: &Holder,
) -> rusqlite::Result<Option<String>> {
    let found = connection
        .prepare_cached("SELECT machine, pid, born, expires_ms FROM lease WHERE run = ?1")?
        .query_row([key], |row| {
            let holder = Holder {
                machine: row.get(0)?,
                pid: row.get(1)?,
                born: row.get(2)?,
            };
            Ok((holder, row.get::<_, i64>(3)?))
        })
        .optional()?;
    Ok(found
        .filter(|(holder, expires_ms)| *expires_ms > now_ms && !holder.is_dead(me))
        .map(|(holder, _)| holder.describe(me)))
}

fn at(error: rusqlite::Error) -> Error {
    Error::store("read", error)
}

impl Reader<'_> {
    /// The run with this id or, if there is only one, the run whose id starts so.
    pub(crate) fn find(&self, asked: &str) -> Result<(i64, RunId)> {
        let sql = "SELECT key, id FROM run WHERE id >= ?1 AND substr(id, 1, length(?1)) = ?1 \
                   ORDER BY id LIMIT 6";
        let mut statement = self.connection.prepare_cached(sql).map_err(at)?;
        let found: Vec<(i64, String)> = statement
            .query_map([asked], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(at)?;
        let exact = found.first().is_some_and(|(_, id)| id == asked);
        match found.first() {
            _ if asked.is_empty() => Err(Error::NotFound { id: String::new() }),
            None => Err(Error::NotFound {
                id: asked.to_string(),
            }),
            Some((key, id)) if exact || found.len() == 1 => Ok((*key, RunId::parse(id)?)),
            Some(_) => {
                let matches = found.into_iter().map(|(_, id)| id).collect();
                Err(Error::Ambiguous {
                    id: asked.to_string(),
                    matches,
                })
            }
        }
    }

    /// A run's record. Damage is an error.
    pub(crate) fn run(&self, key: i64) -> Result<RunRecord> {
        let (mut record, started, ended) = self
            .connection
            .prepare_cached(&format!("{RUN_COLUMNS} WHERE run.key = ?1"))
            .and_then(|mut statement| statement.query_row([key], run_columns))
            .map_err(at)??;
        self.complete(key, &mut record, started, ended)?;
        Ok(record)
    }

    /// A page of runs. What is damaged in one is noted in its record and does not concern the others.
    pub(crate) fn runs(&self, page: &Page) -> Result<Vec<RunRecord>> {
        let before = match &page.before {
            Some(id) => self.find(id.as_str())?.0,
            None => i64::MAX,
        };
        let sql = format!("{RUN_COLUMNS} WHERE run.key < ?1 ORDER BY run.key DESC LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql).map_err(at)?;
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![before, limit]).map_err(at)?;
        let mut records = Vec::new();
        while let Some(row) = rows.next().map_err(at)? {
            let key: i64 = row.get("key").map_err(at)?;
            let (mut record, started, ended) = match run_columns(row) {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    records.push(unreadable(row, key, &error.to_string()));
                    continue;
                }
                // A column of another type than it has to be.
                Err(error) => {
                    records.push(unreadable(row, key, &error.to_string()));
                    continue;
                }
            };
            if let Err(error) = self.complete(key, &mut record, started, ended) {
                record.damage = Some(error.to_string());
            }
            records.push(record);
        }
        Ok(records)
    }

    /// Fills in what a run's first and last event say.
    fn complete(
        &self,
        key: i64,
        record: &mut RunRecord,
        started: i64,
        ended: Option<i64>,
    ) -> Result<()> {
        record.held_by = holder_of(self.connection, key, self.now_ms, self.holder).map_err(at)?;
        if record.status == RunStatus::Running {
            let more = uncounted(self.connection, key).map_err(at)?;
            record.steps += more.begun.unsigned_abs();
            record.finished_steps += more.ended.unsigned_abs();
            record.updated_ms = record.updated_ms.max(more.at_ms.unwrap_or(i64::MIN));
        }
        let id = record.id.clone();
        let place = "its start";
        let mut body = self.decode(&id, place, &self.event(&id, started, place)?.body)?;
        if let Some(Value::String(definition)) = body.remove("definition") {
            record.definition = definition;
        }
        record.input = body.remove("input").unwrap_or_default();
        record.forked_from = body
            .remove("fork")
            .and_then(|fork| serde_json::from_value(fork).ok());
        if let Some(seq) = ended.filter(|_| record.status == RunStatus::Finished) {
            let place = "its end";
            let body = self.event(&id, seq, place)?.body;
            record.output = self.decode(&id, place, &body)?.remove("output");
        }
        Ok(())
    }

    fn event(&self, id: &RunId, seq: i64, place: &str) -> Result<EventRow> {
        let sql = format!("{EVENT_COLUMNS} WHERE seq = ?1");
        let found = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                statement
                    .query_row([seq], |row| Ok(event_columns(row, id)))
                    .optional()
            })
            .map_err(at)?;
        found.unwrap_or_else(|| {
            let what = "the event is missing".to_string();
            Err(Error::Damaged {
                run: id.to_string(),
                place: place.to_string(),
                what,
            })
        })
    }

    /// Calls `each` for every event of a run with a number below `before`, in order, with its number;
    /// gives the number of the last one.
    pub(crate) fn each_event(
        &self,
        key: i64,
        id: &RunId,
        before: i64,
        mut each: impl FnMut(i64, EventRow) -> Result<()>,
    ) -> Result<i64> {
        let sql = format!("{EVENT_COLUMNS} WHERE {IN_BLOCK} AND seq < ?3 ORDER BY seq");
        let mut statement = self.connection.prepare_cached(&sql).map_err(at)?;
        let mut last_seq = 0;
        for block in blocks(self.connection, key).map_err(at)? {
            let mut rows = statement.query([block, key, before]).map_err(at)?;
            while let Some(row) = rows.next().map_err(at)? {
                last_seq = row.get(7).map_err(at)?;
                each(last_seq, event_columns(row, id)?)?;
            }
        }
        Ok(last_seq)
    }

    /// An event's body put together.
    pub(crate) fn decode(&self, id: &RunId, place: &str, body: &str) -> Result<Map<String, Value>> {
        payload::decode(
            body.as_bytes(),
            &mut Source {
                connection: self.connection,
                id,
                place,
            },
        )
    }

    /// One field of an event's body put together.
    pub(crate) fn field(
        &self,
        id: &RunId,
        place: &str,
        body: &str,
        field: &str,
    ) -> Result<Option<Value>> {
        let mut source = Source {
            connection: self.connection,
            id,
            place,
        };
        payload::decode_field(body, field, &mut source)
    }
}

impl Reader<'_> {
    /// How a list in the input of a recorded step was cut, if that can be told.
    pub(crate) fn chain(
        &self,
        id: &RunId,
        place: &str,
        recalled: &Recalled,
    ) -> Result<Option<Chain>> {
        let mut source = Source {
            connection: self.connection,
            id,
            place,
        };
        let is_list = |fields: &Map<String, Value>| recalled.is_list(fields);
        payload::chain_in(&recalled.body, &recalled.input, &is_list, &mut source)
    }

    /// One field of an event's body that refers to no payloads; needs no connection.
    pub(crate) fn inline_field(
        id: &RunId,
        place: &str,
        body: &str,
        field: &str,
    ) -> Result<Option<Value>> {
        payload::decode_field(body, field, &mut Inline { id, place })
    }
}

fn misplaced(id: &RunId, path: &str) -> Error {
    let what = "an event does not fit those before it".to_string();
    Error::Damaged {
        run: id.to_string(),
        place: format!("step {path}"),
        what,
    }
}
