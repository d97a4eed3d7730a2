//! Programs in each interpreter, and what models read of them.

use std::io::BufReader;

use model::Tool;
use serde_json::{Value, json};

use super::interpreter::{Bounds, Call, Ended, Interpreter, Program, Reply, Told, serve_program};
use super::manual::{arguments, manual};
use super::{Limits, told};

/// The name of the test that is a worker when it is called as one.
const WORKER: &str = "code::tests::a_worker_runs_a_program_of_its_input";

fn interpreters() -> [Interpreter; 3] {
    let program = std::env::current_exe().unwrap_or_default();
    let arguments = [WORKER, "--exact", "--nocapture", "--test-threads=1", "-q"];
    let worker = Interpreter::Worker {
        program,
        arguments: arguments.map(str::to_owned).to_vec(),
    };
    [Interpreter::Here, worker, Interpreter::BareCPython]
}

#[test]
fn a_worker_runs_a_program_of_its_input() {
    use std::io::IsTerminal as _;
    let input = std::io::stdin();
    if input.is_terminal() || std::env::args().all(|argument| argument != "--exact") {
        return;
    }
    serve_program(BufReader::new(input), std::io::stdout()).unwrap_or_default();
}

fn program(text: &str) -> Program {
    Program {
        text: text.to_owned(),
        functions: vec!["double".to_owned(), "refuse".to_owned()],
        bounds: Bounds {
            time_ms: 500,
            memory_bytes: 64 * 1024 * 1024,
            recursion: 100,
            printed_bytes: 1_000,
        },
    }
}
