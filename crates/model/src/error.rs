//! What can go wrong with models, grouped by who must act.

use std::path::PathBuf;

/// The error of this crate. No message ever contains a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user: no such model or provider.
    #[error("there is no model `{name}`\nhint: {hint}")]
    Unknown {
        /// The name as it was given.
        name: String,
        /// The nearest names, or the form of a name.
        hint: String,
    },
    /// The user: the model is catalogued but not on this machine.
    #[error("the model {name} is not on this machine\nhint: plumb models pull {name}")]
    Missing {
        /// Its name in the catalogue.
        name: String,
    },
    /// The user: the machine cannot run the model.
    #[error("{model} does not run on this machine: {reason}\nhint: {hint}")]
    Unfit {
        /// The model.
        model: String,
        /// Why.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// The user: a provider needs a setting.
    #[error("{message}\nhint: {hint}")]
    Setting {
        /// What is missing or wrong.
        message: String,
        /// What to set.
        hint: String,
    },
    /// The user: a provider wants a key.
    #[error(
        "{variable} is not set, and {provider} wants a key\nhint: set it, or name another model"
    )]
    Key {
        /// The provider.
        provider: String,
        /// The environment variable that holds its key.
        variable: String,
    },
    /// The user: the provider does not accept the key, wants one, or does not allow this.
    #[error("{provider} {} ({status}): {message}\nhint: {}", denied(variable.as_deref(), *status), key_hint(variable.as_deref()))]
    Denied {
        /// The provider.
        provider: String,
        /// The environment variable that holds the key; `None` where none was sent.
        variable: Option<String>,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The caller: the model does not take such a part or setting.
    #[error("{provider} does not take {what}\nhint: leave it out, or name a model that takes it")]
    Unsupported {
        /// The provider.
        provider: String,
        /// What it does not take.
        what: String,
    },
    /// The caller: the provider says that prompt and answer do not fit the model's context.
    #[error("the prompt is too long for {provider}{}: {message}\nhint: shorten it, or name a model with more room after a comma: it is asked when this one is full", over.map_or_else(String::new, |over| format!(" by {over} tokens")))]
    Overflow {
        /// The provider.
        provider: String,
        /// By how many tokens, where it says.
        over: Option<u32>,
        /// What it said.
        message: String,
    },
    /// The caller: the provider does not answer such content.
    #[error(
        "{provider} does not answer this: {message}\nhint: say it in other words; no other model is asked by itself"
    )]
    Withheld {
        /// The provider.
        provider: String,
        /// What it said.
        message: String,
    },
    /// Nobody: too much is asked of the provider at once; it passes.
    #[error("{provider} has too much to do ({status}){}: {message}\nhint: {}", wait_ms.map_or_else(String::new, |ms| format!(", asks to wait {} s", ms.div_ceil(1000))), busy_hint(*wait_ms))]
    Busy {
        /// The provider.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait, in milliseconds, where it says.
        wait_ms: Option<u64>,
        /// What it said.
        message: String,
    },
    /// Nobody: the provider has failed again and again, and is left alone for a while.
    #[error("{provider} has failed again and again and is not asked for another {} s\nhint: try again then, or name a second model after a comma", wait_ms.div_ceil(1000))]
    Resting {
        /// The provider.
        provider: String,
        /// How long it is still left alone, in milliseconds.
        wait_ms: u64,
    },
    /// The operator: the provider does not answer in time.
    #[error("{provider} was silent for {} s {}\nhint: try again, name a second model after a comma, or allow more time with [timeouts] in plumb.toml", after_ms.div_ceil(1000), if *started { "within its answer" } else { "before its answer" })]
    TimedOut {
        /// The provider.
        provider: String,
        /// Whether some of the answer had come.
        started: bool,
        /// The longest silence allowed, in milliseconds.
        after_ms: u64,
    },
    /// The caller: the schema asks for what cannot be enforced.
    #[error("the schema cannot be enforced: {message}")]
    Schema {
        /// What, and where in the schema.
        message: String,
    },
    /// The caller: prompt and answer do not fit the model's context.
    #[error("the prompt has {prompt} tokens and the answer may have {answer}, which is {} more than the {context} that fit\nhint: shorten it, or name a model with more room", prompt + answer - context)]
    TooLong {
        /// Tokens of the prompt.
        prompt: u32,
        /// The most tokens of the answer.
        answer: u32,
        /// Tokens that fit.
        context: u32,
    },
    /// The model: its answer does not have the form that was asked for.
    #[error("the answer does not have the form that was asked for: {message}")]
    Malformed {
        /// What is wrong with it.
        message: String,
    },
    /// The operator: the provider does not take the request.
    #[error("{provider} refused the request ({status}): {message}\nhint: {}", refused_hint(provider, *status))]
    Refused {
        /// The provider's address.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The operator: the provider is down, out of reach, or does not answer as it should.
    #[error(
        "{provider} failed: {message}\nhint: try again when it is up, or name a second model after a comma"
    )]
    Unreachable {
        /// The provider's address.
        provider: String,
        /// Why.
        message: String,
    },
    /// The operator: the local engine failed.
    #[error("the local engine failed: {message}")]
    Engine {
        /// How.
        message: String,
    },
    /// The operator: a file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The operator: a model's file is not the one of the catalogue. It was deleted.
    #[error(
        "{name}: wrong checksum, the file was deleted\n  expected {expected}\n  got      {actual}\nhint: fetch it again; if it stays wrong, the source has another file"
    )]
    Checksum {
        /// The model.
        name: String,
        /// The SHA-256 of the catalogue.
        expected: String,
        /// The SHA-256 of the file.
        actual: String,
    },
    /// The operator: a model cannot be fetched.
    #[error("cannot fetch {name}: {message}\nhint: {hint}")]
    Fetch {
        /// The model.
        name: String,
        /// Why.
        message: String,
        /// What to do.
        hint: String,
    },
}

