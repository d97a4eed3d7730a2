//! The commands about agents, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Limits, Provider};

/// `plumb chat`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb chat
  plumb chat local:qwen2.5-coder-0.5b
  plumb chat support.md
  plumb chat --resume 01k
  echo \"What time is it in UTC?\" | plumb chat clock.md --json

In the chat, /help lists what can be typed. Without a terminal each line of the input is a turn.")]
pub struct Chat {
    /// A model, PROVIDER:NAME, or an agent: its file, a folder that has it, or the name of one in agents/ [default:
    /// the largest local model that fits this machine]
    #[arg(value_name = "MODEL|AGENT")]
    pub with: Option<String>,
    /// Go on with this conversation: its run's id or the beginning of it
    #[arg(long, value_name = "ID", conflicts_with = "with")]
    pub resume: Option<String>,
    /// Take this model in place of the agent's
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Who uses it, for an agent whose memory is the user's
    #[arg(long, env = "PLUMB_USER", value_name = "KEY")]
    pub user: Option<String>,
    /// Print each turn as one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub provider: Provider,
}

/// `plumb run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb run clock.md \"What day is it?\"
  plumb run support.md --input letter.txt --json
  plumb run examples/shop-desk \"Do you deliver on Saturdays?\"
  git diff | plumb run reviewer --input -")]
pub struct Run {
    /// The agent: its file, a folder that has it, or the name of one in agents/
    #[arg(value_name = "AGENT")]
    pub agent: PathBuf,
    /// What the agent is to work on
    #[arg(value_name = "INPUT", required_unless_present = "input")]
    pub text: Option<String>,
    /// A file with what it is to work on, which comes after INPUT; - is the standard input
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Take this model in place of the agent's
    #[arg(long, env = "PLUMB_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    /// Who uses it, for an agent whose memory is the user's
    #[arg(long, env = "PLUMB_USER", value_name = "KEY")]
    pub user: Option<String>,
    #[command(flatten)]
    pub limits: Limits,
    /// With an agent that plans: park with each plan, for a person to change it with plumb answer
    #[arg(long)]
    pub review_plan: bool,
    /// Print the answer as JSON, with how it came about
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub provider: Provider,
}

/// `plumb watch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb watch 01k
  plumb watch 01k --model local:qwen2.5-coder-0.5b --every 20
  plumb watch 01k --say \"Leave the appendix out\"
  plumb watch 01k --once --json")]
pub struct Watch {
    /// The run: its id or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Tell the agent something while it works; its file has to say `listens: true`
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
    /// Have a model put it in words, as a run of its own; else the steps speak for themselves
    #[arg(long, value_name = "MODEL", conflicts_with = "say")]
    pub model: Option<String>,
    /// Look again after so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        conflicts_with = "say"
    )]
    pub every: u64,
    /// Say how it stands now, and no more
    #[arg(long, conflicts_with_all = ["say", "model"])]
    pub once: bool,
    /// With --once: print how it stands as JSON
    #[arg(long, requires = "once")]
    pub json: bool,
    #[command(flatten)]
    pub provider: Provider,
}

/// `plumb check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb check support.md
  plumb check --schema > agent.schema.json")]
pub struct Check {
    /// Agents: their files, folders that have them, or names of those in agents/
    #[arg(value_name = "AGENT", required_unless_present = "schema")]
    pub agents: Vec<PathBuf>,
    /// Print the JSON Schema of an agent's front matter, for editors
    #[arg(long, conflicts_with = "agents")]
    pub schema: bool,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

/// `plumb new`.
#[derive(Debug, Args)]
pub struct New {
    /// What to make.
    #[command(subcommand)]
    pub what: NewCommand,
}

/// What can be made.
#[derive(Debug, Subcommand)]
pub enum NewCommand {
    /// Write the file of an agent to begin with, NAME.md
    #[command(after_help = "Example:\n  plumb new agent support")]
    Agent {
        /// The agent's name
        name: String,
    },
}
