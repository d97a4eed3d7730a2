//! Agents: their definitions, the patterns they work by, and the built-in agent `research`.
//!
//! Start at [`Agent`], a model with instructions and tools, made from a file ([`Definition`]) or in Rust;
//! [`act::act`] is the loop that it works by, and [`chat`] a conversation with it. [`research::research`]
//! answers a question from documents as one journaled run; [`render`] turns its [`research::Report`] into
//! Markdown and HTML.
//!
//! This crate puts the bricks together (models, tools, knowledge, the journal) and holds no provider code,
//! no storage and no user interface.

pub mod act;
mod agent;
mod agents;
pub mod audit;
pub mod call;
pub mod chat;
mod definition;
mod error;
mod kit;
mod lazy;
pub mod plan;
pub mod reflect;
pub mod render;
pub mod research;
pub mod team;

pub use agent::{Agent, Input, Kind, Typed, Way};
pub use agents::Agents;
pub use definition::{
    Checks, Definition, Example, FilesTool, HttpAuth, HttpTool, LibraryTool, McpTool, Pattern,
    Pinned, PythonTool, Reflection, SaidEffect, ShellTool, SqlTool, ToolEntry, WebFetchTool,
    WebSearchTool,
};
pub use error::{Error, Result};
pub use kit::{BUILT_IN, BuiltIn, Kit, OpenLibrary};
pub use lazy::{Lazy, OpenModel};
