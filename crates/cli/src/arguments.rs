//! The command line as typed. Defaults that depend on the machine are settled in `commands`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Read documents into the project's library, so that they can be searched
    Index(Index),
    /// Search the library
    Search(Search),
    /// List models, or fetch one
    Models(Models),
    /// List runs, or show one
    Runs(Runs),
    /// Go on with a run that was parked, failed, or killed
    Resume(Resume),
}

impl Command {
    /// Whether the local engine may have to work.
    pub fn decodes(&self) -> bool {
        match self {
            Command::Research(_) | Command::Resume(_) => true,
            Command::Index(_) | Command::Search(_) | Command::Models(_) | Command::Runs(_) => false,
        }
    }
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
    pub output: Output,
    #[command(flatten)]
    pub provider: Provider,
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
#[command(after_help = "Examples:\n  plumb models\n  plumb models pull qwen2.5-coder-1.5b")]
pub struct Models {
    /// List by default
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
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
#[command(after_help = "Examples:\n  plumb runs\n  plumb runs show 01k")]
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
}

/// `plumb resume`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  plumb resume 01k")]
pub struct Resume {
    /// The run's id or the beginning of it
    pub id: String,
    #[command(flatten)]
    pub output: Output,
    #[command(flatten)]
    pub provider: Provider,
}

/// Reads `90`, `90s`, `5m` or `1h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => {
            return Err(format!(
                "`{unit}` is not a unit of time; write 90s, 5m or 1h"
            ));
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number with a unit: 90s, 5m or 1h".to_owned())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| "too long".to_owned())
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
        for wrong in ["", "m", "5 m", "5d", "-1s", "99999999999999999999h"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
