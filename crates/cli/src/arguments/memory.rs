//! The commands about the memory, and about directories of agents, as typed.

use clap::{Args, Subcommand, ValueEnum};

use super::Provider;

/// `plumb memory`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb memory
  plumb memory search \"favourite colour\" --scope user:ada
  plumb memory show m17
  plumb memory accept m18
  plumb memory forget m17")]
pub struct Memory {
    /// List by default
    #[command(subcommand)]
    pub command: Option<MemoryCommand>,
    #[command(flatten)]
    pub which: Which,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// Which entries.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Only of this scope: agent:NAME, user:KEY or project
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<String>,
    /// Only of this kind (may be repeated)
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: Vec<Kind>,
    /// With earlier versions, what waits, and what was refused or forgotten
    #[arg(long)]
    pub all: bool,
    /// Only what waits for a person
    #[arg(long, conflicts_with = "all")]
    pub waiting: bool,
}

/// A kind of memory.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// Facts
    Semantic,
    /// Earlier runs
    Episodic,
    /// Instructions
    Procedural,
}

/// What to do with the memory.
#[derive(Debug, Subcommand)]
pub enum MemoryCommand {
    /// List what is remembered
    List {
        #[command(flatten)]
        which: Which,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Search what is remembered
    Search {
        /// What to look for
        query: String,
        #[command(flatten)]
        which: Which,
        /// How many entries
        #[arg(long, default_value_t = 10, value_name = "N")]
        limit: usize,
        /// Print the entries as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show an entry with all its versions: who said it, in which run and step, and when it holds
    Show {
        /// The entry, such as m17
        id: String,
        /// Print the versions as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let what waits take effect
    Accept {
        /// The entry, such as m17
        id: String,
        /// Who says so
        #[arg(long, default_value = "you", value_name = "NAME")]
        by: String,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Refuse what waits
    Reject {
        /// The entry, such as m17
        id: String,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Restore an earlier version from now on
    Revert {
        /// The earlier version, as plumb memory show lists it
        id: String,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete the text of an entry and of all its versions, or of a whole scope, for good
    #[command(group = clap::ArgGroup::new("what").required(true).args(["id", "scope"]))]
    Forget {
        /// The entry, such as m17
        id: Option<String>,
        /// All of this scope: agent:NAME, user:KEY or project
        #[arg(long, value_name = "SCOPE")]
        scope: Option<String>,
        /// Print the outcome as JSON
        #[arg(long)]
        json: bool,
    },
    /// Learn from a run of an agent that has a memory, as is done after a run with `learn: after`
    Learn {
        /// The run's id or the beginning of it
        id: String,
        /// Take this model in place of the run's
        #[arg(long, value_name = "MODEL")]
        model: Option<String>,
        /// Print what was learned as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        provider: Provider,
    },
}

/// `plumb agents`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb agents
  plumb run translator \"Good morning\"

An agent is a Markdown file in the folder agents/ of the project; it is called by the name in it.")]
pub struct Agents {
    /// List by default
    #[command(subcommand)]
    pub command: Option<AgentsCommand>,
    /// Print the list as JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with agents.
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// List the agents of the project
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
}
