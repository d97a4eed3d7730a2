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
mod engines;
mod forks;
mod golden;
mod model;
mod people;
mod processes;
mod regressions;
mod runs;
mod stops;
mod support;
mod transfer;
mod workers;
mod writing;
