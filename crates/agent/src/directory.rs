//! Directories of agents: agents by name, and what a project tells all of them.

use std::path::{Path, PathBuf};

use model::catalogue::closest;
use serde::Serialize;

use crate::definition::Definition;
use crate::{Error, Result};

/// The folder of a project that has its agents.
const FOLDER: &str = "agents";
/// The file in which a project tells agents about itself.
const NOTES: &str = "AGENTS.md";
/// Its most bytes; small models have little room.
const MOST_NOTES_BYTES: usize = 16_000;
/// How deep agents' folders are looked through.
const DEPTH: usize = 4;

/// An agent of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its name; that of its file where the file is wrong.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its file.
    pub file: PathBuf,
    /// What is wrong with its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The agents in `folder/agents/`, by name. A file without front matter is no agent.
pub fn list(folder: &Path) -> Vec<Listed> {
    let mut files = Vec::new();
    collect(&folder.join(FOLDER), DEPTH, &mut files);
    let mut listed: Vec<Listed> = files.into_iter().filter_map(about).collect();
    listed.sort_by(|a, b| (&a.name, &a.file).cmp(&(&b.name, &b.file)));
    listed
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && depth > 1 {
            collect(&path, depth - 1, files);
        } else if path.extension().is_some_and(|extension| extension == "md") && path.is_file() {
            files.push(path);
        }
    }
}

fn about(file: PathBuf) -> Option<Listed> {
    let text = std::fs::read_to_string(&file).ok()?;
    if !text.starts_with("---") || file.ends_with("SKILL.md") {
        return None;
    }
    let stem = file.file_stem()?.to_string_lossy().into_owned();
    let parsed = Definition::parse(&file.display().to_string(), &text);
    Some(match parsed {
        Ok(definition) => Listed {
            name: definition.name,
            description: definition.description,
            file,
            problem: None,
        },
        Err(error) => Listed {
            name: stem,
            description: None,
            file,
            problem: Some(error.to_string()),
        },
    })
}

/// The file of what somebody calls an agent: a file, a folder with `agent.md` or a file of the folder's name, or the
/// name of one of the project's agents.
///
/// # Errors
/// [`Error::NoAgent`] when there is none, or two have the name.
pub fn find(called: &Path, project: &Path) -> Result<PathBuf> {
    if called.is_file() {
        return Ok(called.to_owned());
    }
    let name = called.display().to_string();
    let none = |message: String, hint: String| Error::NoAgent {
        name: name.clone(),
        message,
        hint,
    };
    if called.is_dir() {
        let own = called.file_name().map(|name| {
            let mut file = name.to_owned();
            file.push(".md");
            called.join(file)
        });
        let files = [Some(called.join("agent.md")), own];
        let found = files.into_iter().flatten().find(|file| file.is_file());
        return found.ok_or_else(|| {
            none(
                "the folder has no agent".to_owned(),
                "call its file agent.md, or after the folder".to_owned(),
            )
        });
    }
    let named: Vec<Listed> = list(project)
        .into_iter()
        .filter(|listed| listed.name == name)
        .collect();
    match named.as_slice() {
        [one] => Ok(one.file.clone()),
        [] => {
            let agents = list(project);
            let names = agents.iter().map(|listed| listed.name.as_str());
            let near = nearest(called).map(|file| file.display().to_string());
            let near = near.or_else(|| closest(&name, names).map(str::to_owned));
            let near = near.map_or_else(String::new, |near| format!("did you mean {near}? "));
            Err(none(
                "there is no such file, and no agent of that name in agents/".to_owned(),
                format!("{near}plumb agents lists them; plumb new agent NAME begins one"),
            ))
        }
        several => {
            let files = several
                .iter()
                .map(|listed| listed.file.display().to_string());
            Err(none(
                format!(
                    "several files have that name: {}",
                    files.collect::<Vec<_>>().join(", ")
                ),
                "name the file, or give one of them another name".to_owned(),
            ))
        }
    }
}

/// The file whose name comes nearest to one that is not there, in the same folder.
pub fn nearest(missing: &Path) -> Option<PathBuf> {
    let folder = missing.parent().unwrap_or(Path::new(""));
    let read = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let entries = std::fs::read_dir(read).ok()?.flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let names: Vec<String> = files
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let name = missing.file_name()?.to_str()?;
    closest(name, names.iter().map(String::as_str)).map(|name| folder.join(name))
}

