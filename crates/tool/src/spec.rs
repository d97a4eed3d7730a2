//! What a tool is: what models read of it, and what Plumb goes by.

use std::time::Duration;

use journal::Effect;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Error, Result};

/// What a tool is.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Letters, digits, `_`, `-`, and `.` between the parts of a name, such as `orders.lookup`.
    pub name: String,
    /// What it does and when to use it: models read this.
    pub description: String,
    /// The JSON schema of its arguments: an object. Models read this as well.
    pub parameters: Value,
    /// What it does to the world, and so what a crash, a replay and a fork do with its calls.
    pub effect: Effect,
    /// Whether a call sends something out of this machine, be it an address that is fetched; where it is
    /// not said, one that writes does. See [`Spec::is_outgoing`].
    pub sends_out: Option<bool>,
    /// Where its answers come from, and so how far they can be trusted.
    pub source: Source,
    /// How long a call may take and how much it may answer.
    pub limits: Limits,
    /// Names of the secrets that it asks its [`Context`](crate::Context) for. They are looked for before
    /// the work begins, and kept out of the journal.
    pub secrets: Vec<String>,
    /// Names of arguments of which it finds out itself whether somebody has said them: they are not held against what
    /// was said before the call.
    pub judges: Vec<String>,
    /// Fields of its answer, at any depth, whose values are replaced by `[secret]` before anybody sees
    /// them: neither the model nor the journal does.
    pub secret_fields: Vec<String>,
}

/// Where a tool's answers come from, and so how far they can be trusted: text that somebody else may have
/// written must not cause anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// From its arguments, or from a clock: arithmetic, the time. Trusted.
    Computed,
    /// From documents that the user counts as their own. Trusted.
    Document,
    /// From the web.
    Web,
    /// From somewhere of which nobody knows who writes there: a server, a database, a mailbox.
    #[default]
    Elsewhere,
    /// From another agent, which may have read anything.
    Agent,
}

/// How long a call may take and how much it may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a call may take; 60 s.
    pub time: Duration,
    /// The longest answer, in bytes, that a model is shown whole; of a longer one it is shown the beginning and an
    /// outline, and can read on. 20,000.
    pub answer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            time: Duration::from_secs(60),
            answer_bytes: 20_000,
        }
    }
}

impl Spec {
    /// A tool without arguments, with the worst effect: irreversible.
    pub fn new(name: &str, description: &str) -> Spec {
        Spec {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters: json!({"type": "object", "properties": {}, "additionalProperties": false}),
            effect: Effect::Irreversible,
            sends_out: None,
            source: Source::default(),
            limits: Limits::default(),
            secrets: Vec::new(),
            judges: Vec::new(),
            secret_fields: Vec::new(),
        }
    }

    /// A tool whose arguments are read as an `A`, with the worst effect: irreversible.
    pub fn of<A: JsonSchema>(name: &str, description: &str) -> Spec {
        Spec {
            parameters: schema::<A>(),
            ..Spec::new(name, description)
        }
    }

    /// Whether a call may send something out of this machine.
    pub fn is_outgoing(&self) -> bool {
        self.sends_out.unwrap_or(self.effect.writes())
    }

    /// The name that models are shown: many providers take no dots.
    pub fn shown_name(&self) -> String {
        self.name.replace('.', "_")
    }
}

/// The schema of a type as models read it: in one piece, without the generator's notes.
fn schema<A: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<A>();
    schema.remove("title");
    schema.remove("description");
    // Some providers refuse an object that says nothing of its properties.
    let schema_is_object = schema.get("type").is_some_and(|of| of == "object");
    if schema_is_object && schema.get("properties").is_none() {
        schema.insert("properties".to_owned(), json!({}));
    }
    schema.to_value()
}

/// Reads arguments; what does not fit is for the model to know.
pub fn read<A: DeserializeOwned>(arguments: Value) -> Result<A> {
    serde_json::from_value(arguments)
        .map_err(|error| Error::Failed(format!("the arguments do not fit: {error}")))
}
