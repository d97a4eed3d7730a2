//! Waiting: for a time, for an answer, for a child. A run that only waits can leave memory.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Run;
use super::perform::{Again, Answer, Asked};
use super::writing::Beginning;
use crate::budget::Cost;
use crate::records::{Effect, StepKind};
use crate::step::StepContext;
use crate::store::{QuestionChange, Wait};
use crate::{Error, Result};

/// How often to look whether another process has done what is waited for, in milliseconds. What this
/// process does is told at once.
const LOOK_AGAIN_MS: i64 = 500;

impl Run {
    /// Waits until a time, in milliseconds since 1970 (UTC); a time that has passed is over at once.
    /// The run leaves memory meanwhile, if nothing else goes on in it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("reminder", ().into())).await?;
    /// let now_ms = run.now_ms().await?;
    /// run.sleep_until(now_ms + 5).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sleep_until(&self, at_ms: i64) -> Result<()> {
        let asked = self.address(
            "sleep",
            StepKind::Timer,
            Effect::Read,
            &json!({"until_ms": at_ms}),
        )?;
        self.sleep_as(&asked, |_| at_ms).await
    }

    /// Waits for so long, from when the run first came here.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// # let journal = journal::Journal::in_memory()?;
    /// # let run = journal.start(journal::NewRun::new("example", "Ada".into())).await?;
    /// run.sleep(std::time::Duration::from_millis(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        let for_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let asked = self.address(
            "sleep",
            StepKind::Timer,
            Effect::Read,
            &json!({"for_ms": for_ms}),
        )?;
        self.sleep_as(&asked, |started_ms| started_ms.saturating_add(for_ms))
            .await
    }

    async fn sleep_as(&self, asked: &Asked, until: impl FnOnce(i64) -> i64) -> Result<()> {
        let busy = self.shared.activity.busy();
        let again = match self.recall(asked).await? {
            Answer::Result(_) => return Ok(()),
            Answer::Again(again) => again,
        };
        let started_ms = self.begin_waiting(asked, again, None).await?;
        let at_ms = until(started_ms);
        if self.shared.store.clock().now_ms() < at_ms {
            let reason = format!("{} waits for its time", asked.path);
            let _waiting = busy.waiting(Wait::Timer(at_ms), reason);
            drop(busy);
            while self.shared.store.clock().now_ms() < at_ms {
                self.pause_until(at_ms).await?;
            }
        }
        let _busy = self.shared.activity.busy();
        let context = self.waited(asked);
        self.write_result(&asked.path, Value::Null, &context)
            .await
            .map(drop)
    }

    /// Writes the intent of a step that waits, if it has not been written; gives when it was.
    pub(super) async fn begin_waiting(
        &self,
        asked: &Asked,
        again: Again,
        question: Option<QuestionChange>,
    ) -> Result<i64> {
        if let Some(started_ms) = again.started_ms {
            return Ok(started_ms);
        }
        let started_ms = self.shared.store.stamp()?;
        let beginning = Beginning {
            attempt: 1,
            reserve: Cost::default(),
            question,
            works: false,
        };
        self.write_start(asked, beginning).await?;
        Ok(started_ms)
    }

    /// For the end of a step that has no work.
    pub(super) fn waited(&self, asked: &Asked) -> StepContext {
        let key = self.idempotency_key(&asked.path);
        StepContext::new(&asked.path, key, Cost::default())
    }

    /// Waits until a time, or until the run is cancelled; may come back early.
    async fn pause_until(&self, at_ms: i64) -> Result<()> {
        tokio::select! {
            biased;
            () = self.shared.cancel.cancelled() => Err(self.cancelled_error()),
            () = self.shared.store.clock().sleep_until(at_ms) => Ok(()),
        }
    }

    /// Waits until something may have changed in the journal, or until a time if there is one.
    pub(super) async fn pause(&self, until_ms: Option<i64>) -> Result<()> {
        let look_ms = self
            .shared
            .store
            .clock()
            .now_ms()
            .saturating_add(LOOK_AGAIN_MS);
        let ready = self.shared.store.ready();
        let wake_ms = until_ms.map_or(look_ms, |until_ms| until_ms.min(look_ms));
        tokio::select! {
            biased;
            () = ready.notified() => Ok(()),
            paused = self.pause_until(wake_ms) => paused,
        }
    }

    /// Waits for what only another process can bring: the run has to be resumed for it.
    pub(super) async fn wait_for_ever(&self, wait: Wait, reason: String) -> Error {
        let busy = self.shared.activity.busy();
        let _waiting = busy.waiting(wait, reason);
        drop(busy);
        let _idle = self.shared.activity.idle();
        self.shared.cancel.cancelled().await;
        self.cancelled_error()
    }

    /// The result of a step that somebody else may have ended, if it has ended.
    pub(super) async fn end_of(&self, path: &str) -> Result<Option<Result<Value>>> {
        let (key, id) = (self.shared.key.key, self.id().clone());
        let place = path.to_string();
        let end: Option<Map<String, Value>> = self
            .shared
            .store
            .read(move |reader| reader.end_of(key, &id, &place))
            .await?;
        Ok(end.map(|mut body| match body.remove("error") {
            Some(error) => Err(Error::StepFailed {
                path: path.to_string(),
                message: error.as_str().unwrap_or_default().to_string(),
            }),
            None => Ok(body.remove("output").unwrap_or_default()),
        }))
    }
}
