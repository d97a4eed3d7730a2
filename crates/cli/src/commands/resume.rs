//! `plumb resume`.

use std::process::ExitCode;

use agent::research::{Input, Report};
use agent::{Agents, Pinned};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, Page, RunRecord, RunStatus};

use crate::arguments::{Output, Provider, Resume};
use crate::commands::agents::{self, Shown, Workshop};
use crate::commands::{mcp, models, research};
use crate::project::Project;
use crate::view;

/// Goes on with a run, or with all that can go on.
pub async fn run(project: &Project, arguments: Resume) -> Result<ExitCode> {
    let journal = project.journal()?;
    if let Some(id) = &arguments.id {
        return one(
            project,
            &journal,
            id,
            &arguments.output,
            &arguments.provider,
        )
        .await;
    }
    let everything = Page {
        limit: usize::MAX,
        ..Page::default()
    };
    let now_ms = view::now_ms();
    let mut ready: Vec<String> = journal
        .runs(everything)
        .await?
        .into_iter()
        .filter(|run| {
            let known = run.agent == "research"
                || run.agent == mcp::call::AGENT
                || agents::input_of(run).is_some();
            let free = run.held_by.is_none() && known && run.damage.is_none();
            free && run.ready_ms.is_some_and(|ready_ms| ready_ms <= now_ms)
        })
        .map(|run| run.id.to_string())
        .collect();
    if ready.is_empty() {
        view::say(
            "no run can go on by itself\nhint: plumb runs lists them, plumb questions what they ask",
        );
        return Ok(ExitCode::SUCCESS);
    }
    // The oldest first. One after the other: they would share one model and its threads.
    ready.reverse();
    let mut failed = false;
    for id in ready {
        view::say(&format!("resuming {id}"));
        let worked = one(
            project,
            &journal,
            &id,
            &arguments.output,
            &arguments.provider,
        )
        .await;
        failed |= match worked {
            Ok(code) => code != ExitCode::SUCCESS,
            Err(error) => {
                view::failed(&error);
                true
            }
        };
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Goes on with a run; of a finished one the report is printed again.
async fn one(
    project: &Project,
    journal: &Journal,
    id: &str,
    output: &Output,
    provider: &Provider,
) -> Result<ExitCode> {
    let record = journal.run(id).await?;
    if record.agent == mcp::call::AGENT {
        return mcp::call::resume(project, id, output.json).await;
    }
    let input = agents::input_of(&record);
    if input.is_none() && record.agent != "research" {
        bail!(
            "run {} is of the agent {}, which this version does not know",
            record.id,
            record.agent
        );
    }
    if record.status == RunStatus::Cancelled {
        bail!(
            "run {} has been cancelled: {}\nhint: plumb fork {} starts it again as a new run",
            record.id,
            record.reason.unwrap_or_default(),
            record.id
        );
    }
    if input.is_some() {
        return agent(project, journal, record, output, provider).await;
    }
    if let Some(finished) = record.output {
        let report: Report = serde_json::from_value(finished)
            .with_context(|| format!("run {}: its output is not a report", record.id))?;
        research::deliver(project, &report, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let input: Input = serde_json::from_value(record.input)
        .with_context(|| format!("run {}: its input is not a question", record.id))?;
    let agents = Agents::pinned(&record.definition)?;
    let models = models::open(provider)?;
    let tools = research::tools(project, &models, &input.model, agents)?;
    let run = journal.resume(record.id.as_ref()).await?;
    research::work(project, journal, run, tools, output).await
}

/// The same for a run of an agent.
async fn agent(
    project: &Project,
    journal: &Journal,
    record: RunRecord,
    output: &Output,
    provider: &Provider,
) -> Result<ExitCode> {
    let shown = Shown {
        json: output.json,
        out: &output.out,
    };
    if let Some(finished) = &record.output {
        let pinned = Pinned::from_text(&record.definition)?;
        return agents::deliver(record.id.as_str(), &pinned, finished, shown);
    }
    let workshop = Workshop::new(project, models::open(provider)?);
    let run = journal.resume(record.id.as_ref()).await?;
    agents::work(&workshop, journal, run, shown).await
}
