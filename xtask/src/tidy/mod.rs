//! Rules of the house that no other tool checks. Each one is a test rather than prose: sizes of
//! files and functions, module documentation, links in the documentation, words that must not get
//! into the tree.

mod links;
mod sizes;
mod words;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// A text file of the tree, its path relative to the root.
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The path with `/`, for messages and lists.
    fn name(&self) -> String {
        self.path.to_string_lossy().replace('\\', "/")
    }

    fn is(&self, extension: &str) -> bool {
        self.path
            .extension()
            .is_some_and(|found| found == extension)
    }
}

/// Fails with everything that is wrong, one line each.
pub(crate) fn run(root: &Path) -> Result<()> {
    let sources = read(root)?;
    let exceptions =
        std::fs::read_to_string(root.join("xtask/tidy.exceptions")).unwrap_or_default();
    let mut wrong = sizes::check(&sources, &exceptions);
    wrong.extend(module_docs(&sources));
    wrong.extend(words::check(&sources)?);
    wrong.extend(links::check(root, &sources)?);
    if !wrong.is_empty() {
        bail!("{} things to tidy:\n{}", wrong.len(), wrong.join("\n"));
    }
    println!("tidy: {} files", sources.len());
    Ok(())
}

fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in workspace::files(root)? {
        let bytes =
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Binary files (documents of tests, golden journals) have nothing to tidy.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        sources.push(Source {
            path: path.strip_prefix(root)?.to_owned(),
            text,
        });
    }
    Ok(sources)
}

/// The entry file of a crate or folder says what it is for.
fn module_docs(sources: &[Source]) -> Vec<String> {
    let entry = |source: &&Source| {
        let name = source
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        matches!(name.as_ref(), "lib.rs" | "mod.rs" | "main.rs")
    };
    let undocumented = sources
        .iter()
        .filter(entry)
        .filter(|source| !source.text.starts_with("//! "));
    undocumented
        .map(|source| {
            format!(
                "{}:1: begin with `//!`: what this is, why, and where to start",
                source.name()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_files_open_with_documentation() {
        let file = |path: &str, text: &str| Source {
            path: path.into(),
            text: text.to_owned(),
        };
        let sources = [
            file("crates/a/src/lib.rs", "//! Reads.\n"),
            file("crates/b/src/lib.rs", "use std::fmt;\n"),
            file("crates/b/src/other.rs", "use std::fmt;\n"),
        ];
        let wrong = module_docs(&sources);
        assert_eq!(
            wrong,
            ["crates/b/src/lib.rs:1: begin with `//!`: what this is, why, and where to start"]
        );
    }
}
