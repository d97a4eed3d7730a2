//! `plumb mcp`: the servers that agents use, and agents as a server.

pub mod call;
mod offer;
mod serve;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::json;
use tool::mcp::{Definition, Servers};

use crate::arguments::{Mcp, McpCommand};
use crate::commands::asking;
use crate::configuration::Configuration;
use crate::project::Project;
use crate::view;

/// The most characters of a description in a list.
const DESCRIPTION_CHARACTERS: usize = 300;

/// Serves, or does something with a server.
pub async fn run(project: &Project, arguments: Mcp) -> Result<ExitCode> {
    let Some(command) = arguments.command else {
        return serve::run(project, arguments).await;
    };
    // What is wrong with the file is said here.
    Configuration::find()?;
    let servers = project.servers();
    match command {
        McpCommand::List { json } => list(&servers, json),
        McpCommand::Show { server, json } => show(&servers, &server, json).await,
        McpCommand::Approve { server, tools, yes } => approve(&servers, &server, &tools, yes).await,
        McpCommand::Forget { server, tools } => {
            servers.config(&server)?;
            servers.pins().forget(&server, &tools)?;
            view::say(&format!(
                "no longer approved: {}",
                match tools.is_empty() {
                    true => format!("all of {server}"),
                    false => tools.join(", "),
                }
            ));
            Ok(ExitCode::SUCCESS)
        }
        McpCommand::Call {
            tool,
            arguments,
            resume,
            json,
        } => match (tool, resume) {
            (Some(tool), _) => call::start(project, &servers, &tool, arguments, json).await,
            (None, Some(id)) => call::resume(project, &id, json).await,
            (None, None) => bail!("name a tool\nhint: plumb mcp call SERVER/TOOL '{{}}'"),
        },
        McpCommand::Login { server, scope } => login(&servers, &server, scope).await,
        McpCommand::Logout { server } => {
            let Some(url) = &servers.config(&server)?.url else {
                bail!("{server} is a program: it wants no login");
            };
            servers.keys().forget(&server, url)?;
            view::say(&format!("logged out of {server}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// No server is started.
fn list(servers: &Servers, json: bool) -> Result<ExitCode> {
    let mut listed = Vec::new();
    for (name, config) in servers.all() {
        let approved = servers.pins().of(name)?;
        let names: Vec<&String> = approved.keys().collect();
        let logged_in = config.url.as_ref().map(|url| servers.keys().has(name, url));
        listed.push(
            json!({"server": name, "command": config.command, "url": config.url,
            "approved": names, "logged_in": logged_in}),
        );
    }
    if json {
        view::print_json(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if listed.is_empty() {
        view::say(
            "no MCP servers\nhint: describe one in plumb.toml: [mcp.NAME] command = [\"...\"], or url = \"...\"",
        );
    }
    for (name, config) in servers.all() {
        let at = config
            .url
            .clone()
            .unwrap_or_else(|| config.command.join(" "));
        let approved: Vec<String> = servers.pins().of(name)?.into_keys().collect();
        let approved = match approved.is_empty() {
            true => format!("nothing approved; plumb mcp approve {name}"),
            false => approved.join(", "),
        };
        view::print(&format!("{name}  {at}\n  {approved}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a server offers now, beside what was approved.
async fn show(servers: &Servers, server: &str, json: bool) -> Result<ExitCode> {
    let offered = servers.offered(server).await?;
    let (about, protocol) = servers.about(server).await?;
    let approved = servers.pins().of(server)?;
    let state = |tool: &Definition| match approved.get(&tool.name) {
        None => "not approved",
        Some(pin) if pin.hash == tool.hash() => "approved",
        Some(_) => "changed since it was approved",
    };
    let effect = |tool: &Definition| {
        let own = servers
            .config(server)
            .ok()?
            .effects
            .get(&tool.name)
            .copied();
        let effect = own.unwrap_or_else(|| tool.annotations.effect());
        Some(json!(effect).as_str()?.to_owned())
    };
    if json {
        let tools = offered.iter().map(|tool| {
            json!({"tool": tool, "effect": effect(tool), "state": state(tool), "hash": tool.hash()})
        });
        let tools: Vec<_> = tools.collect();
        view::print_json(
            &json!({"server": server, "name": about, "protocol": protocol, "tools": tools}),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    view::print(&format!(
        "{server}: {}, protocol {protocol}\n",
        plain(&about)
    ))?;
    for tool in &offered {
        view::print(&shown(tool, &effect(tool).unwrap_or_default(), state(tool)))?;
        let pin = approved.get(&tool.name);
        for found in pin.iter().flat_map(|pin| pin.tool.differences(tool)) {
            view::print(&format!("    {} was: {}\n", found.of, plain(&found.was)))?;
        }
    }
    let gone = approved
        .keys()
        .filter(|name| !offered.iter().any(|tool| tool.name == **name));
    for name in gone {
        view::print(&format!("{name}  (approved, and no longer there)\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(tool: &Definition, effect: &str, state: &str) -> String {
    let arguments = tool.schema["properties"].as_object();
    let arguments: Vec<&str> = arguments
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    format!(
        "{}({})  {effect}, {state}\n    {}\n",
        plain(&tool.name),
        plain(&arguments.join(", ")),
        plain(&tool.description).replace('\n', "\n    ")
    )
}

/// A server's text without what a terminal would obey, and not too long.
fn plain(text: &str) -> String {
    let shown = |c: &char| *c == '\n' || !c.is_control();
    let text: String = text.trim().chars().filter(shown).collect();
    match text.char_indices().nth(DESCRIPTION_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Approves what a person has seen.
async fn approve(servers: &Servers, server: &str, names: &[String], yes: bool) -> Result<ExitCode> {
    let mut offered = servers.offered(server).await?;
    if let Some(missing) = names
        .iter()
        .find(|name| !offered.iter().any(|tool| tool.name == **name))
    {
        let there: Vec<&str> = offered.iter().map(|tool| tool.name.as_str()).collect();
        bail!(
            "{server} has no tool {missing}\nhint: there are {}",
            there.join(", ")
        );
    }
    offered.retain(|tool| names.is_empty() || names.contains(&tool.name));
    let config = servers.config(server)?;
    for tool in &offered {
        let effect = config.effects.get(&tool.name).copied();
        let effect = json!(effect.unwrap_or_else(|| tool.annotations.effect()));
        view::say(shown(tool, effect.as_str().unwrap_or_default(), "to be approved").trim_end());
    }
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("nobody is there to approve it\nhint: look at the tools above, then --yes");
        }
        let question = format!("Approve these {} tools of {server}?", offered.len());
        if !asking::yes(&question)? {
            view::say("not approved");
            return Ok(ExitCode::from(1));
        }
    }
    servers.pins().approve(server, &offered, view::now_ms())?;
    view::say(&format!(
        "approved {} tools of {server}; agents name them as mcp:{server}/*",
        offered.len()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Logs in with the person's browser.
async fn login(servers: &Servers, server: &str, scope: Option<String>) -> Result<ExitCode> {
    let scopes = scope.iter().flat_map(|scope| scope.split_whitespace());
    let scopes = scopes.map(str::to_owned).collect();
    servers
        .login(server, scopes, |address| {
            view::say(&format!(
                "open this address to log in:\n{}",
                plain_address(address)
            ));
            open_browser(address);
        })
        .await?;
    view::say(&format!("logged in at {server}"));
    Ok(ExitCode::SUCCESS)
}

fn plain_address(address: &str) -> String {
    address.chars().filter(|c| c.is_ascii_graphic()).collect()
}

/// By `$BROWSER`, or the desktop's own way; where there is none, the address has been said.
fn open_browser(address: &str) {
    let own = std::env::var("BROWSER").ok().filter(|own| !own.is_empty());
    let program = own.unwrap_or_else(|| match cfg!(target_os = "macos") {
        true => "open".to_owned(),
        false => "xdg-open".to_owned(),
    });
    let opened = std::process::Command::new(program)
        .arg(address)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    if let Ok(mut browser) = opened {
        // Nobody waits for a browser; but what has ended is taken note of.
        std::thread::spawn(move || browser.wait());
    }
}