impl Error {
    /// Whether this is what the model or the caller makes of the request, so that asking again gives
    /// the same; everything else may be mended from outside.
    pub fn is_answer(&self) -> bool {
        matches!(
            self,
            Error::Schema { .. }
                | Error::TooLong { .. }
                | Error::Overflow { .. }
                | Error::Unsupported { .. }
                | Error::Withheld { .. }
                | Error::Malformed { .. }
        )
    }

    /// The message without what a person at this terminal could do about it: for callers elsewhere.
    pub fn without_hint(&self) -> String {
        let text = self.to_string();
        match text.split_once("\nhint: ") {
            Some((message, _)) => message.to_owned(),
            None => text,
        }
    }

    /// Whether the same request may succeed a little later without anyone doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Error::Busy { .. }
                | Error::Resting { .. }
                | Error::Unreachable { .. }
                | Error::TimedOut { .. }
        )
    }
}

fn denied(variable: Option<&str>, status: u16) -> &'static str {
    match (status, variable) {
        (401, None) => "wants a key",
        (401, Some(_)) => "does not accept the key",
        _ => "does not allow this",
    }
}

fn key_hint(variable: Option<&str>) -> String {
    match variable {
        Some(variable) => format!("check the key in {variable}, and what it may be used for"),
        None => {
            "no key was sent: name the variable that holds it in plumb.toml, as `key` of the server"
                .to_owned()
        }
    }
}

fn refused_hint(provider: &str, status: u16) -> String {
    match status {
        402 | 429 => format!("add credit to the account at {provider}, or name another model"),
        _ => format!(
            "`plumb models --provider {provider}` shows what is known of its models; another one may take it"
        ),
    }
}

fn busy_hint(wait_ms: Option<u64>) -> String {
    let when = match wait_ms {
        Some(ms) => format!("in {} s", ms.div_ceil(1000)),
        None => "later".to_owned(),
    };
    format!(
        "try again {when}, name a second model after a comma, or ask less with [limits] in plumb.toml"
    )
}

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
