//! The conformance suite of the Model Context Protocol against the built `plumb`, as client and as server, in both
//! versions of the protocol. Needs npm and its registry once; then it runs offline.
//!
//! The client is driven as a user drives it: `plumb.toml` names the suite's server, then `plumb mcp approve`, `plumb
//! mcp call`, and `plumb mcp login` where the server wants it (`client`). The server is `plumb mcp` with agents
//! whose model is a stub (`stub`), and with a server that it passes on (`server.py` of the tests). What is expected to fail, and why, stands in
//! `crates/cli/tests/conformance/expected-VERSION.yml`.

mod client;
pub(crate) mod servers;
mod stub;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::clients::{Serving, listening};
use crate::workspace;

/// What npm is asked for. The suite wants a newer node than many machines have.
const PACKAGES: [&str; 2] = [
    "node@22.23.3",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
];

const VERSIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

const HELP: &str = "\
Usage: cargo xtask mcp-conformance [client|server] [--version 2025-11-25|2026-07-28] [--scenario NAME]

Runs the conformance suite of MCP against the built plumb: all of it, or a part.
";

/// What is run.
struct Part {
    roles: Vec<&'static str>,
    versions: Vec<&'static str>,
    scenario: Option<String>,
}

/// Runs what is asked for; fails when something fails that is not expected to, or the other way round.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    // As the suite starts it for each scenario.
    if let [first, plumb, address] = arguments
        && first == "as-client"
    {
        return client::run(Path::new(plumb), address);
    }
    let Some(part) = part(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    let tools = install()?;
    let plumb = workspace::metadata(root)?
        .target_directory
        .join("debug/plumb");
    let mut failed = Vec::new();
    for version in &part.versions {
        for role in &part.roles {
            println!("== {role}, {version}");
            let mut suite = Command::new(tools.join("node"));
            suite.arg(tools.join("conformance")).arg(role);
            match &part.scenario {
                Some(scenario) => suite.args(["--scenario", scenario, "--spec-version", version]),
                None => suite.args(["--requirements", version]),
            };
            let expected = root.join(format!(
                "crates/cli/tests/conformance/expected-{version}.yml"
            ));
            suite.arg("--expected-failures").arg(expected);
            // Its example servers are on this machine; nothing else is to be reached.
            suite.env("PLUMB_OFFLINE", "1");
            let passed = match *role {
                "client" => {
                    let own = std::env::current_exe()?;
                    let command = format!(
                        "{} mcp-conformance as-client {}",
                        own.display(),
                        plumb.display()
                    );
                    suite.env("PLUMB_CONFORMANCE_NODE", tools.join("node"));
                    suite
                        .args(["--command", &command, "--timeout", "60000"])
                        .status()?
                        .success()
                }
                _ => {
                    let (_serving, address) = serve(root, &plumb)?;
                    suite.args(["--url", &address]).status()?.success()
                }
            };
            if !passed {
                failed.push(format!("{role}, {version}"));
            }
        }
    }
    if !failed.is_empty() {
        bail!("not as expected: {}", failed.join("; "));
    }
    Ok(())
}

fn part(arguments: &[String]) -> Result<Option<Part>> {
    let mut part = Part {
        roles: vec!["client", "server"],
        versions: VERSIONS.to_vec(),
        scenario: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "client" => part.roles = vec!["client"],
            "server" => part.roles = vec!["server"],
            "--version" => {
                let wanted = arguments.next().context("--version wants a value")?;
                part.versions.retain(|version| version == wanted);
                if part.versions.is_empty() {
                    bail!(
                        "there is no version {wanted}; there are {}",
                        VERSIONS.join(" and ")
                    );
                }
            }
            "--scenario" => {
                let name = arguments.next().context("--scenario wants a value")?;
                part.scenario = Some(name.clone());
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(part))
}

/// Fetches the suite and its node, once, and gives the folder with both.
fn install() -> Result<PathBuf> {
    let folder = workspace::cache()?.join("mcp-conformance");
    let bin = folder.join("node_modules/.bin");
    let wanted = PACKAGES.join(" ");
    let mark = folder.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(bin);
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund"])
        .args(PACKAGES)
        .current_dir(&folder);
    workspace::output(&mut npm).context("hint: npm comes with node")?;
    // The package's own script, which npm may leave out, puts the program there.
    let script = folder.join("node_modules/node");
    if !bin.join("node").exists()
        || Command::new(bin.join("node"))
            .arg("--version")
            .output()
            .is_err()
    {
        let mut script_run = Command::new("node");
        script_run
            .arg("installArchSpecificPackage.js")
            .current_dir(script);
        workspace::output(&mut script_run)?;
    }
    std::fs::write(mark, wanted)?;
    Ok(bin)
}

/// Serves the agents of the tests and waits until it is said where.
fn serve(root: &Path, plumb: &Path) -> Result<(Serving, String)> {
    let model = stub::start()?;
    let project = workspace::cache()?.join("mcp-conformance/server");
    std::fs::create_dir_all(&project)?;
    let fixture = root.join("crates/cli/tests/conformance/server.py");
    let file = format!("[mcp.suite]\ncommand = [\"python3\", {:?}]\n", fixture);
    std::fs::write(project.join("plumb.toml"), file)?;
    let mut approving = Command::new(plumb);
    approving
        .args(["mcp", "approve", "suite", "--yes", "--project"])
        .arg(&project);
    workspace::output(approving.current_dir(&project))?;
    let mut server = Command::new(plumb);
    server
        .args([
            "mcp",
            "--no-token",
            "--listen",
            "127.0.0.1:0",
            "--base-url",
            &model,
        ])
        .args(["--model", "openai:stub", "--server", "suite"])
        .arg(root.join("crates/cli/tests/conformance/agents"))
        .arg("--project")
        .arg(&project)
        .current_dir(&project)
        .env("OPENAI_API_KEY", "none-is-needed")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    listening(server, plumb)
}
