//! `plumb tools`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use agent::{BUILT_IN, Pinned, ToolEntry};
use anyhow::{Context as _, Result, anyhow, bail};
use journal::StepError;
use serde_json::{Value, json};
use tool::{Context, Effect, Secrets, Spec, Tool, Toolbox};

use crate::arguments::{Provider, Tools, ToolsCommand};
use crate::commands::agents::{self, Workshop};
use crate::commands::models;
use crate::project::Project;
use crate::view;

/// Lists tools, shows one, or calls one.
pub async fn run(project: &Project, arguments: Tools) -> Result<ExitCode> {
    let workshop = Workshop::new(project, models::open(&Provider::default())?);
    let (agent, json) = (arguments.agent.as_deref(), arguments.json);
    match arguments.command {
        None if agent.is_none() => list_built_in(json),
        None => list(&toolbox(&workshop, agent, None)?, json),
        Some(ToolsCommand::Show { name }) => {
            let toolbox = toolbox(&workshop, agent, Some(&name))?;
            show(find(&toolbox, &name)?.spec(), json)
        }
        Some(ToolsCommand::Call { name, arguments }) => {
            let toolbox = toolbox(&workshop, agent, Some(&name))?;
            call(&toolbox, &name, &arguments, json).await
        }
    }
}

/// The tools of an agent; without one, that which comes with Plumb and gives the tool of this name.
fn toolbox(workshop: &Workshop, agent: Option<&Path>, name: Option<&str>) -> Result<Toolbox> {
    if let Some(agent) = agent {
        let definition = Pinned::read(agent)?.definition()?;
        let kit = workshop.kit(&agents::folder_of(agent)?);
        return Ok(kit.toolbox(&definition.tools)?);
    }
    let name = name.unwrap_or_default();
    let gives = |tool: &str| name == tool || name.replace('_', ".") == tool;
    let built_in = BUILT_IN
        .iter()
        .find(|one| one.name == name || one.calls.iter().any(|(tool, _)| gives(tool)));
    let Some(built_in) = built_in else {
        let names: Vec<&str> = BUILT_IN.iter().map(|one| one.name).collect();
        bail!(
            "there is no tool `{name}`\nhint: there are {}; --agent AGENT.md names those of an agent",
            names.join(", ")
        );
    };
    let Some(entry) = ToolEntry::named(built_in.name) else {
        bail!(
            "the tool {} wants settings\nhint: name an agent that has it: plumb tools show {name} --agent AGENT.md",
            built_in.name
        );
    };
    let folder = std::env::current_dir().context("the working directory")?;
    Ok(workshop.kit(&folder).toolbox(&[entry])?)
}

fn find<'a>(toolbox: &'a Toolbox, name: &str) -> Result<&'a Arc<dyn Tool>> {
    let mut tools = toolbox.iter();
    let found = tools.find(|tool| tool.spec().name == name || tool.spec().shown_name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = toolbox
            .iter()
            .map(|tool| tool.spec().name.as_str())
            .collect();
        anyhow!(
            "there is no tool `{name}`\nhint: there are {}",
            names.join(", ")
        )
    })
}

fn list_built_in(json: bool) -> Result<ExitCode> {
    if json {
        let all = BUILT_IN.iter().map(|one| {
            let calls = one.calls.iter();
            let calls: Vec<Value> = calls.map(|(name, effect)| json!({"name": name, "effect": said(*effect)})).collect();
            json!({"name": one.name, "about": one.about, "calls": calls, "settings": one.settings()})
        });
        view::print_json(&all.collect::<Vec<Value>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for one in BUILT_IN {
        text.push_str(&format!("{}: {}\n", one.name, one.about));
        for (tool, effect) in one.calls {
            text.push_str(&format!("  {tool}, {}\n", said(*effect)));
        }
        let settings: Vec<String> = one
            .settings()
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys().cloned())
            .collect();
        if !settings.is_empty() {
            text.push_str(&format!("  settings: {}\n", settings.join(", ")));
        }
    }
    view::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn list(toolbox: &Toolbox, json: bool) -> Result<ExitCode> {
    if json {
        let all: Vec<Value> = toolbox.iter().map(|tool| described(tool.spec())).collect();
        view::print_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = toolbox.iter().map(|tool| {
        let spec = tool.spec();
        format!("{}, {}: {}", spec.name, said(spec.effect), spec.description)
    });
    view::print(&lines.collect::<Vec<String>>().join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn show(spec: &Spec, json: bool) -> Result<ExitCode> {
    if json {
        view::print_json(&described(spec))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "{}, {}\n{}\n",
        spec.name,
        said(spec.effect),
        spec.description
    );
    if spec.is_outgoing() {
        text.push_str("What it is given leaves the machine.\n");
    }
    let limits = &spec.limits;
    text.push_str(&format!(
        "At most {} s; an answer of up to {} bytes is shown whole.\n",
        limits.time.as_secs(),
        limits.answer_bytes
    ));
    if !spec.secrets.is_empty() {
        text.push_str(&format!("Needs {}.\n", spec.secrets.join(", ")));
    }
    text.push_str(&serde_json::to_string_pretty(&spec.parameters)?);
    view::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn described(spec: &Spec) -> Value {
    json!({
        "name": spec.name,
        "shown_name": spec.shown_name(),
        "description": spec.description,
        "effect": said(spec.effect),
        "sends_out": spec.is_outgoing(),
        "time_s": spec.limits.time.as_secs(),
        "answer_bytes": spec.limits.answer_bytes,
        "secrets": spec.secrets,
        "parameters": spec.parameters,
    })
}

/// Calls a tool as a run would, but records nothing.
async fn call(toolbox: &Toolbox, name: &str, arguments: &str, json: bool) -> Result<ExitCode> {
    let tool = find(toolbox, name)?;
    let arguments: Value = serde_json::from_str(arguments).map_err(|error| {
        anyhow!("the arguments are no JSON: {error}\nhint: write them as '{{\"name\": \"value\"}}'")
    })?;
    let secrets = Secrets::from_environment(toolbox)?;
    // Nobody will make this call a second time.
    let key = format!("by-hand-{}-{}", std::process::id(), view::now_ms());
    let answer = tool::carry_out(&**tool, arguments, Context::new(&key, &secrets)).await;
    let answer = answer.map_err(|error| match error {
        StepError::Fault(said) | StepError::Failed(said) => anyhow!("{said}"),
    })?;
    let is_error = answer.is_error();
    match json {
        true => view::print_json(&Value::from(answer))?,
        false => view::print(&toolbox.shown(&tool.spec().shown_name(), &answer))?,
    }
    Ok(ExitCode::from(u8::from(is_error)))
}

fn said(effect: Effect) -> &'static str {
    match effect {
        Effect::Pure => "pure",
        Effect::Read => "read",
        Effect::Idempotent => "idempotent",
        Effect::Irreversible => "irreversible",
    }
}
