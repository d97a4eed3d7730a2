//! `plumb policy`, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `plumb policy`.
#[derive(Debug, Args)]
pub struct Policy {
    /// What to do with it.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What can be done with a policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print the rules that count with a policy file, those of the default policy among them
    #[command(after_help = "Examples:\n  plumb policy show\n  plumb policy show support.cedar")]
    Show {
        /// The policy's file [default: the default policy alone]
        #[arg(value_name = "FILE.cedar")]
        policy: Option<PathBuf>,
        /// Print the rules as JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a policy file
    #[command(after_help = "Example:\n  plumb policy check support.cedar")]
    Check {
        /// Policies' files
        #[arg(value_name = "FILE.cedar", required = true)]
        policies: Vec<PathBuf>,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a policy file decide cases, and compare with what is expected of it
    #[command(
        after_help = "Example:\n  plumb policy test support.cedar cases.toml\n\nA case in the file of cases:\n  [[case]]\n  name = \"a small refund\"\n  tool = \"orders.refund\"\n  effect = \"idempotent\"            # pure, read, idempotent, irreversible [default: irreversible]\n  arguments = { amount = 20 }\n  labels = [\"user\", \"document\"]    # [default: user]\n  expect = \"allow\"                 # allow, ask, deny\n  rule = \"small refunds\"           # by which rule; may be left out\nA case may also have agent, sends_out and budget. `default` in place of the policy's file tests the default policy."
    )]
    Test {
        /// The policy's file, or `default`
        #[arg(value_name = "FILE.cedar")]
        policy: PathBuf,
        /// The file of cases
        #[arg(value_name = "CASES.toml")]
        cases: PathBuf,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
}
