//! `plumb agents`: the agents of a project.

use std::process::ExitCode;

use agent::directory;
use anyhow::Result;

use crate::arguments::{Agents, AgentsCommand};
use crate::project::Project;
use crate::view;

/// Lists the agents of the project.
pub fn run(project: &Project, arguments: Agents) -> Result<ExitCode> {
    let AgentsCommand::List { json } = arguments.command.unwrap_or(AgentsCommand::List {
        json: arguments.json,
    });
    let root = project.root();
    let mut listed = directory::list(root);
    for agent in &mut listed {
        if let Ok(below) = agent.file.strip_prefix(root) {
            agent.file = below.to_owned();
        }
    }
    if json {
        view::print_json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if listed.is_empty() {
        view::say(
            "the project has no agents\nhint: an agent is a file in agents/; plumb new agent NAME begins one",
        );
    }
    let width = listed
        .iter()
        .map(|agent| agent.name.len())
        .max()
        .unwrap_or(0);
    for agent in &listed {
        let about = match (&agent.problem, &agent.description) {
            (Some(problem), _) => format!("error: {}", problem.lines().next().unwrap_or_default()),
            (None, Some(description)) => description.clone(),
            (None, None) => String::new(),
        };
        let line = format!("{:<width$}  {}  {about}", agent.name, agent.file.display());
        view::print(line.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
