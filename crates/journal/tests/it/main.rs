//! Tests of the journal through its public interface. One binary, because `crash` and `processes`
//! run it again as a child.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod caring;
mod crash;
mod golden;
mod model;
mod processes;
mod runs;
mod stops;
mod support;
mod transfer;
mod writing;
