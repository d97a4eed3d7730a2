//! `plumb questions`, `plumb answer`, `plumb runs settle` and `plumb runs cancel`: the words of people.

use std::process::ExitCode;

use anyhow::{Result, bail};
use journal::{Journal, OpenQuestion, Settlement};
use serde_json::Value;

use crate::arguments::{Answer, Questions};
use crate::project::Project;
use crate::view;

/// Lists open questions.
pub async fn questions(project: &Project, arguments: Questions) -> Result<ExitCode> {
    let journal = project.journal()?;
    let open = journal.questions(arguments.id.as_deref()).await?;
    if arguments.json {
        view::print_json(&open)?;
    } else if open.is_empty() {
        view::say("no open questions");
    } else {
        view::print(&open.iter().map(shown).collect::<String>())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A question, what its answer looks like, and the command that gives it.
pub fn shown(question: &OpenQuestion) -> String {
    let mut text = format!("{}  {}\n  {}\n", question.run, question.path, question.text);
    text.push_str(&format!("  answer like: {}\n", question.schema));
    if let Some(expires_ms) = question.expires_ms {
        let otherwise = match &question.default {
            Some(default) => format!("then {default} is taken"),
            None => "then it fails".to_owned(),
        };
        text.push_str(&format!(
            "  expires {}, {otherwise}\n",
            view::time(expires_ms)
        ));
    }
    text.push_str(&format!(
        "  plumb answer {} '{}' '<json>'\n",
        question.run, question.path
    ));
    text
}

/// Answers a question.
pub async fn answer(project: &Project, arguments: Answer) -> Result<ExitCode> {
    let journal = project.journal()?;
    let run = journal.run(&arguments.id).await?.id;
    let open = journal.questions(Some(run.as_str())).await?;
    let schema = open
        .iter()
        .find(|question| question.path == arguments.step)
        .map(|question| &question.schema);
    let answer = match serde_json::from_str(&arguments.answer) {
        Ok(answer) => answer,
        Err(_) if schema.is_some_and(|schema| takes_text(schema, &arguments.answer)) => {
            Value::from(arguments.answer)
        }
        Err(error) => bail!(
            "the answer is not JSON: {error}\nhint: text needs quotation marks inside of the quotes: '\"yes\"'"
        ),
    };
    let by = std::env::var("USER").unwrap_or_else(|_| "the command line".to_owned());
    journal
        .answer(run.as_str(), &arguments.step, answer, &by)
        .await?;
    view::say(&format!("answered; go on with: plumb resume {run}"));
    Ok(ExitCode::SUCCESS)
}

/// Whether a question takes a text as it is typed: it asks for text, or this is one of the texts that
/// can be chosen.
fn takes_text(schema: &Value, text: &str) -> bool {
    let choices = schema["enum"].as_array();
    schema["type"] == "string" || choices.is_some_and(|all| all.iter().any(|one| one == text))
}

/// Says what became of a step in doubt.
pub async fn settle(journal: &Journal, id: &str, step: &str, done: Option<Value>) -> Result<()> {
    let run = journal.run(id).await?.id;
    let settlement = done.map_or(Settlement::NotDone, Settlement::Done);
    journal.settle(run.as_str(), step, settlement).await?;
    view::say(&format!("settled; go on with: plumb resume {run}"));
    Ok(())
}

/// Ends a run for good.
pub async fn cancel(journal: &Journal, id: &str, reason: &str) -> Result<()> {
    let run = journal.run(id).await?.id;
    journal.cancel(run.as_str(), reason).await?;
    view::say(&format!("cancelled run {run}"));
    Ok(())
}
