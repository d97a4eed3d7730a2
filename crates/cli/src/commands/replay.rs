//! `plumb replay`.

use std::process::ExitCode;
use std::sync::Arc;

use agent::Agents;
use agent::research::{self, Input, Tools};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, RunRecord};
use model::Scripted;

use crate::arguments::{Provider, Replay};
use crate::commands::agents::{self, Workshop};
use crate::commands::{mcp, models};
use crate::project::Project;
use crate::view;

/// Runs the code of a run over its journal: no model is loaded, nothing is searched.
pub async fn run(project: &Project, arguments: Replay) -> Result<ExitCode> {
    let journal = project.journal()?;
    let record = journal.run(&arguments.id).await?;
    let replayed = match agents::input_of(&record) {
        Some(input) => {
            let workshop = Workshop::new(project, models::open(&Provider::default())?);
            match agents::replay(&workshop, &journal, &record, &input).await {
                Ok(replay) => Ok(replay?),
                Err(error) => Err(error),
            }
        }
        None if record.agent == mcp::call::AGENT => {
            mcp::call::replay(project, &journal, &record).await?
        }
        None if record.agent == "research" => research(project, &journal, record.clone()).await?,
        None => bail!(
            "run {} is of the agent {}, which this version does not know",
            record.id,
            record.agent
        ),
    };
    shown(&record, replayed, arguments.json)
}

/// The replay of a research run.
async fn research(
    project: &Project,
    journal: &Journal,
    record: RunRecord,
) -> Result<journal::Result<journal::Replay>> {
    let input: Input = serde_json::from_value(record.input)
        .with_context(|| format!("run {}: its input is not a question", record.id))?;
    let tools = Tools {
        // A replay asks it nothing; should it, this is how one finds out.
        model: Arc::new(Scripted::new(&input.model, |_| {
            Err(model::Error::Setting {
                message: "a replay asks no model".to_owned(),
                hint: "report this as a bug".to_owned(),
            })
        })),
        library: project.library(None)?,
        agents: Agents::pinned(&record.definition)?,
        progress: Arc::new(|_| ()),
    };
    let (within, tools) = (journal.clone(), &tools);
    let replayed = journal
        .replay(record.id.as_str(), |run| async move {
            research::workflow(&within, run, tools)
                .await
                .map_err(|error| match error {
                    agent::Error::Journal(error) => error.into(),
                    other => other.to_string().into(),
                })
        })
        .await;
    Ok(replayed)
}

fn shown(
    record: &RunRecord,
    replayed: journal::Result<journal::Replay>,
    json: bool,
) -> Result<ExitCode> {
    let replay = match replayed {
        Ok(replay) => replay,
        Err(error @ journal::Error::Diverged { .. }) if json => {
            view::print_json(
                &serde_json::json!({"run": record.id, "diverged": error.to_string()}),
            )?;
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        view::print_json(&replay)?;
    } else if replay.complete {
        view::print(&format!(
            "run {}: {} steps, each as recorded; so is the end\n",
            replay.run, replay.steps
        ))?;
    } else {
        let place = replay.ends_at.as_deref().unwrap_or("its end");
        view::print(&format!(
            "run {}: {} steps, each as recorded; the recording ends before {place}\n",
            replay.run, replay.steps
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
