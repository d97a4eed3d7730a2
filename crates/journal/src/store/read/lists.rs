//! Lists that cut across runs: what is ready, what is asked, what has been spent.

use rusqlite::{OptionalExtension, params};

use serde_json::{Map, Value};

use super::row::{EVENT_COLUMNS, event_columns};
use super::{Reader, at, holder_of};
use crate::budget::{Dimension, Spending};
use crate::records::{RunId, RunStatus};
use crate::run::Question;
use crate::store::blocks::{IN_BLOCK, blocks};
use crate::store::{Kind, Token, status_code};
use crate::{Error, Result};

/// An open question: the run's key and id, the address, the expiry.
type Open = (i64, String, String, Option<i64>);

impl Reader<'_> {
    /// Runs that may go on now and that nobody works on, of these agents, those that have waited
    /// longest first; and when the next one will be ready, if that is known.
    pub(crate) fn ready(
        &self,
        agents: &[String],
        skip: &dyn Fn(&str) -> bool,
        limit: usize,
    ) -> Result<(Vec<RunId>, Option<i64>)> {
        let sql = "SELECT key, id, agent, ready_ms FROM run WHERE ready_ms IS NOT NULL \
                   ORDER BY ready_ms, key";
        let mut statement = self.connection.prepare_cached(sql).map_err(at)?;
        let mut rows = statement.query([]).map_err(at)?;
        let mut ready = Vec::new();
        while let Some(row) = rows.next().map_err(at)? {
            // A damaged row is found by whoever looks at that run; it does not keep the others waiting.
            let fields = (|| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))();
            let fields: rusqlite::Result<(i64, String, String, i64)> = fields;
            let Ok((key, id, agent, ready_ms)) = fields else {
                continue;
            };
            if !agents.contains(&agent) {
                continue;
            }
            if ready_ms > self.now_ms {
                return Ok((ready, Some(ready_ms)));
            }
            if ready.len() == limit {
                return Ok((ready, None));
            }
            let held = holder_of(self.connection, key, self.now_ms, self.holder).map_err(at)?;
            if let Ok(id) = RunId::parse(&id)
                && held.is_none()
                && !skip(id.as_str())
            {
                ready.push(id);
            }
        }
        Ok((ready, None))
    }

    /// Open questions, oldest first; of one run, or of all.
    pub(crate) fn open_questions(&self, run: Option<i64>) -> Result<Vec<Open>> {
        let sql = "SELECT run.key, run.id, question.path, question.expires_ms FROM question \
                   JOIN run ON run.key = question.run WHERE ?1 IS NULL OR question.run = ?1 \
                   ORDER BY question.asked_seq";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([run], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })?
                    .collect()
            })
            .map_err(at)
    }

    /// Whether a question is open.
    pub(crate) fn is_open(&self, key: i64, path: &str) -> Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM question WHERE run = ?1 AND path = ?2")
            .and_then(|mut statement| statement.exists(params![key, path]))
            .map_err(at)
    }

    /// How the limits of a run's own budget stand.
    pub(crate) fn spending(&self, key: i64) -> Result<Vec<Spending>> {
        let sql = "SELECT dimension, most, spent, reserved FROM budget WHERE run = ?1 \
                   ORDER BY dimension";
        let mut statement = self.connection.prepare_cached(sql).map_err(at)?;
        let rows = statement
            .query_map([key], |row| {
                let number = |column| {
                    row.get::<_, i64>(column)
                        .map(|amount| u64::try_from(amount).unwrap_or_default())
                };
                let dimension = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
                Ok(Dimension::ALL.get(dimension).map(|dimension| Spending {
                    dimension: *dimension,
                    most: number(1).unwrap_or_default(),
                    spent: number(2).unwrap_or_default(),
                    reserved: number(3).unwrap_or_default(),
                }))
            })
            .map_err(at)?;
        let all: rusqlite::Result<Vec<Option<Spending>>> = rows.collect();
        Ok(all.map_err(at)?.into_iter().flatten().collect())
    }

    /// The runs whose budgets a run's steps count against: itself and its ancestors, those that have
    /// one.
    pub(crate) fn ledgers(&self, key: i64) -> Result<Vec<i64>> {
        let sql = "WITH RECURSIVE line(key) AS (SELECT ?1 UNION ALL \
                   SELECT run.parent FROM run JOIN line ON run.key = line.key \
                   WHERE run.parent IS NOT NULL) \
                   SELECT key FROM line WHERE EXISTS (SELECT 1 FROM budget WHERE run = line.key)";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map([key], |row| row.get(0))?.collect())
            .map_err(at)
    }

    /// Who may write events of a run, if anybody.
    pub(crate) fn lease(&self, key: i64) -> Result<Option<Token>> {
        self.connection
            .prepare_cached("SELECT token FROM lease WHERE run = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)).optional())
            .map_err(at)
    }

    /// The key of the run with exactly this id.
    pub(crate) fn key_of(&self, id: &RunId) -> Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT key FROM run WHERE id = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([id.as_str()], |row| row.get(0))
                    .optional()
            })
            .map_err(at)
    }

    /// The number of a run's first event.
    pub(crate) fn started_seq(&self, key: i64) -> Result<i64> {
        self.connection
            .prepare_cached("SELECT started_seq FROM run WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)))
            .map_err(at)
    }

    /// A field of the body of a run's first event.
    pub(crate) fn start_field(&self, key: i64, id: &RunId, field: &str) -> Result<Option<Value>> {
        let place = "its start";
        let body = self.event(id, self.started_seq(key)?, place)?.body;
        // Most runs are no forks, and their bodies need not be read.
        if !body.contains(&format!("\"{field}\"")) {
            return Ok(None);
        }
        self.field(id, place, &body, field)
    }

    /// An open question.
    pub(crate) fn question(&self, key: i64, id: &RunId, path: &str) -> Result<Question> {
        let seq = self
            .connection
            .prepare_cached("SELECT asked_seq FROM question WHERE run = ?1 AND path = ?2")
            .and_then(|mut statement| statement.query_row(params![key, path], |row| row.get(0)))
            .map_err(at)?;
        let body = self.event(id, seq, path)?.body;
        let input = self.field(id, path, &body, "input")?.unwrap_or_default();
        serde_json::from_value(input).map_err(|error| Error::Damaged {
            run: id.to_string(),
            place: format!("step {path}"),
            what: format!("its question cannot be read: {error}"),
        })
    }

    /// The body of the event that ended a step of this run, if it has ended.
    pub(crate) fn end_of(
        &self,
        key: i64,
        id: &RunId,
        path: &str,
    ) -> Result<Option<Map<String, Value>>> {
        let sql = format!("{EVENT_COLUMNS} WHERE {IN_BLOCK} AND path = ?3 AND kind IN (12, 13)");
        let mut statement = self.connection.prepare_cached(&sql).map_err(at)?;
        for block in blocks(self.connection, key).map_err(at)?.rev() {
            let found = statement
                .query_row(params![block, key, path], |row| Ok(event_columns(row, id)))
                .optional()
                .map_err(at)?;
            if let Some(event) = found {
                return self.decode(id, path, &event?.body).map(Some);
            }
        }
        Ok(None)
    }

    /// How long a run has been worked on, in milliseconds: the time between its events, but for what it
    /// was parked, failed or without a process.
    pub(crate) fn worked_ms(&self, key: i64, id: &RunId) -> Result<i64> {
        let (mut worked_ms, mut last_ms): (i64, Option<i64>) = (0, None);
        self.each_event(key, id, i64::MAX, |_, event| {
            if let Some(last_ms) = last_ms.filter(|_| event.kind != Kind::RunResumed) {
                worked_ms += (event.at_ms - last_ms).max(0);
            }
            let goes_on = match event.kind.ending() {
                Some(_) => false,
                // An answer, somebody's word or a raised limit may come to a run that stands still.
                None => {
                    last_ms.is_some() || matches!(event.kind, Kind::RunStarted | Kind::RunResumed)
                }
            };
            last_ms = goes_on.then_some(event.at_ms);
            Ok(())
        })?;
        Ok(worked_ms)
    }

    /// Whether a run has ended, in whatever way.
    pub(crate) fn has_ended(&self, key: i64) -> Result<bool> {
        let status: i64 = self
            .connection
            .prepare_cached("SELECT status FROM run WHERE key = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get(0)))
            .map_err(at)?;
        let working = [RunStatus::Running, RunStatus::Parked].map(status_code);
        Ok(!working.contains(&status))
    }
}
