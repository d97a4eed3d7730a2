//! The check of a whole journal: every event, every payload, and what is kept about them.
//!
//! Rows are read one after the other, so memory stays bounded; what is found in one does not stop the
//! check of the others. `story` looks at a single run.

mod story;

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use self::story::Ledger;
use super::{Reader, unpack};
use crate::journal::Finding;
use crate::lease::Holder;
use crate::payload::{self, Hash, NodeKind};
use crate::records::RunId;
use crate::store::event::status_code;
use crate::{Result, RunStatus};

/// Findings kept at most; a file in which everything is wrong has told enough with these.
const MOST_FINDINGS: usize = 10_000;
/// Rows between two words about progress.
const PROGRESS_ROWS: u64 = 256;
/// Rows looked at together.
const PAGE: i64 = 256;

/// A check under way.
struct Check<'a> {
    reader: &'a Reader<'a>,
    findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    more: u64,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    total: u64,
    /// What runs with a budget, and their descendants, have used by their events.
    ledgers: HashMap<i64, Ledger>,
}

impl Reader<'_> {
    /// Everything in the journal that is not as it must be.
    pub(crate) fn check(&self, mut progress: impl FnMut(u64, u64)) -> Result<Vec<Finding>> {
        let count = |table| {
            let sql = format!("SELECT count(*) FROM {table}");
            let counted = self.connection.query_row(&sql, [], |row| row.get(0));
            u64::try_from(counted.unwrap_or(0_i64)).unwrap_or_default()
        };
        let mut check = Check {
            reader: self,
            findings: Vec::new(),
            more: 0,
            progress: &mut progress,
            done: 0,
            total: count("event") + count("payload"),
            ledgers: HashMap::new(),
        };
        (check.progress)(0, check.total);
        check.part("the file", Check::file);
        check.part("the list of runs", Check::runs);
        check.part("the budgets", Check::budgets);
        check.part("the payloads", Check::payloads);
        check.part("the leases", Check::leases);
        check.part("rows of runs that are not there", Check::strays);
        (check.progress)(check.total, check.total);
        if check.more > 0 {
            let what = format!("{} findings more are not listed", check.more);
            check.findings.push(Finding {
                run: None,
                place: "the file".to_string(),
                what,
                harmless: false,
            });
        }
        Ok(check.findings)
    }
}

