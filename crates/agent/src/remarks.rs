//! What a user says to an agent while it works.
//!
//! ```text
//! run:   question remarks[0]/remark[0], open all the while ◄── plumb watch ID --say "..."
//!              │ answered
//!              ▼
//! loop:  model ─► calls ─► step remarks[n]: what was said by now ─► model, which is told it
//! ```
//! A remark is the answer to a question that the run keeps open while it works, so it is on disk before anybody hears
//! it, and can be given from another process. What counts is when it was heard: before each call of the model a step
//! `remarks[n]` records what was said until then. A resume and a replay hear the same at the same places, however
//! quick or slow they are.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use journal::{Effect, Question, Run};
use serde_json::json;

use crate::{Error, Result};

/// The scope of the questions.
const SCOPE: &str = "remarks";
/// The name of each of them.
pub(crate) const QUESTION: &str = "remark";

/// What has been said and not heard yet. Clones share it, so that each remark is heard once, by whoever comes to it
/// first.
#[derive(Clone, Default)]
pub struct Remarks(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    /// Remarks that were heard before a crash, and that the journal will give once more.
    heard: usize,
}

impl Remarks {
    /// Keeps a question open while `work` is under way, and gives what came of the work.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn while_working<T>(
        &self,
        run: &Run,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let scope = run.scope(SCOPE, 0);
        let listening = async {
            loop {
                let text = "Whatever you want to tell the agent while it works.";
                let question = Question::new(text, json!({"type": "string", "minLength": 1}));
                match scope.ask::<String>(QUESTION, &question).await {
                    Ok(remark) => self.say(remark),
                    // A replay has no more of them.
                    Err(journal::Error::RecordingEnds { .. }) => std::future::pending().await,
                    Err(error) => break Error::from(error),
                }
            }
        };
        let worked = tokio::select! {
            biased;
            worked = work => worked,
            error = listening => Err(error),
        };
        // What was said too late is not missed.
        scope.abandon();
        worked
    }

    fn say(&self, remark: String) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.heard {
            0 => state.waiting.push_back(remark),
            _ => state.heard -= 1,
        }
    }

    /// What was said until now, as a step.
    pub(crate) async fn take(&self, run: &Run) -> Result<Vec<String>> {
        let mut is_new = false;
        let heard: Vec<String> = run
            .step(SCOPE, Effect::Read, &(), |_| async {
                is_new = true;
                let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(state.waiting.drain(..).collect())
            })
            .await?;
        if !is_new {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in &heard {
                // It may have been said again already, or be said later.
                if state.waiting.pop_front().is_none() {
                    state.heard += 1;
                }
            }
        }
        Ok(heard)
    }
}
