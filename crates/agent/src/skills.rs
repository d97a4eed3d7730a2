//! Agent Skills: folders with a `SKILL.md`, of which an agent is shown name and description, and which it reads when
//! a task is of their kind.
//!
//! A `SKILL.md` begins with a front matter that has `name` and `description`; below it are instructions, and beside it
//! may be further files. The tool `skill.read` gives the instructions, and the files through a handle of the folder
//! that no path leads out of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Context, Effect, Function, Tool, builtin};

use crate::{Error, Result};

/// The file that makes a folder a skill.
const FILE: &str = "SKILL.md";
/// The longest description.
const MOST_DESCRIPTION: usize = 1024;
/// The longest name.
const MOST_NAME: usize = 64;
/// Skills of one agent.
const MOST_SKILLS: usize = 50;

/// What an agent is shown of a skill; a run keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// Its name, which its folder has too.
    pub name: String,
    /// What it is for, and when to use it.
    pub description: String,
    /// Where it is.
    pub folder: PathBuf,
}

/// The front matter of a `SKILL.md`. Other keys are for other programs.
#[derive(Deserialize)]
struct Matter {
    name: String,
    description: String,
}

impl Skill {
    /// Reads the head of the skill in `folder`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] and [`Error::Definition`], with file, line and what to do.
    pub fn read(folder: &Path) -> Result<Skill> {
        let path = folder.join(FILE);
        let file = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Unreadable {
            file: file.clone(),
            source,
        })?;
        let error = |line: usize, message: String, hint: &str| Error::Definition {
            file: file.clone(),
            line,
            message,
            hint: hint.to_owned(),
        };
        let text = text.replace("\r\n", "\n");
        let Some((matter, _)) = split(&text) else {
            let hint = "begin with `---`, `name: ...`, `description: ...`, `---`";
            return Err(error(
                1,
                "the front matter is missing or has no end".to_owned(),
                hint,
            ));
        };
        let Matter { name, description } = serde_yaml_ng::from_str(matter).map_err(|e| {
            let line = e.location().map_or(1, |l| l.line()) + 1;
            error(line, e.to_string(), "a skill has a name and a description")
        })?;
        let line = |key: &str| {
            let place = text.lines().position(|line| line.starts_with(key));
            place.map_or(1, |index| index + 1)
        };
        let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
        if !is_name(&name) || name != folder_name {
            let hint =
                "1 to 64 small letters, digits and single hyphens, the same as its folder's name";
            let message = format!("`{name}` cannot be the name of the skill in {folder_name}/");
            return Err(error(line("name:"), message, hint));
        }
        let length = description.trim().chars().count();
        if length == 0 || length > MOST_DESCRIPTION {
            let message = format!("the description has {length} characters");
            let hint = "say in 1 to 1024 characters what it is for and when to use it";
            return Err(error(line("description:"), message, hint));
        }
        Ok(Skill {
            name,
            description: description.split_whitespace().collect::<Vec<_>>().join(" "),
            folder: folder.to_owned(),
        })
    }

    /// The skills in the folders below `folder`, by name; none where it is not there.
    ///
    /// # Errors
    /// As [`Skill::read`], for the first that is wrong.
    pub fn below(folder: &Path) -> Result<Vec<Skill>> {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Ok(Vec::new());
        };
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.retain(|folder| folder.join(FILE).is_file());
        folders.sort();
        folders.truncate(MOST_SKILLS);
        folders.iter().map(|folder| Skill::read(folder)).collect()
    }
}

fn split(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("---\n")?.split_once("\n---\n")
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let hyphens = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    !name.is_empty() && name.len() <= MOST_NAME && name.chars().all(fits) && !hyphens
}

/// What an agent's instructions say of its skills; empty where it has none.
pub(crate) fn listed(skills: &[Skill]) -> String {
    if skills.is_empty() {
        return String::new();
    }
    let lines = skills
        .iter()
        .map(|skill| format!("\n- {}: {}", skill.name, skill.description));
    format!(
        "\n\nSkills. Where a task is of such a kind, read the skill with skill_read first and do as it says:{}",
        lines.collect::<String>()
    )
}

/// What to read.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reading {
    skill: String,
    file: Option<String>,
}

