//! The words of the journal: runs, steps, effects and events as callers see them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::Budget;
use crate::{Error, Result};

/// The id of a run: made up by the caller, or by the journal (lower-case, sorts by time of start).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Checks an id that somebody made up.
    pub(crate) fn parse(text: &str) -> Result<RunId> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
            return Err(Error::Id {
                id: text.chars().take(80).collect(),
            });
        }
        Ok(RunId(text.to_string()))
    }

    /// What a run is called whose id cannot be read.
    pub(crate) fn of_number(key: i64) -> RunId {
        RunId(format!("run-number-{key}"))
    }

    /// A new id: nine characters of time in milliseconds and five of chance, in Crockford's base 32
    /// (no i, l, o, u, so it can be read out). Enough for 2^45 ms, the year 3084.
    pub(crate) fn generate(now_ms: i64) -> RunId {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let chance: u32 = rand::random();
        let bits = (u128::from(now_ms.unsigned_abs()) << 25) | u128::from(chance & 0x1ff_ffff);
        let digit = |place: u32| char::from(DIGITS[((bits >> (5 * place)) & 31) as usize]);
        RunId((0..14).rev().map(digit).collect())
    }

    /// The id of a child: always the same for the step (by its idempotency key) that spawns it.
    pub(crate) fn of_child(key: &str) -> RunId {
        RunId(format!("c{}", key.get(..21).unwrap_or(key)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for RunId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What a new run starts from. The journal keeps all of it with the run.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The id, when the caller wants to choose it; else the journal makes one up.
    pub id: Option<String>,
    /// Name of the agent or workflow.
    pub agent: String,
    /// The definition's text. It stays with the run, so a changed file changes new runs only.
    pub definition: String,
    /// What the run is to work on.
    pub input: Value,
    /// What the run and all its descendants may use up.
    pub budget: Budget,
}

impl NewRun {
    /// A run of `agent` on `input` with an id made up by the journal, no definition and no budget.
    pub fn new(agent: &str, input: Value) -> NewRun {
        NewRun {
            id: None,
            agent: agent.to_string(),
            definition: String::new(),
            input,
            budget: Budget::default(),
        }
    }
}

/// What a step does to the world, and so what may be done when a crash cuts it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// A function of its input. Cut off: run again.
    Pure,
    /// Reads the world (model calls too). Cut off: run again.
    Read,
    /// Writes, and takes [`StepContext::key`](crate::StepContext::key) so that twice is once. Cut
    /// off: run again with the same key.
    Idempotent,
    /// Writes, and twice is twice. Cut off: the run parks in doubt.
    Irreversible,
}

impl Effect {
    /// The effect as it is written in JSON and shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Pure => "pure",
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Irreversible => "irreversible",
        }
    }

    /// Whether it changes the world: then the intent must be on disk before the work begins.
    pub fn writes(self) -> bool {
        match self {
            Effect::Pure | Effect::Read => false,
            Effect::Idempotent | Effect::Irreversible => true,
        }
    }
}

/// Where a run stands. `Running` without a holder means that its process died or let go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Begun and not ended.
    Running,
    /// Put aside, to be resumed.
    Parked,
    /// Ended with an output.
    Finished,
    /// Ended with an error. May be resumed once the cause is gone; failed steps stay failed.
    Failed,
    /// Ended because somebody said so, or because its parent ended. Cannot be resumed.
    Cancelled,
}

impl RunStatus {
    /// The status as it is written in JSON and shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            RunStatus::Running => "running",
            RunStatus::Parked => "parked",
            RunStatus::Finished => "finished",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
        }
    }
}

/// What a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Work that the code brings along: a model call, a tool call, a search.
    #[default]
    Call,
    /// A question to a person, see [`Run::ask`](crate::Run::ask).
    Question,
    /// Waiting for a time, see [`Run::sleep_until`](crate::Run::sleep_until).
    Timer,
    /// A run of its own, see [`Run::spawn`](crate::Run::spawn).
    Child,
    /// The mark of a version of the code, see [`Run::version`](crate::Run::version).
    Version,
}

/// Where a fork comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// The run whose first steps the fork shares.
    pub run: RunId,
    /// The step from which on the fork is live; none: from the start.
    pub at: Option<String>,
}

