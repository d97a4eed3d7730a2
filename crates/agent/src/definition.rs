//! An agent's definition: a Markdown file whose front matter is settings and whose body is the
//! instructions. `front_matter` has the settings as they are written.

mod calling;
mod front_matter;
mod patterns;
mod tool_settings;

use std::path::{Path, PathBuf};

use journal::Budget;
use model::catalogue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::mcp::{self, Servers};

use self::front_matter::FrontMatter;
pub use self::front_matter::{
    Checks, Example, FilesTool, Learn, LibraryTool, McpTool, MemoryScope, MemorySettings, Pattern,
    ToolEntry,
};
pub use self::patterns::{CodeSettings, PlanSettings, Python, Reflection, TeamSettings, TeamWay};
pub use self::tool_settings::{
    HttpAuth, HttpTool, PythonTool, SaidEffect, ShellTool, SqlTool, WebFetchTool, WebSearchTool,
};
use crate::skills::Skill;
use crate::{Error, Result, act, directory};

/// An agent as its file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The agent's name.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// The instructions, sent as the system message.
    pub instructions: String,
    /// The models that it may run on, `provider:name`; the first that can be opened is taken.
    pub models: Vec<String>,
    /// The tools that it may call.
    pub tools: Vec<ToolEntry>,
    /// Whether it has to call a tool before it answers.
    pub calls_first: bool,
    /// How it goes about its work.
    pub pattern: Pattern,
    /// Who judges what it writes, where it reflects.
    pub reflect: Option<Reflection>,
    /// How it plans, where it does.
    pub plan: PlanSettings,
    /// How it writes programs, where it does.
    pub code: CodeSettings,
    /// How it works with others, where it does.
    pub team: Option<TeamSettings>,
    /// Whether the user may say something while it works on an answer.
    pub listens: bool,
    /// The file of the JSON schema that its answers have, as it is written.
    pub output: Option<String>,
    /// What it remembers from one run to the next.
    pub memory: Option<MemorySettings>,
    /// The folders of its skills, as they are written; none: where skills usually are.
    pub skills: Option<Vec<String>>,
    /// Whether it is told what the nearest `AGENTS.md` says.
    pub project_notes: bool,
    /// The file of its policy, as it is written.
    pub policy: Option<String>,
    /// Which checks it is held to.
    pub checks: Checks,
    /// Exchanges shown to the model before the real question, oldest first.
    pub examples: Vec<Example>,
    /// The most tokens that one answer may have.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// Where its loop ends.
    pub limits: act::Limits,
    /// What a run of it may use up before it parks and asks.
    pub budget: Budget,
    /// The text of the file, kept so that a run can pin it.
    pub text: String,
}

impl Definition {
    /// Parses the text of an agent file; `file` only names it in errors.
    ///
    /// # Errors
    /// [`Error::Definition`] with file and line for a missing or malformed front matter, an unknown
    /// key, or an empty body.
    pub fn parse(file: &str, text: &str) -> Result<Definition> {
        let error = |line: usize, message: String, hint: &str| Error::Definition {
            file: file.to_owned(),
            line,
            message,
            hint: hint.to_owned(),
        };
        let normalised = text.replace("\r\n", "\n");
        let Some(rest) = normalised.strip_prefix("---\n") else {
            let hint = "begin with a line `---`, then `name: ...`, then `---`";
            return Err(error(1, "the front matter is missing".to_owned(), hint));
        };
        let Some((matter, body)) = rest.split_once("\n---\n") else {
            let hint = "end the front matter with a line `---` of its own";
            return Err(error(1, "the front matter has no end".to_owned(), hint));
        };
        let settings: FrontMatter = serde_yaml_ng::from_str(matter).map_err(|e| {
            // The opening `---` is line 1 of the file, so line n of the front matter is line n + 1.
            let line = e.location().map_or(1, |l| l.line()) + 1;
            let message = without_location(&e.to_string());
            let hint = match (meant(&message), key_at(matter, line - 1)) {
                (Some(meant), _) => format!("did you mean `{meant}`?"),
                (None, Some("tools")) => {
                    "plumb tools lists the tools and their settings".to_owned()
                }
                (None, _) => "plumb check --schema prints all keys and what they take".to_owned(),
            };
            error(line, message, &hint)
        })?;
        let instructions = body.trim().to_owned();
        if instructions.is_empty() {
            let line = normalised.lines().count();
            let hint = "write the instructions below the front matter";
            return Err(error(line, "the instructions are missing".to_owned(), hint));
        }
        if let Some((key, message, hint)) = patterns::problem(&settings) {
            let line = normalised.lines().position(|line| line.starts_with(key));
            let line = line.map_or(1, |index| index + 1);
            return Err(error(line, message, hint));
        }
        let (limits, budget) = (settings.limits.of_the_loop(), settings.limits.budget());
        Ok(Definition {
            name: settings.name,
            description: settings.description,
            instructions,
            models: settings.model.0,
            tools: settings.tools,
            calls_first: settings.calls_first,
            pattern: settings.pattern,
            reflect: settings.reflect,
            plan: settings.plan.unwrap_or_default(),
            code: settings.code.unwrap_or_default(),
            team: settings.team,
            listens: settings.listens,
            output: settings.output,
            memory: settings.memory,
            skills: settings.skills,
            project_notes: settings.project_notes,
            policy: settings.policy,
            checks: settings.checks,
            examples: settings.examples,
            max_tokens: settings.max_tokens,
            temperature: settings.temperature,
            limits,
            budget,
            text: text.to_owned(),
        })
    }