impl Check<'_> {
    fn find(&mut self, run: Option<&RunId>, place: impl Into<String>, what: impl Into<String>) {
        if self.findings.len() >= MOST_FINDINGS {
            self.more += 1;
            return;
        }
        self.findings.push(Finding {
            run: run.cloned(),
            place: place.into(),
            what: what.into(),
            harmless: false,
        });
    }

    /// Notes a lease whose holder will not work on.
    fn note_left(&mut self, run: &RunId, what: String) {
        self.find(Some(run), "its lease", what);
        if let Some(finding) = self.findings.last_mut() {
            finding.harmless = true;
        }
    }

    /// A part of the check. Where SQLite cannot read on, the other parts still can.
    fn part(&mut self, place: &str, check: impl FnOnce(&mut Self) -> rusqlite::Result<()>) {
        if let Err(error) = check(self) {
            self.find(None, place, format!("it cannot be read: {error}"));
        }
    }

    /// A row has been looked at.
    fn tick(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(PROGRESS_ROWS) {
            (self.progress)(self.done.min(self.total), self.total);
        }
    }

    fn file(&mut self) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let what: String = row.get(0)?;
            if what != "ok" {
                self.find(None, "the file", format!("SQLite finds: {what}"));
            }
        }
        Ok(())
    }

    fn runs(&mut self) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let mut statement =
            connection.prepare("SELECT key FROM run WHERE key > ?1 ORDER BY key LIMIT ?2")?;
        let mut last = i64::MIN;
        loop {
            let page: Vec<i64> = statement
                .query_map(params![last, PAGE], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let Some(key) = page.last() else {
                return Ok(());
            };
            last = *key;
            for key in page {
                self.part(&format!("run number {key}"), |check| check.run(key));
            }
        }
    }

    /// Whether everything that a text refers to is there; says what is not.
    fn dangling(&self, kind: NodeKind, text: &str) -> rusqlite::Result<Option<String>> {
        if kind == NodeKind::Value && !payload::has_references(text) {
            return Ok(None);
        }
        let links = match payload::links(kind, text) {
            Ok(links) => links,
            Err(what) => return Ok(Some(what)),
        };
        let sql = "SELECT 1 FROM payload WHERE hash = ?1";
        let mut statement = self.reader.connection.prepare_cached(sql)?;
        for (hash, _) in links.hashes {
            if !statement.exists([hash])? {
                let what = format!("it refers to payload {}, which is missing", name(&hash));
                return Ok(Some(what));
            }
        }
        Ok(None)
    }

    fn payloads(&mut self) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let mut statement = connection
            .prepare("SELECT kind, size, body, hash, rowid FROM payload ORDER BY rowid")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.tick();
            let Ok(hash) = row.get::<_, Hash>(3) else {
                let place = format!("payload in row {}", row.get::<_, i64>(4)?);
                self.find(None, place, "its hash is not one");
                continue;
            };
            let what = match unpack(row) {
                Err(what) => Some(format!("it cannot be read: {what}")),
                Ok((kind, text)) if payload::hash_of(kind, &text) != hash => {
                    Some("it is not what was written (its hash differs)".to_string())
                }
                Ok((kind, text)) => match std::str::from_utf8(&text) {
                    Ok(text) => self.dangling(kind, text)?,
                    Err(_) => Some("it is not UTF-8".to_string()),
                },
            };
            if let Some(what) = what {
                self.find(None, format!("payload {}", name(&hash)), what);
            }
        }
        Ok(())
    }

    fn leases(&mut self) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let mut statement = connection.prepare(
            "SELECT run.id, run.status, lease.machine, lease.pid, lease.born, lease.expires_ms \
             FROM lease JOIN run ON run.key = lease.run ORDER BY run.key",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Ok(id) = RunId::parse(&row.get::<_, String>(0)?) else {
                continue;
            };
            let holder = Holder {
                machine: row.get(2)?,
                pid: row.get(3)?,
                born: row.get(4)?,
            };
            let who = holder.describe(self.reader.holder);
            if row.get::<_, i64>(1)? != status_code(RunStatus::Running) {
                let what = format!("{who} holds it, and it is not running");
                self.find(Some(&id), "its lease", what);
            } else if holder.is_dead(self.reader.holder) {
                let what = format!("{who} held it and is dead; the run can be resumed");
                self.note_left(&id, what);
            } else if row.get::<_, i64>(5)? <= self.reader.now_ms {
                let what = format!("{who} holds it and has not renewed it; the run can be resumed");
                self.note_left(&id, what);
            }
        }
        Ok(())
    }

    /// Rows that belong to no run, and forks of what is not there.
    fn strays(&mut self) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        for table in ["event", "question", "budget", "lease", "pin"] {
            let sql = format!(
                "SELECT count(*) FROM {table} \
                 WHERE NOT EXISTS (SELECT 1 FROM run WHERE run.key = {table}.run)"
            );
            let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
            if count > 0 {
                let what = format!("{count} of its rows belong to no run");
                self.find(None, format!("table {table}"), what);
            }
        }
        let mut statement = connection.prepare(
            "SELECT id FROM run WHERE (forked_from IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM event WHERE seq = forked_seq AND event.run = forked_from)) \
             OR (parent IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM run parent WHERE parent.key = run.parent))",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = RunId::parse(&row.get::<_, String>(0)?).ok();
            let what = "the run that it was forked from, or its parent, is missing";
            self.find(id.as_ref(), "its row", what);
        }
        Ok(())
    }

    fn budgets(&mut self) -> rusqlite::Result<()> {
        let connection = self.reader.connection;
        let mut statement = connection.prepare(
            "SELECT run.id, dimension, most, spent, reserved FROM budget \
             JOIN run ON run.key = budget.run WHERE budget.run = ?1 AND dimension = ?2",
        )?;
        let ledgers = std::mem::take(&mut self.ledgers);
        let mut keys: Vec<&i64> = ledgers.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(ledger) = ledgers.get(key) else {
                continue;
            };
            for row in ledger.rows() {
                let found = statement
                    .query_row(params![key, row.number], |found| {
                        Ok([found.get(2)?, found.get(3)?, found.get(4)?])
                    })
                    .optional()?;
                if let Some(what) = row.differs(found) {
                    let place = format!("its budget of {}", row.dimension);
                    self.find(Some(&ledger.id), place, what);
                }
            }
        }
        Ok(())
    }
}

fn name(hash: &Hash) -> String {
    payload::hex(hash)
}
