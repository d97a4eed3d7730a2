//! The check of one run: its events, and what the tables say of it.

use rusqlite::{Row, params};

use super::super::at;
use super::super::row::{EVENT_COLUMNS, event_fields};
use super::Check;
use crate::budget::{Amounts, Budget, Dimension};
use crate::payload::NodeKind;
use crate::records::{RunId, RunStatus};
use crate::store::blocks::{IN_BLOCK, Uncounted, blocks, uncounted};
use crate::store::chronicle::Chronicle;
use crate::store::event::{EventRow, Kind, status_from_code};

/// How far in the future an event may be dated: clocks differ, and are set.
const FUTURE_MS: i64 = 24 * 60 * 60 * 1000;

/// What a run's row says.
struct RunRow {
    id: RunId,
    status: RunStatus,
    reason: Option<String>,
    created_ms: i64,
    steps: i64,
    finished_steps: i64,
    started_seq: i64,
    ended_seq: Option<i64>,
    agent: String,
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<Result<RunRow, String>> {
    let id: String = row.get("id")?;
    let Ok(id) = RunId::parse(&id) else {
        return Ok(Err("its id is not one".to_string()));
    };
    let Some(status) = status_from_code(row.get("status")?) else {
        return Ok(Err(format!("the status of run {id} is unknown")));
    };
    Ok(Ok(RunRow {
        id,
        status,
        reason: row.get("reason")?,
        created_ms: row.get("created_ms")?,
        steps: row.get("steps")?,
        finished_steps: row.get("finished_steps")?,
        started_seq: row.get("started_seq")?,
        ended_seq: row.get("ended_seq")?,
        agent: row.get("agent")?,
    }))
}

/// What the events of a run say of its budget.
pub(super) struct Ledger {
    pub(super) id: RunId,
    budget: Budget,
    raised: Amounts,
    spent: Amounts,
    reserved: Amounts,
}

/// One limit of it.
pub(super) struct LedgerRow {
    pub(super) dimension: Dimension,
    /// The dimension's number in the database.
    pub(super) number: i64,
    /// The limit, what is spent and what is set aside; none: there is no limit.
    expected: Option<[i64; 3]>,
}

impl Ledger {
    pub(super) fn rows(&self) -> impl Iterator<Item = LedgerRow> {
        (0..).zip(Dimension::ALL).map(|(number, dimension)| {
            let of = |amounts: &Amounts| {
                let mut pairs = Dimension::ALL.iter().zip(amounts.0);
                pairs.find(|(known, _)| **known == dimension)
            };
            let amount = |amounts: &Amounts| of(amounts).map_or(0, |(_, amount)| amount);
            let expected = self.budget.most(dimension).map(|most| {
                let most = i64::try_from(most).unwrap_or(i64::MAX);
                let most = most.max(amount(&self.raised));
                [most, amount(&self.spent), amount(&self.reserved)]
            });
            LedgerRow {
                dimension,
                number,
                expected,
            }
        })
    }
}

impl LedgerRow {
    /// How the row in the table differs from what the events say.
    pub(super) fn differs(&self, found: Option<[i64; 3]>) -> Option<String> {
        let (expected, found) = match (self.expected, found) {
            (None, None) => return None,
            (Some(_), None) => return Some("its row is missing".to_string()),
            (None, Some(_)) => return Some("there is a row, and no such limit".to_string()),
            (Some(expected), Some(found)) => (expected, found),
        };
        // Time is counted from when a run is taken up; that is not in its events.
        let counted = match self.dimension {
            Dimension::Time => 1,
            Dimension::Money | Dimension::Tokens | Dimension::Steps => 3,
        };
        ["limit", "amount spent", "amount set aside"]
            .into_iter()
            .zip(expected.into_iter().zip(found))
            .take(counted)
            .find(|(_, (expected, found))| expected != found)
            .map(|(what, (expected, found))| {
                format!("its {what} is {found}, by the events it is {expected}")
            })
    }
}

impl Check<'_> {
    pub(super) fn run(&mut self, key: i64) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let row = connection
            .prepare_cached("SELECT * FROM run WHERE key = ?1")?
            .query_row([key], run_row)?;
        let mut row = match row {
            Ok(row) => row,
            Err(what) => {
                self.find(None, format!("run number {key}"), what);
                return Ok(());
            }
        };
        let (chronicle, last) = self.events(key, &row.id)?;
        let more = match row.status {
            RunStatus::Running => uncounted(connection, key)?,
            // Whatever ends a run counts it up.
            RunStatus::Parked | RunStatus::Finished | RunStatus::Failed | RunStatus::Cancelled => {
                Uncounted::default()
            }
        };
        row.steps += more.begun;
        row.finished_steps += more.ended;
        self.compare(&row, &chronicle);
        self.compare_texts(&row, last.as_ref());
        self.questions(key, &row.id, &chronicle)?;
        self.enter(key, &row, &chronicle);
        Ok(())
    }

    /// Reads the events of a run; gives what they add up to, and the one that ended or parked it.
    fn events(&mut self, key: i64, id: &RunId) -> rusqlite::Result<(Chronicle, Option<EventRow>)> {
        let connection = self.reader.connection;
        let mut chronicle = Chronicle::default();
        let (mut ended, mut late) = (None, 0_u64);
        let sql = format!("{EVENT_COLUMNS} WHERE {IN_BLOCK} ORDER BY seq");
        let mut statement = connection.prepare_cached(&sql)?;
        for block in blocks(connection, key)? {
            let mut rows = statement.query([block, key])?;
            while let Some(row) = rows.next()? {
                late += u64::from(self.event(id, row, &mut chronicle, &mut ended)?);
            }
        }
        if late > 0 {
            let what = format!(
                "{late} events are dated more than a day in the future: a clock was set wrongly"
            );
            self.find(Some(id), "its times", what);
        }
        Ok((chronicle, ended))
    }

    /// Looks at an event of a run; gives whether it is dated in the future.
    fn event(
        &mut self,
        id: &RunId,
        row: &Row<'_>,
        chronicle: &mut Chronicle,
        ended: &mut Option<EventRow>,
    ) -> rusqlite::Result<bool> {
        self.tick();
        let seq: i64 = row.get("seq")?;
        let (event, digest) = match event_fields(row) {
            Ok(fields) => fields,
            Err(error) => {
                self.find(Some(id), format!("event {seq}"), error.to_string());
                return Ok(false);
            }
        };
        let place = match &event.path {
            Some(path) => format!("step {path}, event {seq}"),
            None => format!("event {seq}"),
        };
        if !event.is_as_in(digest, id) {
            let what = "the event is not what was written (its digest differs)";
            self.find(Some(id), place.as_str(), what);
        }
        if let Some(what) = self.dangling(NodeKind::Value, &event.body)? {
            self.find(Some(id), place.as_str(), what);
        }
        if let Some(what) = chronicle.add(seq, &event) {
            self.find(Some(id), place, what);
        }
        let is_late = event.at_ms > self.reader.now_ms.saturating_add(FUTURE_MS);
        if event.kind.ending().is_some() {
            *ended = Some(event);
        }
        Ok(is_late)
    }

    /// The run's row against its events.
    fn compare(&mut self, row: &RunRow, chronicle: &Chronicle) {
        let number = |number: i64| number.to_string();
        let event = |seq: Option<i64>| seq.map_or("none".to_string(), |seq| seq.to_string());
        let status = |status: RunStatus| status.as_str().to_string();
        let pairs = [
            ("status", status(row.status), status(chronicle.status)),
            ("steps", number(row.steps), number(chronicle.begun)),
            (
                "finished_steps",
                number(row.finished_steps),
                number(chronicle.ended),
            ),
            (
                "started_seq",
                event(Some(row.started_seq)),
                event(chronicle.started_seq),
            ),
            (
                "ended_seq",
                event(row.ended_seq),
                event(chronicle.ended_seq),
            ),
            (
                "created_ms",
                number(row.created_ms),
                number(chronicle.created_ms),
            ),
        ];
        for (field, found, expected) in pairs {
            if found != expected {
                let what = format!("its {field} is {found}, by its events it is {expected}");
                self.find(Some(&row.id), "its row", what);
            }
        }
    }

    /// The agent and the reason in a run's row against its first and last event.
    fn compare_texts(&mut self, row: &RunRow, last: Option<&EventRow>) {
        let field = |event: &EventRow, field: &str| {
            let value = self.reader.field(&row.id, "its row", &event.body, field);
            value.ok().flatten()
        };
        let reason = match last.filter(|_| row.status != RunStatus::Running) {
            Some(event) if event.kind == Kind::RunFailed => field(event, "error"),
            Some(event) => field(event, "reason"),
            None => None,
        };
        let start = self.reader.event(&row.id, row.started_seq, "its start");
        let agent = start.ok().and_then(|event| field(&event, "agent"));
        // What cannot be read has been found already.
        let wrong_reason = reason.is_some_and(|reason| reason.as_str() != row.reason.as_deref());
        let wrong_agent = agent.is_some_and(|agent| agent.as_str() != Some(&*row.agent));
        for (wrong, what) in [(wrong_reason, "reason"), (wrong_agent, "agent")] {
            if wrong {
                let what = format!("its {what} is not that of its events");
                self.find(Some(&row.id), "its row", what);
            }
        }
    }

    fn questions(&mut self, key: i64, id: &RunId, chronicle: &Chronicle) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let mut found: Vec<(i64, String)> = connection
            .prepare_cached("SELECT asked_seq, path FROM question WHERE run = ?1")?
            .query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let asked = chronicle.open_questions();
        for asked in asked {
            let before = found.len();
            found.retain(|(seq, path)| (*seq, path) != (asked.seq, &asked.path));
            if found.len() == before {
                let what = "the question is open and not on the list of open questions";
                self.find(Some(id), format!("step {}", asked.path), what);
            }
        }
        for (_, path) in found {
            let what = "it is on the list of open questions and is not one";
            self.find(Some(id), format!("step {path}"), what);
        }
        Ok(())
    }

    /// Enters what a run has used in the ledgers of itself and its ancestors.
    fn enter(&mut self, key: i64, row: &RunRow, chronicle: &Chronicle) {
        let id = &row.id;
        let has_rows = self.reader.spending(key).is_ok_and(|rows| !rows.is_empty());
        // A start that cannot be read has been found already.
        let budget = self.reader.start_field(key, id, "budget");
        if let Ok(budget) = budget
            && (budget.is_some() || has_rows)
        {
            let ledger = Ledger {
                id: id.clone(),
                budget: serde_json::from_value(budget.unwrap_or_default()).unwrap_or_default(),
                raised: chronicle.raised,
                spent: Amounts::default(),
                reserved: Amounts::default(),
            };
            self.ledgers.insert(key, ledger);
        }
        if self.ledgers.is_empty() {
            return;
        }
        // A parent is begun before its children, so their ledgers are known by now.
        let line = "WITH RECURSIVE line(key) AS (SELECT ?1 UNION \
                    SELECT run.parent FROM run JOIN line ON run.key = line.key \
                    WHERE run.parent IS NOT NULL) SELECT key FROM line";
        let line: rusqlite::Result<Vec<i64>> = self
            .reader
            .connection
            .prepare_cached(line)
            .and_then(|mut statement| {
                statement
                    .query_map(params![key], |row| row.get(0))?
                    .collect()
            });
        let reserved = chronicle.reserved();
        match line.map_err(at) {
            Ok(line) => {
                for key in line {
                    if let Some(ledger) = self.ledgers.get_mut(&key) {
                        ledger.spent = ledger.spent.plus(chronicle.spent);
                        ledger.reserved = ledger.reserved.plus(reserved);
                    }
                }
            }
            Err(error) => self.find(Some(id), "its ancestors", error.to_string()),
        }
    }
}
