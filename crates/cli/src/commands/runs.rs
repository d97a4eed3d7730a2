//! `plumb runs` and `plumb runs show`; the others of its commands have files of their own.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use journal::{Journal, Page, RunRecord, RunStatus, StepRecord};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::arguments::{Runs, RunsCommand};
use crate::commands::{audit, compare, people, transfer};
use crate::project::Project;
use crate::view;

/// Lists runs, or shows one.
pub async fn run(project: &Project, arguments: Runs) -> Result<ExitCode> {
    let journal = project.journal()?;
    match arguments.command {
        None => list(&journal, arguments.limit, arguments.json).await?,
        Some(RunsCommand::Show { id, json }) => show(&journal, &id, json).await?,
        Some(RunsCommand::Audit { id, json }) => audit::show(&journal, &id, json).await?,
        Some(RunsCommand::Diff { a, b, json }) => compare::diff(&journal, &a, &b, json).await?,
        Some(RunsCommand::Settle { id, step, done, .. }) => {
            people::settle(&journal, &id, &step, done).await?;
        }
        Some(RunsCommand::Cancel { id, reason }) => people::cancel(&journal, &id, &reason).await?,
        Some(RunsCommand::Export { id, out }) => {
            transfer::export(&journal, &id, out.as_deref()).await?;
        }
        Some(RunsCommand::Import { file }) => transfer::import(&journal, &file).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(journal: &Journal, limit: usize, json: bool) -> Result<()> {
    let runs = journal
        .runs(Page {
            limit,
            ..Page::default()
        })
        .await?;
    let mut worked = Vec::with_capacity(runs.len());
    for run in &runs {
        // What is damaged in one run does not keep the others from being listed.
        worked.push(journal.worked_ms(&run.id).await.ok());
    }
    if json {
        let all = runs.iter().zip(worked);
        let all = all.map(|(run, worked_ms)| run_json(run, worked_ms));
        return view::print_json(&all.collect::<Vec<_>>());
    }
    if runs.is_empty() {
        view::say("no runs yet\nhint: start one with plumb research \"QUESTION\" PATH");
        return Ok(());
    }
    let mut text = String::new();
    for (run, worked_ms) in runs.iter().zip(worked) {
        text.push_str(&format!(
            "{}  {:<9}  {:>8}  {}\n",
            run.id,
            if run.damage.is_some() {
                "damaged"
            } else {
                status(run)
            },
            worked_ms.map_or("-".to_owned(), duration),
            title(run)
        ));
    }
    view::print(&text)
}

async fn show(journal: &Journal, id: &str, json: bool) -> Result<()> {
    let run = journal.run(id).await?;
    let questions = journal.questions(Some(run.id.as_str())).await?;
    let spending = journal.spending(&run.id).await?;
    let worked_ms = journal.worked_ms(&run.id).await.ok();
    if json {
        let steps = journal.steps(&run.id).await?;
        let mut value = run_json(&run, worked_ms);
        value["budget"] = json!(spending);
        value["questions"] = json!(questions);
        value["steps"] = steps.iter().map(step_json).collect();
        return view::print_json(&value);
    }
    let steps = journal.outline(&run.id).await?;
    let mut text = tree(&run, worked_ms, &steps);
    for row in &spending {
        text.push_str(&format!(
            "budget: {} of {} {} used, {} set aside\n",
            row.spent,
            row.most,
            row.dimension.unit(),
            row.reserved
        ));
    }
    questions
        .iter()
        .for_each(|question| text.push_str(&people::shown(question)));
    text.push_str(&how_to_go_on(&run, &steps));
    view::print(&text)
}

/// What a person can do for a run that has not come to its end.
fn how_to_go_on(run: &RunRecord, steps: &[StepRecord]) -> String {
    use journal::RunStatus::{Cancelled, Finished};
    if matches!(run.status, Finished | Cancelled) {
        return String::new();
    }
    let doubtful = steps
        .iter()
        .filter(|step| step.in_doubt && run.held_by.is_none());
    let mut text = String::new();
    for step in doubtful {
        text.push_str(&format!(
            "in doubt: {path}; say what happened with: plumb runs settle {id} '{path}' --done '<json>' (or --not-done)\n",
            path = step.path,
            id = run.id
        ));
    }
    text.push_str(&format!("go on with: plumb resume {}\n", run.id));
    text
}

/// A run as a tree of its steps.
fn tree(run: &RunRecord, worked_ms: Option<i64>, steps: &[StepRecord]) -> String {
    let mut text = format!(
        "{}  {}  {}\n{}\n",
        run.id,
        status(run),
        worked_ms.map_or("-".to_owned(), duration),
        title(run)
    );
    if let Some(reason) = &run.reason {
        text.push_str(&format!("reason: {reason}\n"));
    }
    if let Some(parent) = &run.parent {
        text.push_str(&format!("child of: {parent}\n"));
    }
    if let Some(source) = &run.forked_from {
        let at = source.at.as_deref().unwrap_or("its start");
        text.push_str(&format!("fork of: {} at {at}\n", source.run));
    }
    let mut root = Branch::default();
    for step in steps {
        root.insert(&step.path.split('/').collect::<Vec<_>>(), step);
    }
    root.draw("", &mut text);
    let usage = agent::research::Usage::of(steps);
    text.push_str(&format!(
        "{}; {}, {} prompt tokens ({} from cache), {} output tokens\n",
        counted(steps),
        view::count(usage.model_calls, "model call"),
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.output_tokens
    ));
    text
}

/// How many steps there are, and how many of them were not done by the run itself.
fn counted(steps: &[StepRecord]) -> String {
    let mut text = view::count(steps.len(), "step");
    let shared = steps.iter().filter(|step| step.shared).count();
    let marked = |mark: &str| {
        let with = steps
            .iter()
            .filter(|step| step.attributes.contains_key(mark));
        with.count()
    };
    let marks = ["reused", "drift", "given"].map(|mark| (mark, marked(mark)));
    for (mark, count) in std::iter::once(("shared", shared)).chain(marks) {
        if count > 0 {
            text.push_str(&format!(", {count} {mark}"));
        }
    }
    text
}

/// A scope or a step of the tree, its children in the order in which they began.
#[derive(Default)]
struct Branch<'a> {
    step: Option<&'a StepRecord>,
    order: Vec<String>,
    children: BTreeMap<String, Branch<'a>>,
}

impl<'a> Branch<'a> {
    fn insert(&mut self, path: &[&str], step: &'a StepRecord) {
        let Some((first, rest)) = path.split_first() else {
            self.step = Some(step);
            return;
        };
        if !self.children.contains_key(*first) {
            self.order.push((*first).to_owned());
        }
        self.children
            .entry((*first).to_owned())
            .or_default()
            .insert(rest, step);
    }

    fn draw(&self, indent: &str, text: &mut String) {
        for (position, name) in self.order.iter().enumerate() {
            let Some(child) = self.children.get(name) else {
                continue;
            };
            let last = position + 1 == self.order.len();
            let (knee, below) = if last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let detail = child.step.map(detail).unwrap_or_default();
            text.push_str(&format!("{indent}{knee}{name}{detail}\n"));
            child.draw(&format!("{indent}{below}"), text);
        }
    }
}

/// Time, model, tokens and title of a step.
fn detail(step: &StepRecord) -> String {
    let attribute = |name: &str| step.attributes.get(name);
    let mut parts = vec![match (step.finished_ms, &step.error) {
        (Some(_), Some(error)) => format!("FAILED: {error}"),
        (Some(finished_ms), None) => duration(finished_ms - step.started_ms),
        (None, Some(fault)) => format!("not finished: {fault}"),
        (None, None) => "not finished".to_owned(),
    }];
    if let Some(model) = attribute("model").and_then(Value::as_str) {
        let tokens = |name: &str| attribute(name).and_then(Value::as_u64).unwrap_or(0);
        parts.push(format!(
            "{model} {}→{} tokens",
            tokens("prompt_tokens"),
            tokens("output_tokens")
        ));
    }
    if let Some(trust) = trust(step) {
        parts.push(trust);
    }
    if step.shared {
        parts.push("shared".to_owned());
    }
    for mark in [
        "reused",
        "drift",
        "given",
        "settled",
        "reconciled",
        "expired",
    ] {
        if attribute(mark).is_some() {
            parts.push(mark.to_owned());
        }
    }
    if let Some(title) = attribute("title").and_then(Value::as_str) {
        parts.push(title.to_owned());
    }
    format!("  {}", parts.join("  "))
}

/// From whom a tool's answer comes, and whether a model has read what is not to be trusted.
fn trust(step: &StepRecord) -> Option<String> {
    let label = step.attributes.get("label").and_then(Value::as_str);
    let read = step.attributes.get("labels");
    let read = read.and_then(|labels| guard::Labels::deserialize(labels).ok());
    match (label, read) {
        (Some(label), _) => Some(format!("from {label}")),
        (None, Some(labels)) if labels.is_untrusted() => {
            Some(format!("untrusted: has read {}", labels.words()))
        }
        _ => None,
    }
}

fn run_json(run: &RunRecord, worked_ms: Option<i64>) -> Value {
    json!({
        "id": run.id, "agent": run.agent, "status": run.status, "reason": run.reason,
        "input": run.input, "output": run.output,
        "created_ms": run.created_ms, "updated_ms": run.updated_ms,
        "worked_ms": worked_ms, "damage": run.damage,
        "steps_started": run.steps, "steps_finished": run.finished_steps,
        "held_by": run.held_by, "ready_ms": run.ready_ms, "parent": run.parent, "forked_from": run.forked_from,
    })
}

fn step_json(step: &StepRecord) -> Value {
    json!({
        "path": step.path, "kind": step.kind, "effect": step.effect, "status": step.status,
        "in_doubt": step.in_doubt,
        "attempts": step.attempts, "shared": step.shared,
        "input": step.input, "output": step.output, "error": step.error,
        "started_ms": step.started_ms, "finished_ms": step.finished_ms, "attributes": step.attributes,
    })
}

/// How a run stands; the journal cannot tell of one whose process was killed that it stopped.
fn status(run: &RunRecord) -> &'static str {
    match run.status {
        RunStatus::Running if run.held_by.is_none() => "stopped",
        status => status.as_str(),
    }
}

/// The first words of a research run's question, else the agent's name and those of its input.
fn title(run: &RunRecord) -> String {
    const MOST_CHARACTERS: usize = 200;
    let said = |field: &str| run.input.get(field).and_then(Value::as_str);
    let title = match (said("question"), said("text")) {
        (Some(question), _) => question.to_owned(),
        (None, Some(text)) => format!("{}: {}", run.agent, text.lines().next().unwrap_or_default()),
        (None, None) => run.agent.clone(),
    };
    match title.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{} …", title.get(..end).unwrap_or_default().trim_end()),
        None => title,
    }
}

fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    if ms < 1000 {
        format!("{ms} ms")
    } else {
        format!("{:.1} s", ms as f64 / 1000.0)
    }
}
