//! `plumb questions`, `plumb answer`, `plumb runs settle` and `plumb runs cancel`: the words of people.

use std::io::{BufRead, IsTerminal as _, Write};
use std::process::ExitCode;

use agent::act::guarding::Approval;
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
    if Approval::call_of(&question.schema).is_some() {
        text.push_str(&format!(
            "  plumb answer {} '{}' allow   (or 'allow from now on', or 'deny: REASON')\n",
            question.run, question.path
        ));
        return text;
    }
    text.push_str(&format!("  answer like: {}\n", question.schema));
    if let Some(expires_ms) = question.expires_ms {
        let otherwise = match &question.default {
            Some(default) => format!("{default} is taken"),
            None => "it fails".to_owned(),
        };
        text.push_str(&match expires_ms > view::now_ms() {
            true => format!("  expires {}, then {otherwise}\n", view::time(expires_ms)),
            false => format!("  has expired: {otherwise} once the run goes on\n"),
        });
    }
    text.push_str(&format!(
        "  plumb answer {} '{}' '<json>'\n",
        question.run, question.path
    ));
    text
}

/// Asks whoever sits at the terminal about the calls that wait for a person. Gives whether any was answered.
pub async fn approve(journal: &Journal, run: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut answered = false;
    for question in journal.questions(Some(run)).await? {
        if Approval::call_of(&question.schema).is_none() {
            continue;
        }
        let text = question.text.clone();
        let asking = move || decide(&text, &mut std::io::stdin().lock(), &mut std::io::stderr());
        let Some(approval) = tokio::task::spawn_blocking(asking).await?? else {
            break;
        };
        let said = Value::from(approval.words());
        journal
            .answer(run, &question.path, said, &somebody())
            .await?;
        answered = true;
    }
    Ok(answered)
}

/// Asks until it is answered; none when there is nobody any more.
fn decide(
    text: &str,
    typed: &mut impl BufRead,
    shown: &mut impl Write,
) -> std::io::Result<Option<Approval>> {
    // What a model wrote must not move the cursor.
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    writeln!(shown, "{plain}")?;
    loop {
        write!(
            shown,
            "[y] allow  [a] allow from now on  [n REASON] deny  [q] later: "
        )?;
        shown.flush()?;
        let mut line = String::new();
        if typed.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        return Ok(match (word.to_lowercase().as_str(), rest.trim()) {
            ("y" | "yes" | "allow", "") => Some(Approval::Allow),
            ("a" | "always", "") => Some(Approval::FromNowOn),
            ("n" | "no" | "deny", reason) => Some(Approval::Deny(reason.to_owned())),
            ("q" | "later", "") => None,
            _ => continue,
        });
    }
}

/// Who answers.
fn somebody() -> String {
    std::env::var("USER").unwrap_or_else(|_| "the command line".to_owned())
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
    journal
        .answer(run.as_str(), &arguments.step, answer, &somebody())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_until_they_answer() {
        let decided = |typed: &str| {
            let mut shown = Vec::new();
            let approval = decide("May it\u{1b}[2J?", &mut typed.as_bytes(), &mut shown);
            (
                approval.ok().flatten(),
                String::from_utf8_lossy(&shown).into_owned(),
            )
        };
        let (approval, shown) = decided("perhaps\ny\n");
        assert_eq!(approval, Some(Approval::Allow));
        assert_eq!(shown.matches("[y] allow").count(), 2);
        assert!(shown.starts_with("May it[2J?\n"), "{shown}");
        assert_eq!(decided("a\n").0, Some(Approval::FromNowOn));
        let no = Approval::Deny("not that one".to_owned());
        assert_eq!(decided("n not that one\n").0, Some(no));
        assert_eq!(decided("q\n").0, None);
        assert_eq!(decided("").0, None);
    }
}
