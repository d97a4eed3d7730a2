//! Agents that name others in their tools: `tools: [agent:translator]`.

use std::path::{Path, PathBuf};

use super::{Called, Pinned, ToolEntry};
use crate::{Error, Result, directory};

/// How deep agents may call each other.
const DEPTH: usize = 5;

/// Reads an agent's file with those of all agents that it may call. `above` are the files of those that call it.
pub(super) fn read(
    path: &Path,
    project: Option<&Path>,
    above: &mut Vec<PathBuf>,
) -> Result<Pinned> {
    let mut pinned = Pinned::alone(path, project, above)?;
    let definition = pinned.definition()?;
    let own = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    above.push(own);
    for entry in &definition.tools {
        let ToolEntry::Agent(name) = entry else {
            continue;
        };
        let wrong = |message: String, hint: &str| {
            // The line that names it, where it has one of its own.
            let word = format!("agent:{name}");
            let has = |line: &&str| line.contains(&word);
            let line = definition.text.lines().find(has).unwrap_or("tools:");
            definition.wrong(&pinned.file, line.trim_start(), message, hint)
        };
        let file = find(path, name, project).map_err(|error| {
            let said = error.to_string();
            let (message, hint) = said.split_once("\nhint: ").unwrap_or((&said, ""));
            wrong(format!("the agent {message}"), hint)
        })?;
        let called = file.canonicalize().unwrap_or_else(|_| file.clone());
        if above.contains(&called) {
            let message = format!(
                "the agents call each other in a circle: {}",
                circle(above, &called)
            );
            return Err(wrong(message, "let one of them do without the other"));
        }
        if above.len() >= DEPTH {
            let message = format!("agents call each other more than {DEPTH} deep");
            return Err(wrong(message, "let fewer agents do more"));
        }
        let agent = read(&file, project, above)?;
        let folder = called.parent().unwrap_or(Path::new(".")).to_owned();
        pinned.agents.push(Called {
            name: name.clone(),
            folder,
            agent,
        });
    }
    above.pop();
    Ok(pinned)
}

/// The file of an agent that another one names: beside that one's file, or in the project's `agents/`.
fn find(path: &Path, name: &str, project: Option<&Path>) -> Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = folder.join(format!("{name}.md"));
    if beside.is_file() {
        return Ok(beside);
    }
    let none = || Error::NoAgent {
        name: name.to_owned(),
        message: format!(
            "it is neither {} nor in agents/ of the project",
            beside.display()
        ),
        hint: "plumb agents lists the project's agents".to_owned(),
    };
    match project {
        Some(project) => match directory::find(Path::new(name), project) {
            Err(Error::NoAgent { message, .. }) if message.starts_with("there is no") => {
                Err(none())
            }
            found => found,
        },
        None => Err(none()),
    }
}

fn circle(above: &[PathBuf], called: &Path) -> String {
    let names = above
        .iter()
        .map(PathBuf::as_path)
        .skip_while(|file| *file != called);
    let names = names.chain([called]).map(|file| {
        let name = file.file_stem().unwrap_or_default();
        name.to_string_lossy().into_owned()
    });
    names.collect::<Vec<_>>().join(" → ")
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_call_each_other_are_read_and_circles_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |file: &str, calls: &str| {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            std::fs::write(
                path,
                format!("---\nname: {name}\ntools:\n  - time\n{calls}---\nDo it.\n"),
            )
            .unwrap();
        };
        write("editor.md", "  - agent:reader\n  - agent:writer\n");
        write("reader.md", "");
        write("agents/writer.md", "");
        let read = |file: &str| Pinned::read_in(&root.join(file), Some(root));
        let pinned = read("editor.md").unwrap();
        let names: Vec<&str> = pinned
            .agents
            .iter()
            .map(|called| called.name.as_str())
            .collect();
        assert_eq!(names, ["reader", "writer"]);
        assert_eq!(Pinned::from_text(&pinned.to_text()).unwrap(), pinned);

        let team = "---\nname: team\npattern: team\nteam: {way: sequence, members: [clerk.md]}\n---\nDo it.\n";
        std::fs::write(root.join("team.md"), team).unwrap();
        let clerk = "---\nname: clerk\ndescription: Helps.\ntools: [agent:reader]\n---\nDo it.\n";
        std::fs::write(root.join("clerk.md"), clerk).unwrap();
        // A member of a team has those that it may call itself.
        let members = read("team.md").unwrap().members;
        assert_eq!(members[0].agents[0].name, "reader");
        std::fs::rename(root.join("clerk.md"), root.join("clark.md")).unwrap();
        let gone = read("team.md").unwrap_err().to_string();
        let gone = gone.replace(&format!("{}/", root.display()), "");
        insta::assert_snapshot!(gone, @r"
        team.md:4: the member clerk.md is not there
        hint: did you mean clark.md?
        ");

        write("reader.md", "  - agent:editor\n");
        write("lonely.md", "  - agent:nobody\n");
        write("1.md", "  - agent:2\n");
        write("2.md", "  - agent:3\n");
        write("3.md", "  - agent:4\n");
        write("4.md", "  - agent:5\n");
        write("5.md", "  - agent:6\n");
        write("6.md", "");
        let wrong = ["editor.md", "lonely.md", "1.md"].map(|file| {
            let error = read(file).unwrap_err().to_string();
            error.replace(&format!("{}/", root.display()), "")
        });
        insta::assert_snapshot!(wrong.join("\n"), @r"
        reader.md:5: the agents call each other in a circle: editor → reader → editor
        hint: let one of them do without the other
        lonely.md:5: the agent nobody: it is neither nobody.md nor in agents/ of the project
        hint: plumb agents lists the project's agents
        5.md:5: agents call each other more than 5 deep
        hint: let fewer agents do more
        ");
    }
}
