//! Where agent files come from: the built-in ones, a folder of the user's, and those that a run has pinned.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::definition::load_file;
use crate::{Definition, Error, Result};

/// Where agent files are looked up: a folder of the user's first, then what is compiled in.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    folder: Option<PathBuf>,
    /// Texts by name, of a run that pinned them; nothing else is looked up then.
    pinned: Option<BTreeMap<String, String>>,
}

/// The agent files that are part of the binary, by name.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "research/plan",
        include_str!("../../../agents/research/plan.md"),
    ),
    (
        "research/ask",
        include_str!("../../../agents/research/ask.md"),
    ),
    (
        "research/judge",
        include_str!("../../../agents/research/judge.md"),
    ),
    (
        "research/note",
        include_str!("../../../agents/research/note.md"),
    ),
    (
        "research/rephrase",
        include_str!("../../../agents/research/rephrase.md"),
    ),
    (
        "research/affirm",
        include_str!("../../../agents/research/affirm.md"),
    ),
    (
        "research/explain",
        include_str!("../../../agents/research/explain.md"),
    ),
    (
        "research/guess",
        include_str!("../../../agents/research/guess.md"),
    ),
    (
        "research/terms",
        include_str!("../../../agents/research/terms.md"),
    ),
    (
        "research/write",
        include_str!("../../../agents/research/write.md"),
    ),
    (
        "research/critic",
        include_str!("../../../agents/research/critic.md"),
    ),
];

impl Agents {
    /// Files in `folder` (`research/plan.md`, ...) take the place of those compiled in.
    pub fn new(folder: Option<PathBuf>) -> Agents {
        Agents {
            folder,
            pinned: None,
        }
    }

    /// The texts of all agents, checked, in the form in which a run keeps them: files that change
    /// later change new runs only.
    ///
    /// # Errors
    /// As [`Agents::load`], for the first file that is wrong.
    pub fn pin(&self) -> Result<String> {
        let mut texts = BTreeMap::new();
        for (name, _) in BUILT_IN {
            texts.insert(*name, self.load(name)?.text);
        }
        Ok(serde_json::json!(texts).to_string())
    }

    /// The agents that a run has pinned.
    ///
    /// # Errors
    /// [`Error::Definition`] when `text` is not what [`Agents::pin`] returned.
    pub fn pinned(text: &str) -> Result<Agents> {
        match serde_json::from_str(text) {
            Ok(texts) => Ok(Agents {
                folder: None,
                pinned: Some(texts),
            }),
            Err(error) => Err(Error::Definition {
                file: "the run's pinned agents".to_owned(),
                line: error.line(),
                message: error.to_string(),
                hint: "start the question again as a new run".to_owned(),
            }),
        }
    }

    /// Takes the text of a file for one of the pinned agents: the one that the file is called after,
    /// `plan.md` or `research/plan.md`. Gives that agent's name.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::Definition`] for a malformed file or one that is called after
    /// no agent of the run.
    pub fn replace(&mut self, file: &Path) -> Result<String> {
        let text = load_file(file)?.text;
        let name = file.with_extension("").display().to_string();
        let pinned = self.pinned.get_or_insert_default();
        let known = pinned.keys().find(|known| {
            name == **known
                || name.ends_with(&format!("/{known}"))
                || known.rsplit('/').next() == name.rsplit('/').next()
        });
        match known.cloned() {
            Some(known) => {
                pinned.insert(known.clone(), text);
                Ok(known)
            }
            None => Err(Error::Definition {
                file: file.display().to_string(),
                line: 1,
                message: "the run has no agent that is called after this file".to_owned(),
                hint: format!(
                    "name the file after one of {}",
                    pinned.keys().cloned().collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }

    /// The names of the built-in agents, with the text of each.
    pub fn built_in() -> &'static [(&'static str, &'static str)] {
        BUILT_IN
    }

    /// Loads the agent `name`, such as `research/plan`.
    ///
    /// # Errors
    /// [`Error::Definition`] for a malformed file, [`Error::Unreadable`] for one that cannot be read
    /// or a name that neither the folder nor the binary knows.
    pub fn load(&self, name: &str) -> Result<Definition> {
        if let Some(text) = self.pinned.as_ref().and_then(|texts| texts.get(name)) {
            return Definition::parse(&format!("agents/{name}.md"), text);
        }
        if let Some(path) = self
            .folder
            .as_ref()
            .map(|folder| folder.join(format!("{name}.md")))
            && path.exists()
        {
            return load_file(&path);
        }
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => Definition::parse(&format!("agents/{name}.md"), text),
            None => Err(Error::Unreadable {
                file: name.to_owned(),
                source: std::io::Error::from(std::io::ErrorKind::NotFound),
            }),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_agent_parses_and_bears_its_name() {
        for (name, _) in BUILT_IN {
            assert_eq!(Agents::default().load(name).unwrap().name, *name);
        }
    }

    #[test]
    fn a_run_keeps_the_agents_that_it_started_with() {
        let pinned = Agents::pinned(&Agents::default().pin().unwrap()).unwrap();
        for (name, _) in BUILT_IN {
            assert_eq!(
                pinned.load(name).unwrap(),
                Agents::default().load(name).unwrap()
            );
        }
        assert!(Agents::pinned("not json").is_err());
    }

    #[test]
    fn a_file_of_the_user_takes_precedence() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("research")).unwrap();
        let file = folder.path().join("research/plan.md");
        std::fs::write(&file, "---\nname: mine\n---\nPlan it.\n").unwrap();
        let agents = Agents::new(Some(folder.path().to_owned()));
        assert_eq!(agents.load("research/plan").unwrap().name, "mine");
        assert_eq!(
            agents.load("research/write").unwrap().name,
            "research/write"
        );
    }
}
