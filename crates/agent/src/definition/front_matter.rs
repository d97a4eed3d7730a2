//! The settings of an agent's file as they are written. Editors get their JSON Schema from these types.

mod memory;

use std::fmt;

use journal::Budget;
use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub use self::memory::{Learn, MemoryScope, MemorySettings};
use super::patterns::{CodeSettings, PlanSettings, Reflection, TeamSettings};
use super::tool_settings::{HttpTool, PythonTool, ShellTool, SqlTool, WebFetchTool, WebSearchTool};
use crate::act;

/// The settings of an agent, above its instructions.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "The front matter of a Plumb agent")]
pub(super) struct FrontMatter {
    /// The agent's name.
    pub(super) name: String,
    /// What it is for, in a sentence.
    #[serde(default)]
    pub(super) description: Option<String>,
    /// The models that it may run on, as provider:name; the first that can be opened is taken. Where none is
    /// named, the largest local model that fits the machine.
    #[serde(default)]
    #[schemars(with = "NamesSchema")]
    pub(super) model: Names,
    /// The tools that it may call.
    #[serde(default)]
    pub(super) tools: Vec<ToolEntry>,
    /// Whether it has to call a tool before it answers. Small models forget to, where they could look
    /// something up.
    #[serde(default)]
    pub(super) calls_first: bool,
    /// How it goes about its work.
    #[serde(default)]
    pub(super) pattern: Pattern,
    /// With the pattern reflect: who judges, and how often.
    #[serde(default)]
    pub(super) reflect: Option<Reflection>,
    /// With the pattern plan: whether a person sees plans, and how large they may be.
    #[serde(default)]
    pub(super) plan: Option<PlanSettings>,
    /// With the pattern code: what runs the programs, and within which bounds.
    #[serde(default)]
    pub(super) code: Option<CodeSettings>,
    /// With the pattern team: who is in it, and how they work together.
    #[serde(default)]
    pub(super) team: Option<TeamSettings>,
    /// Whether the user may say something while it works on an answer.
    #[serde(default)]
    pub(super) listens: bool,
    /// The file of a JSON Schema that its answers have, relative to this file.
    #[serde(default)]
    pub(super) output: Option<String>,
    /// What it remembers from one run to the next: kinds of memory, or those with whose it is and when it learns.
    #[serde(default)]
    pub(super) memory: Option<MemorySettings>,
    /// Folders of Agent Skills (each skill a folder with a SKILL.md), relative to this file. Where nothing is said:
    /// `skills` beside this file, and `.agents/skills` of the project, if they are there.
    #[serde(default)]
    pub(super) skills: Option<Vec<String>>,
    /// Whether it is told what the nearest AGENTS.md says.
    #[serde(default = "yes")]
    pub(super) project_notes: bool,
    /// The file of a Cedar policy that says which calls are allowed, denied or asked about, relative to this
    /// file. Its rules come on top of the default policy's.
    #[serde(default)]
    pub(super) policy: Option<String>,
    /// Which checks it is held to.
    #[serde(default)]
    pub(super) checks: Checks,
    /// Where it ends, and what it may use up before it parks and asks.
    #[serde(default)]
    pub(super) limits: Limits,
    /// Exchanges shown to the model before the real question, oldest first.
    #[serde(default)]
    pub(super) examples: Vec<Example>,
    /// The most tokens that one answer may have.
    #[serde(default = "default_max_tokens")]
    pub(super) max_tokens: u32,
    /// 0 takes the likeliest token each time.
    #[serde(default)]
    pub(super) temperature: f32,
}

fn yes() -> bool {
    true
}

fn default_max_tokens() -> u32 {
    512
}

/// One exchange that shows the model what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What the user says.
    pub user: String,
    /// What a good agent answers.
    pub assistant: String,
}

/// Which checks an agent is held to, if it has tools that write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Whether ids, addresses, amounts, paths and numbers in a writing call must have been said by the user or
    /// a tool.
    pub grounded: bool,
    /// Whether an answer that says something was done needs the call that did it.
    pub promises: bool,
}

impl Default for Checks {
    fn default() -> Checks {
        Checks {
            grounded: true,
            promises: true,
        }
    }
}

/// How an agent goes about its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// The model and tools in a loop, until the model answers.
    #[default]
    Act,
    /// A draft, its critique, and a better draft, until the critic accepts one.
    Reflect,
    /// A plan, its independent steps in parallel, and a new plan where one fails.
    Plan,
    /// Programs in Python, whose functions are the tools.
    Code,
    /// Several agents that work together.
    Team,
}

