//! What can go wrong with a tool, grouped by who must act.

use std::fmt::Display;

use crate::Asks;

/// How a call ends without an answer.
///
/// Every error of a function becomes [`Error::Failed`] by `?` or `into()`: most that goes wrong is for the
/// model to read. So this is no [`std::error::Error`] itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The model: it is told this in place of an answer, and may do better.
    Failed(String),
    /// The operator: what the tool needs is out of reach. That is no answer: the run stops here, and when it
    /// is resumed, the call is made again.
    Unavailable(String),
    /// A person: the call has not been made, or has come to an end of its own, and is made again with their
    /// answers. Nothing is open meanwhile.
    Asks(Box<Asks>),
}

impl<E: Display> From<E> for Error {
    fn from(error: E) -> Error {
        Error::Failed(error.to_string())
    }
}

/// What a tool returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Tools that cannot be used as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The caller: such a name cannot be shown to every model.
    #[error(
        "`{name}` cannot be a tool's name\nhint: 1 to 64 letters, digits, `_`, `-` or `.`, such as orders.lookup"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The caller: models could not tell two tools apart.
    #[error("there are two tools `{name}`\nhint: give one of them another name")]
    Twice {
        /// The name that both have, or that both are shown under.
        name: String,
    },
    /// The caller: parameters are an object.
    #[error("the parameters of the tool `{name}` are not the JSON schema of an object: {message}")]
    Parameters {
        /// The tool.
        name: String,
        /// What they are.
        message: String,
    },
    /// The user: a tool needs a secret.
    #[error(
        "the tool `{tool}` needs the secret {secret}\nhint: set the environment variable {secret}"
    )]
    Secret {
        /// The tool.
        tool: String,
        /// The name of the secret.
        secret: String,
    },
}
