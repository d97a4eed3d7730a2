//! One client scenario: what a user types to use the suite's server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// The server's name in `plumb.toml`.
const SERVER: &str = "suite";

/// How often a login is tried before a user gives up.
const MOST_LOGINS: usize = 3;

/// A project of its own, with the suite's server in it.
struct Desk {
    plumb: PathBuf,
    folder: PathBuf,
    secret: Option<String>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What is left over in a temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Does what the scenario named in the environment wants of a client.
pub(super) fn run(plumb: &Path, address: &str) -> Result<()> {
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let version = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_default();
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_default();
    let context: Value = serde_json::from_str(&context).unwrap_or_default();
    let desk = Desk::new(plumb, address, &version, &context)?;
    let shown = desk.typed_logging_in(&["mcp", "show", SERVER, "--json"])?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    desk.typed_logging_in(&["mcp", "approve", SERVER, "--yes"])?;
    let tools = shown["tools"].as_array().cloned().unwrap_or_default();
    let calls: Vec<(String, Value)> = match context["toolCalls"].as_array() {
        Some(calls) => calls.iter().map(call_of).collect(),
        None => tools
            .iter()
            .map(|tool| made_up(&scenario, tool, &tools))
            .collect(),
    };
    if scenario == "sep-2322-client-request-state" {
        return desk.side_by_side(&calls);
    }
    for (name, arguments) in &calls {
        desk.call(name, arguments)?;
    }
    Ok(())
}

fn call_of(call: &Value) -> (String, Value) {
    (
        call["name"].as_str().unwrap_or_default().to_owned(),
        call["arguments"].clone(),
    )
}

/// A call of a tool, with something for what it wants.
fn made_up(scenario: &str, tool: &Value, tools: &[Value]) -> (String, Value) {
    let name = tool["tool"]["name"].as_str().unwrap_or_default();
    let schema = &tool["tool"]["schema"];
    let mut arguments = serde_json::Map::new();
    for (field, of) in schema["properties"].as_object().into_iter().flatten() {
        let value = match of["type"].as_str() {
            Some("number" | "integer") => json!(7),
            Some("boolean") => json!(true),
            Some("object") => json!({}),
            Some("array") => json!([]),
            _ => json!("something"),
        };
        arguments.insert(field.clone(), value);
    }
    if scenario == "json-schema-2020-12-preservation" && arguments.contains_key("schema") {
        // What it sent of its other tool, sent back.
        let other = tools
            .iter()
            .find(|other| other["tool"]["name"] != tool["tool"]["name"]);
        let other = other.map(|other| other["tool"]["schema"].clone());
        arguments.insert("schema".to_owned(), other.unwrap_or_default());
    }
    (name.to_owned(), arguments.into())
}

impl Desk {
    fn new(plumb: &Path, address: &str, version: &str, context: &Value) -> Result<Desk> {
        let folder = std::env::temp_dir().join(format!("plumb-conformance-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut lines = vec![format!("[mcp.{SERVER}]"), format!("url = \"{address}\"")];
        if !version.is_empty() {
            lines.push(format!("protocol = \"{version}\""));
        }
        lines.push(format!("[mcp.{SERVER}.login]"));
        let secret = context["client_secret"].as_str().map(str::to_owned);
        match context["client_id"].as_str() {
            Some(id) => lines.push(format!("client_id = \"{id}\"")),
            None => lines.push(
                "client_metadata_url = \"https://conformance-test.local/client-metadata.json\""
                    .to_owned(),
            ),
        }
        if secret.is_some() {
            lines.push("client_secret = \"SUITE_SECRET\"".to_owned());
        }
        std::fs::write(folder.join("plumb.toml"), lines.join("\n") + "\n")?;
        std::fs::create_dir_all(folder.join(".plumb"))?;
        write_browser(&folder.join("browser"))?;
        Ok(Desk {
            plumb: plumb.to_owned(),
            folder,
            secret,
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.plumb);
        command
            .args(words)
            .current_dir(&self.folder)
            .env("BROWSER", self.folder.join("browser"))
            .stdin(Stdio::null());
        if let Some(secret) = &self.secret {
            command.env("SUITE_SECRET", secret);
        }
        command
    }

    fn typed(&self, words: &[&str]) -> Result<Output> {
        eprintln!("$ plumb {}", words.join(" "));
        let output = self.command(words).output()?;
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    /// Logs in where that is said to be wanted; whether it was.
    fn logs_in(&self, output: &Output) -> Result<bool> {
        let said = String::from_utf8_lossy(&output.stderr);
        let wanted = format!("plumb mcp login {SERVER}");
        let Some((_, rest)) = said.split_once(&wanted) else {
            return Ok(false);
        };
        let scope = rest
            .strip_prefix(" --scope '")
            .and_then(|rest| rest.split_once('\''));
        let mut words = vec!["mcp", "login", SERVER];
        if let Some((scope, _)) = scope {
            words.extend(["--scope", scope]);
        }
        if !self.typed(&words)?.status.success() {
            bail!("the login failed");
        }
        Ok(true)
    }

    fn typed_logging_in(&self, words: &[&str]) -> Result<Output> {
        for _ in 0..MOST_LOGINS {
            let output = self.typed(words)?;
            if output.status.success() {
                return Ok(output);
            }
            if !self.logs_in(&output)? {
                bail!("plumb {} failed", words.join(" "));
            }
        }
        bail!("logged in {MOST_LOGINS} times, and it was not enough")
    }

    /// Calls a tool; logs in, and answers questions, where that is wanted.
    fn call(&self, name: &str, arguments: &Value) -> Result<()> {
        let tool = format!("{SERVER}/{name}");
        let arguments = arguments.to_string();
        let mut words = vec!["mcp".to_owned(), "call".to_owned(), tool, arguments];
        for _ in 0..MOST_LOGINS {
            let mut running = self.running(&words)?;
            while running.try_wait()?.is_none() {
                // It may ask while its call is under way.
                self.answer_all()?;
                std::thread::sleep(Duration::from_millis(50));
            }
            let output = running.wait_with_output()?;
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            self.logs_in(&output)?;
            let said = String::from_utf8_lossy(&output.stderr);
            let Some((_, id)) = said.split_once("plumb mcp call --resume ") else {
                return Ok(());
            };
            let id = id.split_whitespace().next().context("no run is named")?;
            self.answer_all()?;
            words = ["mcp", "call", "--resume", id].map(str::to_owned).to_vec();
        }
        bail!("{name} was tried {MOST_LOGINS} times")
    }

    /// Calls all tools at the same time.
    fn side_by_side(&self, calls: &[(String, Value)]) -> Result<()> {
        std::thread::scope(|scope| {
            let calling = calls
                .iter()
                .map(|(name, arguments)| scope.spawn(move || self.call(name, arguments)));
            let calling: Vec<_> = calling.collect();
            for call in calling {
                call.join()
                    .map_err(|_| anyhow::anyhow!("a call has failed"))??;
            }
            Ok(())
        })
    }

    fn running(&self, words: &[String]) -> Result<std::process::Child> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        eprintln!("$ plumb {}", words.join(" "));
        let mut command = self.command(&words);
        Ok(command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    /// Answers every open question: yes, or with a form that is left as it is.
    fn answer_all(&self) -> Result<()> {
        let open = self.command(&["questions", "--json"]).output()?;
        let open: Value = serde_json::from_slice(&open.stdout).unwrap_or_default();
        for question in open.as_array().into_iter().flatten() {
            let text = |name: &str| question[name].as_str().unwrap_or_default().to_owned();
            let answer = match question["schema"]["type"].as_str() {
                Some("boolean") => json!(true),
                _ => filled(&question["schema"]["anyOf"][0]),
            };
            let answer = answer.to_string();
            // Another call may have answered it already.
            self.typed(&["answer", &text("run"), &text("path"), &answer])?;
        }
        Ok(())
    }
}

/// A form with what it requires.
fn filled(form: &Value) -> Value {
    let mut filled = serde_json::Map::new();
    let required = form["required"].as_array().cloned().unwrap_or_default();
    for name in required.iter().filter_map(Value::as_str) {
        let field = &form["properties"][name];
        let value = match (field["type"].as_str(), field["enum"].as_array()) {
            (_, Some(choices)) => choices.first().cloned().unwrap_or_default(),
            (Some("boolean"), _) => json!(true),
            (Some("number" | "integer"), _) => json!(7),
            _ => json!("something"),
        };
        filled.insert(name.to_owned(), value);
    }
    filled.into()
}

/// A browser that follows where it is sent, and asks nobody.
fn write_browser(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let node = std::env::var("PLUMB_CONFORMANCE_NODE").unwrap_or_else(|_| "node".to_owned());
    let script = format!("#!/bin/sh\nexec '{node}' -e 'fetch(process.argv[1])' \"$1\"\n");
    std::fs::write(path, script)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    Ok(())
}
