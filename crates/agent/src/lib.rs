//! Agents: their definitions, and the built-in agent `research`.
//!
//! Start at [`research::research`], which answers a question from documents as one journaled run,
//! and at [`Definition`], the Markdown file that holds an agent's instructions. [`render`] turns a
//! [`research::Report`] into Markdown and HTML.
//!
//! This crate puts the bricks together (models, knowledge, the journal) and holds no provider code,
//! no storage and no user interface.

pub mod act;
pub mod call;
mod definition;
mod error;
pub mod render;
pub mod research;

pub use definition::{Agents, Definition, Example};
pub use error::{Error, Result};
