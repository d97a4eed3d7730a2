//! Programs in each interpreter.

use std::io::BufReader;

use serde_json::{Value, json};

use super::interpreter::{Bounds, Call, Ended, Interpreter, Program, Reply, Told, serve_program};

/// The interpreters that can be had here: in a thread, in a process (this test program, called as a worker), and
/// CPython, where there is one.
fn interpreters() -> Vec<(&'static str, Interpreter)> {
    let program = std::env::current_exe().unwrap_or_default();
    let module = module_path!()
        .split_once("::")
        .map_or("", |(_, module)| module);
    let test = format!("{module}::a_worker_runs_the_program_of_its_input");
    let arguments = [
        test.as_str(),
        "--exact",
        "--nocapture",
        "--test-threads=1",
        "-q",
    ];
    let worker = Interpreter::Worker {
        program,
        arguments: arguments.map(str::to_owned).to_vec(),
    };
    let mut all = vec![("here", Interpreter::Here), ("worker", worker)];
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join("python3").is_file()) {
        all.push(("cpython", Interpreter::BareCPython));
    }
    all
}

#[test]
fn a_worker_runs_the_program_of_its_input() {
    use std::io::IsTerminal as _;
    let input = std::io::stdin();
    let is_called = std::env::args().any(|argument| argument == "--exact") && !input.is_terminal();
    if is_called {
        // Past the capture of the test runner, whose own lines are not JSON, and are passed over.
        serve_program(BufReader::new(input), std::io::stdout()).unwrap_or_default();
    }
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

/// Runs it; `double` doubles a number, `refuse` refuses. Gives the calls as well.
async fn run(interpreter: &Interpreter, text: &str) -> (Ended, Vec<Call>) {
    let mut calls = Vec::new();
    let mut machine = match interpreter.start(program(text)).await {
        Ok(machine) => machine,
        Err(missing) => return (Ended::of_trouble(missing.message), calls),
    };
    loop {
        let call = match machine.told().await {
            Told::Ended(ended) => return (ended, calls),
            Told::Call(call) => call,
        };
        let reply = match (call.name.as_str(), call.arguments.first()) {
            ("double", Some(number)) => Reply::Answer(json!(number.as_i64().unwrap_or(0) * 2)),
            _ => Reply::Raise("no".to_owned()),
        };
        calls.push(call);
        machine.reply(reply).await;
    }
}

#[tokio::test]
async fn a_program_calls_prints_and_comes_to_a_value() {
    let text = "
total = 0
for number in range(3):
    total += double(number)
print('so', 'far')
try:
    refuse('it', why={'a': [1, None]})
except RuntimeError as error:
    print(error)
{'total': total, 'half': 1.5, 'all': (1, 'ä'), 'none': None}
";
    for (name, interpreter) in interpreters() {
        let (ended, calls) = run(&interpreter, text).await;
        assert_eq!(ended.trouble, None, "{name}");
        assert_eq!(ended.printed, "so far\nno\n", "{name}");
        let value = json!({"total": 6, "half": 1.5, "all": [1, "ä"], "none": null});
        assert_eq!(ended.value, value, "{name}");
        assert_eq!(calls.len(), 4, "{name}");
        let last = calls.last().map(|call| json!([call.arguments, call.named]));
        assert_eq!(
            last,
            Some(json!([["it"], {"why": {"a": [1, null]}}])),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_its_line() {
    for (name, interpreter) in interpreters() {
        let mut told = Vec::new();
        for text in [
            "x = 1\ny = [1, 2\nz = 3",
            "x = {}\n\nx['key']",
            "def f():\n    return refuse(1)\n\nf()",
            "print(nobody)",
            "double(1)\nraise ValueError('so')",
        ] {
            let (ended, _) = run(&interpreter, text).await;
            let trouble = ended.trouble.unwrap_or_else(|| panic!("{name}: {text}"));
            let kind = trouble
                .message
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned();
            told.push((kind, trouble.line));
        }
        let lines: Vec<_> = told
            .iter()
            .map(|(kind, line)| (kind.as_str(), line.unwrap_or(0)))
            .collect();
        // Where a bracket is never closed, one says so at the bracket and the other where it noticed.
        assert!(
            matches!(lines[0], ("SyntaxError", 2 | 3)),
            "{name}: {lines:?}"
        );
        let rest = [
            ("KeyError", 3),
            ("RuntimeError", 2),
            ("NameError", 1),
            ("ValueError", 2),
        ];
        assert_eq!(lines[1..], rest, "{name}");
    }
}

#[tokio::test]
async fn time_recursion_and_printing_are_bounded_everywhere() {
    for (name, interpreter) in interpreters() {
        for text in [
            "while True:\n    pass",
            "def f():\n    return f()\nf()",
            "while True:\n    print('again and again and again')",
        ] {
            let (ended, _) = run(&interpreter, text).await;
            assert!(ended.trouble.is_some(), "{name}: {text}");
            assert!(ended.printed.len() <= 1_000, "{name}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_is_bounded_in_a_process_of_its_own() {
    for (name, interpreter) in interpreters() {
        if interpreter == Interpreter::Here {
            continue;
        }
        let text = "x = ['a long word']\nwhile True:\n    x = x + x";
        let (ended, _) = run(&interpreter, text).await;
        let trouble = ended.trouble.unwrap_or_else(|| panic!("{name}"));
        let said = trouble.message.to_lowercase();
        assert!(said.contains("memory"), "{name}: {said}");
        // A smaller one has what it needs.
        let (ended, _) = run(&interpreter, "len('x' * 10000000)").await;
        assert_eq!(
            ended.value,
            Value::from(10_000_000),
            "{name}: {:?}",
            ended.trouble
        );
    }
}

#[tokio::test]
async fn a_program_reaches_nothing_but_its_functions() {
    for text in [
        "open('/etc/passwd').read()",
        "import os\nos.environ['HOME']",
        "import os\nos.listdir('/')",
        "import socket",
        "import subprocess",
        "import time\ntime.time()",
        "import random\nrandom.random()",
        "import datetime\nprint(datetime.datetime.now())",
        "from pathlib import Path\nPath('/etc/passwd').read_text()",
        "__import__('os').system('true')",
    ] {
        let (ended, calls) = run(&Interpreter::Here, text).await;
        assert!(ended.trouble.is_some(), "{text}: {ended:?}");
        assert!(calls.is_empty());
    }
}

#[tokio::test]
async fn the_same_program_does_the_same_each_time() {
    let text = "
seen = set()
for word in ['pear', 'fig', 'plum', 'apple', 'quince', 'kiwi', 'lime', 'date']:
    seen.add(word)
for word in seen:
    print(word, double(len(word)))
print({word: hash(word) % 1 for word in seen})
";
    for (name, interpreter) in interpreters() {
        if interpreter == Interpreter::BareCPython {
            continue;
        }
        let first = run(&interpreter, text).await;
        for _ in 0..5 {
            assert_eq!(run(&interpreter, text).await, first, "{name}");
        }
    }
}

#[tokio::test]
async fn a_program_that_nobody_waits_for_ends() {
    for (name, interpreter) in interpreters() {
        let started = interpreter
            .start(program("double(1)\nwhile True:\n    double(2)"))
            .await;
        let mut machine = started.unwrap_or_else(|missing| panic!("{name}: {missing:?}"));
        assert!(matches!(machine.told().await, Told::Call(_)), "{name}");
        drop(machine);
    }
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let interpreter = Interpreter::Worker {
        program: "/nowhere/plumb".into(),
        arguments: Vec::new(),
    };
    let Err(missing) = interpreter.start(program("1")).await else {
        panic!("it started");
    };
    let said = "/nowhere/plumb cannot run programs: ";
    assert!(missing.message.starts_with(said), "{missing:?}");
}
