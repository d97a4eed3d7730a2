//! Links in Markdown files lead to files and headings that exist. Links into the web are not tried.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use regex::Regex;

use super::Source;

/// Checks all Markdown files.
pub(super) fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let link = Regex::new(r"\]\(<?([^)\s>]+)>?\)")?;
    let pages: BTreeMap<PathBuf, &Source> = sources
        .iter()
        .filter(|source| source.is("md"))
        .map(|source| (source.path.clone(), source))
        .collect();
    let mut wrong = Vec::new();
    for (path, page) in &pages {
        for (number, line) in prose(&page.text) {
            for found in link.captures_iter(&without_code(line)) {
                let target = found
                    .get(1)
                    .map(|target| target.as_str())
                    .unwrap_or_default();
                if let Some(problem) = problem(root, path, target, &pages) {
                    wrong.push(format!(
                        "{}:{number}: the link {target} leads nowhere: {problem}",
                        page.name()
                    ));
                }
            }
        }
    }
    Ok(wrong)
}

fn problem(
    root: &Path,
    page: &Path,
    target: &str,
    pages: &BTreeMap<PathBuf, &Source>,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    };
    let path = match file {
        "" => page.to_owned(),
        file => flattened(&page.parent().unwrap_or(Path::new("")).join(file)),
    };
    if !root.join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    let heading = heading?;
    let known = pages.get(&path)?;
    let exists = headings(&known.text).iter().any(|known| known == heading);
    (!exists).then(|| format!("{} has no such heading", path.display()))
}

/// The path without `.` and `..`.
fn flattened(path: &Path) -> PathBuf {
    let mut flat = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(flat.pop()),
            other => flat.push(other),
        }
    }
    flat
}

/// The lines that are not in a fenced block of code, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The line without what stands in backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// The anchors of a page's headings, as Markdown renderers make them.
fn headings(text: &str) -> Vec<String> {
    let heading = |line: &str| {
        line.starts_with('#')
            .then(|| anchor(line.trim_start_matches('#')))
    };
    prose(text)
        .into_iter()
        .filter_map(|(_, line)| heading(line))
        .collect()
}

fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(kept)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_files_and_headings() -> Result<()> {
        let root = tempfile::tempdir()?;
        std::fs::create_dir(root.path().join("docs"))?;
        let mut sources = Vec::new();
        for (path, text) in [
            (
                "README.md",
                "# Top\n[a](docs/a.md) [b](docs/a.md#how-it-works) [c](https://example.com/x)\n",
            ),
            (
                "docs/a.md",
                "# A\n## How it works\n[up](../README.md#top) `[x](nowhere)`\n```\n[y](nowhere)\n```\n",
            ),
            ("docs/b.md", "[one](gone.md) [two](a.md#gone)\n"),
        ] {
            std::fs::write(root.path().join(path), text)?;
            sources.push(Source {
                path: path.into(),
                text: text.to_owned(),
            });
        }
        let wrong = check(root.path(), &sources)?;
        assert_eq!(
            wrong,
            [
                "docs/b.md:1: the link gone.md leads nowhere: there is no docs/gone.md",
                "docs/b.md:1: the link a.md#gone leads nowhere: docs/a.md has no such heading",
            ]
        );
        Ok(())
    }
}
