//! `plumb memory`: what agents remember, for people to look at and to put right.

use std::process::ExitCode;

use agent::Input;
use agent::memory::{Learner, Lessons};
use anyhow::{Result, bail};
use journal::{Journal, NewRun, Outcome, RunRecord};
use knowledge::memory::{Entry, Filter, Forgotten, Memory, MemoryKind, Saved, State};
use serde_json::json;

use crate::arguments::{self, Kind, MemoryCommand, Which};
use crate::commands::agents::{self, Workshop};
use crate::commands::models;
use crate::project::Project;
use crate::view;

/// Carries out a command about the memory.
pub async fn run(project: &Project, arguments: arguments::Memory) -> Result<ExitCode> {
    let (which, json) = (arguments.which, arguments.json);
    let command = arguments
        .command
        .unwrap_or(MemoryCommand::List { which, json });
    if let MemoryCommand::Learn {
        id,
        model,
        json,
        provider,
    } = command
    {
        let journal = project.journal()?;
        let workshop = Workshop::new(project, models::open(&provider)?);
        let record = journal.run(&id).await?;
        let lessons = learn(&workshop, &journal, &record, model).await?;
        return told(&lessons, json);
    }
    let memory = project.memory(models::embedding_files())?;
    tokio::task::spawn_blocking(move || at_once(&memory, command)).await?
}

/// The commands that need no model.
fn at_once(memory: &Memory, command: MemoryCommand) -> Result<ExitCode> {
    let now_ms = view::now_ms();
    match command {
        MemoryCommand::List { which, json } => {
            let mut entries = memory.list(&filter(memory, &which)?)?;
            entries.retain(|entry| !which.waiting || entry.state == State::Proposed);
            shown(&entries, json)
        }
        MemoryCommand::Search {
            query,
            which,
            limit,
            json,
        } => {
            if which.all || which.waiting {
                bail!("only what counts now can be searched\nhint: plumb memory list --all");
            }
            let now = memory.now(now_ms)?;
            let entries = memory.search(&query, limit, &filter(memory, &which)?, &now)?;
            shown(&entries, json)
        }
        MemoryCommand::Show { id, json } => history(&memory.history(&id)?, json),
        MemoryCommand::Accept { id, by, json } => saved(&memory.accept(&id, &by, now_ms)?, json),
        MemoryCommand::Reject { id, json } => {
            memory.reject(&id, now_ms)?;
            said(&json!({"id": id}), &format!("{id} is refused"), json)
        }
        MemoryCommand::Revert { id, json } => saved(&memory.revert(&id, now_ms)?, json),
        MemoryCommand::Forget { id, scope, json } => {
            let forgotten = match (id, scope) {
                (Some(id), _) => memory.forget(&id, now_ms)?,
                (None, scope) => memory.forget_scope(&scope.unwrap_or_default(), now_ms)?,
            };
            forgot(&forgotten, json)
        }
        MemoryCommand::Learn { .. } => bail!("this wants a journal"),
    }
}

fn filter(memory: &Memory, which: &Which) -> Result<Filter> {
    let kinds = which.kind.iter().map(|kind| match kind {
        Kind::Semantic => MemoryKind::Semantic,
        Kind::Episodic => MemoryKind::Episodic,
        Kind::Procedural => MemoryKind::Procedural,
    });
    let view = match which.all || which.waiting {
        true => None,
        false => Some(memory.now(view::now_ms())?),
    };
    Ok(Filter {
        scope: which.scope.clone(),
        kinds: kinds.collect(),
        view,
    })
}

