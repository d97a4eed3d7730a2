//! Caring for a journal: deleting what is old, and looking for damage.

use rusqlite::params;
use serde::Serialize;

use super::Journal;
use crate::records::RunId;
use crate::{Error, Result};

/// What a collection has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Runs that are gone.
    pub runs: u64,
    /// Runs that were old enough to go and are kept, because something points at them.
    pub kept: u64,
    /// Payloads that are gone.
    pub payloads: u64,
    /// Bytes that events and payloads which are gone took, compressed as they were.
    pub bytes: u64,
}

/// Something in a journal that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The run concerned, if it is one in particular.
    pub run: Option<RunId>,
    /// Where: a step, an event, a payload, a table.
    pub place: String,
    /// What does not hold.
    pub what: String,
    /// Whether nothing is damaged: a process died, and its run can be resumed.
    pub harmless: bool,
}

impl Journal {
    /// Deletes runs that have finished, failed or been cancelled and about which nothing was written
    /// since a time, in milliseconds since 1970 (UTC); then the payloads that no other run refers to.
    ///
    /// Kept are, however old: runs with a [pin](Journal::pin), runs that a kept run is a fork of or may
    /// take answers from, the children and the parents of kept runs, and of course all that has not
    /// ended. A family goes together or not at all.
    ///
    /// All of it is one transaction: it reads what is kept once, and other writers wait meanwhile.
    /// Afterwards the write-ahead log is emptied, and when at least a quarter of the file and 1 MiB is
    /// free and no process works on a run, the file is rewritten without the free room; else SQLite
    /// fills that room before the file grows again. Where that is not possible, a warning is logged.
    ///
    /// Errors: [`Error::NotCollected`] when a payload in use cannot be read; nothing is deleted then.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Journal, NewRun};
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("greeter", "Ada".into())).await?;
    /// run.finish(&"Hello, Ada".into()).await?;
    /// journal.pin(run.id().as_str(), "shown in the report").await?;
    /// assert_eq!(journal.collect(i64::MAX).await?.kept, 1);
    /// journal.unpin(run.id().as_str(), "shown in the report").await?;
    /// assert_eq!(journal.collect(i64::MAX).await?.runs, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn collect(&self, older_than_ms: i64) -> Result<Collected> {
        let collected = self
            .store
            .write(move |ground| {
                let collected = ground.collect(older_than_ms)?;
                Ok(collected.map(|collected| (collected, Vec::new())))
            })
            .await?;
        self.store.shrink().await?;
        Ok(collected)
    }

    /// Keeps a run, by its id or a prefix, from being collected, for a reason. A run may be kept for
    /// several reasons; each of them has to go before it may.
    pub async fn pin(&self, run: &str, reason: &str) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO pin (run, reason) SELECT key, ?2 FROM run WHERE id = ?1";
        self.change_pin(run, reason, sql).await
    }

    /// Takes back a reason for keeping a run; one that there was not is no error.
    pub async fn unpin(&self, run: &str, reason: &str) -> Result<()> {
        let sql = "DELETE FROM pin WHERE run = (SELECT key FROM run WHERE id = ?1) AND reason = ?2";
        self.change_pin(run, reason, sql).await
    }

    async fn change_pin(&self, run: &str, reason: &str, sql: &'static str) -> Result<()> {
        let asked = run.to_string();
        let id = self
            .store
            .read(move |reader| reader.find(&asked).map(|(_, id)| id))
            .await?;
        let reason = self.secrets.text(reason);
        self.store
            .write(move |ground| {
                // It may have been collected since it was looked for.
                let is_there = ground
                    .transaction
                    .prepare_cached("SELECT 1 FROM run WHERE id = ?1")?
                    .exists([id.as_str()])?;
                if !is_there {
                    return Ok(Err(Error::NotFound { id: id.to_string() }));
                }
                ground
                    .transaction
                    .prepare_cached(sql)?
                    .execute(params![id.as_str(), reason])?;
                Ok(Ok(((), Vec::new())))
            })
            .await
    }

    /// Looks at everything in the journal and tells what is not as it must be: the file itself, each
    /// event against its digest and its place among the others, each payload against its hash,
    /// references that lead nowhere, the tables that are kept of the events (statuses, counts, open
    /// questions, budgets but for the time used), leases of processes that are gone, and times in the
    /// future. Damage in one place does not keep the others from being looked at.
    ///
    /// `progress` is called now and then with how many rows are done, and of how many.
    ///
    /// What it cannot see: an event that was deleted and whose absence leaves a history that could have
    /// been, such as that of an attempt that failed.
    ///
    /// The check sees the journal as it is when it begins. Runs may go on meanwhile, but what they
    /// write stays in the write-ahead log until it is done.
    pub async fn check(
        &self,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<Vec<Finding>> {
        self.store.read(move |reader| reader.check(progress)).await
    }
}
