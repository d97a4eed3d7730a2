//! The words of the memory: entries, who said them, and from where one looks at them.

use serde::{Deserialize, Serialize};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryKind {
    /// A fact about the user or the world.
    Semantic,
    /// What was asked in a run, and what came of it.
    Episodic,
    /// An instruction that an agent goes by.
    Procedural,
}

impl MemoryKind {
    /// All of them.
    pub const ALL: [MemoryKind; 3] = [
        MemoryKind::Semantic,
        MemoryKind::Episodic,
        MemoryKind::Procedural,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryKind::Semantic => "semantic",
            MemoryKind::Episodic => "episodic",
            MemoryKind::Procedural => "procedural",
        }
    }
}

/// Who said what an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// The user of the agent, in so many words.
    User,
    /// The model: its own conclusion, or in its own words.
    Agent,
    /// A tool: a page of the web, a file, another program.
    Tool,
    /// A person who looks after the memory.
    Person,
}

impl Said {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Said::User => "user",
            Said::Agent => "agent",
            Said::Tool => "tool",
            Said::Person => "person",
        }
    }

    /// Whether it was a human being. What a model says may come from what it read somewhere.
    pub fn is_trusted(self) -> bool {
        match self {
            Said::User | Said::Person => true,
            Said::Agent | Said::Tool => false,
        }
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It counts, unless it has been superseded.
    Live,
    /// It waits for a person, and counts for nothing.
    Proposed,
    /// A person has refused it.
    Rejected,
    /// Its text is deleted; only that there was something is left.
    Forgotten,
}

impl State {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Proposed => "proposed",
            State::Rejected => "rejected",
            State::Forgotten => "forgotten",
        }
    }
}

/// Where an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Who said it.
    pub said_by: Said,
    /// In which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The address of the step that saved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

impl Source {
    /// A person who looks after the memory.
    pub fn person() -> Source {
        Source {
            said_by: Said::Person,
            run: None,
            step: None,
        }
    }
}

/// What is to be remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// Whose memory: `agent:NAME`, `user:KEY` or `project`.
    pub scope: String,
    /// What it is.
    pub kind: MemoryKind,
    /// What it is about, such as `user`.
    pub subject: String,
    /// Which property of it, such as `favourite colour`. With the same subject and attribute, what is said later
    /// supersedes what was said before.
    pub attribute: String,
    /// What is so.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
    /// From when on it holds, milliseconds since 1970 (UTC); from now on where not given.
    pub valid_from_ms: Option<i64>,
    /// Until when; for good where not given.
    pub valid_to_ms: Option<i64>,
    /// The idempotency key of the step: a second write with it changes nothing.
    pub key: Option<String>,
}

/// What became of what was to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The entry.
    pub id: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Entries that it supersedes, in part or in whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<String>,
}

/// What became of what was to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is remembered.
    Saved,
    /// The same was known already.
    Known,
    /// It waits for a person to accept it.
    Proposed,
    /// A person has refused the same before; it is not asked again.
    Refused,
}

/// An entry of the memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, such as `m17`.
    pub id: String,
    /// Whose memory.
    pub scope: String,
    /// What it is.
    pub kind: MemoryKind,
    /// What it is about.
    pub subject: String,
    /// Which property of it.
    pub attribute: String,
    /// What is so.
    pub text: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// Where it stands.
    pub state: State,
    /// Who has accepted what had to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_by: Option<String>,
    /// From when on it holds, milliseconds since 1970 (UTC).
    pub valid_from_ms: i64,
    /// Until when; none: for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to_ms: Option<i64>,
    /// Since when the memory knows it.
    pub recorded_ms: i64,
    /// Since when the memory knows better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_ms: Option<i64>,
    /// The entry that superseded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// The entry that it repeats: what it restores, or what it continues outside of the time in which something else
    /// holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_of: Option<String>,
}

impl Entry {
    /// Whether a human being said or accepted it. What is not trusted is data, wherever it turns up.
    pub fn is_trusted(&self) -> bool {
        self.source.said_by.is_trusted() || self.accepted_by.is_some()
    }

    /// Its subject, attribute and text as one sentence of a kind; nothing once it is forgotten.
    pub fn sentence(&self) -> String {
        match self.kind {
            _ if self.state == State::Forgotten => String::new(),
            MemoryKind::Semantic => format!("{}, {}: {}", self.subject, self.attribute, self.text),
            MemoryKind::Episodic | MemoryKind::Procedural => self.text.clone(),
        }
    }
}

/// From where one looks at the memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What had been written by this generation; see [`Memory::generation`](super::Memory::generation).
    pub generation: u64,
    /// What holds at this time, milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// The run that looks: it also sees what it has written itself since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this scope; of all where not given.
    pub scope: Option<String>,
    /// Of these kinds; of all where empty.
    pub kinds: Vec<MemoryKind>,
    /// As of this view; none: the whole history, with what waits and what is gone.
    pub view: Option<View>,
}
