//! The lines of an export: a run and its descendants in a file of their own.
//!
//! Described in `docs/reference/journal-format.md`. What is written in this form is read for ever, so
//! a field is never renamed; what has to change gets a new version.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::Spending;
use crate::records::{Effect, ForkedFrom, RunStatus};

/// The name of the format.
pub(crate) const FORMAT: &str = "plumb-export";
/// The version that this program writes, and the only one so far.
pub(crate) const VERSION: u64 = 1;
/// A longer line is refused, and not written either.
pub(crate) const MOST_LINE_BYTES: usize = 64 << 20;

/// A line. The name of the variant is the only key of the line's object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Header(HeaderLine),
    Run(RunLine),
    Payload(PayloadLine),
    Event(EventLine),
    End(EndLine),
}

/// The first line. Fields that it does not know are of a later version, which is then refused.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeaderLine {
    pub(crate) format: String,
    pub(crate) version: u64,
    /// The version of the journal that it was written from.
    pub(crate) schema: i64,
}

/// The beginning of a run; its payloads and events follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunLine {
    pub(crate) id: String,
    pub(crate) agent: String,
    pub(crate) status: RunStatus,
    pub(crate) reason: Option<String>,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) parent: Option<String>,
    pub(crate) forked_from: Option<ForkedFrom>,
    /// How its budget stood.
    pub(crate) budget: Vec<Spending>,
}

/// A node of a payload; stands before the first line that refers to it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayloadLine {
    pub(crate) hash: String,
    pub(crate) kind: PayloadKind,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PayloadKind {
    Value,
    List,
}

/// An event of the run whose line was the last one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventLine {
    pub(crate) kind: String,
    pub(crate) at_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<Effect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    pub(crate) body: Map<String, Value>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndLine {
    pub(crate) runs: u64,
    pub(crate) payloads: u64,
    pub(crate) events: u64,
    /// BLAKE3 of all bytes before this line.
    pub(crate) blake3: String,
}
