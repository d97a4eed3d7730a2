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
    add(binary, &[], &mut page)?;
    Ok(page)
}

/// Adds what the help of a command says, and then that of the commands that it lists.
fn add(binary: &Path, command: &[String], page: &mut String) -> Result<()> {
    let name = [&["plumb".to_owned()], command].concat().join(" ");
    // Help shows the values of environment variables, which are of one machine.
    let help = workspace::output(Command::new(binary).args(command).arg("--help").env_clear())
        .context("hint: cargo build")?;
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!(
        "\n## {name}\n```\n{}\n```\n",
        lines.join("\n").trim_end()
    ));
    for below in commands(&lines) {
        add(binary, &[command, &[below.to_owned()]].concat(), page)?;
    }
    Ok(())
}

/// The commands that a help lists.
fn commands<'a>(help: &[&'a str]) -> Vec<&'a str> {
    help.iter()
        .skip_while(|line| **line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // What is indented more goes on with the line before.
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
        })
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn commands_are_read_from_the_help() {
        let help = [
            "Usage: plumb",
            "",
            "Commands:",
            "  runs  List them",
            "        and more",
            "  gc    Old",
            "  help  Print this",
            "",
            "Options:",
            "  -h  Help",
        ];
        assert_eq!(commands(&help), ["runs", "gc"]);
    }
}
