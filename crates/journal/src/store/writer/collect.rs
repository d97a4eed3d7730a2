//! Collecting: old runs that nothing points at, and payloads that nothing refers to.
//!
//! What is marked stands in temporary tables of SQLite, so that memory stays bounded however large
//! the journal is.

use rusqlite::params;

use super::super::blocks::bytes_of;
use super::super::event::status_code;
use super::super::read::{Reader, unpack};
use super::{Ground, delete_run};
use crate::journal::Collected;
use crate::payload::{self, Hash};
use crate::records::{RunId, RunStatus};
use crate::{Error, Result};

/// Rows looked at together.
const PAGE: i64 = 256;

const BEGIN: &str = "
    DROP TABLE IF EXISTS temp.keep;
    DROP TABLE IF EXISTS temp.reuse;
    DROP TABLE IF EXISTS temp.mark;
    CREATE TEMP TABLE keep (run INTEGER PRIMARY KEY, round INTEGER NOT NULL);
    CREATE TEMP TABLE reuse (run INTEGER PRIMARY KEY, source INTEGER NOT NULL);
    CREATE TEMP TABLE mark (number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE);";
const END: &str = "DROP TABLE temp.keep; DROP TABLE temp.reuse; DROP TABLE temp.mark;";

/// What a kept run keeps: its parent, its children, the run whose steps it shares, and the one whose
/// answers it may reuse.
const NEXT_ROUND: &str = "
    INSERT OR IGNORE INTO temp.keep (run, round)
    SELECT run.parent, ?1 + 1 FROM temp.keep JOIN run ON run.key = keep.run
        WHERE keep.round = ?1 AND run.parent IS NOT NULL
    UNION SELECT run.key, ?1 + 1 FROM temp.keep JOIN run ON run.parent = keep.run
        WHERE keep.round = ?1
    UNION SELECT run.forked_from, ?1 + 1 FROM temp.keep JOIN run ON run.key = keep.run
        WHERE keep.round = ?1 AND run.forked_from IS NOT NULL
    UNION SELECT reuse.source, ?1 + 1 FROM temp.keep JOIN temp.reuse ON reuse.run = keep.run
        WHERE keep.round = ?1";

