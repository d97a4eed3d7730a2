//! `plumb mcp call`: one call of a server's tool, as a run of its own.

use std::process::ExitCode;
use std::sync::Arc;

use agent::act::{Progress, call_tool_watched};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, NewRun, Outcome, Run, RunRecord, WorkflowError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::mcp::{Pinned, Servers};
use tool::{Answer, Secrets, Tool};

use crate::commands::{agents, asking, people};
use crate::project::Project;
use crate::view;

/// What these runs are called.
pub const AGENT: &str = "mcp-call";

/// What such a run starts from.
#[derive(Serialize, Deserialize)]
struct Input {
    server: String,
    tool: String,
    arguments: Value,
    /// The tool as it was approved then.
    pinned: Pinned,
}

/// Calls a tool that has been approved.
pub async fn start(
    project: &Project,
    servers: &Servers,
    name: &str,
    arguments: Value,
    json: bool,
) -> Result<ExitCode> {
    let Some((server, tool)) = name.split_once('/') else {
        bail!("`{name}` is no tool of a server\nhint: write SERVER/TOOL");
    };
    if !arguments.is_object() {
        bail!("the arguments are not an object\nhint: write them like '{{\"path\": \".\"}}'");
    }
    let input = Input {
        server: server.to_owned(),
        tool: tool.to_owned(),
        arguments,
        pinned: Pinned::from([(server.to_owned(), servers.approved(server, tool)?)]),
    };
    let journal = project.journal()?;
    let run = journal
        .start(NewRun::new(AGENT, serde_json::to_value(&input)?))
        .await?;
    work(&journal, servers, run, json).await
}

/// Goes on with a call that waits.
pub async fn resume(project: &Project, id: &str, json: bool) -> Result<ExitCode> {
    let journal = project.journal()?;
    let record = journal.run(id).await?;
    if record.agent != AGENT {
        bail!(
            "run {} is not of plumb mcp call\nhint: plumb resume {}",
            record.id,
            record.id
        );
    }
    if let Some(output) = &record.output {
        return deliver(record.id.as_str(), output, json);
    }
    let run = journal.resume(record.id.as_str()).await?;
    work(&journal, &project.servers(), run, json).await
}

async fn work(journal: &Journal, servers: &Servers, run: Run, json: bool) -> Result<ExitCode> {
    let id = run.id().to_string();
    let (tool, arguments) = called(servers, &id, run.input())?;
    let arguments = Arc::new(arguments);
    let outcome = asking::work_on(journal, run, |run| {
        let (tool, arguments) = (Arc::clone(&tool), Arc::clone(&arguments));
        async move {
            run.execute(|run| async move { once(&run, &tool, &arguments).await })
                .await
        }
    })
    .await;
    match outcome? {
        Outcome::Finished(output) => deliver(&id, &output, json),
        Outcome::Parked(reason) => {
            view::say(&reason);
            for question in journal.questions(Some(&id)).await? {
                view::say(people::shown(&question).trim_end());
            }
            view::say(&format!("parked; go on with: plumb mcp call --resume {id}"));
            Ok(ExitCode::from(1))
        }
        Outcome::Failed(reason) | Outcome::Cancelled(reason) => bail!("run {id} failed: {reason}"),
    }
}

/// The tool that a run calls, as it was approved then, and with what.
fn called(servers: &Servers, id: &str, input: &Value) -> Result<(Arc<dyn Tool>, Value)> {
    let input = Input::deserialize(input)
        .with_context(|| format!("run {id}: its input is not that of a call"))?;
    let tools = servers.tools(&input.server, &input.tool, &input.pinned)?;
    match tools.into_iter().next() {
        Some(tool) => Ok((tool, input.arguments)),
        None => bail!("{} has no tool {}", input.server, input.tool),
    }
}

/// Checks such a run against its journal: the server is not started.
pub async fn replay(
    project: &Project,
    journal: &Journal,
    record: &RunRecord,
) -> Result<journal::Result<journal::Replay>> {
    let id = record.id.as_str();
    let (tool, arguments) = called(&project.servers(), id, &record.input)?;
    let work = |run: Run| async move { once(&run, &tool, &arguments).await };
    Ok(journal.replay(id, work).await)
}

async fn once(
    run: &Run,
    tool: &Arc<dyn Tool>,
    arguments: &Value,
) -> std::result::Result<Value, WorkflowError> {
    let watch = Arc::new(|progress: Progress| {
        if let Some(line) = agents::line(&progress) {
            view::say(&line);
        }
    });
    let called = call_tool_watched(run, tool, arguments, &Secrets::default(), watch).await;
    match called {
        Ok(answer) => Ok(answer.within(tool.spec().limits.answer_bytes).into()),
        Err(error) => Err(error.for_the_journal()),
    }
}

fn deliver(id: &str, output: &Value, json: bool) -> Result<ExitCode> {
    let answer = Answer::from(output.clone());
    if json {
        let key = if answer.is_error() { "error" } else { "answer" };
        let value = match &answer {
            Answer::Value(value) => value.clone(),
            other => other.text().into(),
        };
        view::print_json(&json!({"run": id, key: value}))?;
    } else {
        match answer.is_error() {
            true => view::say(&format!("error: {}", answer.text())),
            false => view::print(&answer.text())?,
        }
        view::say(&format!("run {id}"));
    }
    Ok(ExitCode::from(u8::from(answer.is_error())))
}
