//! What can go wrong while an agent works, grouped by who must act.

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user: an agent file is not as it must be.
    #[error("{file}:{line}: {message}\nhint: {hint}")]
    Definition {
        /// The file as it was named.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The user: a named agent file cannot be read.
    #[error("cannot read the agent file {file}: {source}")]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The user: an agent is called that is not there.
    #[error("{name}: {message}\nhint: {hint}")]
    NoAgent {
        /// What was called.
        name: String,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The user: a run's input is not that of a research run.
    #[error("run {run} is not a research run: {message}")]
    Input {
        /// The run.
        run: String,
        /// What is wrong with its input.
        message: String,
    },
    /// The user: the run waits for a person and has left memory.
    #[error("run {run} waits: {reason}")]
    Waits {
        /// The run.
        run: String,
        /// What it waits for.
        reason: String,
    },
    /// The user: a policy is not as it must be.
    #[error(transparent)]
    Policy(#[from] guard::Error),
    /// The journal refused, or the run was cancelled.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The model: its answer is not of the form that was asked for, even when asked again.
    #[error("step {step}: the model's answer is not usable: {message}\nhint: try another --model")]
    Model {
        /// The address of the step.
        step: String,
        /// What is wrong with the answer.
        message: String,
    },
    /// The user: a tool of an agent cannot be had.
    #[error("the tool {tool}: {message}\nhint: {hint}")]
    Tool {
        /// The tool.
        tool: String,
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The caller: a workflow is put together wrongly, or does not come to its end.
    #[error("the workflow: {0}")]
    Workflow(String),
    /// The operator: programs of the pattern `code` cannot be run here.
    #[error("{message}\nhint: {hint}")]
    Interpreter {
        /// What is missing.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The user or the caller: tools that cannot be used as they are.
    #[error(transparent)]
    Setup(#[from] tool::SetupError),
    /// The operator: documents cannot be searched.
    #[error(transparent)]
    Knowledge(#[from] knowledge::Error),
}

impl Error {
    /// Whether the run can go on later: it waits, its work was stopped, something outside was down, or
    /// the code does not fit its journal.
    pub fn parks(&self) -> bool {
        use journal::Error::{Cancelled, Clock, Diverged, StepFault};
        matches!(
            self,
            Error::Waits { .. }
                | Error::Journal(Cancelled | StepFault { .. } | Diverged { .. } | Clock { .. })
        )
    }
}

impl Error {
    /// Whether it stops the run, and is no failure of what was tried: trying again or another way is of no use.
    pub fn stops(&self) -> bool {
        use journal::Error::StepFailed;
        match self {
            Error::Waits { .. } => true,
            Error::Journal(error) => !matches!(error, StepFailed { .. }),
            Error::Definition { .. }
            | Error::Unreadable { .. }
            | Error::NoAgent { .. }
            | Error::Input { .. }
            | Error::Policy(_)
            | Error::Model { .. }
            | Error::Tool { .. }
            | Error::Workflow(_)
            | Error::Interpreter { .. }
            | Error::Setup(_)
            | Error::Knowledge(_) => false,
        }
    }

    /// In the form that the journal goes by: it decides by its own errors what becomes of a run.
    pub fn for_the_journal(self) -> journal::WorkflowError {
        match self {
            Error::Journal(error) => error.into(),
            other => other.to_string().into(),
        }
    }
}

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
