//! The agent `research`: answers a question from documents, every claim cited and checked.
//!
//! ```text
//! question ─► plan ─► for each sub-question, in parallel:           ─► write ─► critic ─► check ─► report
//!                     guess ─► search ─► judge ─► rank ─► read ─► weigh    ▲────────┘
//! ```
//! A factual question takes the short way: no plan, one search loop, no writer.
//!
//! Everything here is a function over [`journal::Run`]: each search and each model call is a step, so
//! a run that was killed goes on where it was. No text of a document ever becomes an instruction: it
//! is shown to the model as a passage, and what comes back is constrained to a schema and checked.

mod affirming;
mod asking;
mod belief;
mod branch;
mod explaining;
mod judging;
mod library;
mod note;
mod options;
mod plan;
mod plausibility;
mod quantities;
mod quoting;
mod ranking;
mod reading;
mod repeats;
mod report;
#[cfg(test)]
mod testing;
mod untrusted;
mod weighing;
mod widening;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use journal::{Journal, Outcome, Run, WorkflowError};
use knowledge::Library;
use model::Model;
use serde_json::Value;

use crate::{Agents, Error, Result};

pub use note::Note;
pub use options::{Depth, Input};
pub use report::{Citation, Claim, Nearest, Report, Usage};

/// What the agent works with.
#[derive(Clone)]
pub struct Tools {
    /// The model that plans, reads and writes.
    pub model: Arc<dyn Model>,
    /// The documents.
    pub library: Library,
    /// Where the instructions come from.
    pub agents: Agents,
    /// Is told what goes on, for a person who watches.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

/// What goes on in a run, for a person who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Files are being read into the library.
    Indexing {
        /// Files looked at so far.
        done: usize,
        /// Files in all.
        total: usize,
    },
    /// The sub-questions are settled.
    Planned(Vec<String>),
    /// A branch searches.
    Searching {
        /// The sub-question's number, from 0.
        branch: usize,
        /// What it searches for.
        query: String,
    },
    /// A branch orders what it found by what the model would ask about it.
    Ranking {
        /// The sub-question's number, from 0.
        branch: usize,
        /// How many passages it orders.
        passages: usize,
    },
    /// A branch reads passages.
    Reading {
        /// The sub-question's number, from 0.
        branch: usize,
        /// The titles and files of what it reads.
        places: Vec<String>,
    },
    /// A branch is done.
    Noted {
        /// The sub-question's number, from 0.
        branch: usize,
        /// How many notes it took.
        notes: usize,
    },
    /// The report is being written; the draft's number, from 1.
    Writing(usize),
    /// The draft is being criticised.
    Criticising(usize),
}

/// Answers the question of the run's input, and ends the run: finished with the report, parked when
/// it was cancelled or something outside was down, failed otherwise.
///
/// # Errors
/// [`crate::Error`]; a parked run can be resumed.
pub async fn execute(journal: &Journal, run: Run, tools: &Tools) -> Result<Report> {
    let kept = Mutex::new(None);
    let outcome = run
        .execute(|run| async {
            let worked = workflow(journal, run, tools).await;
            worked.map_err(|error| {
                let told: WorkflowError = match &error {
                    // The journal decides by its own errors what becomes of the run.
                    Error::Journal(error) => Box::new(error.clone()),
                    other => other.to_string().into(),
                };
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                told
            })
        })
        .await?;
    if let Some(error) = kept.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let id = run.id().to_string();
    match outcome {
        Outcome::Finished(output) => serde_json::from_value(output).map_err(|error| Error::Input {
            run: id,
            message: format!("its output is not a report: {error}"),
        }),
        Outcome::Parked(reason) | Outcome::Failed(reason) | Outcome::Cancelled(reason) => {
            Err(Error::Waits { run: id, reason })
        }
    }
}

/// The code of a research run: gives the report as its output.
///
/// # Errors
/// [`crate::Error`], see [`execute`].
pub async fn workflow(journal: &Journal, run: Run, tools: &Tools) -> Result<Value> {
    let input = serde_json::from_value::<Input>(run.input().clone());
    let input = input.map_err(|error| Error::Input {
        run: run.id().to_string(),
        message: error.to_string(),
    })?;
    let mut report = research(&run, tools, &input).await?;
    report.usage = Usage::of(&journal.steps(run.id()).await?);
    Ok(serde_json::to_value(&report).unwrap_or_default())
}

/// Answers the question of `input` as `run`, which stays open.
///
/// # Errors
/// [`crate::Error`], see [`execute`].
pub async fn research(run: &Run, tools: &Tools, input: &Input) -> Result<Report> {
    let started_ms = run.now_ms().await?;
    let settings = input.settings(started_ms);
    library::bring_up_to_date(run, tools, input).await?;
    let plan = plan::plan(run, tools, input, &settings).await?;
    let settings = match plan.is_short() {
        true => settings,
        false => settings.of_part(),
    };
    (tools.progress)(Progress::Planned(plan.questions.clone()));
    let branches = plan.questions.iter().enumerate().map(|(index, question)| {
        branch::research(
            run.scope("question", index),
            index,
            tools,
            input,
            &settings,
            question,
        )
    });
    let found = futures::future::try_join_all(branches).await?;
    let written = write::write(run, tools, input, &settings, &plan, &found).await?;
    let finished_ms = run.now_ms().await?;
    Ok(report::assemble(
        run,
        input,
        &plan,
        found,
        written,
        finished_ms - started_ms,
    ))
}
