//! The documentation that the evaluation set asks about, taken from Debian packages without root:
//! `apt-get download` and `dpkg -x` into a cache folder outside the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace;

/// One folder of documents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    /// The folder's name.
    name: String,
    /// The Debian package that ships the documents.
    package: String,
    /// The version that the questions were checked against.
    version: String,
    /// The folder inside the package.
    folder: PathBuf,
    /// File names end with one of these.
    endings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    corpus: Vec<Corpus>,
}

/// Where the corpora lie: `PLUMB_CORPORA`, else a cache folder in the user's home.
pub(crate) fn folder() -> Result<PathBuf> {
    match std::env::var_os("PLUMB_CORPORA") {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Ok(workspace::cache()?.join("corpora")),
    }
}

/// Fetches all corpora that are missing.
pub(crate) fn run(root: &Path) -> Result<()> {
    let all = read(root)?.into_iter().map(|corpus| corpus.name).collect();
    ensure(root, &all)?;
    println!("corpora: {}", folder()?.display());
    Ok(())
}

/// Fetches those of `names` that are missing.
pub(crate) fn ensure(root: &Path, names: &BTreeSet<String>) -> Result<()> {
    let folder = folder()?;
    let corpora = read(root)?;
    for name in names {
        let Some(corpus) = corpora.iter().find(|corpus| corpus.name == *name) else {
            bail!("evals/research/corpora.toml has no corpus {name}");
        };
        if !folder.join(name).is_dir() {
            fetch(corpus, &folder).with_context(|| format!("cannot fetch the corpus {name}"))?;
        }
    }
    Ok(())
}

fn read(root: &Path) -> Result<Vec<Corpus>> {
    let path = root.join("evals/research/corpora.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let file: File =
        toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
    Ok(file.corpus)
}

fn fetch(corpus: &Corpus, folder: &Path) -> Result<()> {
    // Two evaluations may start at the same time.
    let work = folder.join(format!(".{}.{}", corpus.name, std::process::id()));
    let (unpacked, collected) = (work.join("unpacked"), work.join("collected"));
    std::fs::create_dir_all(&unpacked)?;
    std::fs::create_dir_all(&collected)?;
    eprintln!(
        "fetching {} from the package {}",
        corpus.name, corpus.package
    );
    workspace::output(
        Command::new("apt-get")
            .args(["-q", "download", &corpus.package])
            .current_dir(&work),
    )
    .context("hint: this needs Debian 12 and its package lists (apt-get update)")?;
    let package = std::fs::read_dir(&work)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get downloaded nothing")?;
    warn_of_other_version(corpus, &package)?;
    workspace::output(Command::new("dpkg").arg("-x").arg(&package).arg(&unpacked))?;
    let source = unpacked.join(&corpus.folder);
    let count = collect(&source, &collected, &corpus.endings)?;
    if count == 0 {
        bail!(
            "the package {} has no such documents in {}",
            corpus.package,
            corpus.folder.display()
        );
    }
    if let Err(error) = std::fs::rename(&collected, folder.join(&corpus.name))
        && !folder.join(&corpus.name).is_dir()
    {
        return Err(error.into());
    }
    std::fs::remove_dir_all(&work)?;
    eprintln!("  {count} files");
    Ok(())
}

fn warn_of_other_version(corpus: &Corpus, package: &Path) -> Result<()> {
    let found = workspace::output(
        Command::new("dpkg-deb")
            .arg("--field")
            .arg(package)
            .arg("Version"),
    )?;
    if found.trim() != corpus.version {
        eprintln!(
            "  note: this is version {}, the questions were checked against {}; see cargo xtask eval-research --check",
            found.trim(),
            corpus.version
        );
    }
    Ok(())
}

/// Copies files with one of the endings, links followed, and returns how many.
fn collect(source: &Path, target: &Path, endings: &[String]) -> Result<usize> {
    let mut count = 0;
    for path in workspace::files(source)? {
        let relative = path.strip_prefix(source)?;
        let name = relative.to_string_lossy();
        // A link may point out of the package.
        if !path.exists() || !endings.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        let copy = target.join(relative);
        if let Some(parent) = copy.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(&path, &copy).with_context(|| format!("cannot copy {}", path.display()))?;
        count += 1;
    }
    Ok(count)
}
