//! Tools of servers that speak the Model Context Protocol.
//!
//! Start at [`Servers`]: it knows servers by name, starts one when it is first needed, once, and gives its
//! tools as [`Tool`](crate::Tool)s. `config` says what a server is, `offered` what it offers and which effect
//! a tool's annotations come to, `pins` what a person has approved of it, `opening`, `connection` and `process`
//! one server at work, `handler` what a server may ask of us, `remote` a call, `content` what comes back,
//! `login` OAuth, `passed` a server that is passed on to other programs as it is.
//!
//! What a server says is data of a stranger: its tools are shown to models only as they were approved, its
//! output is bounded in size and time, and its questions go to a person, never to a model.

mod config;
mod connection;
mod content;
mod handler;
mod login;
mod numbered;
mod offered;
mod opening;
mod passed;
mod pins;
mod process;
mod reading;
mod remote;
mod servers;

pub use config::{Login, ServerConfig, Variable};
pub use login::{Keys, LoginError};
pub use offered::{Annotations, Definition, Difference};
pub use passed::{Passed, Whole};
pub use pins::{Approved, Pins};
pub use servers::{Pinned, Servers, Settings};

/// What can go wrong with servers, beyond a single call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user: a server is not configured as it must be, or not at all.
    #[error("{message}\nhint: {hint}")]
    Setting {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The operator: a server does not start or cannot be reached.
    #[error("the MCP server {server} {message}\nhint: {hint}")]
    Unreachable {
        /// The server's name.
        server: String,
        /// What happened, with the end of what it wrote to standard error.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The user: a server wants to know who calls.
    #[error("the MCP server {server} wants a login\nhint: plumb mcp login {server}{scope}")]
    Login {
        /// The server's name.
        server: String,
        /// The scope that it asks for, as an option of the command; else empty.
        scope: String,
    },
    /// The operator: what has been approved cannot be read or written.
    #[error("{path}: {message}")]
    Pins {
        /// The file.
        path: String,
        /// What is wrong.
        message: String,
    },
}

/// The result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;
