//! `plumb research` killed with SIGKILL at random moments, and each time completed by `plumb resume`.
//!
//! A server on the loopback answers as the scripted reader of the agent's tests does, so that the answer
//! of a run that was killed can be held against that of one that was not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

#[path = "../../agent/tests/support/reader.rs"]
mod reader;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Project, shown};

const KILLS: u32 = 24;
const SEED: u64 = 0x5eed;
/// What the server takes for each half of an answer, so that there is something to kill.
const DELAY: Duration = Duration::from_millis(8);

const QUESTION: &str = "How do Alder and Birch differ in the port they listen on?";
const FILES: &[(&str, &str)] = &[
    (
        "alder.md",
        "# Alder\n\nThe Alder server listens on port 4711 of all addresses. It speaks plain HTTP and nothing else at all.\n",
    ),
    (
        "birch.md",
        "# Birch\n\nThe Birch server listens on port 8025 of all addresses. It speaks plain SMTP and nothing else at all.\n",
    ),
    (
        "garden.md",
        "# Garden\n\nTomatoes want six hours of sun on each day of the summer.\n",
    ),
];

/// An OpenAI-compatible server that keeps what it was asked.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

/// What tells requests apart: the messages, and what the answer is for.
fn asked(messages: &Value, schema: &Value) -> Value {
    json!([reader::purpose(schema), messages])
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                // A client that was killed breaks its connection; that is what is tested.
                std::thread::spawn(move || drop(serve(stream, &log)));
            }
        });
        Server { address, asked }
    }

    /// How many requests there were so far.
    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// What was asked from the `first`-th request on.
    fn since(&self, first: usize) -> Vec<Value> {
        self.asked.lock().unwrap()[first..].to_vec()
    }
}

/// Reads one request and streams its answer.
fn serve(stream: TcpStream, log: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    let schema = &body["response_format"]["json_schema"]["schema"];
    log.lock().unwrap().push(asked(&body["messages"], schema));
    let last = body["messages"].as_array().unwrap().last().unwrap();
    let answer = reader::answer(last["content"].as_str().unwrap(), schema).to_string();
    stream_answer(stream, &answer)
}

