//! Data of the Berkeley Function-Calling Leaderboard (Apache-2.0), fetched with the Python package that carries it
//! and pinned by its SHA-256, and the measure of local models on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

const PACKAGE: &str = "bfcl-eval==2026.3.23";
const WHEEL: &str = "bfcl_eval-2026.3.23-py3-none-any.whl";
const SHA256: &str = "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a";
const MODELS: [&str; 2] = ["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"];
const HELP: &str = "\
Usage: cargo xtask bfcl [--cases N] [--model NAME]...

Measures how well local models call tools, on data of the Berkeley Function-Calling Leaderboard.

  --cases N      cases of each subset, taken at even distances [default: 50]
  --model NAME   a local model (may be repeated) [default: qwen2.5-coder-0.5b and qwen2.5-coder-1.5b]
";

/// Fetches the data where it is missing, and measures.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let (mut cases, mut models) = ("50".to_owned(), Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.with_context(|| format!("{argument} wants a value"))
        };
        match argument.as_str() {
            "--cases" => cases = value()?.clone(),
            "--model" => models.push(value()?.as_str()),
            _ => {
                print!("{HELP}");
                return Ok(());
            }
        }
    }
    if models.is_empty() {
        models.extend(MODELS);
    }
    let data = data()?;
    for model in models {
        let mut bench = Command::new("cargo");
        bench.args([
            "bench",
            "--profile",
            "dev",
            "-p",
            "plumb-model",
            "--bench",
            "tools",
            "--",
        ]);
        bench.arg(&data).args([model, &cases]).current_dir(root);
        check(&mut bench)?;
    }
    Ok(())
}

/// The folder of the data.
fn data() -> Result<PathBuf> {
    let cache = workspace::cache()?.join("bfcl");
    let data = cache.join("bfcl_eval/data");
    if data.is_dir() {
        return Ok(data);
    }
    std::fs::create_dir_all(&cache)?;
    let mut download = Command::new("python3");
    download.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        PACKAGE,
        "-d",
    ]);
    check(download.arg(&cache))?;
    let wheel = cache.join(WHEEL);
    let sum = Command::new("sha256sum").arg(&wheel).output()?;
    let sum = String::from_utf8_lossy(&sum.stdout);
    if !sum.starts_with(SHA256) {
        bail!(
            "{} has another checksum than {SHA256}: {sum}",
            wheel.display()
        );
    }
    let mut unpack = Command::new("python3");
    check(unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&cache))?;
    Ok(data)
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
