//! `plumb resume`.

use std::process::ExitCode;

use agent::Agents;
use agent::research::{Input, Report};
use anyhow::{Context as _, Result, bail};

use crate::arguments::Resume;
use crate::commands::{models, research};
use crate::project::Project;

/// Goes on with a run; of a finished one the report is printed again.
pub async fn run(project: &Project, arguments: Resume) -> Result<ExitCode> {
    let journal = project.journal()?;
    let record = journal.run(&arguments.id).await?;
    if record.agent != "research" {
        bail!(
            "run {} is of the agent {}, which this version does not know",
            record.id,
            record.agent
        );
    }
    if let Some(output) = record.output {
        let report: Report = serde_json::from_value(output)
            .with_context(|| format!("run {}: its output is not a report", record.id))?;
        research::deliver(project, &report, &arguments.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let input: Input = serde_json::from_value(record.input)
        .with_context(|| format!("run {}: its input is not a question", record.id))?;
    let agents = Agents::pinned(&record.definition)?;
    let models = models::open(&arguments.provider)?;
    let tools = research::tools(project, &models, &input.model, agents)?;
    let run = journal.resume(record.id.as_ref()).await?;
    research::work(project, &journal, run, tools, &arguments.output).await
}
