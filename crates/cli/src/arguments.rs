//! The command line as typed. Defaults that depend on the machine are settled in `commands`.

mod agents;
mod mcp;
mod memory;
mod policy;
mod tools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

pub use self::agents::{Chat, Check, New, NewCommand, Run, Watch};
pub use self::mcp::{Mcp, McpCommand};
pub use self::memory::{Agents, AgentsCommand, Kind, Memory, MemoryCommand, Which};
pub use self::policy::{Policy, PolicyCommand};
pub use self::tools::{Tools, ToolsCommand};

/// Answers questions from your documents with a language model on your own machine; every claim is
/// cited and checked, and every run can be resumed.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  plumb research \"How does a run survive a crash?\" docs/"
)]
pub struct Arguments {
    /// The folder that holds `.plumb/` [default: the nearest one upwards that has it, else here]
    #[arg(long, global = true, env = "PLUMB_PROJECT", value_name = "FOLDER")]
    pub project: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer a question from documents, with a citation for every claim
    Research(Research),
    /// Talk with a model or an agent
    Chat(Chat),
    /// Let an agent work on an input
    Run(Run),
    /// Check agents' files
    Check(Check),
    /// Write a file to begin with
    New(New),
    /// List the agents of the project
    Agents(Agents),
    /// Look at what agents remember, accept, revert or forget it
    Memory(Memory),
    /// Read documents into the project's library, so that they can be searched
    Index(Index),
    /// Search the library
    Search(Search),
    /// List tools, look at one, or call one
    Tools(Tools),
    /// List models, or fetch one
    Models(Models),
    /// Answer programs over HTTP: models, with OpenAI's API
    Serve(Serve),
    /// Serve agents and the library over MCP, or deal with the MCP servers that agents use
    Mcp(Mcp),
    /// List runs, or look at one, settle, compare, cancel, export or import
    Runs(Runs),
    /// Go on with a run that was parked, failed, or killed
    Resume(Resume),
    /// Check a run's code against its journal; nothing is done
    Replay(Replay),
    /// Start a new run that shares the first steps of another one
    Fork(Fork),
    /// Say in a sentence what goes on in a run, until it is over; or tell its agent something
    Watch(Watch),
    /// List the questions that runs ask people
    Questions(Questions),
    /// Answer a question that a run asks
    Answer(Answer),
    /// Look at a policy, check it, or test it with cases
    Policy(Policy),
    /// Delete old runs that nothing points at
    Gc(Gc),
    /// Check the whole journal for damage
    Doctor(Doctor),
}

impl Command {
    /// Whether the local engine may have to work.
    pub fn decodes(&self) -> bool {
        match self {
            Command::Research(_)
            | Command::Chat(_)
            | Command::Run(_)
            | Command::Resume(_)
            | Command::Fork(_)
            | Command::Watch(_)
            | Command::Serve(_) => true,
            Command::Memory(memory) => {
                matches!(memory.command, Some(MemoryCommand::Learn { .. }))
            }
            Command::Mcp(mcp) => mcp.command.is_none(),
            Command::Check(_)
            | Command::Agents(_)
            | Command::New(_)
            | Command::Index(_)
            | Command::Search(_)
            | Command::Tools(_)
            | Command::Models(_)
            | Command::Runs(_)
            | Command::Replay(_)
            | Command::Questions(_)
            | Command::Answer(_)
            | Command::Policy(_)
            | Command::Gc(_)
            | Command::Doctor(_) => false,
        }
    }
}

/// `plumb serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb serve --models
  plumb serve --models --model local:qwen2.5-coder-0.5b --model openai:gpt-5-mini --listen 127.0.0.1:9000
  curl http://127.0.0.1:8420/v1/models -H \"Authorization: Bearer $PLUMB_TOKEN\"

A program that speaks OpenAI's API is pointed at it with
  export OPENAI_BASE_URL=http://127.0.0.1:8420/v1 OPENAI_API_KEY=$PLUMB_TOKEN")]
