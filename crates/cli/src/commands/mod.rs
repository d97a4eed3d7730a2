//! One file per command.

mod agents;
mod asking;
mod audit;
mod care;
mod chat;
mod check;
mod compare;
mod directory;
mod fork;
mod index;
mod mcp;
mod memory;
mod models;
mod people;
mod policy;
mod replay;
mod research;
mod resume;
mod run;
mod runs;
mod search;
mod serve;
mod tools;
mod transfer;
mod watch;

use std::process::ExitCode;

use anyhow::Result;

pub use self::agents::{PYTHON_WORKER, python_worker};
use crate::arguments::{Arguments, Command};
use crate::project::Project;

/// Carries out the command.
pub async fn run(arguments: Arguments) -> Result<ExitCode> {
    let project = Project::find(arguments.project)?;
    match arguments.command {
        Command::Research(arguments) => research::run(&project, arguments).await,
        Command::Chat(arguments) => chat::run(&project, arguments).await,
        Command::Run(arguments) => run::run(&project, arguments).await,
        Command::Check(arguments) => check::run(&project, arguments).await,
        Command::New(arguments) => check::new(arguments),
        Command::Agents(arguments) => directory::run(&project, arguments),
        Command::Memory(arguments) => memory::run(&project, arguments).await,
        Command::Index(arguments) => index::run(&project, arguments).await,
        Command::Search(arguments) => search::run(&project, arguments).await,
        Command::Tools(arguments) => tools::run(&project, arguments).await,
        Command::Models(arguments) => models::run(arguments).await,
        Command::Serve(arguments) => serve::run(&project, arguments).await,
        Command::Runs(arguments) => runs::run(&project, arguments).await,
        Command::Resume(arguments) => resume::run(&project, arguments).await,
        Command::Replay(arguments) => replay::run(&project, arguments).await,
        Command::Fork(arguments) => fork::run(&project, arguments).await,
        Command::Watch(arguments) => watch::run(&project, arguments).await,
        Command::Questions(arguments) => people::questions(&project, arguments).await,
        Command::Answer(arguments) => people::answer(&project, arguments).await,
        Command::Mcp(arguments) => mcp::run(&project, arguments).await,
        Command::Policy(arguments) => policy::run(arguments),
        Command::Gc(arguments) => care::collect(&project, arguments).await,
        Command::Doctor(arguments) => care::check(&project, arguments).await,
    }
}
