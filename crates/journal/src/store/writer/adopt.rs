//! Writing the runs of an export that has been found good.

use std::collections::HashMap;

use rusqlite::{Row, params};
use serde_json::Map;

use super::super::Staging;
use super::super::event::{EventRow, Kind, status_code};
use super::Ground;
use crate::records::{RunId, RunStatus};
use crate::{Error, Result};

/// Why a run that had not ended stands still.
const IMPORTED: &str = "imported";

/// The runs of an export, by their number in it: where they are now.
#[derive(Default)]
struct Adopted {
    keys: HashMap<i64, i64>,
    /// New numbers of events that rows of other tables name.
    events: HashMap<i64, i64>,
}

impl Ground<'_> {
    /// Writes all the runs, or none when there is one with the id of one of them. Gives their ids.
    pub(crate) fn adopt(&self, staging: &Staging) -> rusqlite::Result<Result<Vec<RunId>>> {
        let mut ids = Vec::new();
        let mut runs = staging
            .connection
            .prepare("SELECT id FROM run ORDER BY number")?;
        let mut rows = runs.query([])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let exists = self
                .transaction
                .prepare_cached("SELECT 1 FROM run WHERE id = ?1")?
                .exists([&id])?;
            if exists {
                return Ok(Err(Error::Exists { id }));
            }
            match RunId::parse(&id) {
                Ok(id) => ids.push(id),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.adopt_payloads(staging)?;
        let mut adopted = Adopted::default();
        let mut runs = staging
            .connection
            .prepare("SELECT * FROM run ORDER BY number")?;
        let mut rows = runs.query([])?;
        while let Some(row) = rows.next()? {
            self.adopt_run(staging, row, &mut adopted)?;
        }
        self.adopt_tables(staging, &adopted)?;
        Ok(Ok(ids))
    }

    fn adopt_payloads(&self, staging: &Staging) -> rusqlite::Result<()> {
        let mut payloads = staging
            .connection
            .prepare("SELECT hash, kind, size, body FROM payload")?;
        let mut insert = self.transaction.prepare(
            "INSERT INTO payload (hash, kind, size, body) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO NOTHING",
        )?;
        let mut rows = payloads.query([])?;
        while let Some(row) = rows.next()? {
            let body: rusqlite::types::Value = row.get(3)?;
            insert.execute(params![
                row.get_ref(0)?.as_blob().unwrap_or_default(),
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
                body
            ])?;
        }
        Ok(())
    }

    fn adopt_run(
        &self,
        staging: &Staging,
        row: &Row<'_>,
        adopted: &mut Adopted,
    ) -> rusqlite::Result<()> {
        let number: i64 = row.get("number")?;
        let parent: Option<i64> = row.get("parent")?;
        let parent = parent.and_then(|parent| adopted.keys.get(&parent));
        let id: String = row.get("id")?;
        self.transaction
            .prepare_cached(
                "INSERT INTO run (id, agent, status, reason, created_ms, updated_ms, steps, \
                 finished_steps, started_seq, parent) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9)",
            )?
            .execute(params![
                id,
                row.get::<_, String>("agent")?,
                row.get::<_, i64>("status")?,
                row.get::<_, Option<String>>("reason")?,
                row.get::<_, i64>("created_ms")?,
                row.get::<_, i64>("updated_ms")?,
                row.get::<_, i64>("steps")?,
                row.get::<_, i64>("finished_steps")?,
                parent
            ])?;
        let key = self.transaction.last_insert_rowid();
        adopted.keys.insert(number, key);
        let (started, ended): (i64, Option<i64>) = (row.get("started")?, row.get("ended")?);
        let kept = [Some(started), ended];
        self.adopt_events(staging, number, key, adopted, &kept)?;
        let seq = |number: Option<i64>| number.and_then(|number| adopted.events.get(&number));
        self.transaction
            .prepare_cached(
                "UPDATE run SET started_seq = ?2, ended_seq = ?3, \
                 counted_seq = (SELECT max(seq) FROM event) WHERE key = ?1",
            )?
            .execute(params![key, seq(Some(started)), seq(ended)])?;
        let unended = [RunStatus::Running, RunStatus::Parked].map(status_code);
        match RunId::parse(&id) {
            Ok(id) if unended.contains(&row.get("status")?) => self.park_imported(key, &id),
            _ => Ok(()),
        }
    }

    fn adopt_events(
        &self,
        staging: &Staging,
        number: i64,
        key: i64,
        adopted: &mut Adopted,
        kept: &[Option<i64>],
    ) -> rusqlite::Result<()> {
        let mut events = staging.connection.prepare_cached(
            "SELECT kind, at_ms, path, effect, fingerprint, body, digest, event.number, \
             EXISTS (SELECT 1 FROM question WHERE asked = event.number) \
             FROM event WHERE run = ?1 ORDER BY event.number",
        )?;
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO event (run, kind, at_ms, path, effect, fingerprint, body, digest) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut rows = events.query([number])?;
        while let Some(row) = rows.next()? {
            let value = |column| row.get::<usize, rusqlite::types::Value>(column);
            let seq = insert.insert(params![
                key,
                value(0)?,
                value(1)?,
                value(2)?,
                value(3)?,
                value(4)?,
                value(5)?,
                value(6)?
            ])?;
            let number: i64 = row.get(7)?;
            if row.get(8)? || kept.contains(&Some(number)) {
                adopted.events.insert(number, seq);
            }
        }
        Ok(())
    }

    /// Parks a run that had not ended where it comes from. An answer, or the end of a child, lets it
    /// go on; nothing else but a person does.
    fn park_imported(&self, key: i64, id: &RunId) -> rusqlite::Result<()> {
        let body = Map::from_iter([("reason".to_string(), IMPORTED.into())]);
        let Ok((mut event, _)) = EventRow::new(Kind::RunParked, &body) else {
            return Ok(());
        };
        event.at_ms = self.now_ms;
        let seq = self.insert(key, &event, event.digest(id))?;
        self.transaction
            .prepare_cached(
                "UPDATE run SET status = ?2, reason = ?3, ended_seq = ?4, waiting = 1, \
                 updated_ms = max(updated_ms, ?5) WHERE key = ?1",
            )?
            .execute(params![
                key,
                status_code(RunStatus::Parked),
                IMPORTED,
                seq,
                event.at_ms
            ])?;
        Ok(())
    }

    /// The questions that are open, and how the budgets stand.
    fn adopt_tables(&self, staging: &Staging, adopted: &Adopted) -> rusqlite::Result<()> {
        let mut questions = staging
            .connection
            .prepare("SELECT run, path, asked, expires_ms FROM question")?;
        let mut rows = questions.query([])?;
        while let Some(row) = rows.next()? {
            self.transaction
                .prepare_cached(
                    "INSERT INTO question (run, path, asked_seq, expires_ms) \
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    adopted.keys.get(&row.get(0)?),
                    row.get::<_, String>(1)?,
                    adopted.events.get(&row.get(2)?),
                    row.get::<_, Option<i64>>(3)?
                ])?;
        }
        let mut budgets = staging
            .connection
            .prepare("SELECT run, dimension, most, spent, reserved FROM budget")?;
        let mut rows = budgets.query([])?;
        while let Some(row) = rows.next()? {
            let number = |column| row.get::<usize, i64>(column);
            self.transaction
                .prepare_cached(
                    "INSERT INTO budget (run, dimension, most, spent, reserved) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    adopted.keys.get(&number(0)?),
                    number(1)?,
                    number(2)?,
                    number(3)?,
                    number(4)?
                ])?;
        }
        Ok(())
    }
}
