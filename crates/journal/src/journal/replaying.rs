//! Replay: a run's code over its journal, with nothing done and nothing written.

use std::future::Future;

use serde::Serialize;
use serde_json::Value;

use super::{Journal, past};
use crate::records::{RunId, RunRecord, RunStatus};
use crate::run::{Ran, Run, WorkflowError};
use crate::store::{Outcome as StepOutcome, RunKey};
use crate::{Error, Result};

/// What a replay that found no difference has seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The run.
    pub run: RunId,
    /// Steps that the code asked for and that were answered from the recording.
    pub steps: u64,
    /// Whether the code came to the run's end; else the recording ends before, at `ends_at`.
    pub complete: bool,
    /// The step that the code asks for next, and that has no result yet.
    pub ends_at: Option<String>,
    /// What the code ended with, when it came to the end.
    pub output: Option<Value>,
}

impl Journal {
    /// Runs the code over a run's journal: every step is answered from the recording, its work is not
    /// done, nothing is written, and no lease is taken. So code can be checked against what it did.
    ///
    /// Errors: [`Error::Diverged`] names the first step where the code and the recording part: another
    /// input, a step that is not recorded, one that is recorded and not asked for, another end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Effect, Journal, NewRun, Run, WorkflowError};
    ///
    /// async fn greet(run: Run) -> Result<serde_json::Value, WorkflowError> {
    ///     let name = run.input().clone();
    ///     Ok(run.step("greet", Effect::Read, &name, |_| async { Ok("Hello".into()) }).await?)
    /// }
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("greeter", "Ada".into())).await?;
    /// run.execute(greet).await?;
    /// let replay = journal.replay(run.id().as_str(), greet).await?;
    /// assert!(replay.complete && replay.steps == 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn replay<F, Fut>(&self, id: &str, workflow: F) -> Result<Replay>
    where
        F: FnOnce(Run) -> Fut,
        Fut: Future<Output = std::result::Result<Value, WorkflowError>>,
    {
        let asked = id.to_string();
        let past = self
            .store
            .read(move |reader| past(reader, reader.find(&asked)?.0))
            .await?;
        let record = past.record.clone();
        let ended: Vec<String> = past
            .recorded
            .iter()
            .filter(|(path, step)| {
                !matches!(step.outcome, StepOutcome::Open) && !path.starts_with("budget/")
            })
            .map(|(path, _)| path.clone())
            .collect();
        let key = RunKey::new(past.key, record.id.clone(), [0; 16], Vec::new(), 0);
        let run = self.handle(past.taken(key, true));
        let ran = run.run_code(workflow).await;
        let mut replay = Replay {
            run: record.id.clone(),
            steps: run.answered(),
            complete: true,
            ends_at: None,
            output: None,
        };
        let finished = record.status == RunStatus::Finished;
        let output = match ran {
            Ran::Ended(Ok(output)) => output,
            Ran::Ended(Err(error)) => {
                return self.replay_of_error(replay, record, &*error);
            }
            Ran::Waits(_) => {
                return Ok(Replay {
                    complete: false,
                    ..replay
                });
            }
        };
        let output = self.secrets.value(output);
        let not_asked = run.not_asked();
        if let Some(path) = ended.into_iter().find(|path| not_asked.contains(path)) {
            return Err(Error::Diverged {
                path,
                recorded: "a step".to_string(),
                asked: "nothing".to_string(),
            });
        }
        // A run that was cut off right before its end has all its steps, and no end.
        if finished && record.output.as_ref() != Some(&output) {
            let said = output.to_string();
            return Err(other_end(&record.status, record.output, &said));
        }
        replay.output = Some(output);
        Ok(replay)
    }

    /// What to think of code that has ended with an error.
    fn replay_of_error(
        &self,
        replay: Replay,
        record: RunRecord,
        error: &(dyn std::error::Error + Send + Sync + 'static),
    ) -> Result<Replay> {
        let finished = record.status == RunStatus::Finished;
        match crate::run::journal_error(error) {
            Some(Error::RecordingEnds { path, .. }) if !finished => Ok(Replay {
                complete: false,
                ends_at: Some(path),
                ..replay
            }),
            Some(Error::RecordingEnds { path, .. }) => Err(Error::Diverged {
                path,
                recorded: "nothing".to_string(),
                asked: "a step".to_string(),
            }),
            Some(error @ Error::Diverged { .. }) => Err(error),
            _ if record.reason.as_deref() == Some(&*self.redacted(&error.to_string())) => {
                Ok(replay)
            }
            // The step ended with a fault, and so did the code: it is to be done again.
            Some(Error::StepFault { path, .. }) if !finished => Ok(Replay {
                complete: false,
                ends_at: Some(path),
                ..replay
            }),
            // Cut off right before it failed: it has all its steps, and no end.
            None | Some(Error::StepFailed { .. })
                if !matches!(record.status, RunStatus::Finished | RunStatus::Failed) =>
            {
                Ok(replay)
            }
            _ => Err(other_end(&record.status, record.output, &error.to_string())),
        }
    }
}

fn other_end(status: &RunStatus, recorded: Option<Value>, said: &str) -> Error {
    let shorten = |text: String| text.chars().take(160).collect::<String>();
    let recorded = match recorded {
        Some(output) => shorten(output.to_string()),
        None => format!("that the run is {}", status.as_str()),
    };
    Error::Diverged {
        path: "(its end)".to_string(),
        recorded,
        asked: shorten(said.to_string()),
    }
}
