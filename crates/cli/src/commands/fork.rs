//! `plumb fork`.

use std::path::PathBuf;
use std::process::ExitCode;

use agent::research::Input;
use agent::{Agents, Pinned};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, RunId, RunRecord};

use crate::arguments::Fork;
use crate::commands::agents::{self, Shown, Workshop};
use crate::commands::{models, research};
use crate::project::Project;
use crate::view;

/// Starts a run that shares the first steps of another one, and works on it.
pub async fn run(project: &Project, arguments: Fork) -> Result<ExitCode> {
    let journal = project.journal()?;
    let source = journal.run(&arguments.id).await?;
    let of_agent = agents::input_of(&source).is_some();
    if !of_agent && source.agent != "research" {
        bail!(
            "run {} is of the agent {}, which this version does not know",
            source.id,
            source.agent
        );
    }
    let definition = match of_agent {
        true => edited(project, &source, &arguments.edit)?,
        false => edited_research(&source, &arguments.edit)?,
    };
    let changes = journal::Fork {
        id: None,
        at: arguments.at,
        set: arguments.set.into_iter().collect(),
        answers: arguments.answer.into_iter().collect(),
        definition: Some(definition),
        reuse: arguments.reuse,
        live: arguments.live,
        budget: arguments.limits.budget(),
    };
    let mut changed = source.input.clone();
    changes.apply_to(&mut changed);
    let models = models::open(&arguments.provider)?;
    // Before the fork exists, so that a missing model leaves none behind.
    let ready = match of_agent {
        true => {
            let input = agent::Input::of(source.id.as_str(), &changed)?;
            let workshop = Workshop::new(project, models);
            agents::opened(&workshop, &input.model).await?;
            Ready::Agent(Box::new(workshop))
        }
        false => {
            let input: Input = serde_json::from_value(changed)
                .with_context(|| format!("run {} with these changes is no question", source.id))?;
            let agents = Agents::pinned(changes.definition.as_deref().unwrap_or_default())?;
            Ready::Research(research::tools(project, &models, &input.model, agents)?)
        }
    };
    let run = journal.fork(source.id.as_str(), changes).await?;
    let id = run.id().clone();
    view::say(&format!("fork {id} of run {}", source.id));
    let output = &arguments.output;
    let worked = match ready {
        Ready::Research(tools) => research::work(project, &journal, run, tools, output).await,
        Ready::Agent(workshop) => {
            let shown = Shown {
                json: output.json,
                out: &output.out,
            };
            agents::work(&workshop, &journal, run, shown).await
        }
    };
    tell_shares(&journal, &id).await?;
    worked
}

/// Says how many steps of a fork came from where.
async fn tell_shares(journal: &Journal, id: &RunId) -> Result<()> {
    let steps = journal.outline(id).await?;
    let marked = |mark: &str| {
        let marked = steps
            .iter()
            .filter(|step| step.attributes.contains_key(mark));
        marked.count()
    };
    view::say(&format!(
        "of {} steps {} were shared, {} reused, {} given, {} answered with what was recorded for another input",
        steps.len(),
        steps.iter().filter(|step| step.shared).count(),
        marked("reused"),
        marked("given"),
        marked("drift")
    ));
    Ok(())
}

/// What the fork is worked on with.
enum Ready {
    Research(agent::research::Tools),
    Agent(Box<Workshop>),
}

/// The research agents with the files that are to take the place of some.
fn edited_research(source: &RunRecord, files: &[PathBuf]) -> Result<String> {
    let mut agents = Agents::pinned(&source.definition)?;
    for file in files {
        let name = agents.replace(file)?;
        view::say(&format!("{name} is taken from {}", file.display()));
    }
    Ok(agents.pin()?)
}

/// The agent, or the file that is to take its place.
fn edited(project: &Project, source: &RunRecord, files: &[PathBuf]) -> Result<String> {
    match files {
        [] => Ok(source.definition.clone()),
        [file] => {
            let pinned = Pinned::read_in(file, Some(project.root()))?;
            view::say(&format!("the agent is taken from {}", file.display()));
            Ok(pinned.to_text())
        }
        _ => bail!("this run has one agent\nhint: give --edit once"),
    }
}
