//! Rows of runs and events, checked.

use rusqlite::Row;
use serde_json::Value;

use super::super::event::{EventRow, Kind, effect_from_code, status_from_code};
use crate::records::{RunId, RunRecord, RunStatus};
use crate::{Error, Result};

/// A run's row, and the numbers of its first and last event.
pub(super) type RunRow = (RunRecord, i64, Option<i64>);

pub(super) const RUN_COLUMNS: &str = "SELECT key, id, agent, status, reason, created_ms, updated_ms, steps, \
                           finished_steps, started_seq, ended_seq, ready_ms, \
                           (SELECT parent.id FROM run parent WHERE parent.key = run.parent) AS parent_id \
                           FROM run";

/// A run's row, and the numbers of its first and last event.
pub(super) fn run_columns(row: &Row<'_>) -> rusqlite::Result<Result<RunRow>> {
    let id: String = row.get("id")?;
    let Some(status) = status_from_code(row.get("status")?) else {
        let what = "its status is unknown".to_string();
        return Ok(Err(Error::Damaged {
            run: id,
            place: "its row".to_string(),
            what,
        }));
    };
    let id = match RunId::parse(&id) {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    let count = |column| {
        row.get::<_, i64>(column)
            .map(|count| count.try_into().unwrap_or_default())
    };
    let record = RunRecord {
        id,
        agent: row.get("agent")?,
        definition: String::new(),
        input: Value::Null,
        status,
        reason: row.get("reason")?,
        output: None,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
        steps: count("steps")?,
        finished_steps: count("finished_steps")?,
        held_by: None,
        ready_ms: row.get("ready_ms")?,
        parent: row
            .get::<_, Option<String>>("parent_id")?
            .and_then(|id| RunId::parse(&id).ok()),
        forked_from: None,
        damage: None,
    };
    Ok(Ok((record, row.get("started_seq")?, row.get("ended_seq")?)))
}

/// What can be said of a run whose row cannot be read.
pub(super) fn unreadable(row: &Row<'_>, key: i64, what: &str) -> RunRecord {
    let text = |column| row.get::<_, String>(column).unwrap_or_default();
    RunRecord {
        id: RunId::parse(&text("id")).unwrap_or_else(|_| RunId::of_number(key)),
        agent: text("agent"),
        definition: String::new(),
        input: Value::Null,
        status: RunStatus::Failed,
        reason: None,
        output: None,
        created_ms: 0,
        updated_ms: 0,
        steps: 0,
        finished_steps: 0,
        held_by: None,
        ready_ms: None,
        parent: None,
        forked_from: None,
        damage: Some(what.to_string()),
    }
}

pub(super) const EVENT_COLUMNS: &str =
    "SELECT kind, at_ms, path, effect, fingerprint, body, digest, seq FROM event";

/// An event's row as it stands, and its digest.
pub(super) fn event_fields(row: &Row<'_>) -> rusqlite::Result<(EventRow, i64)> {
    // By number: looking columns up by name takes longer than reading them.
    let kind: i64 = row.get(0)?;
    let effect: Option<i64> = row.get(3)?;
    let event = EventRow {
        kind: Kind::from_code(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, kind))?,
        at_ms: row.get(1)?,
        path: row.get(2)?,
        effect: effect.and_then(effect_from_code),
        fingerprint: row.get(4)?,
        body: row.get(5)?,
    };
    Ok((event, row.get(6)?))
}

/// An event's row, checked.
pub(super) fn event_columns(row: &Row<'_>, id: &RunId) -> Result<EventRow> {
    let damaged = |what: String| {
        let path: Option<String> = row.get(2).unwrap_or_default();
        let place = path.map_or("an event of the run".to_string(), |path| {
            format!("step {path}")
        });
        let run = id.to_string();
        Error::Damaged { run, place, what }
    };
    // Columns of the wrong type are damage of this row, not a failure of the database.
    let (event, digest) = event_fields(row).map_err(|error| damaged(error.to_string()))?;
    if !event.is_as_in(digest, id) {
        return Err(damaged(
            "the event is not what was written (its digest differs)".to_string(),
        ));
    }
    Ok(event)
}
