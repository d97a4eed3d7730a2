//! `plumb mcp`, as typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Provider;

/// `plumb mcp`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  plumb mcp agents/
  plumb mcp support.md --listen 127.0.0.1:8421
  plumb mcp --server mail --server git
  plumb mcp list
  plumb mcp approve mail

Without a command, agents and the library are served: over standard input and output, to the program that has
started this one, or over HTTP with --listen, at http://ADDRESS/mcp. The commands are about the servers that
plumb.toml describes."
)]
pub struct Mcp {
    /// What to do with servers; without it, agents and the library are served
    #[command(subcommand)]
    pub command: Option<McpCommand>,
    /// Agents' files, or folders of them; each is a tool
    #[arg(value_name = "AGENT.md")]
    pub agents: Vec<PathBuf>,
    /// Also pass on this MCP server of plumb.toml: its approved tools, its resources and prompts; may be repeated
    #[arg(long = "server", value_name = "NAME")]
    pub servers: Vec<String>,
    /// Do not serve the library's tools
    #[arg(long)]
    pub no_library: bool,
    /// Serve over HTTP at this address; one that is not of this machine alone wants a token
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// The token that callers have to show [default: a new one, which is printed]
    #[arg(
        long,
        env = "PLUMB_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Let every program on this machine call, without a token
    #[arg(long, requires = "listen")]
    pub no_token: bool,
    /// Take this model in place of the agents'
    #[arg(long, env = "PLUMB_MODEL", value_name = "MODEL")]
    pub model: Option<String>,
    #[command(flatten)]
    pub provider: Provider,
}

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// List the servers, with what has been approved of them
    List {
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a server offers now, and how it differs from what was approved; starts it
    Show {
        /// The server, as plumb.toml calls it
        server: String,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Approve a server's tools as they are now, so that agents may name them
    #[command(after_help = "Examples:
  plumb mcp approve mail
  plumb mcp approve mail list read --yes")]
    Approve {
        /// The server, as plumb.toml calls it
        server: String,
        /// The tools, as the server calls them [default: all]
        tools: Vec<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Take the approval of a server's tools back
    Forget {
        /// The server, as plumb.toml calls it
        server: String,
        /// The tools, as the server calls them [default: all]
        tools: Vec<String>,
    },
    /// Call one tool of a server, as a run of its own
    #[command(after_help = "Examples:
  plumb mcp call git/git_log '{\"repo_path\": \".\"}'
  plumb mcp call --resume 01k")]
    Call {
        /// The server and the tool, SERVER/TOOL
        #[arg(value_name = "SERVER/TOOL", required_unless_present = "resume")]
        tool: Option<String>,
        /// The arguments: an object in JSON
        #[arg(value_name = "JSON", default_value = "{}", value_parser = super::parse_json)]
        arguments: serde_json::Value,
        /// Go on with a call that waits: its run's id or the beginning of it
        #[arg(long, value_name = "ID", conflicts_with_all = ["tool", "arguments"])]
        resume: Option<String>,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Log in at a server that wants it
    Login {
        /// The server, as plumb.toml calls it
        server: String,
        /// What to ask for, with spaces between [default: what the server proposes]
        #[arg(long, value_name = "SCOPES")]
        scope: Option<String>,
    },
    /// Forget a login
    Logout {
        /// The server, as plumb.toml calls it
        server: String,
    },
}
