//! From the tools that an agent's file names to tools that can be called.

mod catalogue;
mod documents;
mod outside;

use std::path::PathBuf;
use std::sync::Arc;

use tool::mcp::{self, Servers};
use tool::{Tool, Toolbox, builtin};

pub use self::catalogue::{BUILT_IN, BuiltIn};

use crate::chat::GiveModel;
use crate::code::Interpreter;
use crate::definition::{McpTool, ToolEntry};
use crate::memory::{self, Remembering};
use crate::{Definition, Error, Result};

/// Opens the project's library; only done where a tool needs it.
pub type OpenLibrary =
    Arc<dyn Fn() -> std::result::Result<knowledge::Library, String> + Send + Sync>;

/// Opens the project's memory; only done where an agent has one.
pub type OpenMemory =
    Arc<dyn Fn() -> std::result::Result<knowledge::memory::Memory, String> + Send + Sync>;

/// What the tools of an agent's file stand on.
#[derive(Clone)]
pub struct Kit {
    /// The folder that paths in the file are relative to.
    pub folder: PathBuf,
    /// The project's library.
    pub library: OpenLibrary,
    /// The project's memory.
    pub memory: OpenMemory,
    /// Gives the model of a name, for agents that another one calls.
    pub model: GiveModel,
    /// Who uses the agent, for a memory that is the user's.
    pub user: Option<String>,
    /// The time as of which memories are seen: that of the fork point, in a fork.
    pub as_of_ms: Option<i64>,
    /// What runs the programs of the pattern `code`.
    pub interpreter: Interpreter,
    /// The project's MCP servers.
    pub servers: Servers,
    /// Their tools as a run has pinned them; as they are approved where it has not.
    pub pinned: mcp::Pinned,
}

impl Kit {
    /// The memory of an agent, if it has one.
    ///
    /// # Errors
    /// [`Error::Tool`] when the memory cannot be opened, or is a user's and nobody is named.
    pub fn remembering(&self, definition: &Definition) -> Result<Option<Remembering>> {
        let Some(settings) = &definition.memory else {
            return Ok(None);
        };
        let failed = |message: String, hint: &str| Error::Tool {
            tool: "memory".to_owned(),
            message,
            hint: hint.to_owned(),
        };
        let scope = memory::scope(settings, &definition.name, self.user.as_deref());
        let scope = scope.ok_or_else(|| {
            let message = "it is the user's, and nobody is named".to_owned();
            failed(message, "say who it is with --user KEY")
        })?;
        let opened = (self.memory)();
        Ok(Some(Remembering {
            memory: opened.map_err(|error| failed(error, "the memory is .plumb/memory.db"))?,
            scope,
            kinds: settings.kinds.clone(),
            learn: settings.learn,
            as_of_ms: self.as_of_ms,
        }))
    }

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
            // They are no tools but members of the team.
            ToolEntry::Ask | ToolEntry::Agent(_) => Vec::new(),
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
