//! From the tools that an agent's file names to tools that can be called.

mod catalogue;
mod documents;
mod outside;

use std::path::PathBuf;
use std::sync::Arc;

use tool::mcp::{self, Servers};
use tool::{Tool, Toolbox, builtin};

pub use self::catalogue::{BUILT_IN, BuiltIn};

use crate::definition::{McpTool, ToolEntry};
use crate::{Error, Result};

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
                let files = match settings.untrusted {
                    true => files.untrusted(),
                    false => files,
                };
                let mut tools = files.readers();
                if settings.write {
                    tools.push(files.writer());
                }
                tools
            }
            ToolEntry::Library(settings) => vec![self.documents(settings)?.search()],
            ToolEntry::Documents(settings) => self.documents(settings)?.both(),
            ToolEntry::Sql(settings) => self.sql(settings)?,
            ToolEntry::WebFetch(settings) => vec![outside::web_fetch(settings)],
            ToolEntry::WebSearch(settings) => vec![outside::web_search(settings)?],
            ToolEntry::Http(settings) => self.http(settings)?,
            ToolEntry::Shell(settings) => vec![
                self.sandbox("shell", &settings.sandbox())?
                    .shell(&settings.commands),
            ],
            ToolEntry::Python(settings) => vec![self.python(settings)?],
            ToolEntry::Mcp(of) => {
                let tools = self.servers.tools(&of.server, &of.pattern, &self.pinned);
                tools.map_err(|error| of_server(of, &error))?
            }
        })
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
