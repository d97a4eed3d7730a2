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
pub mod code;
mod definition;
pub mod directory;
mod error;
mod kit;
mod lazy;
pub mod memory;
pub mod plan;
pub mod reflect;
pub mod remarks;
pub mod render;
pub mod research;
mod skills;
pub mod team;
pub mod watcher;
pub mod workflow;

pub use agent::{Agent, Input, Kind, Typed, Way};
pub use agents::Agents;
pub use definition::{
    Called, Checks, CodeSettings, Definition, Example, FilesTool, HttpAuth, HttpTool, Learn,
    LibraryTool, McpTool, MemoryScope, MemorySettings, Pattern, Pinned, PlanSettings, Python,
    PythonTool, Reflection, SaidEffect, ShellTool, SqlTool, TeamSettings, TeamWay, ToolEntry,
    WebFetchTool, WebSearchTool,
};
pub use error::{Error, Result};
pub use kit::{BUILT_IN, BuiltIn, Kit, OpenLibrary, OpenMemory};
pub use lazy::{Lazy, OpenModel};
pub use skills::Skill;