pub struct Serve {
    /// Serve models: chat completions, responses, embeddings
    #[arg(long, required = true)]
    pub models: bool,
    /// A model to serve, PROVIDER:NAME; the first answers where a caller names none (may be repeated)
    /// [default: the local models on this machine]
    #[arg(long, value_name = "NAME")]
    pub model: Vec<String>,
    /// A model for embeddings, PROVIDER:NAME (may be repeated) [default: the local one, if it is here]
    #[arg(long, value_name = "NAME")]
    pub embeddings: Vec<String>,
    /// Also open any other PROVIDER:NAME that a caller names, with this server's keys
    #[arg(long)]
    pub any: bool,
    /// Keep answers of providers, and give them again to the same request
    #[arg(long)]
    pub keep_answers: bool,
    /// The address to listen at; one that is not of this machine alone wants a token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8420")]
    pub listen: SocketAddr,
    /// The token that callers have to show [default: a new one, which is printed]
    #[arg(
        long,
        env = "PLUMB_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Let every program on this machine call, without a token
    #[arg(long, conflicts_with = "token")]
    pub no_token: bool,
    /// How to reach models that are not in process.
    #[command(flatten)]
    pub provider: Provider,
}

/// How to reach models that are not in process.
#[derive(Clone, Debug, Default, Args)]
pub struct Provider {
    /// The address of an OpenAI-compatible server, for models named `openai:NAME`
    #[arg(long, env = "OPENAI_BASE_URL", value_name = "URL")]
    pub base_url: Option<String>,
    /// Threads of the local engine [default: all cores]
    #[arg(long, env = "PLUMB_THREADS", value_name = "N")]
    pub threads: Option<u32>,
    /// Tokens that the local engine keeps at once, of all prompts and answers [default: 12288]
    #[arg(long, env = "PLUMB_CONTEXT_TOKENS", value_name = "N")]
    pub context_tokens: Option<u32>,
    /// The most memory that a local model may need, in MB [default: what is free]
    #[arg(long, env = "PLUMB_MEMORY_MB", value_name = "MB")]
    pub memory_mb: Option<u64>,
}

/// What form a report is printed in, and where to.
#[derive(Clone, Debug, Default, Args)]
pub struct Output {
    /// Write the report to this file too; its ending says the form: .md, .html or .json (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub out: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plumb research`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb research \"How does a run survive a crash?\" docs/
  plumb research \"Which ports does it use?\" manual.pdf --depth quick --out report.html
  plumb research \"...\" docs/ --model openai:gpt-5-mini --json")]
pub struct Research {
    /// The question
    pub question: String,
    /// Files and folders that may answer it
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The model, as provider:name [default: the largest local model that fits this machine]
    #[arg(long, env = "PLUMB_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// How much work the question is worth
    #[arg(long, value_enum, default_value_t = Depth::Normal)]
    pub depth: Depth,
    /// Begin no new search after this time, such as 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_time: Option<Duration>,
    /// A folder of agent files that take the place of the built-in ones (research/plan.md, ...)
    #[arg(long, value_name = "FOLDER")]
    pub agents: Option<PathBuf>,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub provider: Provider,
}

/// What a run may use up. When a limit is reached, the run parks and asks whether to raise it.
#[derive(Clone, Debug, Default, Args)]
pub struct Limits {
    /// Park and ask before the models cost more than so many US dollars, such as 0.50
    #[arg(
        long = "budget-usd",
        value_name = "AMOUNT",
        value_parser = parse_dollars,
        allow_hyphen_values = true
    )]
    pub budget_micros: Option<u64>,
    /// Park and ask once the models have used so many tokens
    #[arg(long, value_name = "N")]
    pub budget_tokens: Option<u64>,
    /// Park and ask once the run has been worked on for so long, such as 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub budget_time: Option<Duration>,
    /// Park and ask after so many steps
    #[arg(long, value_name = "N")]
    pub budget_steps: Option<u64>,
}

impl Limits {
    /// The limits as the journal has them.
    pub fn budget(&self) -> journal::Budget {
        journal::Budget {
            money_micros: self.budget_micros,
            tokens: self.budget_tokens,
            time_ms: self
                .budget_time
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            steps: self.budget_steps,
        }
    }
}