    /// Who judges what it writes, as the file says.
    fn critic_of(&self) -> Option<&str> {
        let team = self.team.as_ref().and_then(|team| team.critic.as_deref());
        self.reflect
            .as_ref()
            .map(|reflect| reflect.critic.as_str())
            .or(team)
    }

    /// An error about what a line of the file says: the first that begins with `key`.
    pub fn wrong(&self, file: &str, key: &str, message: String, hint: &str) -> Error {
        let mut lines = self.text.lines();
        let line = lines.position(|line| line.trim_start().starts_with(key));
        Error::Definition {
            file: file.to_owned(),
            line: line.map_or(1, |index| index + 1),
            message,
            hint: hint.to_owned(),
        }
    }

    /// Whether a file is there that a line of this one names.
    fn has_file(&self, file: &str, key: &str, what: &str, named: &Path) -> Result<()> {
        if named.is_file() {
            return Ok(());
        }
        let message = format!("{what} {} is not there", named.display());
        let hint = match directory::nearest(named) {
            Some(near) => format!("did you mean {}?", near.display()),
            None => "name a file relative to this one".to_owned(),
        };
        let line = self.text.lines().find(|line| line.contains(key));
        let key = line.map_or(key, str::trim_start);
        Err(self.wrong(file, key, message, &hint))
    }

    /// The JSON Schema of the front matter, for editors.
    pub fn json_schema() -> Value {
        schemars::schema_for!(FrontMatter).to_value()
    }
}

/// An agent's file with what belongs to it, as a run keeps it: files that change later change new runs
/// only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// The file as it was named.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The JSON schema of its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The text of the agent that judges what it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic: Option<String>,
    /// What the project's `AGENTS.md` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// The skills that it can read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    /// The agents that it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Called>,
    /// The members of its team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Pinned>,
    /// The tools of MCP servers, as they were approved when the run started.
    #[serde(default, skip_serializing_if = "mcp::Pinned::is_empty")]
    pub servers: mcp::Pinned,
    /// The text of its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// An agent that another one may call, as a run keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Called {
    /// What it is called by.
    pub name: String,
    /// The folder that paths in its file are relative to.
    pub folder: PathBuf,
    /// It.
    pub agent: Pinned,
}

impl Pinned {
    /// Reads an agent's file, and what belongs to it, without what a project has for all its agents.
    ///
    /// # Errors
    /// [`Error::Unreadable`], and [`Error::Definition`] for a file that is not as it must be.
    pub fn read(path: &Path) -> Result<Pinned> {
        Pinned::read_in(path, None)
    }

    /// The same in the project of this folder.
    ///
    /// # Errors
    /// As [`Pinned::read`].
    pub fn read_in(path: &Path, project: Option<&Path>) -> Result<Pinned> {
        calling::read(path, project, &mut Vec::new())
    }

