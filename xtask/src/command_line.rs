//! The reference of the command line, `docs/reference/command-line.md`, made from what `plumb --help`
//! prints: one definition gives the help, the completions and the documentation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

const PAGE: &str = "docs/reference/command-line.md";

const HEAD: &str = "\
# Command line

What `plumb --help` and `plumb COMMAND --help` print. Made by `cargo xtask command-line`; do not edit. Environment
variables and exit status are in [Configuration](configuration.md).
";

/// The commands in the order of the page; the first is the program itself.
const COMMANDS: [&[&str]; 23] = [
    &[],
    &["research"],
    &["chat"],
    &["run"],
    &["check"],
    &["new"],
    &["new", "agent"],
    &["index"],
    &["search"],
    &["models"],
    &["models", "pull"],
    &["serve"],
    &["mcp"],
    &["mcp", "list"],
    &["mcp", "show"],
    &["mcp", "approve"],
    &["mcp", "forget"],
    &["mcp", "call"],
    &["mcp", "login"],
    &["mcp", "logout"],
    &["runs"],
    &["runs", "show"],
    &["resume"],
];

/// Writes the page, or with `--check` fails when it is not up to date.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let check = match arguments {
        [] => false,
        [check] if check == "--check" => true,
        _ => bail!("usage: cargo xtask command-line [--check]"),
    };
    let binary = workspace::metadata(root)?
        .target_directory
        .join("debug")
        .join("plumb");
    let page = page(&binary)?;
    let path = root.join(PAGE);
    if std::fs::read_to_string(&path).is_ok_and(|old| old == page) {
        println!("command-line: up to date");
        return Ok(());
    }
    if check {
        bail!("{PAGE} is not what plumb --help prints\nhint: cargo xtask command-line");
    }
    std::fs::write(&path, page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("command-line: wrote {PAGE}");
    Ok(())
}

fn page(binary: &Path) -> Result<String> {
    let mut page = HEAD.to_owned();
    for command in COMMANDS {
        let name = std::iter::once("plumb")
            .chain(command.iter().copied())
            .collect::<Vec<_>>()
            .join(" ");
        // Help shows the values of environment variables, which are of one machine.
        let help = workspace::output(Command::new(binary).args(command).arg("--help").env_clear())
            .context("hint: cargo build")?;
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        page.push_str(&format!(
            "\n## {name}\n```\n{}\n```\n",
            lines.join("\n").trim_end()
        ));
    }
    Ok(page)
}