/// What the nearest `AGENTS.md` says, from the agent's folder up to the repository's (the one with `.git`), or to the
/// project's where there is none.
pub(crate) fn notes(agent_folder: &Path, project: Option<&Path>) -> Option<String> {
    let folder = agent_folder.canonicalize().ok()?;
    let project = project.and_then(|project| project.canonicalize().ok());
    let ups: Vec<&Path> = folder.ancestors().collect();
    let is_repository = |up: &&&Path| up.join(".git").exists();
    let is_project = |up: &&&Path| project.as_deref() == Some(**up);
    let last = ups
        .iter()
        .find(is_repository)
        .or_else(|| ups.iter().find(is_project))
        .copied()
        .unwrap_or(&folder);
    let within = ups.iter().take_while(|up| up.starts_with(last));
    let text = within
        .filter_map(|up| std::fs::read_to_string(up.join(NOTES)).ok())
        .next()?;
    let end = (0..=text.len().min(MOST_NOTES_BYTES)).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end))?;
    let text = text.get(..end)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    #[test]
    fn agents_are_found_by_file_folder_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let agent = |name: &str| format!("---\nname: {name}\ndescription: Helps.\n---\nHelp.\n");
        write(root, "agents/desk.md", &agent("support"));
        write(root, "agents/more/one.md", &agent("twice"));
        write(root, "agents/more/two.md", &agent("twice"));
        write(root, "agents/README.md", "# Agents\n");
        write(root, "agents/wrong.md", "---\nnam: x\n---\nHelp.\n");
        write(root, "tutor/tutor.md", &agent("tutor"));
        let names: Vec<(String, bool)> = list(root)
            .into_iter()
            .map(|listed| (listed.name, listed.problem.is_some()))
            .collect();
        let expected = [
            ("support", false),
            ("twice", false),
            ("twice", false),
            ("wrong", true),
        ];
        assert_eq!(
            names,
            expected.map(|(name, wrong)| (name.to_owned(), wrong))
        );
        let found = |called: &str| {
            find(&root.join(called), root).map(|file| file.strip_prefix(root).unwrap().to_owned())
        };
        assert_eq!(found("tutor").unwrap(), Path::new("tutor/tutor.md"));
        assert_eq!(
            found("agents/desk.md").unwrap(),
            Path::new("agents/desk.md")
        );
        assert!(found("agents").is_err());
        let by_name = |name: &str| find(Path::new(name), root);
        assert_eq!(by_name("support").unwrap(), root.join("agents/desk.md"));
        assert!(
            by_name("twice")
                .unwrap_err()
                .to_string()
                .contains("several files")
        );
        let wrong = |called: &str| by_name(called).unwrap_err().to_string();
        assert!(wrong("nobody").contains("hint: plumb agents"));
        assert!(wrong("suport").contains("hint: did you mean support? plumb agents"));
        let file = root.join("tutor/tuter.md").display().to_string();
        let near = root.join("tutor/tutor.md");
        let said = wrong(&file);
        assert!(
            said.starts_with(&format!("{file}: there is no such file")),
            "{said}"
        );
        assert!(
            said.contains(&format!("did you mean {}?", near.display())),
            "{said}"
        );
    }

    #[test]
    fn the_nearest_notes_count_and_none_from_outside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(root, "AGENTS.md", "Outside.");
        write(root, "repository/desk/help.md", "");
        std::fs::create_dir(root.join("repository/.git")).unwrap();
        let desk = root.join("repository/desk");
        assert_eq!(notes(&desk, None), None);
        write(root, "repository/AGENTS.md", "Of the repository.");
        assert_eq!(
            notes(&desk, Some(&desk)).as_deref(),
            Some("Of the repository.")
        );
        write(root, "repository/desk/AGENTS.md", " Of the desk.\n");
        assert_eq!(notes(&desk, None).as_deref(), Some("Of the desk."));
        // Without a repository the project's folder is the last.
        write(root, "plain/desk/help.md", "");
        assert_eq!(
            notes(&root.join("plain/desk"), Some(&root.join("plain"))),
            None
        );
        assert_eq!(
            notes(&root.join("plain/desk"), Some(root)).as_deref(),
            Some("Outside.")
        );
    }
}