    /// The same, but for the agents that it may call.
    fn alone(path: &Path, project: Option<&Path>, above: &[PathBuf]) -> Result<Pinned> {
        let file = path.display().to_string();
        let definition = load_file(path)?;
        let output = match &definition.output {
            Some(name) => Some(read_schema(path, name, &definition)?),
            None => None,
        };
        let critic = definition.critic_of();
        let critic = critic.and_then(|critic| patterns::critic_file(path, critic));
        let critic = match critic {
            Some(critic) => {
                definition.has_file(&file, "critic:", "the critic", &critic)?;
                Some(load_file(&critic)?.text)
            }
            None => None,
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let notes = match definition.project_notes {
            true => directory::notes(folder, project),
            false => None,
        };
        let skills = skills(&file, folder, project, &definition)?;
        let members = read_members(path, &definition, project, above)?;
        let policy = match &definition.policy {
            Some(name) => Some(read_policy(path, name, &definition)?),
            None => None,
        };
        Ok(Pinned {
            file,
            text: definition.text,
            output,
            critic,
            notes,
            skills,
            agents: Vec::new(),
            members,
            policy,
            servers: mcp::Pinned::new(),
        })
    }

    /// With the tools of the MCP servers that it names, as they are approved now; so are those that it may call.
    ///
    /// # Errors
    /// [`Error::Tool`] when one is not.
    pub fn with_servers(mut self, servers: &Servers) -> Result<Pinned> {
        let definitions = [Some(self.definition()?), self.critic()?];
        for entry in definitions
            .iter()
            .flatten()
            .flat_map(|definition| &definition.tools)
        {
            let ToolEntry::Mcp(of) = entry else {
                continue;
            };
            let approved = servers.approved(&of.server, &of.pattern);
            let approved = approved.map_err(|error| crate::kit::of_server(of, &error))?;
            let pinned = self.servers.entry(of.server.clone()).or_default();
            for tool in approved {
                if !pinned.iter().any(|known| known.name == tool.name) {
                    pinned.push(tool);
                }
            }
        }
        let below = self.agents.iter_mut().map(|called| &mut called.agent);
        for agent in below.chain(&mut self.members) {
            *agent = agent.clone().with_servers(servers)?;
        }
        Ok(self)
    }

    /// What it may do.
    ///
    /// # Errors
    /// [`Error::Policy`], with file and line, and as [`Definition::parse`].
    pub fn policy(&self) -> Result<guard::Policy> {
        let Some(text) = &self.policy else {
            return Ok(guard::Policy::default());
        };
        let file = self.definition()?.policy.unwrap_or_default();
        Ok(guard::Policy::read(&file, text)?)
    }

    /// The agent.
    ///
    /// # Errors
    /// As [`Definition::parse`].
    pub fn definition(&self) -> Result<Definition> {
        Definition::parse(&self.file, &self.text)
    }

    /// The agent that judges what it writes, where it reflects.
    ///
    /// # Errors
    /// As [`Definition::parse`].
    pub fn critic(&self) -> Result<Option<Definition>> {
        let critic = self.critic.as_deref();
        critic
            .map(|text| Definition::parse("its critic", text))
            .transpose()
    }

    /// As a run keeps it.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// From what a run has kept.
    ///
    /// # Errors
    /// [`Error::Definition`] when that is something else.
    pub fn from_text(text: &str) -> Result<Pinned> {
        serde_json::from_str(text).map_err(|error| Error::Definition {
            file: "the run's pinned agent".to_owned(),
            line: error.line(),
            message: error.to_string(),
            hint: "start it again as a new run".to_owned(),
        })
    }
}

/// The skills that an agent's file names, or those that are where skills usually are.
fn skills(
    file: &str,
    folder: &Path,
    project: Option<&Path>,
    definition: &Definition,
) -> Result<Vec<Skill>> {
    let folders = match &definition.skills {
        Some(named) => named.iter().map(|name| folder.join(name)).collect(),
        None => {
            let shared = project.map(|project| project.join(".agents/skills"));
            Vec::from_iter([Some(folder.join("skills")), shared].into_iter().flatten())
        }
    };
    let mut skills: Vec<Skill> = Vec::new();
    for folder in folders {
        if definition.skills.is_some() && !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            let hint = "name folders that have skills, relative to the agent's file";
            return Err(definition.wrong(file, "skills:", message, hint));
        }
        let folder = folder.canonicalize().unwrap_or(folder);
        for skill in Skill::below(&folder)? {
            // The agent's own come first.
            if skills.iter().all(|known| known.name != skill.name) {
                skills.push(skill);
            }
        }
    }
    Ok(skills)
}

