//! `plumb run`.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use agent::{Input, Kind, Pinned, directory};
use anyhow::{Context as _, Result, bail};
use journal::{Budget, NewRun};

use crate::arguments;
use crate::commands::agents::{self, Shown, Workshop};
use crate::commands::models;
use crate::project::Project;

/// The longest input, in bytes.
const MOST_INPUT_BYTES: u64 = 1_000_000;

/// Lets an agent work on an input.
pub async fn run(project: &Project, arguments: arguments::Run) -> Result<ExitCode> {
    let file = directory::find(&arguments.agent, project.root())?;
    let pinned = Pinned::read_in(&file, Some(project.root()))?;
    let definition = pinned.definition()?;
    let workshop = Workshop::new(project, models::open(&arguments.provider)?);
    let pinned = pinned.with_servers(workshop.servers())?;
    let input = Input {
        kind: Kind::Run,
        text: text(arguments.text, arguments.input.as_deref())?,
        attachments: Vec::new(),
        model: workshop.model_name(arguments.model, &pinned)?,
        folder: agents::folder_of(&file)?,
        user: arguments.user,
        review_plan: arguments.review_plan,
    };
    let journal = project.journal()?;
    // Before the run exists, so that a missing model or tool leaves no run behind.
    agents::opened(&workshop, &input.model).await?;
    workshop.agent(&journal, &pinned, &input)?;
    let mut new = NewRun::new(&definition.name, serde_json::to_value(&input)?);
    new.definition = pinned.to_text();
    new.budget = sooner(&arguments.limits.budget(), &definition.budget);
    let run = journal.start(new).await?;
    let shown = Shown {
        json: arguments.json,
        out: &[],
    };
    agents::work(&workshop, &journal, run, shown).await
}

/// What was typed, and what the file has.
fn text(typed: Option<String>, file: Option<&Path>) -> Result<String> {
    let mut text = typed.unwrap_or_default();
    if let Some(file) = file {
        let mut read = String::new();
        let name = file.display();
        let most = MOST_INPUT_BYTES + 1;
        let done = if file == Path::new("-") {
            std::io::stdin().take(most).read_to_string(&mut read)
        } else {
            let opened = std::fs::File::open(file);
            opened.and_then(|file| file.take(most).read_to_string(&mut read))
        };
        done.with_context(|| format!("cannot read {name}"))?;
        if read.len() as u64 > MOST_INPUT_BYTES {
            bail!("{name} is longer than {MOST_INPUT_BYTES} bytes");
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(read.trim_end());
    }
    if text.trim().is_empty() {
        bail!("the input is empty\nhint: plumb run AGENT.md \"INPUT\"");
    }
    Ok(text)
}

/// What is said on the command line counts before what the agent's file says.
fn sooner(typed: &Budget, own: &Budget) -> Budget {
    Budget {
        money_micros: typed.money_micros.or(own.money_micros),
        tokens: typed.tokens.or(own.tokens),
        time_ms: typed.time_ms.or(own.time_ms),
        steps: typed.steps.or(own.steps),
    }
}