fn stream_answer(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let middle = answer.char_indices().nth(answer.chars().count() / 2);
    let (first, second) = answer.split_at(middle.map_or(0, |(at, _)| at));
    for part in [first, second] {
        std::thread::sleep(DELAY);
        let event = json!({"choices": [{"delta": {"content": part}}]});
        write!(stream, "data: {event}\n\n")?;
        stream.flush()?;
    }
    let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let tokens = answer.split(' ').count();
    let usage =
        json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": tokens}});
    write!(stream, "data: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// Small pseudo-random numbers (SplitMix64, Steele, Lea and Flood 2014), the same in every run.
struct Random(u64);

impl Random {
    /// The next number, 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The report without what differs between any two runs.
fn essence(output: &Output) -> Value {
    assert!(output.status.success(), "{}", shown(output));
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["run"] = Value::Null;
    report["seconds"] = Value::Null;
    report
}

struct Trial {
    project: Project,
    server: Server,
}

impl Trial {
    fn research(&self) -> Vec<&str> {
        let model = ["--model", "openai:test", "--base-url", &self.server.address];
        let mut arguments = vec!["research", QUESTION, "docs", "--json"];
        arguments.extend(model);
        arguments
    }

    fn resume<'a>(&'a self, run: &'a str) -> Vec<&'a str> {
        vec!["resume", run, "--json", "--base-url", &self.server.address]
    }

    /// Starts the command and kills it after `delay`; its output when it was done before.
    fn kill_after(&self, arguments: &[&str], delay: Duration) -> Option<Output> {
        let mut child = self.project.spawn(arguments);
        // Not a wait for something to have happened: the moment of the kill is what is tested.
        std::thread::sleep(delay);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        output.status.success().then_some(output)
    }

    /// The id of the newest run, when it is not one of `known`.
    fn newest(&self, known: &[String]) -> Option<String> {
        let runs = self.project.json(&["runs", "--json", "--limit", "1"]);
        let id = runs[0]["id"].as_str()?.to_owned();
        (!known.contains(&id)).then_some(id)
    }

    /// The steps of a run that have a result.
    fn finished(&self, run: &str) -> Vec<Value> {
        let shown = self.project.json(&["runs", "show", run, "--json"]);
        let steps = shown["steps"].as_array().unwrap().iter();
        let done = |step: &&Value| !step["finished_ms"].is_null() && step["error"].is_null();
        steps.filter(done).cloned().collect()
    }

    /// Asserts that nothing of `before` was done again by what happened from request `first` on.
    fn assert_kept(&self, run: &str, before: &[Value], first: usize, case: &str) {
        let again = self.server.since(first);
        let after = self.finished(run);
        for step in before {
            let path = step["path"].as_str().unwrap();
            let same = after.iter().find(|other| other["path"] == path);
            let same = same.unwrap_or_else(|| panic!("{case}: step {path} is gone"));
            for field in ["input", "output", "attempts", "started_ms", "finished_ms"] {
                assert_eq!(same[field], step[field], "{case}: {field} of {path}");
            }
            let request = &step["input"]["request"];
            // Without a schema it is about how likely an answer is, which no server is asked.
            let schema = &request["output"]["json"];
            if !schema.is_null() {
                let asked = asked(&request["messages"], schema);
                assert!(!again.contains(&asked), "{case}: {path} was asked again");
            }
        }
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_completed_without_repeating_a_step() {
    let trial = Trial {
        project: Project::new(FILES),
        server: Server::start(),
    };
    let started = Instant::now();
    let unbroken = trial.project.output(&trial.research());
    let duration = started.elapsed();
    let unbroken = essence(&unbroken);
    assert_eq!(unbroken["answered"], true, "{unbroken:#}");
    let requests = trial.server.since(0);
    let different: std::collections::HashSet<String> =
        requests.iter().map(Value::to_string).collect();
    assert_eq!(
        different.len(),
        requests.len(),
        "requests can be told apart"
    );

    let mut random = Random(SEED);
    let mut known = vec![trial.newest(&[]).unwrap()];
    let (mut killed, mut midway, mut case) = (0, 0, 0);
    while killed < KILLS {
        let share = (f64::from(killed) + random.next()) / f64::from(KILLS);
        let case = {
            case += 1;
            format!("case {case}, killed at {:.3} of {duration:?}", share)
        };
        let first = trial.server.count();
        if let Some(output) = trial.kill_after(&trial.research(), duration.mul_f64(share)) {
            // It was faster than the unbroken one.
            assert_eq!(essence(&output), unbroken, "{case}");
            known.push(trial.newest(&known).unwrap());
            killed += 1;
            continue;
        }
        killed += 1;
        let Some(run) = trial.newest(&known) else {
            // Killed before the run was there: nothing was asked, and nothing is lost.
            assert_eq!(trial.server.count(), first, "{case}");
            continue;
        };
        known.push(run.clone());
        let listed = trial.project.output(&["runs"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(!listed.contains("  running"), "{case}: {listed}");
        let mut before = trial.finished(&run);
        midway += usize::from(!before.is_empty());
        if random.next() < 0.5 {
            // The resume is killed as well.
            let second = trial.server.count();
            let delay = duration.mul_f64(random.next());
            trial.kill_after(&trial.resume(&run), delay);
            trial.assert_kept(&run, &before, second, &case);
            before = trial.finished(&run);
        }
        let last = trial.server.count();
        let output = trial.project.output(&trial.resume(&run));
        assert_eq!(essence(&output), unbroken, "{case}");
        trial.assert_kept(&run, &before, last, &case);
    }
    eprintln!("{killed} kills, {midway} of them in the middle of a run of {duration:?}");
    assert!(midway >= 8, "too few kills met a run at work: {midway}");
}
