//! One file per command.

mod index;
mod models;
mod research;
mod resume;
mod runs;
mod search;

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::{Arguments, Command};
use crate::project::Project;

/// Carries out the command.
pub async fn run(arguments: Arguments) -> Result<ExitCode> {
    let project = Project::find(arguments.project)?;
    match arguments.command {
        Command::Research(arguments) => research::run(&project, arguments).await,
        Command::Index(arguments) => index::run(&project, arguments).await,
        Command::Search(arguments) => search::run(&project, arguments).await,
        Command::Models(arguments) => models::run(arguments).await,
        Command::Runs(arguments) => runs::run(&project, arguments).await,
        Command::Resume(arguments) => resume::run(&project, arguments).await,
    }
}
