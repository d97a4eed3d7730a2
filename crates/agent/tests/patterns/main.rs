//! The patterns `team`, `code` and `workflow`, the watcher, and what holds for all patterns: their flows exactly with
//! scripted models, their crashes at every event, seeds that decide what goes wrong when, and servers that die.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod coding;
mod dying;
mod every;
mod members;
mod seeds;
mod support;
mod teams;
mod watching;
mod workflows;
