//! What a tool has to know of a person before it can go on.
//!
//! There are two ways. A tool that has nothing open anywhere ends its call with
//! [`Error::Asks`](crate::Error::Asks): the run may leave memory, and the call is made again with what was
//! [`Told`]. A tool in the middle of something asks [`People`] and waits.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// What is asked, for a person to read.
    pub text: String,
    /// What an answer has to look like: a JSON Schema.
    pub schema: Value,
}

impl Wanted {
    /// A question to be answered with `true` or `false`.
    pub fn yes_or_no(text: &str) -> Wanted {
        Wanted {
            text: text.to_owned(),
            schema: serde_json::json!({"type": "boolean"}),
        }
    }
}

/// Questions that have to be answered before a call can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asks {
    /// The questions, by names that the tool gives them.
    pub questions: BTreeMap<String, Wanted>,
    /// What the tool wants back with the answers. It is kept in the journal.
    pub state: Value,
    /// The address of the step that asks; written by who calls the tool.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub at: String,
}

impl Asks {
    /// One question.
    pub fn one(name: &str, wanted: Wanted, state: Value) -> Asks {
        Asks {
            questions: BTreeMap::from([(name.to_owned(), wanted)]),
            state,
            at: String::new(),
        }
    }
}

/// What people have answered to [`Asks`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The answers, by the names of the questions.
    pub answers: BTreeMap<String, Value>,
    /// What the tool wanted back.
    pub state: Value,
}

/// The people that a call in the middle of its work can ask.
pub trait People: Send + Sync {
    /// Asks, and waits so long at most; `None` where nobody has answered.
    fn ask(&self, wanted: Wanted, within: Duration) -> BoxFuture<'_, Option<Value>>;
}

/// How far a call has come, in words of who does the work: untrusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is done, in units of the tool's own.
    pub done: f64,
    /// Of how much; none where that is not known.
    pub total: Option<f64>,
    /// What goes on.
    pub message: Option<String>,
}

impl Progress {
    /// A line of text and how often something has been said.
    pub fn said(done: f64, message: &str) -> Progress {
        Progress {
            done,
            total: None,
            message: Some(message.to_owned()),
        }
    }

    /// In a few words.
    pub fn text(&self) -> String {
        let done = match self.total {
            Some(total) => format!("{} of {total}", self.done),
            None => self.done.to_string(),
        };
        match &self.message {
            Some(message) => format!("{done}: {message}"),
            None => done,
        }
    }
}
