//! `plumb check` and `plumb new`.

use std::path::Path;
use std::process::ExitCode;

use agent::{Definition, Pinned, directory};
use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::arguments::{Check, New, NewCommand, Provider};
use crate::commands::agents::{self, Workshop};
use crate::commands::models;
use crate::project::Project;
use crate::view;

/// What is said of a name that is not free.
const RESERVED: &[&str] = &["research"];

/// Checks agents' files: nothing is run and no model opened.
pub async fn run(project: &Project, arguments: Check) -> Result<ExitCode> {
    if arguments.schema {
        view::print_json(&Definition::json_schema())?;
        return Ok(ExitCode::SUCCESS);
    }
    let workshop = Workshop::new(project, models::open(&Provider::default())?);
    let mut findings = Vec::new();
    let mut wrong = false;
    for file in &arguments.agents {
        let checked = check(project, &workshop, file);
        wrong |= checked.is_err();
        match checked {
            Ok(about) if arguments.json => findings.push(json!({"file": file, "agent": about})),
            Ok(about) => view::print(&format!("{}: {about}\n", file.display()))?,
            Err(error) if arguments.json => {
                findings.push(json!({"file": file, "error": format!("{error:#}")}));
            }
            Err(error) => drop(view::failed(&error)),
        }
    }
    if arguments.json {
        view::print_json(&findings)?;
    }
    Ok(ExitCode::from(u8::from(wrong)))
}

/// What is good about a file, in a line.
fn check(project: &Project, workshop: &Workshop, called: &Path) -> Result<String> {
    let file = &directory::find(called, project.root())?;
    let pinned = Pinned::read_in(file, Some(project.root()))?;
    let definition = pinned.definition()?;
    if RESERVED.contains(&definition.name.as_str()) {
        return Err(definition
            .wrong(
                &pinned.file,
                "name:",
                format!("an agent cannot be called `{}`", definition.name),
                "that is a built-in one; choose another name",
            )
            .into());
    }
    for name in &definition.models {
        workshop.knows(name).map_err(|error| {
            let said = error.to_string();
            let (message, hint) = said
                .split_once("\nhint: ")
                .unwrap_or((&said, "plumb models lists them"));
            definition.wrong(&pinned.file, "model:", message.to_owned(), hint)
        })?;
    }
    if let Some(schema) = &pinned.output {
        model::tools::check_schema(schema).map_err(|error| {
            let hint = "see what is supported in docs/guides/models.md";
            definition.wrong(&pinned.file, "output:", error.to_string(), hint)
        })?;
    }
    let kit = workshop.kit(&agents::folder_of(file)?);
    let toolbox = kit.toolbox(&definition.tools);
    let toolbox = toolbox.map_err(|error| wrong_tool(&pinned, &definition, error))?;
    let mut tools: Vec<String> = toolbox
        .iter()
        .map(|tool| tool.spec().name.clone())
        .collect();
    if definition.tools.contains(&agent::ToolEntry::Ask) {
        tools.push("ask".to_owned());
    }
    for called in &pinned.agents {
        let file = called.folder.join(
            Path::new(&called.agent.file)
                .file_name()
                .unwrap_or_default(),
        );
        check(project, workshop, &file)?;
        tools.push(format!("agent:{}", called.name));
    }
    Ok(format!(
        "agent {}; models: {}; tools: {}{}",
        definition.name,
        some(&definition.models.join(", "), "this machine's"),
        some(&tools.join(", "), "none"),
        beside(&pinned, &definition)
    ))
}

/// What is wrong with a tool, at the line that names it.
fn wrong_tool(pinned: &Pinned, definition: &Definition, error: agent::Error) -> agent::Error {
    let agent::Error::Tool {
        tool,
        message,
        hint,
    } = error
    else {
        return error;
    };
    let entry = format!("- {tool}");
    let mut lines = definition.text.lines();
    let has_entry = lines.any(|line| line.trim_start().starts_with(&entry));
    let key = if has_entry { &entry } else { "tools:" };
    let message = format!("the tool {tool}: {message}");
    definition.wrong(&pinned.file, key, message, &hint)
}

/// What else it has: skills, a memory, notes of the project.
fn beside(pinned: &Pinned, definition: &Definition) -> String {
    let mut text = String::new();
    if let Some(memory) = &definition.memory {
        let kinds = memory.kinds.iter().map(|kind| kind.as_str());
        text.push_str(&format!(
            "; memory: {}",
            kinds.collect::<Vec<_>>().join(", ")
        ));
    }
    if !pinned.skills.is_empty() {
        let names = pinned.skills.iter().map(|skill| skill.name.as_str());
        text.push_str(&format!(
            "; skills: {}",
            names.collect::<Vec<_>>().join(", ")
        ));
    }
    if pinned.notes.is_some() {
        text.push_str("; with the notes of AGENTS.md");
    }
    text
}

fn some<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// Writes a file to begin with.
pub fn new(arguments: New) -> Result<ExitCode> {
    let NewCommand::Agent { name } = arguments.what;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(fits) || RESERVED.contains(&name.as_str()) {
        bail!(
            "`{name}` cannot be an agent's name\nhint: letters, digits, - and _, such as order-desk"
        );
    }
    let path = Path::new(&name).with_extension("md");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let text = include_str!("new_agent.md").replace("NAME", &name);
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    view::say(&format!(
        "wrote {path}\ntry it: plumb run {path} \"What is 17% of 240?\", or plumb chat {path}",
        path = path.display()
    ));
    Ok(ExitCode::SUCCESS)
}
