//! The chores of this repository, in Rust: `cargo xtask CHORE`.
//!
//! `tidy` and `arrows` are part of `make test`. `corpora` and `eval-research` measure the quality of
//! `plumb research` from outside, through the built binary; they share no code with the product, so
//! that neither can hide the other's mistakes. Nothing here is shipped.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool for developers"
)]

mod arrows;
mod bfcl;
mod clients;
mod command_line;
mod examples;
mod mcp;
mod research;
mod setup;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Usage: cargo xtask CHORE

Chores:
  setup           install what a build needs and this machine lacks; part of make demo and make test
  tidy            check file and function lengths, documentation links and other rules of the house
  arrows          check that crates depend on each other only as the design allows
  command-line    write docs/reference/command-line.md from the help of the built plumb (--check: only compare)
  clients         try the official clients of OpenAI's API against plumb serve (--help for more)
  mcp-conformance try plumb mcp against the conformance suite of MCP (--help for more)
  mcp-servers     try real MCP servers of others with plumb
  bfcl            measure how well local models call tools (--help for more)
  examples        run the agents in examples/ with the local model and check each answer (--help for more)
  corpora         fetch the documentation that the evaluation set asks about
  eval-research   measure answers, citations and retrieval on the evaluation set (--help for more)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (chore, rest) = match arguments.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("help", arguments),
    };
    match chore {
        "setup" => setup::run(&workspace::root()?),
        "tidy" => tidy::run(&workspace::root()?),
        "arrows" => arrows::run(&workspace::root()?),
        "command-line" => command_line::run(&workspace::root()?, rest),
        "clients" => clients::run(&workspace::root()?, rest),
        "mcp-conformance" => mcp::run(&workspace::root()?, rest),
        "mcp-servers" => mcp::servers::run(&workspace::root()?),
        "bfcl" => bfcl::run(&workspace::root()?, rest),
        "examples" => examples::run(&workspace::root()?, rest),
        "corpora" => research::corpora::run(&workspace::root()?),
        "eval-research" => research::run(&workspace::root()?, rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no chore is called {other}\n\n{HELP}"),
    }
}