/// Where an agent ends.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Answers of the model that may call tools.
    rounds: Option<u32>,
    /// Answers one after the other with a wrong call.
    wrong_calls: Option<u32>,
    /// How often the same call gets the same answer before the model has to answer.
    repeats: Option<u32>,
    /// Calls of one answer that are carried out.
    calls: Option<usize>,
    /// Steps before the run parks and asks.
    steps: Option<u64>,
    /// Tokens of models before the run parks and asks.
    tokens: Option<u64>,
    /// US dollars before the run parks and asks.
    cost_usd: Option<f64>,
    /// Time at work before the run parks and asks, such as 90s, 10m or 2h.
    time: Option<Time>,
}

impl Limits {
    pub(super) fn of_the_loop(&self) -> act::Limits {
        let usual = act::Limits::default();
        act::Limits {
            rounds: self.rounds.unwrap_or(usual.rounds),
            wrong_calls: self.wrong_calls.unwrap_or(usual.wrong_calls),
            repeats: self.repeats.unwrap_or(usual.repeats),
            calls: self.calls.unwrap_or(usual.calls),
        }
    }

    pub(super) fn budget(&self) -> Budget {
        Budget {
            // Saturates: nobody's budget is that large.
            money_micros: self.cost_usd.map(|usd| (usd.max(0.0) * 1e6).round() as u64),
            tokens: self.tokens,
            time_ms: self.time.as_ref().map(|time| time.0),
            steps: self.steps,
        }
    }
}

/// A time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("`{text}` is no time; write 90s, 10m or 2h"));
        let unit_ms = match text.chars().last() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            _ => return Err(wrong()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        Ok(Time(number.checked_mul(unit_ms).ok_or_else(wrong)?))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+[smh]$"})
    }
}

/// One name, or several in order of preference.
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<String>);

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NamesSchema {
    /// One name.
    One(String),
    /// Several, in order of preference.
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Names;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a model's name, provider:name, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Names, E> {
                Ok(Names(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A tool that an agent may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolEntry {
    /// The time and the date.
    Time,
    /// Arithmetic.
    Math,
    /// Files below a folder.
    Files(FilesTool),
    /// Search in documents.
    Library(LibraryTool),
    /// Search in documents, and reading on in them.
    Documents(LibraryTool),
    /// A database.
    Sql(SqlTool),
    /// Pages of the web.
    WebFetch(WebFetchTool),
    /// Search in the web.
    WebSearch(WebSearchTool),
    /// The operations of an API.
    Http(HttpTool),
    /// Commands in a sandbox.
    Shell(ShellTool),
    /// Python in a sandbox.
    Python(PythonTool),
    /// A question to the person, for which the run waits.
    Ask,
    /// Another agent, by its name: `agent:translator`.
    Agent(String),
    /// Tools of an MCP server.
    Mcp(McpTool),
}

/// Which tools of an MCP server, written `mcp:SERVER/TOOL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpTool {
    /// The server, as `plumb.toml` calls it.
    pub server: String,
    /// A tool's name, the beginning of one and `*`, or `*`; `@resources` and `@prompts` read those of the server.
    pub pattern: String,
}

impl McpTool {
    fn named(name: &str) -> Option<McpTool> {
        let (server, pattern) = name.strip_prefix("mcp:")?.split_once('/')?;
        let is_fine = !server.is_empty() && !pattern.is_empty();
        is_fine.then(|| McpTool {
            server: server.to_owned(),
            pattern: pattern.to_owned(),
        })
    }
}

/// Which files an agent may see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilesTool {
    /// The folder, relative to the agent's file; the agent's own folder where it is not given.
    pub root: Option<String>,
    /// Whether it may write as well.
    pub write: bool,
    /// Whether somebody else may have written what is in the files: then it is not trusted.
    pub untrusted: bool,
}

/// Which documents an agent may search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LibraryTool {
    /// Files and folders, relative to the agent's file; all of the project's library where they are not given.
    pub paths: Vec<String>,
    /// Whether somebody else may have written the documents: then they are not trusted.
    pub untrusted: bool,
}

/// The names of the tools that there are.
const TOOLS: &[&str] = &[
    "time",
    "math",
    "ask",
    "files",
    "library.search",
    "library",
    "sql",
    "web.fetch",
    "web.search",
    "http",
    "shell",
    "python",
];

/// Tools that cannot be named without settings, with the least of them.
const WITH_SETTINGS: &[(&str, &str)] = &[
    ("sql", "{sqlite: FILE}"),
    ("web.search", "{engine: brave}"),
    ("http", "{openapi: FILE}"),
];