/// The tool `skill.read`.
///
/// # Errors
/// [`Error::Tool`] when the folder of a skill cannot be opened.
pub(crate) fn tool(skills: &[Skill]) -> Result<Arc<dyn Tool>> {
    let mut opened: Vec<(String, Vec<Arc<dyn Tool>>)> = Vec::new();
    for skill in skills {
        let files = builtin::Files::below(&skill.folder).map_err(|error| Error::Tool {
            tool: "skill.read".to_owned(),
            message: format!("{}: {error}", skill.folder.display()),
            hint: format!("is the skill {} still there?", skill.name),
        })?;
        opened.push((skill.name.clone(), files.readers()));
    }
    let opened = Arc::new(opened);
    let names: Vec<&str> = skills.iter().map(|skill| skill.name.as_str()).collect();
    let parameters = json!({
        "type": "object",
        "properties": {
            "skill": {"enum": names, "description": "The skill."},
            "file": {"type": "string", "description": "A further file of it; its instructions where not given."},
        },
        "required": ["skill"],
        "additionalProperties": false,
    });
    let read = Function::new(
        "skill.read",
        "Reads the instructions of a skill, or a further file of it.",
        move |reading: Reading, context: Context| {
            let opened = Arc::clone(&opened);
            async move {
                let found = opened.iter().find(|(name, _)| *name == reading.skill);
                let (_, readers) =
                    found.ok_or_else(|| format!("there is no skill {}", reading.skill))?;
                let call = |tool: &str, arguments: Value| {
                    let tool = readers.iter().find(|known| known.spec().name == tool);
                    tool.map(|tool| tool.call(arguments, context.clone()))
                        .ok_or_else(|| tool::Error::Failed("no file can be read".to_owned()))
                };
                match reading.file.as_deref().filter(|file| !file.is_empty()) {
                    Some(file) => call("files.read", json!({"file": file}))?.await,
                    None => {
                        let text = call("files.read", json!({"file": FILE}))?.await?;
                        let entries = call("files.list", json!({}))?.await?;
                        Ok(instructions(&text, &entries).into())
                    }
                }
            }
        },
    );
    let read = read.effect(Effect::Read).source(tool::Source::Document);
    Ok(Arc::new(read.parameters(parameters)))
}

/// The instructions of a skill, and which further files there are.
fn instructions(text: &Value, entries: &Value) -> String {
    let text = text.as_str().unwrap_or_default().replace("\r\n", "\n");
    let body = split(&text).map_or(text.as_str(), |(_, body)| body).trim();
    let entries = entries.as_array().into_iter().flatten();
    let names = entries.filter_map(|entry| {
        let name = entry["name"].as_str()?;
        let end = if entry["folder"] == true { "/" } else { "" };
        (name != FILE).then(|| format!("{name}{end}"))
    });
    let names: Vec<String> = names.collect();
    match names.is_empty() {
        true => body.to_owned(),
        false => format!("{body}\n\n[further files: {}]", names.join(", ")),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn skill(folder: &Path, name: &str, text: &str) -> PathBuf {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(FILE), text).unwrap();
        folder
    }

    const INVOICES: &str = "---\nname: invoices\ndescription: How invoices are written.\nlicense: MIT\n---\nWrite the sum last.\n";

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut said = Vec::new();
        for text in [
            "Write the sum last.\n",
            "---\nname: invoices\n---\nText.\n",
            "---\nname: Invoices\ndescription: x\n---\nText.\n",
            "---\nname: other\ndescription: x\n---\nText.\n",
            "---\nname: invoices\ndescription: \"\"\n---\nText.\n",
        ] {
            let folder = skill(folder.path(), "invoices", text);
            let error = Skill::read(&folder).unwrap_err().to_string();
            let place = error.find(FILE).unwrap();
            said.push(error[place..].to_owned());
        }
        insta::assert_snapshot!(said.join("\n"), @r"
        SKILL.md:1: the front matter is missing or has no end
        hint: begin with `---`, `name: ...`, `description: ...`, `---`
        SKILL.md:2: missing field `description`
        hint: a skill has a name and a description
        SKILL.md:2: `Invoices` cannot be the name of the skill in invoices/
        hint: 1 to 64 small letters, digits and single hyphens, the same as its folder's name
        SKILL.md:2: `other` cannot be the name of the skill in invoices/
        hint: 1 to 64 small letters, digits and single hyphens, the same as its folder's name
        SKILL.md:3: the description has 0 characters
        hint: say in 1 to 1024 characters what it is for and when to use it
        ");
    }

    #[tokio::test]
    async fn a_skill_is_read_with_its_files_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        let invoices = skill(folder.path(), "invoices", INVOICES);
        std::fs::write(invoices.join("template.txt"), "Sum: ...").unwrap();
        let skills = Skill::below(folder.path()).unwrap();
        assert_eq!(
            listed(&skills).lines().last(),
            Some("- invoices: How invoices are written.")
        );
        let tool = tool(&skills).unwrap();
        let read = |arguments: Value| tool.call(arguments, Context::default());
        assert_eq!(
            read(json!({"skill": "invoices"})).await.unwrap(),
            "Write the sum last.\n\n[further files: template.txt]"
        );
        let file = json!({"skill": "invoices", "file": "template.txt"});
        assert_eq!(read(file).await.unwrap(), "Sum: ...");
        for outside in ["../secret.txt", "/etc/hostname"] {
            let file = json!({"skill": "invoices", "file": outside});
            assert!(read(file).await.is_err(), "{outside}");
        }
    }
}
