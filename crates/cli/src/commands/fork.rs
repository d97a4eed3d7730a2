//! `plumb fork`.

use std::process::ExitCode;

use agent::Agents;
use agent::research::Input;
use anyhow::{Context as _, Result, bail};

use crate::arguments::Fork;
use crate::commands::{models, research};
use crate::project::Project;
use crate::view;

/// Starts a run that shares the first steps of another one, and works on it.
pub async fn run(project: &Project, arguments: Fork) -> Result<ExitCode> {
    let journal = project.journal()?;
    let source = journal.run(&arguments.id).await?;
    if source.agent != "research" {
        bail!(
            "run {} is of the agent {}, which this version does not know",
            source.id,
            source.agent
        );
    }
    let mut agents = Agents::pinned(&source.definition)?;
    for file in &arguments.edit {
        let name = agents.replace(file)?;
        view::say(&format!("{name} is taken from {}", file.display()));
    }
    let definition = agents.pin()?;
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
    let input: Input = serde_json::from_value(changed)
        .with_context(|| format!("run {} with these changes is no question", source.id))?;
    // Before the fork exists, so that a missing model leaves none behind.
    let models = models::open(&arguments.provider)?;
    let tools = research::tools(project, &models, &input.model, agents)?;
    let run = journal.fork(source.id.as_str(), changes).await?;
    let id = run.id().clone();
    view::say(&format!("fork {id} of run {}", source.id));
    let worked = research::work(project, &journal, run, tools, &arguments.output).await;
    let steps = journal.outline(&id).await?;
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
    worked
}