impl Ground<'_> {
    /// Deletes runs that ended before a time and that nothing points at, and payloads that nothing
    /// refers to any more.
    pub(crate) fn collect(&self, older_than_ms: i64) -> rusqlite::Result<Result<Collected>> {
        self.transaction.execute_batch(BEGIN)?;
        self.note_reuse()?;
        let kept = self.keep_runs(older_than_ms)?;
        let mut collected = Collected {
            kept,
            ..Collected::default()
        };
        // Looked at first: a refusal must have changed nothing.
        if let Err(refusal) = self.mark_payloads()? {
            self.transaction.execute_batch(END)?;
            return Ok(Err(refusal));
        }
        self.delete_runs(&mut collected)?;
        self.sweep(&mut collected)?;
        self.transaction.execute(
            "UPDATE meta SET value = value + 1 WHERE name = 'collections'",
            [],
        )?;
        self.transaction.execute_batch(END)?;
        Ok(Ok(collected))
    }

    /// Notes which runs may be answered from which others: that stands in the start of a fork.
    fn note_reuse(&self) -> rusqlite::Result<()> {
        let reader = Reader {
            connection: self.transaction,
            holder: self.holder,
            now_ms: self.now_ms,
        };
        let mut forks = self.transaction.prepare(
            "SELECT run.key, run.id FROM run JOIN event ON event.seq = run.started_seq \
             WHERE run.key > ?1 AND instr(event.body, '\"fork\"') > 0 ORDER BY run.key LIMIT ?2",
        )?;
        let mut insert = self.transaction.prepare(
            "INSERT OR IGNORE INTO temp.reuse (run, source) SELECT ?1, key FROM run WHERE id = ?2",
        )?;
        let mut last = i64::MIN;
        loop {
            let page: Vec<(i64, String)> = forks
                .query_map(params![last, PAGE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let Some((key, _)) = page.last() else {
                return Ok(());
            };
            last = *key;
            for (key, id) in page {
                let Ok(id) = RunId::parse(&id) else { continue };
                match reader.start_field(key, &id, "fork") {
                    Ok(fork) => {
                        let source = fork.as_ref().and_then(|fork| fork.get("run")?.as_str());
                        insert.execute(params![key, source])?;
                    }
                    Err(error) => tracing::warn!(run = %id, %error, "what it reuses is not known"),
                }
            }
        }
    }

    /// Notes which runs are kept; gives how many of them are old enough to go.
    fn keep_runs(&self, older_than_ms: i64) -> rusqlite::Result<u64> {
        let [finished, failed, cancelled] =
            [RunStatus::Finished, RunStatus::Failed, RunStatus::Cancelled].map(status_code);
        let ended = [finished, failed, cancelled, older_than_ms];
        self.transaction.execute(
            "INSERT INTO temp.keep (run, round) SELECT key, 0 FROM run \
             WHERE status NOT IN (?1, ?2, ?3) OR updated_ms >= ?4 \
             OR EXISTS (SELECT 1 FROM pin WHERE pin.run = run.key)",
            ended,
        )?;
        let mut next = self.transaction.prepare(NEXT_ROUND)?;
        let mut round = 0;
        while next.execute([round])? > 0 {
            round += 1;
        }
        let kept: i64 = self.transaction.query_row(
            "SELECT count(*) FROM run JOIN temp.keep ON keep.run = run.key \
             WHERE status IN (?1, ?2, ?3) AND updated_ms < ?4",
            ended,
            |row| row.get(0),
        )?;
        Ok(u64::try_from(kept).unwrap_or_default())
    }

    /// Marks what the events of kept runs refer to, and what that refers to in its turn.
    fn mark_payloads(&self) -> rusqlite::Result<Result<()>> {
        let mut insert = self
            .transaction
            .prepare("INSERT OR IGNORE INTO temp.mark (hash) VALUES (?1)")?;
        let mut mark = |hash: &Hash| insert.execute([hash]).map(|_| ());
        let mut events = self.transaction.prepare(
            "SELECT CAST(body AS BLOB) FROM event \
             WHERE run IN (SELECT run FROM temp.keep) AND instr(body, '$plumb') > 0",
        )?;
        let mut rows = events.query([])?;
        while let Some(row) = rows.next()? {
            payload::each_hash(row.get_ref(0)?.as_blob().unwrap_or_default(), &mut mark)?;
        }
        // What has been marked is looked at in the order in which it was, and marks more behind it.
        let mut payloads = self.transaction.prepare(
            "SELECT payload.kind, payload.size, payload.body, mark.number, mark.hash \
             FROM temp.mark JOIN payload ON payload.hash = mark.hash \
             WHERE mark.number > ?1 ORDER BY mark.number LIMIT 1",
        )?;
        let mut last = 0;
        loop {
            let mut rows = payloads.query([last])?;
            let Some(row) = rows.next()? else {
                return Ok(Ok(()));
            };
            last = row.get(3)?;
            let hash: Hash = row.get(4)?;
            match unpack(row) {
                Ok((_, text)) => payload::each_hash(&text, &mut mark)?,
                Err(what) => {
                    let name = payload::hex(&hash);
                    let what = format!(
                        "payload {name} cannot be read ({what}), so what it refers to is not known"
                    );
                    return Ok(Err(Error::NotCollected { what }));
                }
            }
        }
    }

    fn delete_runs(&self, collected: &mut Collected) -> rusqlite::Result<()> {
        let mut gone = self.transaction.prepare(
            "SELECT key FROM run \
             WHERE NOT EXISTS (SELECT 1 FROM temp.keep WHERE keep.run = run.key) LIMIT ?1",
        )?;
        loop {
            let page: Vec<i64> = gone
                .query_map([PAGE], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            if page.is_empty() {
                return Ok(());
            }
            for key in page {
                collected.bytes += whole(bytes_of(self.transaction, key)?);
                delete_run(self.transaction, key)?;
                collected.runs += 1;
            }
        }
    }

    fn sweep(&self, collected: &mut Collected) -> rusqlite::Result<()> {
        let unmarked = "NOT EXISTS (SELECT 1 FROM temp.mark WHERE mark.hash = payload.hash)";
        let sum = format!("SELECT total(octet_length(body)) FROM payload WHERE {unmarked}");
        let bytes = self.transaction.query_row(&sum, [], |row| row.get(0))?;
        collected.bytes += whole(bytes);
        let delete = format!("DELETE FROM payload WHERE {unmarked}");
        let deleted = self.transaction.execute(&delete, [])?;
        collected.payloads = u64::try_from(deleted).unwrap_or_default();
        Ok(())
    }
}

/// A sum of sizes, which SQLite gives as a real number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are not negative, and far below 2^53"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}
