//! `plumb tools`, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `plumb tools`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  plumb tools
  plumb tools --agent support.md
  plumb tools show web.fetch
  plumb tools show sql.query --agent support.md
  plumb tools call math '{\"expression\": \"17% * 240\"}'

What a tool is called by a model, and what an agent's file names, may differ: `sql` gives sql.schema and sql.query.")]
pub struct Tools {
    #[command(subcommand)]
    pub command: Option<ToolsCommand>,
    /// The tools of this agent, as its file sets them; those that come with Plumb if left out
    #[arg(long, global = true, value_name = "AGENT.md")]
    pub agent: Option<PathBuf>,
    /// Print them as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What can be done with a tool.
#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// Show what models are told of a tool, its effect and its limits
    Show {
        /// The tool, such as web.fetch
        name: String,
    },
    /// Call a tool once, outside of any run, and print what a model would be shown
    Call {
        /// The tool, such as math
        name: String,
        /// Its arguments
        #[arg(value_name = "JSON", default_value = "{}")]
        arguments: String,
    },
}
