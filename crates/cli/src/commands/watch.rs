//! `plumb watch`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent::act::Acting;
use agent::watcher::{self, Watcher};
use anyhow::{Result, bail};
use journal::{Journal, NewRun, Outcome};
use serde_json::json;

use crate::arguments::Watch;
use crate::commands::agents::{self, Workshop};
use crate::commands::models;
use crate::project::Project;
use crate::view;

/// The name of the runs in which a model watches another run.
const AGENT: &str = "watcher";
/// How often a watcher looks at most: a day of looks every ten seconds.
const MOST_LOOKS: usize = 8_640;

/// Says what goes on in a run, or tells its agent something.
pub async fn run(project: &Project, arguments: Watch) -> Result<ExitCode> {
    let journal = project.journal()?;
    let id = journal.run(&arguments.id).await?.id.to_string();
    if let Some(remark) = &arguments.say {
        let by = std::env::var("USER").unwrap_or_else(|_| "the command line".to_owned());
        watcher::say(&journal, &id, remark, &by).await?;
        view::say("said; it is heard before the model is asked the next time");
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.once {
        let standing = watcher::look(&journal, &id).await?;
        match arguments.json {
            true => view::print_json(&standing)?,
            false => view::print(&format!("{}\n", standing.sentence()))?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let every = Duration::from_secs(arguments.every.max(1));
    match &arguments.model {
        None => plainly(&journal, &id, every).await,
        Some(name) => {
            let workshop = Workshop::new(project, models::open(&arguments.provider)?);
            let model = agents::opened(&workshop, name).await?;
            in_words(&journal, &id, every, Acting::new(model)).await
        }
    }
}

/// Each change as the steps say it. Nothing is written.
async fn plainly(journal: &Journal, id: &str, every: Duration) -> Result<ExitCode> {
    let mut before = None;
    loop {
        let standing = watcher::look(journal, id).await?;
        if before
            .as_ref()
            .is_none_or(|before| standing.is_news(before))
        {
            view::print(&format!("{}\n", standing.sentence()))?;
        }
        if standing.is_over {
            return Ok(ExitCode::SUCCESS);
        }
        before = Some(standing);
        tokio::time::sleep(every).await;
    }
}

/// The same in the words of a model, as a run.
async fn in_words(
    journal: &Journal,
    id: &str,
    every: Duration,
    acting: Acting,
) -> Result<ExitCode> {
    let run = journal
        .start(NewRun::new(AGENT, json!({"run": id})))
        .await?;
    let watcher = Watcher {
        journal: journal.clone(),
        acting: Some(acting),
        every,
        most: MOST_LOOKS,
        tell: Arc::new(|sentence| {
            // A reader who has gone is no reason to stop: the sentence is in the journal.
            let _ = view::print(&format!("{sentence}\n"));
        }),
    };
    // Only waiting for the next look must not put it aside: somebody is there.
    let working = run.working();
    let outcome = run
        .execute(|run| async move {
            let said = watcher.watch(&run, id).await;
            said.map(|said| json!({"sentences": said}))
                .map_err(agent::Error::for_the_journal)
        })
        .await;
    drop(working);
    match outcome? {
        Outcome::Finished(_) => Ok(ExitCode::SUCCESS),
        Outcome::Parked(reason) | Outcome::Failed(reason) | Outcome::Cancelled(reason) => {
            bail!("the watcher stopped: {reason}")
        }
    }
}
