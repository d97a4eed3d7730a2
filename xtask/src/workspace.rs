//! Where the workspace is, what it is made of, and where its caches lie.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The folder of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    // Asked at run time: clones that share a target directory share this program too.
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Ok(Path::new(&here)
        .parent()
        .context("xtask has no parent folder")?
        .to_owned())
}

/// A folder of this machine for what can be fetched or computed again.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("the environment variable HOME is not set")?;
    Ok(PathBuf::from(home).join(".cache").join("plumb"))
}

/// What `cargo metadata` says about the workspace's own packages.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// The workspace's packages.
    pub(crate) packages: Vec<Package>,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// What it depends on, for whatever purpose.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One dependency of a package.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// The name of the package depended on.
    pub(crate) name: String,
    /// Its folder, if it is one of ours.
    pub(crate) path: Option<PathBuf>,
}

/// Asks cargo about the workspace's own packages.
pub(crate) fn metadata(root: &Path) -> Result<Metadata> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root);
    Ok(serde_json::from_str(&output(&mut command)?)?)
}

/// Runs a command and returns what it printed; what it says on standard error is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// All files below `folder`, sorted; build folders, version control and local data are left out.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                // Cargo marks the folders it builds in with this file.
                let built = path.join("CACHEDIR.TAG").exists();
                if !built && !matches!(name.as_str(), ".git" | ".plumb" | "target" | "__pycache__")
                {
                    folders.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
