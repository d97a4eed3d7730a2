//! The binary `plumb`: one file per command, and nothing else.
//!
//! Data goes to standard output, everything else to standard error. Exit status: 0 fine, 1 the run
//! failed or was parked, 2 misuse.

mod arguments;
mod commands;
mod project;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
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
