//! The pattern `team`: agents that work together.
//!
//! The simplest team is an agent that calls others as it calls its tools: see [`Member`].

mod member;

pub use member::Member;
