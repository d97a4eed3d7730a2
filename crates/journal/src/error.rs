//! What can go wrong, grouped by who has to act.

use std::path::PathBuf;
use std::sync::Arc;

/// Everything that a journal or a run handle can report.
///
/// Cloning is cheap: when a run has to stop, every step that is still in flight gets the same error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The step's own outcome.
    /// The work ended with an error that is its result; a resume returns the same error.
    #[error("step {path} failed: {message}")]
    StepFailed {
        /// Address of the step.
        path: String,
        /// What the work said.
        message: String,
    },
    /// The outside was down; the step stays unfinished and a resume tries it again.
    #[error("step {path} could not be done: {message}; resume the run to try it again")]
    StepFault {
        /// Address of the step.
        path: String,
        /// What the work said.
        message: String,
    },
    /// The run was cancelled; what was in flight has been dropped and nothing recorded for it.
    #[error(
        "the run was cancelled; what had finished is in the journal and the run can be resumed"
    )]
    Cancelled,

    // The code that runs is at odds with the journal.
    /// The journal has a record for this address, but for another input.
    #[error(
        "the run takes another way than its journal at step {path}: recorded was {recorded}, asked \
         is now {asked}; resume it with the code and definition it was started with, or start a \
         new run"
    )]
    Diverged {
        /// Address of the step.
        path: String,
        /// The recorded input, shortened.
        recorded: String,
        /// The input that the code passes now, shortened.
        asked: String,
    },
    /// An irreversible step was begun and its end is not recorded: nobody knows whether it happened.
    #[error(
        "step {path} of run {run} was cut off and cannot be undone or repeated safely: it may or may \
         not have happened; the run is parked until somebody says which"
    )]
    InDoubt {
        /// The run, now parked.
        run: String,
        /// Address of the step.
        path: String,
    },
    /// A replay came to a step that the journal has no result for.
    #[error("the recording of run {run} ends at step {path}, which the code asks for now")]
    RecordingEnds {
        /// The run.
        run: String,
        /// Address of the step.
        path: String,
    },
    /// In a fork, a step that writes was about to be done for real.
    #[error(
        "step {path} of the fork {run} writes to the world and has no recorded answer: a fork does \
         not do that by itself; give its answer with `plumb runs settle {run} {path} --done '<json>'`{}",
        if *.idempotent { ", or fork again with --live" } else { "" }
    )]
    NotLive {
        /// The fork.
        run: String,
        /// Address of the step.
        path: String,
        /// Whether it may be done live when the user says so.
        idempotent: bool,
    },
    /// A question's schema, or its default, is not as it must be.
    #[error("the question {path} cannot be asked: {message}")]
    Question {
        /// Address of the question.
        path: String,
        /// What is wrong.
        message: String,
    },
    /// A limit of the budget is reached and nobody wants to raise it.
    #[error(
        "the budget of run {run} is exhausted: {used} of {most} {} are used or set aside, and the \
         step needs {asked} more",
        dimension.unit()
    )]
    OverBudget {
        /// The run whose limit it is: the one that asked, or an ancestor.
        run: String,
        /// Which limit.
        dimension: crate::Dimension,
        /// The limit.
        most: u64,
        /// What is used or set aside.
        used: u64,
        /// What the step needs.
        asked: u64,
    },
    /// A step or scope name that cannot stand in an address.
    #[error(
        "`{name}` cannot name a step or scope: names are not empty and contain none of `/`, `[`, `]` \
         and no control characters"
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// An input or result has no JSON form.
    #[error("the {what} of step {path} cannot be written as JSON: {message}")]
    Serialise {
        /// Address of the step.
        path: String,
        /// `input` or `result`.
        what: &'static str,
        /// What the serialiser said.
        message: String,
    },
    /// A recorded result does not fit the type that the code expects.
    #[error(
        "the recorded result of step {path} does not fit the type that the code expects: {message}; \
         a type that a step returns must read back what it wrote"
    )]
    Unreadable {
        /// Address of the step.
        path: String,
        /// What the deserialiser said.
        message: String,
    },

    // The user asked for something that is not there or not to be had now.
    /// No run has this id or prefix.
    #[error("no run `{id}` in this journal; `plumb runs` lists them")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// Several runs start with this prefix.
    #[error("`{id}` could be any of {}; give more characters", matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// Some of the runs that start so.
        matches: Vec<String>,
    },
    /// The run has finished; there is nothing to resume.
    #[error("run {id} has finished; there is nothing left to resume")]
    Finished {
        /// The run.
        id: String,
    },
    /// The run has been cancelled, for good.
    #[error("run {run} has been cancelled: {reason}")]
    RunCancelled {
        /// The run.
        run: String,
        /// Why.
        reason: String,
    },
    /// The run has no step with this address.
    #[error("run {run} has no step {path}; `plumb runs show {run}` lists them")]
    NoStep {
        /// The run.
        run: String,
        /// The address.
        path: String,
    },
    /// The run has no open question with this address.
    #[error("run {run} has no open question {path}: {why}")]
    NoQuestion {
        /// The run.
        run: String,
        /// The address.
        path: String,
        /// What is the matter with it.
        why: String,
    },
    /// The question has been answered meanwhile.
    #[error("the question {path} of run {run} has been answered already; the first answer counts")]
    Answered {
        /// The run.
        run: String,
        /// The address.
        path: String,
    },
    /// An answer that the question's schema does not allow. The question stays open.
    #[error("this does not answer {path} of run {run}: {message}; the question is still open")]
    WrongAnswer {
        /// The run.
        run: String,
        /// Address of the question.
        path: String,
        /// What is wrong, in words.
        message: String,
    },
    /// There is nothing to settle about this step.
    #[error("step {path} of run {run} is not in doubt: {why}")]
    NotInDoubt {
        /// The run.
        run: String,
        /// Address of the step.
        path: String,
        /// How it stands.
        why: String,
    },
    /// A file that is not an export of a run.
    #[error("line {line} of the export: {message}; nothing has been imported")]
    Import {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// Nothing was collected, because what is still in use cannot be told for certain.
    #[error("nothing has been deleted: {what}; `plumb doctor` lists what is damaged")]
    NotCollected {
        /// What stands in the way.
        what: String,
    },
    /// Somebody else works on this run.
    #[error("run {id} is being worked on by {by}; wait for it or stop it first")]
    Held {
        /// The run.
        id: String,
        /// Who holds it.
        by: String,
    },
    /// A run with this id exists.
    #[error("a run with the id {id} exists already; resume it or choose another id")]
    Exists {
        /// The id asked for.
        id: String,
    },
    /// An id that cannot be used.
    #[error("`{id}` cannot be a run's id: use 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`")]
    Id {
        /// The id asked for.
        id: String,
    },
    /// A secret too short to be replaced without mutilating ordinary text.
    #[error("a secret of fewer than {least} characters cannot be kept out of the journal")]
    Secret {
        /// The least number of characters.
        least: usize,
    },

    // The run handle is of no more use.
    /// The handle's run has ended (finished, failed or parked) and takes no more steps.
    #[error("run {run} takes no more steps: it has been {how}")]
    Closed {
        /// The run.
        run: String,
        /// `finished`, `failed` or `parked`, with the reason.
        how: String,
    },
    /// Another process took the run over, because this one had not renewed its lease in time.
    #[error("run {run} was taken over by another process; this one has stopped working on it")]
    LeaseLost {
        /// The run.
        run: String,
    },

    // The operator has to act.
    /// The clock has been set back while runs were being worked on.
    #[error(
        "the clock was set back by {} s: the journal writes nothing that would seem to have happened \
         before what is in it; set the clock right and resume the run",
        (latest_ms - now_ms) / 1000
    )]
    Clock {
        /// The time now, milliseconds since 1970 (UTC).
        now_ms: i64,
        /// The latest time that this process has seen.
        latest_ms: i64,
    },
    /// SQLite refused. A run that meets this stops: it never goes on without its journal.
    #[error("the journal could not {doing}: {cause}{}", hint(cause))]
    Store {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said. (Not the error's source: its words are in this error's own.)
        cause: Arc<rusqlite::Error>,
    },
    /// A file or folder could not be used.
    #[error("the journal cannot use {}: {message}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The file was written by a later version.
    #[error(
        "{} was written by a newer Plumb (journal version {found}, this program knows up to \
         {known}); use that version or newer",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// What was read is not what was written.
    #[error(
        "run {run} is damaged at {place}: {what}; other runs are not affected, restore this one from \
         a backup of the journal file"
    )]
    Damaged {
        /// The run.
        run: String,
        /// The step's address or the part of the run.
        place: String,
        /// What does not hold.
        what: String,
    },
    /// The journal's writer is gone: a bug, or the process is shutting down.
    #[error("the journal has been closed; open it again")]
    Gone,
}

impl Error {
    /// Wraps what SQLite said with what was being done.
    pub(crate) fn store(doing: &'static str, source: rusqlite::Error) -> Error {
        Error::Store {
            doing,
            cause: Arc::new(source),
        }
    }
}

/// What the operator can do about an error of SQLite.
fn hint(source: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode;
    match source.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "; free some space and resume the run, nothing half-written is kept"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "; check that the file and its folder can be written"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another program holds the file, close it and resume the run"
        }
        // On a full disk, SQLite cannot even make the small files beside a journal, and says no more than this.
        Some(ErrorCode::SystemIoFailure) => {
            "; see whether the disk is full or damaged, then resume the run, nothing half-written is kept"
        }
        Some(ErrorCode::NotADatabase) => "; the file is not a journal, choose another path",
        Some(ErrorCode::DatabaseCorrupt) => "; restore the file from a backup",
        _ => "",
    }
}
