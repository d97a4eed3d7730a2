//! Real servers of others, used as a user uses them: configured, approved and called. Needs npm, pip and their
//! registries once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::workspace;

const NPM: [&str; 3] = [
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
];
const PIP: [&str; 2] = ["mcp-server-git", "mcp-server-time"];

/// A call, and what its answer has to contain.
struct Case {
    tool: &'static str,
    arguments: &'static str,
    contains: &'static str,
}

const CASES: &[Case] = &[
    case("everything/echo", r#"{"message": "hello"}"#, "hello"),
    case("everything/get-sum", r#"{"a": 2, "b": 3}"#, "5"),
    case("everything/get-tiny-image", "{}", "[image/png, "),
    case(
        "everything/trigger-long-running-operation",
        r#"{"duration": 1, "steps": 2}"#,
        "completed",
    ),
    case("everything/@resources", "{}", "uri"),
    case("everything/@prompts", "{}", "name"),
    case(
        "filesystem/list_directory",
        r#"{"path": "."}"#,
        "plumb.toml",
    ),
    case(
        "filesystem/write_file",
        r#"{"path": "written.txt", "content": "by plumb"}"#,
        "written.txt",
    ),
    case(
        "filesystem/read_text_file",
        r#"{"path": "written.txt"}"#,
        "by plumb",
    ),
    case(
        "memory/create_entities",
        r#"{"entities": [{"name": "Ada", "entityType": "person", "observations": ["writes programs"]}]}"#,
        "Ada",
    ),
    case("memory/read_graph", "{}", "writes programs"),
    case(
        "git/git_log",
        r#"{"repo_path": ".", "max_count": 1}"#,
        "a first commit",
    ),
    case("time/get_current_time", r#"{"timezone": "UTC"}"#, "UTC"),
];

const fn case(tool: &'static str, arguments: &'static str, contains: &'static str) -> Case {
    Case {
        tool,
        arguments,
        contains,
    }
}

/// Tries every case; fails with those that do not answer as they should.
pub(crate) fn run(root: &Path) -> Result<()> {
    let tools = install()?;
    let plumb = workspace::metadata(root)?
        .target_directory
        .join("debug/plumb");
    let project = project(&tools)?;
    let typed = |words: &[&str]| -> Result<Output> {
        let mut command = command(&plumb, &project, words);
        command
            .output()
            .with_context(|| format!("cannot start {}", plumb.display()))
    };
    for server in ["everything", "filesystem", "memory", "git", "time"] {
        let output = typed(&["mcp", "approve", server, "--yes"])?;
        if !output.status.success() {
            bail!("{server}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let shown: Value =
            serde_json::from_slice(&typed(&["mcp", "show", server, "--json"])?.stdout)?;
        let (name, protocol) = (&shown["name"], &shown["protocol"]);
        println!("{server}: {name}, protocol {protocol}");
    }
    let mut failed = 0;
    for case in CASES {
        let output = typed(&["mcp", "call", case.tool, case.arguments])?;
        let said = String::from_utf8_lossy(&output.stdout);
        let passes = output.status.success() && said.contains(case.contains);
        println!("{} {}", if passes { "ok    " } else { "FAILED" }, case.tool);
        if !passes {
            failed += 1;
            println!("{said}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    if let Err(error) = asked(&plumb, &project) {
        failed += 1;
        println!("FAILED a question of everything: {error:#}");
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} failed", CASES.len() + 1),
    }
}

/// A question in the middle of a call, answered from elsewhere.
fn asked(plumb: &Path, project: &Path) -> Result<()> {
    let words = ["mcp", "call", "everything/trigger-elicitation-request"];
    let calling: Child = command(plumb, project, &words)
        .stdout(Stdio::piped())
        .spawn()?;
    let until = Instant::now() + Duration::from_secs(60);
    let question = loop {
        let open = command(plumb, project, &["questions", "--json"]).output()?;
        let open: Value = serde_json::from_slice(&open.stdout).unwrap_or_default();
        if let Some(question) = open.as_array().and_then(|open| open.first()) {
            break question.clone();
        }
        if Instant::now() > until {
            bail!("nothing is asked");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = |name: &str| question[name].as_str().unwrap_or_default().to_owned();
    let answer = command(
        plumb,
        project,
        &["answer", &text("run"), &text("path"), "\"decline\""],
    )
    .output()?;
    let output = calling.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !answer.status.success() || !said.contains("declined") {
        bail!("{said}{}", String::from_utf8_lossy(&answer.stderr));
    }
    println!("ok     a question of everything, declined");
    Ok(())
}

fn command(plumb: &Path, project: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(plumb);
    command
        .args(words)
        .current_dir(project)
        .env("PLUMB_OFFLINE", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Fetches the servers, once, and gives their folder.
fn install() -> Result<PathBuf> {
    let folder = workspace::cache()?.join("mcp-servers");
    let (mark, wanted) = (
        folder.join("installed"),
        [&NPM[..], &PIP[..]].concat().join(" "),
    );
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund"])
        .args(NPM)
        .current_dir(&folder);
    workspace::output(&mut npm).context("hint: npm comes with node")?;
    let python = folder.join("python");
    workspace::output(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    let mut pip = Command::new(python.join("bin/python"));
    workspace::output(pip.args(["-m", "pip", "install", "--quiet"]).args(PIP))?;
    std::fs::write(mark, wanted)?;
    Ok(folder)
}

/// A project anew, with the servers in its `plumb.toml`.
fn project(tools: &Path) -> Result<PathBuf> {
    let project = tools.join("project");
    if project.exists() {
        std::fs::remove_dir_all(&project)?;
    }
    std::fs::create_dir_all(&project)?;
    let package = |name: &str| {
        tools
            .join("node_modules/@modelcontextprotocol")
            .join(name)
            .join("dist/index.js")
    };
    let python = |name: &str| tools.join("python/bin").join(name);
    let config = format!(
        "[mcp.everything]\ncommand = [\"node\", {:?}, \"stdio\"]\n\
         [mcp.filesystem]\ncommand = [\"node\", {:?}, \".\"]\n\
         [mcp.memory]\ncommand = [\"node\", {:?}]\nenv = {{ MEMORY_FILE_PATH = {:?} }}\n\
         [mcp.git]\ncommand = [{:?}, \"--repository\", \".\"]\n\
         [mcp.time]\ncommand = [{:?}]\n",
        package("server-everything"),
        package("server-filesystem"),
        package("server-memory"),
        project.join("memory.json"),
        python("mcp-server-git"),
        python("mcp-server-time"),
    );
    std::fs::write(project.join("plumb.toml"), config)?;
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Test", "-c", "user.email=test@localhost"]);
        workspace::output(git.args(words).current_dir(&project))
    };
    git(&["init", "--quiet"])?;
    git(&["commit", "--quiet", "--allow-empty", "-m", "a first commit"])?;
    Ok(project)
}
