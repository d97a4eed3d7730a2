//! What a person has approved of servers: their tools, word for word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Definition, Error, Result};

/// The form of the file. A newer one is not touched.
const VERSION: u32 = 1;

/// What has been approved, in a file that only `plumb mcp approve` and answers of people write.
#[derive(Clone, Debug)]
pub struct Pins {
    path: PathBuf,
}

/// A tool that has been approved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approved {
    /// The hash of the tool, see [`Definition::hash`].
    pub hash: String,
    /// When, in milliseconds since 1970 (UTC).
    pub at_ms: i64,
    /// The tool.
    pub tool: Definition,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    version: u32,
    servers: BTreeMap<String, BTreeMap<String, Approved>>,
}

impl Pins {
    /// Those of the file at `path`, which need not exist.
    pub fn at(path: &Path) -> Pins {
        Pins {
            path: path.to_owned(),
        }
    }

    /// The approved tools of a server, by the server's names for them.
    ///
    /// # Errors
    /// [`Error::Pins`] when the file cannot be read, or somebody has changed a tool in it.
    pub fn of(&self, server: &str) -> Result<BTreeMap<String, Approved>> {
        let mut file = self.read()?;
        Ok(file.servers.remove(server).unwrap_or_default())
    }

    /// Approves tools as they are; those of other names stay as they were.
    ///
    /// # Errors
    /// [`Error::Pins`] when the file cannot be read or written.
    pub fn approve(&self, server: &str, tools: &[Definition], at_ms: i64) -> Result<()> {
        self.change(|file| {
            let pinned = file.servers.entry(server.to_owned()).or_default();
            for tool in tools {
                let approved = Approved {
                    hash: tool.hash(),
                    at_ms,
                    tool: tool.clone(),
                };
                pinned.insert(tool.name.clone(), approved);
            }
        })
    }

    /// Takes the approval of a server's tools back, or of those of the given names.
    ///
    /// # Errors
    /// As [`Pins::approve`].
    pub fn forget(&self, server: &str, names: &[String]) -> Result<()> {
        self.change(|file| {
            if names.is_empty() {
                file.servers.remove(server);
            } else if let Some(pinned) = file.servers.get_mut(server) {
                pinned.retain(|name, _| !names.contains(name));
            }
        })
    }

    fn change(&self, change: impl FnOnce(&mut File)) -> Result<()> {
        let mut file = self.read()?;
        change(&mut file);
        file.version = VERSION;
        let text = serde_json::to_string_pretty(&file).map_err(|error| self.wrong(error))?;
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| self.wrong(error))?;
        }
        // Whole or not at all.
        let new = self
            .path
            .with_extension(format!("json.{}.tmp", std::process::id()));
        std::fs::write(&new, text + "\n").map_err(|error| self.wrong(error))?;
        std::fs::rename(&new, &self.path).map_err(|error| self.wrong(error))
    }

    fn read(&self) -> Result<File> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(File::default());
            }
            Err(error) => return Err(self.wrong(error)),
        };
        let file: File = serde_json::from_str(&text).map_err(|error| self.wrong(error))?;
        if file.version != VERSION {
            return Err(self.wrong(format!("is of version {}, which is newer", file.version)));
        }
        let mut all = file.servers.iter().flat_map(|(server, pinned)| {
            let of = |approved: &Approved| approved.tool.hash() != approved.hash;
            pinned
                .iter()
                .filter(move |(_, approved)| of(approved))
                .map(move |(name, _)| (server, name))
        });
        if let Some((server, name)) = all.next() {
            return Err(self.wrong(format!(
                "the tool {name} of {server} is not what its hash says\nhint: plumb mcp forget {server}, then approve it again"
            )));
        }
        drop(all);
        Ok(file)
    }

    fn wrong(&self, message: impl std::fmt::Display) -> Error {
        Error::Pins {
            path: self.path.display().to_string(),
            message: message.to_string(),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::Annotations;

    fn tool(name: &str) -> Definition {
        Definition {
            name: name.to_owned(),
            description: "Does it.".to_owned(),
            schema: json!({"type": "object"}),
            annotations: Annotations::default(),
        }
    }

    #[test]
    fn what_was_approved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::at(&folder.path().join("mcp.json"));
        assert!(pins.of("mail").unwrap().is_empty());
        pins.approve("mail", &[tool("send"), tool("list")], 7)
            .unwrap();
        pins.approve("other", &[tool("send")], 8).unwrap();
        let mail = pins.of("mail").unwrap();
        assert_eq!(mail.keys().collect::<Vec<_>>(), ["list", "send"]);
        assert_eq!((mail["send"].at_ms, &mail["send"].tool), (7, &tool("send")));
        pins.forget("mail", &["send".to_owned()]).unwrap();
        assert_eq!(pins.of("mail").unwrap().len(), 1);
        pins.forget("mail", &[]).unwrap();
        assert!(pins.of("mail").unwrap().is_empty());
        assert_eq!(pins.of("other").unwrap().len(), 1);
    }

    #[test]
    fn a_changed_file_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.json");
        let pins = Pins::at(&path);
        pins.approve("mail", &[tool("send")], 7).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("Does it.", "Does it all.")).unwrap();
        let error = pins.of("mail").unwrap_err().to_string();
        assert!(error.contains("is not what its hash says"), "{error}");
        std::fs::write(&path, text.replace("\"version\": 1", "\"version\": 9")).unwrap();
        assert!(pins.of("mail").unwrap_err().to_string().contains("newer"));
    }
}