/// A run as the journal knows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Name of the agent or workflow.
    pub agent: String,
    /// The definition's text at the start.
    pub definition: String,
    /// What it works on.
    pub input: Value,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it is parked or failed.
    pub reason: Option<String>,
    /// The result of a finished run.
    pub output: Option<Value>,
    /// When it started, milliseconds since 1970 (UTC).
    pub created_ms: i64,
    /// When its last event was written.
    pub updated_ms: i64,
    /// Steps begun so far.
    pub steps: u64,
    /// Steps that ended, with a result or with an error as their result.
    pub finished_steps: u64,
    /// Who works on it now.
    pub held_by: Option<String>,
    /// From when on an engine may take it up, milliseconds since 1970 (UTC); none: it has ended, or
    /// waits for a person.
    pub ready_ms: Option<i64>,
    /// The run that spawned it.
    pub parent: Option<RunId>,
    /// What it is a fork of.
    pub forked_from: Option<ForkedFrom>,
    /// What cannot be read of this record, if anything; the fields concerned are empty, and a status that
    /// cannot be read is [`RunStatus::Failed`].
    pub damage: Option<String>,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Begun, no result recorded: in flight, cut off, or the outside was down.
    Started,
    /// Ended with a result.
    Finished,
    /// Ended with an error as its result.
    Failed,
}

/// A step as the journal knows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// Its address, such as `research/search[3]/model[1]`.
    pub path: String,
    /// What it is.
    pub kind: StepKind,
    /// What it does to the world.
    pub effect: Effect,
    /// Where it stands.
    pub status: StepStatus,
    /// Whether nobody knows if it has happened: an irreversible step that was begun and has no end. While
    /// somebody works on the run it may only be under way.
    pub in_doubt: bool,
    /// How often it was begun.
    pub attempts: u32,
    /// What it was asked.
    pub input: Value,
    /// What it answered.
    pub output: Option<Value>,
    /// The error that is its result, or the last fault of a step that is not done.
    pub error: Option<String>,
    /// When it was first begun, milliseconds since 1970 (UTC).
    pub started_ms: i64,
    /// When its end was recorded.
    pub finished_ms: Option<i64>,
    /// What the work noted about itself: model, tokens, a title.
    pub attributes: Map<String, Value>,
    /// Whether it belongs to the run that this one is a fork of.
    pub shared: bool,
}

/// Which part of a long list is wanted, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// At most this many.
    pub limit: usize,
    /// Only what is older than this run.
    pub before: Option<RunId>,
}

impl Default for Page {
    fn default() -> Page {
        Page {
            limit: 50,
            before: None,
        }
    }
}

/// One entry of the journal, as [`Journal::watch`](crate::Journal::watch) tells it once it is on disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Its number in the journal: later events have higher ones.
    pub seq: i64,
    /// The run it belongs to.
    pub run: RunId,
    /// When it was made, milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// A run began.
    RunStarted {
        /// Name of the agent or workflow.
        agent: String,
    },
    /// A run was taken up again.
    RunResumed,
    /// A run was put aside.
    RunParked {
        /// Why.
        reason: String,
    },
    /// A run ended with an output.
    RunFinished,
    /// A run ended with an error.
    RunFailed {
        /// The error.
        error: String,
    },
    /// A run was cancelled.
    RunCancelled {
        /// Why.
        reason: String,
    },
    /// A limit of a run's budget was raised.
    BudgetRaised {
        /// Which limit.
        dimension: crate::Dimension,
        /// What it is now.
        most: u64,
    },
    /// A step began.
    StepStarted {
        /// Address of the step.
        path: String,
        /// What it is.
        step: StepKind,
        /// What it does to the world.
        effect: Effect,
        /// 1 the first time, more when it is tried again.
        attempt: u32,
    },
    /// A step ended with a result.
    StepFinished {
        /// Address of the step.
        path: String,
        /// What the work noted about itself.
        attributes: Map<String, Value>,
    },
    /// A step ended with an error as its result.
    StepFailed {
        /// Address of the step.
        path: String,
        /// The error.
        error: String,
    },
    /// The outside was down; the step is not done.
    StepFaulted {
        /// Address of the step.
        path: String,
        /// What the work said.
        error: String,
    },
    /// Somebody said that a step in doubt had not happened: it may be done again.
    StepSettled {
        /// Address of the step.
        path: String,
    },
}