/// The members of an agent's team. An agent that is a member of its own team would have no end.
fn read_members(
    path: &Path,
    definition: &Definition,
    project: Option<&Path>,
    above: &[PathBuf],
) -> Result<Vec<Pinned>> {
    let Some(team) = &definition.team else {
        return Ok(Vec::new());
    };
    let file = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new(""));
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut above = above.to_vec();
    above.push(whole(path));
    let mut members: Vec<Pinned> = Vec::new();
    for name in &team.members {
        let wrong = |message: String, hint| definition.wrong(&file, "team:", message, hint);
        let path = folder.join(name);
        if above.contains(&whole(&path)) {
            let message = format!("{name} is above itself in its own team");
            return Err(wrong(message, "let the members be other agents"));
        }
        definition.has_file(&file, "team:", "the member", &path)?;
        let member = calling::read(&path, project, &mut above.clone())?;
        if member.definition()?.description.is_none() {
            let message = format!("the member {name} has no description");
            let hint = "write `description: ...` into its file: what it is good for, in a sentence";
            return Err(wrong(message, hint));
        }
        members.push(member);
    }
    Ok(members)
}

/// The JSON schema in the file `name` beside the agent's file.
fn read_schema(agent: &Path, name: &str, definition: &Definition) -> Result<Value> {
    let file = agent.display().to_string();
    let path = agent.parent().unwrap_or(Path::new("")).join(name);
    definition.has_file(&file, "output:", "the output schema", &path)?;
    let wrong = |message: String, hint| definition.wrong(&file, "output:", message, hint);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let message = format!("the output schema {name} cannot be read: {error}");
        wrong(message, "name a file beside the agent's file")
    })?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| {
        let message = format!("the output schema {name} is not JSON: {error}");
        wrong(message, "write a JSON Schema")
    })?;
    if schema["type"] != "object" {
        let message = format!("the output schema {name} is not that of an object");
        let hint = "begin with {\"type\": \"object\", \"properties\": ...}; some models can write nothing else";
        return Err(wrong(message, hint));
    }
    Ok(schema)
}

/// The policy in the file `name` beside the agent's file. What is wrong with it is said at once.
fn read_policy(agent: &Path, name: &str, definition: &Definition) -> Result<String> {
    let path = agent.parent().unwrap_or(Path::new("")).join(name);
    let file = agent.display().to_string();
    definition.has_file(&file, "policy:", "the policy", &path)?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let message = format!("the policy {name} cannot be read: {error}");
        let hint = "name a file beside the agent's file";
        definition.wrong(&agent.display().to_string(), "policy:", message, hint)
    })?;
    guard::Policy::read(&path.display().to_string(), &text)?;
    Ok(text)
}

/// The key that a line of the front matter, counted from 1, belongs to.
fn key_at(matter: &str, line: usize) -> Option<&str> {
    let lines = matter.lines().take(line);
    let keys = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
    keys.last()?.split(':').next()
}

/// What the parser expected that is most like what it found: "unknown field `x`, expected one of `y`, `z`".
fn meant(message: &str) -> Option<&str> {
    let (found, expected) = message.split_once("`, expected ")?;
    let (_, found) = found.split_once('`')?;
    let expected = expected.split('`').skip(1).step_by(2);
    catalogue::closest(found, expected)
}

/// The parser's message without its own, front-matter-relative, line number.
fn without_location(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}

