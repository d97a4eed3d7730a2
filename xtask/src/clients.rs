//! The official clients of OpenAI's API against `plumb serve`, with a real model: both majors of the
//! package for Python, and the one for Node. Needs pip, npm and their registries; not part of the tests.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

const TOKEN: &str = "clients-only";
const HELP: &str = "\
Usage: cargo xtask clients [--binary FILE] [--model NAME]

Runs crates/server/tests/clients/ against `plumb serve --models`.

  --binary FILE   the plumb to test [default: the one in the target directory]
  --model NAME    the model that answers [default: local:qwen2.5-coder-1.5b]
";

/// The packages that are tried: what it is called here, and what pip is asked for.
const PYTHON: &[(&str, &str)] = &[("openai-2", "openai<3"), ("openai-3", "openai>=3,<4")];

/// A server that ends with its value.
pub(crate) struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs every client; fails with the first whose checks do.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let mut binary = workspace::metadata(root)?
        .target_directory
        .join("debug/plumb");
    let mut model = "local:qwen2.5-coder-1.5b".to_owned();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .with_context(|| format!("{argument} wants a value"))
        };
        match argument.as_str() {
            "--binary" => binary = PathBuf::from(value()?),
            "--model" => model = value()?.clone(),
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    let cache = workspace::cache()?.join("clients");
    std::fs::create_dir_all(&cache)?;
    let scripts = root.join("crates/server/tests/clients");
    let (serving, address) = serve(&binary, &model)?;
    for (name, package) in PYTHON {
        let python = python(&cache.join(name), package)?;
        println!("== {name}");
        let script = scripts.join("openai_client.py");
        check(
            Command::new(python)
                .arg(script)
                .args([&address, TOKEN, &model]),
        )?;
    }
    println!("== node");
    let script = node(&cache.join("node"), &scripts.join("openai_client.mjs"))?;
    check(
        Command::new("node")
            .arg(script)
            .args([&address, TOKEN, &model]),
    )?;
    drop(serving);
    Ok(())
}

/// Starts a server and waits until it says where it listens.
fn serve(binary: &Path, model: &str) -> Result<(Serving, String)> {
    let mut server = Command::new(binary);
    server.args([
        "serve",
        "--models",
        "--model",
        model,
        "--listen",
        "127.0.0.1:0",
    ]);
    server.env("PLUMB_TOKEN", TOKEN).stderr(Stdio::piped());
    listening(server, binary)
}

/// Starts a server of the program `binary`; gives it with the address at which it says that it listens.
pub(crate) fn listening(mut server: Command, binary: &Path) -> Result<(Serving, String)> {
    let started = server.spawn();
    let mut serving =
        Serving(started.with_context(|| format!("cannot start {}", binary.display()))?);
    let said = serving
        .0
        .stderr
        .take()
        .context("it has no standard error")?;
    let mut lines = BufReader::new(said).lines();
    for line in lines.by_ref() {
        let line = line?;
        println!("{line}");
        let address = line
            .split_once(" at ")
            .and_then(|(_, rest)| rest.split_once(';'));
        if let Some((address, _)) = address {
            let address = address.to_owned();
            // What it says later must not fill the pipe.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((serving, address));
        }
    }
    bail!("the server ended before it listened")
}

/// The interpreter of a virtual environment that has the package.
fn python(folder: &Path, package: &str) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    if !python.exists() {
        check(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    }
    check(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]))?;
    Ok(python)
}

/// The script beside the packages that it needs.
fn node(folder: &Path, script: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let mut install = Command::new("npm");
    install
        .args(["install", "--silent", "openai@6", "zod@4"])
        .current_dir(folder);
    check(&mut install)?;
    let copy = folder.join("openai_client.mjs");
    std::fs::copy(script, &copy)?;
    Ok(copy)
}

fn check(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