fn shown(entries: &[Entry], json: bool) -> Result<ExitCode> {
    if json {
        view::print_json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        view::say(
            "nothing is remembered that fits\nhint: an agent's file says what it remembers, memory: [semantic]",
        );
    }
    for entry in entries {
        view::print(&format!(
            "{:<6} {:<12} {:<10} {}{}",
            entry.id,
            entry.scope,
            entry.kind.as_str(),
            plain(&entry.sentence()),
            standing(entry)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How an entry stands, where it does not simply count.
fn standing(entry: &Entry) -> String {
    let over = entry.valid_to_ms.filter(|end| *end <= view::now_ms());
    match (entry.state, &entry.superseded_by) {
        (State::Live, None) if over.is_some() => {
            format!("  [until {}]", at(over.unwrap_or_default()))
        }
        (State::Live, None) if entry.is_trusted() => String::new(),
        (State::Live, None) => format!("  [{}, not confirmed]", entry.source.said_by.as_str()),
        (State::Live, Some(by)) => format!("  [superseded by {by}]"),
        (State::Proposed, _) => format!("  [waits: plumb memory accept {}]", entry.id),
        (State::Rejected, _) => "  [refused]".to_owned(),
        (State::Forgotten, _) => "[forgotten]".to_owned(),
    }
}

fn history(versions: &[Entry], json: bool) -> Result<ExitCode> {
    if json {
        view::print_json(&versions)?;
        return Ok(ExitCode::SUCCESS);
    }
    for entry in versions {
        let source = &entry.source;
        let mut text = format!(
            "{}  {}{}\n",
            entry.id,
            plain(&entry.sentence()),
            standing(entry)
        );
        let mut line = |name: &str, value: &str| text.push_str(&format!("      {name}: {value}\n"));
        line("scope", &entry.scope);
        line("said by", source.said_by.as_str());
        if let Some(run) = &source.run {
            line("run", run);
        }
        if let Some(step) = source.step.as_deref().filter(|step| !step.is_empty()) {
            line("step", step);
        }
        if let Some(by) = &entry.accepted_by {
            line("accepted by", by);
        }
        if let Some(of) = &entry.version_of {
            line("repeats", of);
        }
        let until =
            |end_ms: Option<i64>| end_ms.map_or(" on".to_owned(), |end| format!(" to {}", at(end)));
        let (from, end) = (at(entry.valid_from_ms), until(entry.valid_to_ms));
        line("holds", &format!("from {from}{end}"));
        let (from, end) = (at(entry.recorded_ms), until(entry.superseded_ms));
        line("known", &format!("from {from}{end}"));
        view::print(text.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// On one line, without what moves a terminal's cursor.
fn plain(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat.chars().filter(|c| !c.is_control()).collect()
}

/// A time in milliseconds since 1970, in UTC.
fn at(at_ms: i64) -> String {
    agent::memory::time(at_ms)
}

fn saved(saved: &Saved, json: bool) -> Result<ExitCode> {
    let instead = match saved.supersedes.is_empty() {
        true => String::new(),
        false => format!(", in place of {}", saved.supersedes.join(", ")),
    };
    said(
        &json!(saved),
        &format!("{} counts from now on{instead}", saved.id),
        json,
    )
}

fn forgot(forgotten: &Forgotten, json: bool) -> Result<ExitCode> {
    let ids = match forgotten.ids.is_empty() {
        true => "nothing".to_owned(),
        false => forgotten.ids.join(", "),
    };
    let mut text = format!("forgotten: {ids}");
    if !forgotten.runs.is_empty() {
        text.push_str(&format!(
            "\nnote: what was said still stands in the journal of {}; plumb gc deletes old runs",
            forgotten.runs.join(", ")
        ));
    }
    said(&json!(forgotten), &text, json)
}

fn said(value: &serde_json::Value, text: &str, json: bool) -> Result<ExitCode> {
    match json {
        true => view::print_json(value)?,
        false => view::say(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was learned.
pub fn told(lessons: &Lessons, json: bool) -> Result<ExitCode> {
    if json {
        view::print_json(lessons)?;
        return Ok(ExitCode::SUCCESS);
    }
    for lesson in &lessons.lessons {
        use knowledge::memory::Outcome::{Known, Proposed, Refused, Saved};
        let what = match lesson.outcome {
            Saved => "remembered",
            Known => "known already",
            Proposed => "waits for you (plumb memory accept)",
            Refused => "was refused before",
        };
        view::say(&format!("{} {what}: {}", lesson.id, plain(&lesson.text)));
    }
    if lessons.lessons.is_empty() {
        view::say("nothing is worth remembering");
    }
    Ok(ExitCode::SUCCESS)
}

/// Learns from a run, in a run of its own: the same one, however often it is asked for.
pub async fn learn(
    workshop: &Workshop,
    journal: &Journal,
    of: &RunRecord,
    model: Option<String>,
) -> Result<Lessons> {
    let Some(input) = agents::input_of(of).filter(|input| input.kind != agent::Kind::Learn) else {
        bail!("run {} is not of an agent with a memory", of.id);
    };
    let model = model.unwrap_or_else(|| input.model.clone());
    // A conversation goes on, and can be learned from again then.
    let id = format!("{}-memory-{}", of.id, of.finished_steps);
    let input = Input::to_learn(&of.id, &input, &model);
    workshop.learner(journal, of, &input)?;
    let mut new = NewRun::new("memory", serde_json::to_value(&input)?);
    new.definition = of.definition.clone();
    new.id = Some(id.clone());
    if let Ok(done) = journal.run(&id).await
        && let Some(output) = done.output
    {
        return Ok(serde_json::from_value(output)?);
    }
    let run = journal.start(new).await?;
    match work(workshop, journal, &run).await? {
        Outcome::Finished(output) => Ok(serde_json::from_value(output)?),
        Outcome::Parked(reason) => bail!("{reason}\nhint: plumb resume {id}"),
        Outcome::Failed(reason) | Outcome::Cancelled(reason) => bail!("run {id} failed: {reason}"),
    }
}

/// Works on a run that learns.
pub async fn work(workshop: &Workshop, journal: &Journal, run: &journal::Run) -> Result<Outcome> {
    let learner = of(workshop, journal, run).await?;
    let outcome = run.execute(|run| async move { learner.workflow(run).await });
    Ok(outcome.await?)
}

/// The learner of a run.
pub async fn of(workshop: &Workshop, journal: &Journal, run: &journal::Run) -> Result<Learner> {
    let input = Input::of(run.id().as_str(), run.input())?;
    let from = journal.run(&input.text).await?;
    workshop.learner(journal, &from, &input)
}
