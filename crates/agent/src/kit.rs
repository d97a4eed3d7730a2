//! From the tools that an agent's file names to tools that can be called.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use knowledge::{Passage, SearchOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::mcp::{self, Servers};
use tool::{Context, Effect, Function, Tool, Toolbox, builtin};

use crate::definition::{LibraryTool, McpTool, ToolEntry};
use crate::{Error, Result};

/// How many passages a search shows a model.
const PASSAGES: usize = 5;

/// Opens the project's library; only done where a tool needs it.
pub type OpenLibrary =
    Arc<dyn Fn() -> std::result::Result<knowledge::Library, String> + Send + Sync>;

/// What the tools of an agent's file stand on.
#[derive(Clone)]
pub struct Kit {
    /// The folder that paths in the file are relative to.
    pub folder: PathBuf,
    /// The project's library.
    pub library: OpenLibrary,
    /// The project's MCP servers.
    pub servers: Servers,
    /// Their tools as a run has pinned them; as they are approved where it has not.
    pub pinned: mcp::Pinned,
}

impl Kit {
    /// The tools that are named.
    ///
    /// # Errors
    /// [`Error::Tool`] when a folder cannot be read, [`Error::Setup`] when two tools have one name.
    pub fn toolbox(&self, entries: &[ToolEntry]) -> Result<Toolbox> {
        let mut toolbox = Toolbox::new();
        for entry in entries {
            for tool in self.tools(entry)? {
                toolbox.add(tool)?;
            }
        }
        Ok(toolbox)
    }

    fn tools(&self, entry: &ToolEntry) -> Result<Vec<Arc<dyn Tool>>> {
        Ok(match entry {
            ToolEntry::Time => vec![builtin::time()],
            ToolEntry::Math => vec![builtin::math()],
            ToolEntry::Files(settings) => {
                let root = self.folder.join(settings.root.as_deref().unwrap_or("."));
                let files = builtin::Files::below(&root).map_err(|error| Error::Tool {
                    tool: "files".to_owned(),
                    message: format!("{}: {error}", root.display()),
                    hint: "name a folder that there is, relative to the agent's file".to_owned(),
                })?;
                let mut tools = files.readers();
                if settings.write {
                    tools.push(files.writer());
                }
                tools
            }
            ToolEntry::Library(settings) => vec![self.search(settings)?],
            ToolEntry::Mcp(of) => {
                let tools = self.servers.tools(&of.server, &of.pattern, &self.pinned);
                tools.map_err(|error| of_server(of, &error))?
            }
        })
    }

    fn search(&self, settings: &LibraryTool) -> Result<Arc<dyn Tool>> {
        let failed = |message| Error::Tool {
            tool: "library.search".to_owned(),
            message,
            hint: "plumb index PATH reads documents into the library".to_owned(),
        };
        let library = (self.library)().map_err(failed)?;
        let under: Vec<PathBuf> = settings
            .paths
            .iter()
            .map(|path| self.folder.join(path))
            .collect();
        if let Some(missing) = under.iter().find(|path| !path.exists()) {
            return Err(failed(format!("{} is not there", missing.display())));
        }
        let search = Function::new(
            "library.search",
            "Searches the documents and gives the passages that fit best, each with its file.",
            move |search: Search, _: Context| {
                let (library, under) = (library.clone(), under.clone());
                async move {
                    let searching = move || found(&library, &search, &under);
                    tokio::task::spawn_blocking(searching)
                        .await
                        .map_err(|error| tool::Error::Unavailable(error.to_string()))?
                }
            },
        );
        Ok(Arc::new(search.effect(Effect::Read)))
    }
}

/// An error of a server as one of the entry that names it.
pub(crate) fn of_server(entry: &McpTool, error: &mcp::Error) -> Error {
    let said = error.to_string();
    let (message, hint) = said.split_once("\nhint: ").unwrap_or((&said, ""));
    Error::Tool {
        tool: format!("mcp:{}/{}", entry.server, entry.pattern),
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The whole question, in the words of who asks it.
    question: String,
}

/// A passage as a model reads it.
#[derive(Serialize)]
struct Found {
    file: String,
    title: String,
    text: String,
}

/// Documents that have changed are read first.
fn found(
    library: &knowledge::Library,
    search: &Search,
    under: &[PathBuf],
) -> tool::Result<Vec<Found>> {
    let failed = |error: knowledge::Error| tool::Error::Unavailable(error.to_string());
    if !under.is_empty() {
        library
            .index(under, &AtomicBool::new(false), &|_| ())
            .map_err(failed)?;
    }
    let options = SearchOptions {
        limit: PASSAGES,
        under: under.to_vec(),
        ..SearchOptions::default()
    };
    let hits = library.search(&search.question, &options).map_err(failed)?;
    if hits.is_empty() {
        return Err("nothing was found; ask in other words".into());
    }
    let passages = hits.into_iter().map(|hit| shown(hit.passage));
    Ok(passages.collect())
}

fn shown(passage: Passage) -> Found {
    Found {
        file: name(Path::new(&passage.file)),
        title: passage.title,
        text: passage.text,
    }
}

/// The file's name without the folders of this machine.
fn name(file: &Path) -> String {
    file.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
