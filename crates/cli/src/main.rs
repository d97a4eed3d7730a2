//! The binary `plumb`: one file per command, and nothing else.
//!
//! Data goes to standard output, everything else to standard error. Exit status: 0 fine, 1 the run
//! failed or was parked, 2 misuse.

#![expect(
    unreachable_pub,
    reason = "a binary has no public items; `pub` marks what a module offers the others"
)]

mod arguments;
mod commands;
mod configuration;
mod project;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == commands::PYTHON_WORKER)
    {
        return commands::python_worker();
    }
    let arguments = arguments::Arguments::parse();
    if arguments.command.decodes() {
        wait_passively();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return view::failed(&anyhow::Error::from(error)),
    };
    match runtime.block_on(commands::run(arguments)) {
        Ok(code) => code,
        Err(error) => view::failed(&error),
    }
}

/// Starts the program anew, in the same process, with `OMP_WAIT_POLICY=passive`.
///
/// The threads of the inference engine spin while they wait for each other. On a machine with other work
/// that costs two thirds of its speed, and the OpenMP runtime reads this setting only when it is loaded.
#[cfg(unix)]
fn wait_passively() {
    use std::os::unix::process::CommandExt as _;
    const SETTING: &str = "OMP_WAIT_POLICY";
    if std::env::var_os(SETTING).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // `exec` returns only when it failed; then the program goes on as it is.
        let _ = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(SETTING, "passive")
            .exec();
    }
}

#[cfg(not(unix))]
fn wait_passively() {}
