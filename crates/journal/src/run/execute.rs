//! Running a workflow until it ends, or only waits.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use serde_json::{Map, Value};

use super::Run;
use crate::store::{Kind, Wait};
use crate::{Error, Result, payload};

/// How a workflow's code fails.
pub type WorkflowError = Box<dyn std::error::Error + Send + Sync>;

/// How a run stands after its code has been run.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has ended with this output.
    Finished(Value),
    /// It has ended with this error.
    Failed(String),
    /// It has been put aside, for this reason: it waits, the outside was down, or its work was
    /// stopped.
    Parked(String),
    /// Somebody has cancelled it, for this reason.
    Cancelled(String),
}

/// What came of running the code.
pub(crate) enum Ran {
    Ended(std::result::Result<Value, WorkflowError>),
    Waits(Vec<(Wait, String)>),
}

impl Run {
    /// Runs a workflow's code and ends the run accordingly: finished with its output, failed with its
    /// error, parked when it only waits for people, times or children, when the outside was down, or
    /// when its work was stopped by [`Run::cancel`].
    ///
    /// The code is dropped when the run parks, and run again from the top when it is resumed.
    ///
    /// Errors: what stops a run without its journal, such as [`Error::Store`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Effect, Journal, NewRun, Outcome};
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("greeter", "Ada".into())).await?;
    /// let outcome = run
    ///     .execute(|run| async move {
    ///         let name = run.input().clone();
    ///         let greeting: String =
    ///             run.step("greet", Effect::Read, &name, |_| async { Ok("Hello".to_string()) }).await?;
    ///         Ok(greeting.into())
    ///     })
    ///     .await?;
    /// assert_eq!(outcome, Outcome::Finished("Hello".into()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn execute<F, Fut>(&self, workflow: F) -> Result<Outcome>
    where
        F: FnOnce(Run) -> Fut,
        Fut: Future<Output = std::result::Result<Value, WorkflowError>>,
    {
        let ran = tokio::select! {
            biased;
            ran = self.run_code(workflow) => ran,
            error = self.guard_lease() => Ran::Ended(Err(Box::new(error))),
        };
        match ran {
            Ran::Ended(Ok(output)) => {
                self.finish(&output).await?;
                Ok(Outcome::Finished(self.shared.secrets.value(output)))
            }
            Ran::Ended(Err(error)) => self.end_with(error).await,
            Ran::Waits(waits) => {
                let reasons: Vec<String> = waits.iter().map(|(_, why)| why.clone()).collect();
                let reason = reasons.join("; ");
                let waits = waits.into_iter().map(|(wait, _)| wait).collect();
                self.park_until(&reason, waits).await?;
                Ok(Outcome::Parked(reason))
            }
        }
    }

    /// Runs the code until it ends or only waits; leaves the run as it is then.
    pub(crate) async fn run_code<F, Fut>(&self, workflow: F) -> Ran
    where
        F: FnOnce(Run) -> Fut,
        Fut: Future<Output = std::result::Result<Value, WorkflowError>>,
    {
        self.shared.activity.drive();
        let mut code = pin!(workflow(self.clone()));
        std::future::poll_fn(|context| {
            if let Poll::Ready(end) = code.as_mut().poll(context) {
                return Poll::Ready(Ran::Ended(end));
            }
            match self.shared.activity.only_waits(context.waker()) {
                // Stopped: the code is about to hear of it.
                Some(_) if self.is_cancelled() => Poll::Pending,
                Some(waits) => Poll::Ready(Ran::Waits(waits)),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn end_with(&self, error: WorkflowError) -> Result<Outcome> {
        let message = error.to_string();
        let Some(cause) = journal_error(&*error) else {
            self.fail(&message).await?;
            return Ok(Outcome::Failed(self.shared.secrets.text(&message)));
        };
        match cause {
            Error::RunCancelled { reason, .. } => Ok(Outcome::Cancelled(reason)),
            Error::Cancelled => {
                // Its engine shuts down: another one may go on at once.
                let waits = match self.shared.turns.get() {
                    Some(_) => vec![Wait::Engine],
                    None => Vec::new(),
                };
                let reason = "its work was stopped".to_string();
                self.park_until(&reason, waits).await?;
                Ok(Outcome::Parked(reason))
            }
            Error::StepFault { .. } | Error::Diverged { .. } | Error::Clock { .. } => {
                let reason = self.shared.secrets.text(&message);
                self.park(&reason).await?;
                Ok(Outcome::Parked(reason))
            }
            Error::Store { .. } => {
                let reason = self.shared.secrets.text(&message);
                // It has stopped in any case. Where the trouble is over, the journal says so.
                if let Err(error) = self.park_after_failure(&reason).await {
                    tracing::warn!(%error, "a run that had to stop could not be parked");
                }
                Err(cause)
            }
            Error::LeaseLost { .. }
            | Error::Closed { .. }
            | Error::Damaged { .. }
            | Error::Gone => Err(cause),
            _ => {
                self.fail(&message).await?;
                Ok(Outcome::Failed(self.shared.secrets.text(&message)))
            }
        }
    }

    /// Parks a run whose events can no longer be written through its handle.
    async fn park_after_failure(&self, reason: &str) -> Result<()> {
        let body = Map::from_iter([("reason".to_string(), reason.into())]);
        let (mut event, _) = super::row(Kind::RunParked, &body, "(end)", "result")?;
        // A long reason would be a payload; the run's row has the whole of it.
        if payload::has_references(&event.body) {
            event.body = "{}".to_string();
        }
        event.at_ms = self.shared.store.stamp()?;
        let (key, reason) = (self.shared.key.clone(), reason.to_string());
        self.shared
            .store
            .write(move |ground| ground.park(&key, &event, &reason))
            .await
    }

    /// Ends when the lease is found to be lost: taken over by another process, or cancelled by it.
    async fn guard_lease(&self) -> Error {
        let store = &self.shared.store;
        let key = self.shared.key.key;
        let pause_ms = i64::try_from(store.lease_ms() / 3)
            .unwrap_or(i64::MAX)
            .max(1);
        loop {
            let at_ms = store.clock().now_ms().saturating_add(pause_ms);
            store.clock().sleep_until(at_ms).await;
            let token = self.shared.key.token;
            let found = store
                .read(move |reader| Ok((reader.lease(key)?, reader.run(key)?)))
                .await;
            let Ok((lease, record)) = found else { continue };
            if lease == Some(token) {
                continue;
            }
            let run = self.id().to_string();
            let error = match record.status {
                crate::RunStatus::Cancelled => Error::RunCancelled {
                    run,
                    reason: record.reason.unwrap_or_default(),
                },
                _ => Error::LeaseLost { run },
            };
            self.shared.key.fate.end(error.clone());
            self.cancel();
            return error;
        }
    }
}

/// The journal's own error that a workflow's error is or wraps.
pub(crate) fn journal_error(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error.clone());
        }
        cause = error.source();
    }
    None
}