pub(crate) fn load_file(path: &Path) -> Result<Definition> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Definition::parse(&file, &text),
        Err(source) => Err(Error::Unreadable { file, source }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let text = "---\nname: x\nexamples: []\ntemprature: 1\n---\nDo it.\n";
        let error = Definition::parse("agents/x.md", text)
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(error, @r"
        agents/x.md:4: unknown field `temprature`, expected one of `name`, `description`, `model`, `tools`, `calls_first`, `pattern`, `reflect`, `plan`, `code`, `team`, `listens`, `output`, `memory`, `skills`, `project_notes`, `policy`, `checks`, `limits`, `examples`, `max_tokens`, `temperature`
        hint: did you mean `temperature`?
        ");
    }

    #[test]
    fn what_may_have_been_meant_is_said() {
        for (line, hint) in [
            ("limits: {step: 3}", "did you mean `steps`?"),
            ("pattern: refelct", "did you mean `reflect`?"),
            (
                "limits: {apples: 3}",
                "plumb check --schema prints all keys",
            ),
            ("tools: [time, 3]", "plumb tools lists the tools"),
        ] {
            let text = format!("---\nname: a\n{line}\n---\nDo it.\n");
            let error = Definition::parse("a.md", &text).unwrap_err().to_string();
            assert!(error.contains(&format!("hint: {hint}")), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, expected) in [
            ("Do it.", "a.md:1: the front matter is missing"),
            ("---\nname: x\n", "a.md:1: the front matter has no end"),
            (
                "---\nname: x\n---\n\n",
                "a.md:4: the instructions are missing",
            ),
        ] {
            let error = Definition::parse("a.md", text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn all_keys_are_read() {
        let text = "---\nname: helper\ndescription: Helps.\nmodel: [anthropic:a, local:b]\ntools:\n  - time\n  - files: {root: notes, write: true}\n  - library.search\npattern: act\noutput: reply.json\nlimits: {rounds: 5, steps: 40, cost_usd: 0.5, time: 10m}\n---\nHelp.\n";
        let read = Definition::parse("helper.md", text).unwrap();
        assert_eq!(read.models, ["anthropic:a", "local:b"]);
        let files = ToolEntry::Files(FilesTool {
            root: Some("notes".to_owned()),
            write: true,
            untrusted: false,
        });
        let library = ToolEntry::Library(LibraryTool::default());
        assert_eq!(read.tools, [ToolEntry::Time, files, library]);
        assert_eq!((read.limits.rounds, read.limits.repeats), (5, 2));
        let budget = Budget {
            money_micros: Some(500_000),
            steps: Some(40),
            time_ms: Some(600_000),
            tokens: None,
        };
        assert_eq!(read.budget, budget);
        let one = Definition::parse("a.md", "---\nname: a\nmodel: local:b\n---\nDo it.\n");
        assert_eq!(one.unwrap().models, ["local:b"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said: Vec<String> = [
            "tools: [time, serch]",
            "tools:\n  - time\n  - math: {digits: 3}",
            "tools:\n  - files: {rot: notes}",
            "tools:\n  - files: {root: notes}\n    time: {}",
            "limits: {time: soon}",
            "limits: {step: 3}",
            "pattern: react",
            "model: {name: x}",
            "memory: [semantics]",
            "memory: {scope: user}",
            "memories: [semantic]",
        ]
        .iter()
        .map(|line| {
            let text = format!("---\nname: a\n{line}\n---\nDo it.\n");
            let error = Definition::parse("a.md", &text).unwrap_err().to_string();
            error.lines().next().unwrap_or_default().to_owned()
        })
        .collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        a.md:3: tools[1]: there is no tool `serch`; there are time, math, ask, files, library.search, library, sql, web.fetch, web.search, http, shell, python, agent:NAME, and mcp:SERVER/TOOL
        a.md:5: tools[1]: the tool math has no settings
        a.md:4: tools[0].files: unknown field `rot`, expected one of `root`, `write`, `untrusted`
        a.md:4: tools[0]: the tool time wants a `-` of its own
        a.md:3: limits: `soon` is no time; write 90s, 10m or 2h
        a.md:3: limits: unknown field `step`, expected one of `rounds`, `wrong_calls`, `repeats`, `calls`, `steps`, `tokens`, `cost_usd`, `time`
        a.md:3: pattern: unknown variant `react`, expected one of `act`, `reflect`, `plan`, `code`, `team`
        a.md:3: model: invalid type: map, expected a model's name, provider:name, or a list of them
        a.md:3: memory[0]: unknown variant `semantics`, expected one of `semantic`, `episodic`, `procedural`
        a.md:3: memory: missing field `kinds`
        a.md:3: unknown field `memories`, expected one of `name`, `description`, `model`, `tools`, `calls_first`, `pattern`, `reflect`, `plan`, `code`, `team`, `listens`, `output`, `memory`, `skills`, `project_notes`, `policy`, `checks`, `limits`, `examples`, `max_tokens`, `temperature`
        ");
    }

    #[test]
    fn an_agent_is_pinned_with_its_schema() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.md");
        std::fs::write(&file, "---\nname: a\noutput: a.json\n---\nDo it.\n").unwrap();
        let read = || Pinned::read(&file).map_err(|error| error.to_string());
        let missing = read().unwrap_err();
        assert!(
            missing.contains("a.md:3: the output schema")
                && missing.contains("a.json is not there"),
            "{missing}"
        );
        std::fs::write(folder.path().join("a.json"), "{\"type\": \"string\"}").unwrap();
        let wrong = read().unwrap_err();
        assert!(wrong.contains("is not that of an object"), "{wrong}");
        std::fs::write(folder.path().join("a.json"), "{\"type\": \"object\"}").unwrap();
        let pinned = read().unwrap();
        assert_eq!(Pinned::from_text(&pinned.to_text()).unwrap(), pinned);
        assert_eq!(pinned.definition().unwrap().name, "a");
        assert!(Pinned::from_text("{}").is_err());
    }
}
