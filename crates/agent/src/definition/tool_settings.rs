//! The settings of tools that reach beyond the agent's own folder, as an agent's file writes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tool::Effect;
use tool::builtin::Engine;

/// Which database an agent may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqlTool {
    /// A SQLite file, relative to the agent's file.
    pub sqlite: Option<String>,
    /// The environment variable that has the connection string of a Postgres server, such as SHOP_DATABASE.
    pub postgres: Option<String>,
    /// Whether it may write as well, by the tool sql.write.
    pub write: bool,
    /// What the names of its tools begin with; sql where it is not given. For agents with several databases.
    pub name: Option<String>,
    /// Rows that are given at most; 200 where it is not given.
    pub rows: Option<usize>,
    /// Seconds that a statement may take; 10 where it is not given.
    pub time_s: Option<u64>,
}

/// Which pages of the web an agent may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebFetchTool {
    /// The hosts that may be reached, such as example.org or *.example.org; all public ones where it is not given.
    pub hosts: Vec<String>,
    /// Hosts that may be reached although their addresses are private, such as localhost:8080 or wiki.internal.
    pub private: Vec<String>,
    /// Bytes of a page that are read; 5,000,000 where it is not given.
    pub bytes: Option<usize>,
    /// Seconds that a page may take; 30 where it is not given.
    pub time_s: Option<u64>,
}

/// With what an agent searches the web.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebSearchTool {
    /// Who searches.
    pub engine: Engine,
    /// The address of the server; has to be given for searxng.
    #[serde(default)]
    pub url: Option<String>,
    /// The environment variable of the key; BRAVE_API_KEY or TAVILY_API_KEY where it is not given.
    #[serde(default)]
    pub key: Option<String>,
    /// Findings that are given; 5 where it is not given.
    #[serde(default)]
    pub results: Option<usize>,
}

/// An API whose operations an agent may call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTool {
    /// The OpenAPI file, 3.0 or 3.1, in JSON or YAML, relative to the agent's file.
    pub openapi: String,
    /// What the names of its tools begin with; http where it is not given.
    #[serde(default)]
    pub name: Option<String>,
    /// The address in place of the one in the file.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The ids of the operations that it may call; all of the file where it is not given.
    #[serde(default)]
    pub operations: Vec<String>,
    /// What operations do to the world, by their ids, where it is not what their methods say.
    #[serde(default)]
    pub effects: BTreeMap<String, SaidEffect>,
    /// What it is allowed with.
    #[serde(default)]
    pub auth: Option<HttpAuth>,
    /// Hosts that may be reached although their addresses are private, such as localhost:8080.
    #[serde(default)]
    pub private: Vec<String>,
    /// Seconds that a request may take; 30 where it is not given.
    #[serde(default)]
    pub time_s: Option<u64>,
}

/// A secret, and where it goes in a request; as a bearer token where nothing is said.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpAuth {
    /// The environment variable that has it.
    pub secret: String,
    /// The header that it goes into, as it is.
    #[serde(default)]
    pub header: Option<String>,
    /// The parameter of the address that it goes into.
    #[serde(default)]
    pub query: Option<String>,
    /// Whether it is a user and a password, user:password.
    #[serde(default)]
    pub basic: bool,
}

/// What an operation does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SaidEffect {
    /// It only looks.
    Read,
    /// It writes, and twice with the same key is once.
    Idempotent,
    /// It writes.
    Irreversible,
}

impl From<SaidEffect> for Effect {
    fn from(said: SaidEffect) -> Effect {
        match said {
            SaidEffect::Read => Effect::Read,
            SaidEffect::Idempotent => Effect::Idempotent,
            SaidEffect::Irreversible => Effect::Irreversible,
        }
    }
}

/// Where an agent's Python programs run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PythonTool {
    /// The folder that programs see as /work, relative to the agent's file; an empty one for each call where it is not given.
    pub folder: Option<String>,
    /// Whether they may write in the folder.
    pub write: bool,
    /// Seconds that one may run; 30 where it is not given.
    pub time_s: Option<u64>,
    /// Megabytes of memory; 512 where it is not given.
    pub memory_mb: Option<u64>,
    /// Processes at once; 64 where it is not given.
    pub processes: Option<u64>,
}

/// What an agent may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShellTool {
    /// The commands that may be run, without a shell; any shell script where it is not given.
    pub commands: Vec<String>,
    /// The folder that commands see as /work, relative to the agent's file; an empty one for each call where it is not given.
    pub folder: Option<String>,
    /// Whether they may write in the folder.
    pub write: bool,
    /// Seconds that one may run; 30 where it is not given.
    pub time_s: Option<u64>,
    /// Megabytes of memory; 512 where it is not given.
    pub memory_mb: Option<u64>,
    /// Processes at once; 64 where it is not given.
    pub processes: Option<u64>,
}

impl ShellTool {
    /// The part that it shares with python.
    pub(crate) fn sandbox(&self) -> PythonTool {
        PythonTool {
            folder: self.folder.clone(),
            write: self.write,
            time_s: self.time_s,
            memory_mb: self.memory_mb,
            processes: self.processes,
        }
    }
}