/// What stands before the name of another agent.
const AGENT: &str = "agent:";

impl ToolEntry {
    /// The tool of a name with its usual settings; `None` where it cannot do without, and where there is none.
    pub fn named(name: &str) -> Option<ToolEntry> {
        match name {
            "time" => Some(ToolEntry::Time),
            "math" => Some(ToolEntry::Math),
            "ask" => Some(ToolEntry::Ask),
            "files" => Some(ToolEntry::Files(FilesTool::default())),
            "library.search" => Some(ToolEntry::Library(LibraryTool::default())),
            "library" => Some(ToolEntry::Documents(LibraryTool::default())),
            "web.fetch" => Some(ToolEntry::WebFetch(WebFetchTool::default())),
            "shell" => Some(ToolEntry::Shell(ShellTool::default())),
            "python" => Some(ToolEntry::Python(PythonTool::default())),
            _ => {
                let agent = name.strip_prefix(AGENT).filter(|agent| !agent.is_empty());
                let agent = agent.map(|agent| ToolEntry::Agent(agent.to_owned()));
                agent.or_else(|| McpTool::named(name).map(ToolEntry::Mcp))
            }
        }
    }
}

impl<'de> Deserialize<'de> for ToolEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ToolEntry, D::Error> {
        struct Read;
        fn unknown<E: serde::de::Error>(name: &str) -> E {
            E::custom(format!(
                "there is no tool `{name}`; there are {}, agent:NAME, and mcp:SERVER/TOOL",
                TOOLS.join(", ")
            ))
        }
        impl<'de> Visitor<'de> for Read {
            type Value = ToolEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a tool's name, or a name with settings")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<ToolEntry, E> {
                let least = WITH_SETTINGS.iter().find(|(with, _)| *with == name);
                match (ToolEntry::named(name), least) {
                    (Some(entry), _) => Ok(entry),
                    (None, Some((_, least))) => Err(E::custom(format!(
                        "the tool {name} wants settings, such as `{name}: {least}`"
                    ))),
                    (None, None) => Err(unknown(name)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ToolEntry, A::Error> {
                let Some(name) = map.next_key::<String>()? else {
                    return Err(A::Error::custom("a tool without a name"));
                };
                let entry = match name.as_str() {
                    "files" => ToolEntry::Files(map.next_value()?),
                    "library.search" => ToolEntry::Library(map.next_value()?),
                    "library" => ToolEntry::Documents(map.next_value()?),
                    "sql" => ToolEntry::Sql(map.next_value()?),
                    "web.fetch" => ToolEntry::WebFetch(map.next_value()?),
                    "web.search" => ToolEntry::WebSearch(map.next_value()?),
                    "http" => ToolEntry::Http(map.next_value()?),
                    "shell" => ToolEntry::Shell(map.next_value()?),
                    "python" => ToolEntry::Python(map.next_value()?),
                    known if TOOLS.contains(&known) => {
                        return Err(A::Error::custom(format!(
                            "the tool {known} has no settings"
                        )));
                    }
                    other => return Err(unknown(other)),
                };
                match map.next_key::<String>()? {
                    None => Ok(entry),
                    Some(second) => Err(A::Error::custom(format!(
                        "the tool {second} wants a `-` of its own"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for ToolEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tool".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = |name: &str, settings: schemars::Schema| {
            schemars::json_schema!({
                "type": "object",
                "properties": {name: settings},
                "required": [name],
                "additionalProperties": false,
            })
        };
        let alone = TOOLS
            .iter()
            .filter(|name| !WITH_SETTINGS.iter().any(|(with, _)| with == *name));
        let alone: Vec<&&str> = alone.collect();
        schemars::json_schema!({"anyOf": [
            {"enum": alone},
            {"type": "string", "pattern": "^agent:.+$"},
            {"type": "string", "pattern": "^mcp:[A-Za-z0-9_-]+/.+$"},
            one("files", generator.subschema_for::<FilesTool>()),
            one("library.search", generator.subschema_for::<LibraryTool>()),
            one("library", generator.subschema_for::<LibraryTool>()),
            one("sql", generator.subschema_for::<SqlTool>()),
            one("web.fetch", generator.subschema_for::<WebFetchTool>()),
            one("web.search", generator.subschema_for::<WebSearchTool>()),
            one("http", generator.subschema_for::<HttpTool>()),
            one("shell", generator.subschema_for::<ShellTool>()),
            one("python", generator.subschema_for::<PythonTool>()),
        ]})
    }
}
