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
    /// Left out are files whose path in the folder begins with one of these.
    #[serde(default)]
    without: Vec<String>,
    /// The files are manual pages, to be rendered to text.
    #[serde(default)]
    manual: bool,
}

impl Corpus {
    /// Whether a file belongs to the corpus, by its path in the folder.
    fn has(&self, path: &str) -> bool {
        self.endings.iter().any(|ending| path.ends_with(ending))
            && !self.without.iter().any(|start| path.starts_with(start))
    }
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
    let count = collect(&source, &collected, corpus)?;
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

/// Copies the files of a corpus, links followed, and returns how many.
fn collect(source: &Path, target: &Path, corpus: &Corpus) -> Result<usize> {
    let mut count = 0;
    for path in workspace::files(source)? {
        let relative = path.strip_prefix(source)?;
        // A link may point out of the package; among manual pages it is a second name of a page.
        let wanted = path.exists() && !(corpus.manual && path.is_symlink());
        if !wanted || !corpus.has(&relative.to_string_lossy()) {
            continue;
        }
        let copy = target.join(relative);
        if let Some(parent) = copy.parent() {
            std::fs::create_dir_all(parent)?;
        }
        if corpus.manual {
            std::fs::write(copy.with_extension("txt"), rendered(&path)?)?;
        } else {
            std::fs::copy(&path, &copy)
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
        count += 1;
    }
    Ok(count)
}

/// A manual page as text.
fn rendered(page: &Path) -> Result<String> {
    let mut command = Command::new("sh");
    command
        .args(["-c", "man -l \"$1\" | col -b", "sh"])
        .arg(page)
        .envs([("MANWIDTH", "80"), ("LC_ALL", "C.UTF-8")]);
    let text = workspace::output(&mut command)?;
    if text.trim().is_empty() {
        bail!(
            "man printed nothing for {}; hint: apt-get install man-db bsdextrautils",
            page.display()
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_by_the_start_of_its_path() {
        let corpus = Corpus {
            name: "manual".to_owned(),
            package: "manual-doc".to_owned(),
            version: "1".to_owned(),
            folder: PathBuf::new(),
            endings: vec![".html".to_owned()],
            without: vec!["_modules/".to_owned(), "search.html".to_owned()],
            manual: false,
        };
        for path in ["index.html", "reference/search.html", "elasticsearch.html"] {
            assert!(corpus.has(path), "{path}");
        }
        for path in ["_modules/index.html", "search.html", "index.txt"] {
            assert!(!corpus.has(path), "{path}");
        }
    }
}
