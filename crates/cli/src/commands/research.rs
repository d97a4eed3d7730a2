//! `plumb research`, and what it shares with `plumb resume`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use agent::Agents;
use agent::research::{Depth, Input, Report, Tools, execute};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, NewRun, Run};

use crate::arguments::{self, Output, Research};
use crate::commands::{models, people};
use crate::project::{Project, write_whole};
use crate::view::{self, ResearchView};

/// Answers a question from documents.
pub async fn run(project: &Project, arguments: Research) -> Result<ExitCode> {
    check_paths(&arguments.paths)?;
    check_output(&arguments.output)?;
    let models = models::open(&arguments.provider)?;
    let agents = Agents::new(arguments.agents);
    let definition = agents.pin()?;
    let input = Input {
        question: arguments.question,
        paths: arguments.paths,
        model: match arguments.model {
            Some(model) => model,
            None => models.default_name()?,
        },
        depth: match arguments.depth {
            arguments::Depth::Quick => Depth::Quick,
            arguments::Depth::Normal => Depth::Normal,
            arguments::Depth::Deep => Depth::Deep,
        },
        max_seconds: arguments.max_time.map(|time| time.as_secs()),
    };
    if input.question.trim().is_empty() {
        bail!("the question is empty\nhint: plumb research \"QUESTION\" PATH");
    }
    // Before the run exists, so that a missing model leaves no run behind.
    let tools = tools(project, &models, &input.model, agents)?;
    let journal = project.journal()?;
    let mut new = NewRun::new("research", serde_json::to_value(&input)?);
    new.definition = definition;
    new.budget = arguments.limits.budget();
    let run = journal.start(new).await?;
    work(project, &journal, run, tools, &arguments.output).await
}

/// The tools of a run; the model is loaded here.
pub fn tools(
    project: &Project,
    models: &model::Models,
    model: &str,
    agents: Agents,
) -> Result<Tools> {
    Ok(Tools {
        model: models.open(model)?,
        library: project.library(models::embedding_files())?,
        agents,
        progress: Arc::new(|_| ()),
    })
}

/// Works on `run` until it is finished or parked, and prints its report.
pub async fn work(
    project: &Project,
    journal: &Journal,
    run: Run,
    mut tools: Tools,
    output: &Output,
) -> Result<ExitCode> {
    let id = run.id().to_string();
    let view = Arc::new(ResearchView::new());
    let watched = Arc::clone(&view);
    tools.progress = Arc::new(move |progress| watched.show(progress));
    let interrupted = tokio::spawn(cancel_on_interrupt(run.clone()));
    let outcome = execute(journal, run, &tools).await;
    interrupted.abort();
    view.close();
    let report = match outcome {
        Ok(report) => report,
        Err(error) if error.parks() => {
            view::say(&format!("{error}"));
            for question in journal.questions(Some(&id)).await? {
                view::say(people::shown(&question).trim_end());
            }
            view::say(&format!("parked; go on with: plumb resume {id}"));
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error).with_context(|| format!("run {id} failed")),
    };
    deliver(project, &report, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Parks at the first Ctrl-C; a second one ends the process at once, which loses no finished step.
pub async fn cancel_on_interrupt(run: Run) {
    if tokio::signal::ctrl_c().await.is_ok() {
        view::say("parking ...");
        run.cancel();
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}

/// Prints the report, and writes it where the user wants it and into the project.
pub fn deliver(project: &Project, report: &Report, output: &Output) -> Result<()> {
    let page = project.report(&report.run, "html");
    write_whole(&page, &agent::render::html(report))?;
    for path in &output.out {
        write_whole(path, &rendered(path, report)?)?;
        view::say(&format!("wrote {}", path.display()));
    }
    if output.json {
        return view::print_json(report);
    }
    view::print(&agent::render::markdown(report))?;
    view::say(&format!("with its passages: {}", page.display()));
    Ok(())
}

fn rendered(path: &Path, report: &Report) -> Result<String> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => Ok(agent::render::html(report)),
        Some("json") => Ok(serde_json::to_string_pretty(report)?),
        _ => Ok(agent::render::markdown(report)),
    }
}

/// Says before any work that a report could not be written.
fn check_output(output: &Output) -> Result<()> {
    for path in &output.out {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("md" | "markdown" | "html" | "htm" | "json")) {
            bail!(
                "--out {}: the ending says the form\nhint: end it with .md, .html or .json",
                path.display()
            );
        }
        if path.is_dir() {
            bail!("--out {} is a folder\nhint: name a file", path.display());
        }
    }
    Ok(())
}

/// Says before any work that a path is not there.
pub fn check_paths(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        if let Err(error) = std::fs::metadata(path) {
            bail!(
                "cannot read {}: {error}\nhint: name files or folders that are there; a question is one argument, in quotes",
                path.display()
            );
        }
    }
    Ok(())
}