/// How much work a question is worth.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Depth {
    /// One search loop, no plan
    Quick,
    /// A plan where the question needs one, and one round of criticism
    Normal,
    /// Always a plan, more passages, two rounds of criticism
    Deep,
}

/// `plumb index`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb index docs/ manual.pdf")]
pub struct Index {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Stop once keyword search serves; do not compute the embeddings of all passages
    #[arg(long)]
    pub no_vectors: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plumb search`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb search \"default port\" --limit 5")]
pub struct Search {
    /// What to look for
    pub query: String,
    /// Search only in these files and folders, which are read first if they have changed
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How many passages
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub limit: usize,
    /// How to rank
    #[arg(long, value_enum, default_value_t = Mode::Fused)]
    pub mode: Mode,
    /// Print the passages as JSON
    #[arg(long)]
    pub json: bool,
}

/// How passages are ranked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Mode {
    /// Keywords and embeddings together
    Fused,
    /// Keywords alone (BM25)
    Keywords,
    /// Embeddings alone
    Vectors,
}

/// `plumb models`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  plumb models\n  plumb models --provider anthropic\n  plumb models pull qwen2.5-coder-1.5b"
)]
pub struct Models {
    /// List by default
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
    /// Show this provider alone: what it offers, with the prices and abilities that are known
    #[arg(long = "provider", value_name = "NAME")]
    pub only: Option<String>,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub provider: Provider,
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Fetch a model of the catalogue and check its SHA-256
    Pull {
        /// Names of the catalogue; none: the default model and the index models
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

/// `plumb runs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb runs
  plumb runs show 01k
  plumb runs diff 01k 01m
  plumb runs export 01k --out run.jsonl")]
pub struct Runs {
    /// List by default
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// How many runs, newest first
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Show a run as a tree of its steps, with time, tokens and model
    Show {
        /// The run's id or the beginning of it
        id: String,
        /// Print the run as JSON, with the inputs and outputs of its steps
        #[arg(long)]
        json: bool,
    },
    /// Show what a run's agents called, who allowed it, what left the machine, and what it cost
    Audit {
        /// The run's id or the beginning of it
        id: String,
        /// Print the audit as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the steps in which two runs differ
    Diff {
        /// The first run's id or the beginning of it
        a: String,
        /// The second run's
        b: String,
        /// Print the differences as JSON, with the steps' inputs and outputs
        #[arg(long)]
        json: bool,
    },
    /// Say what became of a step in doubt
    #[command(group = clap::ArgGroup::new("word").required(true).args(["done", "not_done"]))]
    Settle {
        /// The run's id or the beginning of it
        id: String,
        /// The step's address
        step: String,
        /// It has happened, and this is its result
        #[arg(long, value_name = "JSON", value_parser = parse_json)]
        done: Option<Value>,
        /// It has not happened and may be done
        #[arg(long)]
        not_done: bool,
    },
    /// End a run and its children for good
    Cancel {
        /// The run's id or the beginning of it
        id: String,
        /// Why, for whoever looks at it later
        #[arg(long, default_value = "cancelled by hand", value_name = "TEXT")]
        reason: String,
    },
    /// Write a run, with its children, into one file
    Export {
        /// The run's id or the beginning of it
        id: String,
        /// The file [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Read a run from a file that `plumb runs export` wrote
    Import {
        /// The file; - is the standard input
        file: PathBuf,
    },
}

/// `plumb resume`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  plumb resume 01k\n  plumb resume --all")]
pub struct Resume {
    /// The run's id or the beginning of it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,
    /// Every run that can go on: that was killed, or whose question has been answered
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub provider: Provider,
}

/// `plumb replay`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb replay 01k")]
pub struct Replay {
    /// The run's id or the beginning of it
    pub id: String,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plumb fork`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb fork 01k --at 'question[0]/read[2]' --set model=local:qwen2.5-coder-0.5b
  plumb fork 01k --at 'write[0]' --edit agents/research/write.md --reuse
  plumb fork 01k --answer 'plan[0]={\"questions\":[\"Which port?\"]}'")]
pub struct Fork {
    /// The run's id or the beginning of it
    pub id: String,
    /// The step from which on the fork is live; what had ended before it began is shared [default: the start]
    #[arg(long, value_name = "STEP")]
    pub at: Option<String>,
    /// Change a field of the input; the value is JSON, or else text (may be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, Value)>,
    /// Take this for a step's result (may be repeated)
    #[arg(long, value_name = "STEP=JSON", value_parser = parse_given)]
    pub answer: Vec<(String, Value)>,
    /// Take this agent file for the one of its name (may be repeated)
    #[arg(long, value_name = "AGENT.md")]
    pub edit: Vec<PathBuf>,
    /// Answer steps that ask the same as before from the recording
    #[arg(long)]
    pub reuse: bool,
    /// Do steps that write with a key for real; irreversible ones never are
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub provider: Provider,
}

/// `plumb questions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb questions")]
pub struct Questions {
    /// Only those of this run
    pub id: Option<String>,
    /// Print them as JSON, with the schema of each answer
    #[arg(long)]
    pub json: bool,
}

/// `plumb answer`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb answer 01k 'approve[0]' true
  plumb answer 01k 'budget/tokens[1000]' 5000")]
pub struct Answer {
    /// The run's id or the beginning of it
    pub id: String,
    /// The question's address, as `plumb questions` shows it
    pub step: String,
    /// The answer as JSON; plain text where the question wants text
    #[arg(allow_hyphen_values = true)]
    pub answer: String,
}

/// `plumb gc`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb gc --older-than 30d")]
pub struct Gc {
    /// Runs that ended at least so long ago, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub older_than: Duration,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plumb doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb doctor")]
pub struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads JSON.
fn parse_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("not JSON ({error}); text needs quotation marks inside of the quotes: '\"sent\"'")
    })
}

/// Reads `NAME=VALUE`; a value that is not JSON is text.
fn parse_setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, such as model=local:qwen2.5-coder-0.5b")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

/// Reads `STEP=JSON`.
fn parse_given(text: &str) -> Result<(String, Value), String> {
    let (step, value) = text
        .split_once('=')
        .ok_or("write STEP=JSON, such as 'plan[0]={\"questions\":[]}'")?;
    Ok((step.to_owned(), parse_json(value)?))
}

/// Reads `90`, `90s`, `5m`, `1h` or `30d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => {
            return Err(format!(
                "`{unit}` is not a unit of time; write 90s, 5m, 1h or 30d"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number with a unit: 90s, 5m, 1h or 30d".to_owned())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
}

/// Reads an amount of dollars, as millionths: exactly, so not by way of a float.
fn parse_dollars(text: &str) -> Result<u64, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) {
        return Err("write US dollars as a number that is not below 0: 2 or 0.50".to_owned());
    }
    if part.len() > 6 {
        return Err("a millionth of a dollar is the least: write at most six decimals".to_owned());
    }
    // Fails where it is too large for the journal's numbers too.
    format!("{whole}{part:0<6}")
        .parse::<i64>()
        .map(i64::unsigned_abs)
        .map_err(|_| "more dollars than can be counted".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text| parse_duration(text).ok().map(|d| d.as_secs());
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("1h"), Some(3600));
        assert_eq!(seconds("2d"), Some(172_800));
        for wrong in ["", "m", "5 m", "5w", "-1s", "99999999999999999999h"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dollars_are_read_to_the_millionth() {
        let micros = |text| parse_dollars(text).ok();
        assert_eq!(micros("2"), Some(2_000_000));
        assert_eq!(micros("0.50"), Some(500_000));
        assert_eq!(micros("0.000001"), Some(1));
        assert_eq!(micros("0"), Some(0));
        assert_eq!(micros("9223372036854.775807"), Some(i64::MAX as u64));
        for wrong in [
            "",
            ".",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,50",
            "$1",
            "NaN",
            "0.0000001",
            "9223372036854.775808",
        ] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }
}
