//! The tools that come with Plumb, as an agent's file names them.

use serde_json::Value;
use tool::Effect;

use crate::Definition;

/// A tool that comes with Plumb.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// As an agent's file names it.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What a model can call then, and what that does to the world; with the usual settings, and where it writes, with
    /// those that allow it.
    pub calls: &'static [(&'static str, Effect)],
}

/// The tools that come with Plumb.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        name: "time",
        about: "the date and the time",
        calls: &[("time", Effect::Read)],
    },
    BuiltIn {
        name: "math",
        about: "arithmetic",
        calls: &[("math", Effect::Pure)],
    },
    BuiltIn {
        name: "ask",
        about: "one question to the person, for whose answer the run waits",
        calls: &[],
    },
    BuiltIn {
        name: "files",
        about: "the files below one folder; writing with write: true",
        calls: &[
            ("files.list", Effect::Read),
            ("files.read", Effect::Read),
            ("files.write", Effect::Idempotent),
        ],
    },
    BuiltIn {
        name: "library.search",
        about: "search in documents",
        calls: &[("library.search", Effect::Read)],
    },
    BuiltIn {
        name: "library",
        about: "search in documents, and reading on in them",
        calls: &[
            ("library.search", Effect::Read),
            ("library.read", Effect::Read),
        ],
    },
    BuiltIn {
        name: "sql",
        about: "a SQLite or Postgres database; writing with write: true",
        calls: &[
            ("sql.schema", Effect::Read),
            ("sql.query", Effect::Read),
            ("sql.write", Effect::Irreversible),
        ],
    },
    BuiltIn {
        name: "web.fetch",
        about: "pages of the web as text",
        calls: &[("web.fetch", Effect::Read)],
    },
    BuiltIn {
        name: "web.search",
        about: "search in the web by SearXNG, Brave or Tavily",
        calls: &[("web.search", Effect::Read)],
    },
    BuiltIn {
        name: "http",
        about: "the operations of an API by its OpenAPI file, each by its method: GET reads, PUT and DELETE are idempotent, \
                POST and PATCH irreversible",
        calls: &[],
    },
    BuiltIn {
        name: "shell",
        about: "commands in a sandbox without network; irreversible with a folder and write: true",
        calls: &[("shell", Effect::Read)],
    },
    BuiltIn {
        name: "python",
        about: "Python in a sandbox without network; irreversible with a folder and write: true",
        calls: &[("python", Effect::Read)],
    },
];

impl BuiltIn {
    /// Its settings, by their names: the JSON Schema of each. `null` where it has none.
    pub fn settings(&self) -> Value {
        let schema = Definition::json_schema();
        let entries = schema["$defs"]["Tool"]["anyOf"].as_array();
        let entry = entries.into_iter().flatten().find_map(|entry| {
            let settings = &entry["properties"][self.name];
            settings.is_object().then_some(settings)
        });
        let pointer = entry.and_then(|entry| entry["$ref"].as_str()?.strip_prefix('#'));
        let found = pointer.and_then(|pointer| schema.pointer(pointer));
        found.map_or(Value::Null, |found| found["properties"].clone())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Kit, SqlTool, ToolEntry};

    #[test]
    fn the_list_says_what_the_tools_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), "").unwrap();
        let kit = Kit {
            folder: folder.path().to_owned(),
            library: Arc::new(|| Err("there is none".to_owned())),
            memory: Arc::new(|| Err("there is none".to_owned())),
            model: Arc::new(|name| Arc::new(model::Scripted::new(name, |_| Ok(String::new())))),
            interpreter: crate::code::Interpreter::Here,
            user: None,
            as_of_ms: None,
            servers: tool::mcp::Servers::none(),
            pinned: tool::mcp::Pinned::new(),
        };
        for built_in in BUILT_IN {
            let named = ToolEntry::named(built_in.name);
            let entry = match (built_in.name, named) {
                ("files", _) => ToolEntry::Files(crate::FilesTool {
                    write: true,
                    ..crate::FilesTool::default()
                }),
                ("sql", _) => ToolEntry::Sql(SqlTool {
                    sqlite: Some("a.db".to_owned()),
                    write: true,
                    ..SqlTool::default()
                }),
                (_, Some(entry)) => entry,
                (_, None) => continue,
            };
            let toolbox = match kit.toolbox(&[entry]) {
                Ok(toolbox) => toolbox,
                // There is no library here, and not everywhere a sandbox.
                Err(crate::Error::Tool { tool, .. })
                    if ["library.search", "shell", "python"].contains(&tool.as_str()) =>
                {
                    continue;
                }
                Err(error) => unreachable!("{error}"),
            };
            let calls: Vec<(&str, Effect)> = toolbox
                .iter()
                .map(|tool| (tool.spec().name.as_str(), tool.spec().effect))
                .collect();
            assert_eq!(calls, built_in.calls);
        }
        let without: Vec<&str> = BUILT_IN
            .iter()
            .filter(|one| one.settings().is_null())
            .map(|one| one.name)
            .collect();
        assert_eq!(without, ["time", "math", "ask"]);
    }
}
