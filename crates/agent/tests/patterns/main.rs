//! The patterns `team`, `code` and `workflow`, and what is shared by all: their flows exactly with scripted models,
//! and their crashes at every event.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod members;
mod support;
