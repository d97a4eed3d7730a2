//! What a durable step costs: CPU time, time, bytes on disk, a fan-out, a resume; and the same beside
//! LangGraph, case by case in turn, on the same disk.
//!
//! ```text
//! cargo bench -p plumb-journal --bench steps --profile dev
//! cargo bench -p plumb-journal --bench steps --profile dev -- --python "$PWD/V/bin/python" --rounds 3
//! cargo bench -p plumb-journal --bench steps --profile dev -- flat=100000
//! ```
//!
//! `langgraph_steps.py` says how the virtual environment `V` is made and what the cases are (its path
//! must be absolute: cargo starts a benchmark in the folder of its crate). For the journal they are:
//!
//! - `chain=1000`: steps with [`Effect::Read`] one after the other; the input is the `journal::List` of all
//!   messages so far, the result a new message of 1 KB. `delta` is the same here.
//! - `plain=1000`: the same with an ordinary `Vec`, which is read and hashed whole at every step.
//! - `flat=1000`: the same, but the input is the last message only, so every step costs the same.
//! - `fanout=100`: so many scopes side by side, a step with a message of 1 KB in each.
//!
//! A chain is broken off by a fault in the step after the last. The resume is from opening the file to
//! the moment when that step's work begins again, with every step before it answered from the journal.
//! CPU time is that of the process, all threads, from `/proc` (Linux), which counts in units of 10 ms;
//! what is shorter is done many times.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use journal::{Effect, Error, Journal, NewRun, Run, StepError};
use serde::Deserialize;
use serde_json::Value;

const MESSAGE_CHARACTERS: usize = 1024;
const DEFAULT_CASES: &[&str] = &[
    "chain=500",
    "chain=1000",
    "chain=2000",
    "delta=1000",
    "flat=1000",
    "flat=10000",
    "fanout=100",
];
/// Fan-outs are so short that many are measured, each in a file of its own.
const FANOUTS: u32 = 40;
/// USER_HZ, which is 100 on every Linux.
const MS_A_TICK: f64 = 10.0;

/// What a case cost; the line that the script prints has the same fields.
#[derive(Clone, Debug, Deserialize)]
struct Cost {
    cpu_ms: f64,
    wall_ms: f64,
    /// With the file open: the database and its write-ahead log.
    bytes: f64,
    /// After closing it.
    bytes_closed: f64,
    resume_cpu_ms: Option<f64>,
    resume_wall_ms: Option<f64>,
}

/// What is shown of a cost: the name, the figure, its digits after the point.
type Row = (&'static str, fn(&Cost, f64) -> Option<f64>, usize);

const ROWS: &[Row] = &[
    ("CPU ms a step", |cost, steps| Some(cost.cpu_ms / steps), 3),
    ("ms a step", |cost, steps| Some(cost.wall_ms / steps), 3),
    ("KB on disk, open", |cost, _| Some(cost.bytes / 1e3), 0),
    (
        "KB on disk, closed",
        |cost, _| Some(cost.bytes_closed / 1e3),
        0,
    ),
    ("resume, CPU ms", |cost, _| cost.resume_cpu_ms, 1),
    ("resume, ms", |cost, _| cost.resume_wall_ms, 1),
];

/// CPU time of the process and time on the wall, both in milliseconds.
#[derive(Clone, Copy)]
struct Clock {
    cpu_ms: f64,
    wall: Instant,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            cpu_ms: cpu_ms(),
            wall: Instant::now(),
        }
    }

    fn read(&self) -> (f64, f64) {
        let wall_ms = self.wall.elapsed().as_secs_f64() * 1e3;
        (cpu_ms() - self.cpu_ms, wall_ms)
    }
}

/// User and system time of all threads, those that have ended included.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The program's name stands in brackets and may contain spaces; the times are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        * MS_A_TICK
}

/// Messages of random text: nothing repeats, and only the 2 bits of each byte that text of this
/// alphabet does not use could be squeezed out.
fn random_messages(count: usize) -> Vec<String> {
    const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
    let character = |_| char::from(ALPHABET[usize::from(rand::random::<u8>() % 64)]);
    (0..count)
        .map(|_| (0..MESSAGE_CHARACTERS).map(character).collect())
        .collect()
}

fn bytes_on_disk(path: &Path) -> f64 {
    let size = |name: String| std::fs::metadata(name).map_or(0, |file| file.len());
    let name = path.display();
    (size(format!("{name}")) + size(format!("{name}-wal"))) as f64
}

fn new_run() -> NewRun {
    let mut new = NewRun::new("bench", Value::Null);
    new.id = Some("bench".to_string());
    new
}

/// What a step of a chain has for its input.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    List,
    Vec,
    LastMessage,
}

/// The code of a run: a step for each message, and one more that breaks the run off. Gives what the
/// clock showed when the work of that one began.
async fn work_through(
    run: &Run,
    steps: usize,
    input: Input,
    clock: Clock,
    message: impl Fn(usize) -> Result<String, StepError> + Send + Sync,
) -> (f64, f64) {
    let mut so_far: Vec<String> = Vec::new();
    let mut list = run.list();
    for number in 0..steps {
        let work = |_| async { message(number) };
        let result: String = match input {
            Input::List => run.step("message", Effect::Read, &list, work).await,
            Input::Vec => run.step("message", Effect::Read, &so_far, work).await,
            Input::LastMessage => {
                let last = so_far.last();
                run.step("message", Effect::Read, &last, work).await
            }
        }
        .unwrap();
        match input {
            Input::List => list.push(&result).unwrap(),
            Input::Vec | Input::LastMessage => so_far.push(result),
        }
    }
    let ended = Arc::new(Mutex::new(None));
    let note = Arc::clone(&ended);
    let work = |_| async move {
        *note.lock().unwrap() = Some(clock.read());
        Err::<String, _>(StepError::Fault("broken off".to_string()))
    };
    let broken_off = match input {
        Input::List => run.step("last", Effect::Read, &list, work).await,
        Input::Vec => run.step("last", Effect::Read, &so_far, work).await,
        Input::LastMessage => {
            let last = so_far.last();
            run.step("last", Effect::Read, &last, work).await
        }
    };
    assert!(matches!(broken_off, Err(Error::StepFault { .. })));
    let ended = *ended.lock().unwrap();
    ended.unwrap()
}

async fn chain(path: &Path, steps: usize, input: Input) -> Cost {
    let messages = random_messages(steps);
    let journal = Journal::open(path).unwrap();
    let clock = Clock::start();
    let run = journal.start(new_run()).await.unwrap();
    let made = |number: usize| Ok(messages[number].clone());
    let (cpu_ms, wall_ms) = work_through(&run, steps, input, clock, made).await;
    let bytes = bytes_on_disk(path);
    drop(run);
    drop(journal);
    let bytes_closed = bytes_on_disk(path);
    let again = |_| Err(StepError::Failed("ran again".to_string()));
    let (mut resume_cpu_ms, mut resume_wall_ms) = (0.0, 0.0);
    let resumes = 5;
    for _ in 0..resumes {
        let clock = Clock::start();
        let journal = Journal::open(path).unwrap();
        let run = journal.resume("bench").await.unwrap();
        let (cpu, wall) = work_through(&run, steps, input, clock, again).await;
        resume_cpu_ms += cpu / f64::from(resumes);
        resume_wall_ms += wall / f64::from(resumes);
    }
    Cost {
        cpu_ms,
        wall_ms,
        bytes,
        bytes_closed,
        resume_cpu_ms: Some(resume_cpu_ms),
        resume_wall_ms: Some(resume_wall_ms),
    }
}

async fn fanout(path: &Path, branches: usize) -> Cost {
    let messages = random_messages(branches);
    let mut total = Cost {
        cpu_ms: 0.0,
        wall_ms: 0.0,
        bytes: 0.0,
        bytes_closed: 0.0,
        resume_cpu_ms: None,
        resume_wall_ms: None,
    };
    for number in 0..FANOUTS {
        let path = path.with_extension(number.to_string());
        let journal = Journal::open(&path).unwrap();
        let clock = Clock::start();
        let run = journal.start(new_run()).await.unwrap();
        let all = messages.iter().enumerate().map(|(index, message)| {
            let scope = run.scope("branch", index);
            let work = |_| async { Ok(message.clone()) };
            async move { scope.step("message", Effect::Read, &index, work).await }
        });
        let joined: Vec<String> = futures::future::try_join_all(all).await.unwrap();
        let (cpu_ms, wall_ms) = clock.read();
        assert_eq!(joined, messages);
        total.cpu_ms += cpu_ms / f64::from(FANOUTS);
        total.wall_ms += wall_ms / f64::from(FANOUTS);
        total.bytes += bytes_on_disk(&path) / f64::from(FANOUTS);
        drop(run);
        drop(journal);
        total.bytes_closed += bytes_on_disk(&path) / f64::from(FANOUTS);
    }
    total
}

/// One case with the journal, on a fresh file.
fn measure(case: &str, steps: usize) -> Cost {
    let folder = tempfile::tempdir_in(".").unwrap();
    let path = folder.path().join("journal");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        match case {
            "chain" | "delta" => chain(&path, steps, Input::List).await,
            "plain" => chain(&path, steps, Input::Vec).await,
            "flat" => chain(&path, steps, Input::LastMessage).await,
            "fanout" => fanout(&path, steps).await,
            other => unreachable!("no case is called {other}"),
        }
    })
}

/// One case with LangGraph; `Err` says why it was left out.
fn measure_langgraph(python: &str, case: &str) -> Result<Cost, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/langgraph_steps.py");
    let output = Command::new(python)
        .args([script, case])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script} ended with {}",
        output.status
    );
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    match line["left_out"].as_str() {
        Some(reason) => Err(reason.to_string()),
        None => Ok(serde_json::from_value(line).unwrap()),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints medians over the rounds; of the ratios also the least and the greatest.
fn print_case(case: &str, steps: usize, ours: &[Cost], theirs: &[Cost]) {
    println!(
        "{case:<24} {:>12} {:>12} {:>8}",
        "journal", "LangGraph", "ratio"
    );
    for (name, figure, digits) in ROWS {
        let column = |costs: &[Cost]| -> Vec<f64> {
            let steps = steps as f64;
            costs
                .iter()
                .filter_map(|cost| figure(cost, steps))
                .collect()
        };
        let (ours, theirs) = (column(ours), column(theirs));
        if ours.is_empty() {
            continue;
        }
        // A time of less than a tick reads as zero.
        let ratios = theirs.iter().zip(&ours).map(|(theirs, ours)| theirs / ours);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        print!("  {name:<22} {:>12.digits$}", median(ours));
        if !ratios.is_empty() {
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = ratios.iter().copied().fold(0.0, f64::max);
            print!(" {:>12.digits$} {:>8.3}", median(theirs), median(ratios));
            print!("  ({least:.3} to {greatest:.3})");
        }
        println!();
    }
}

fn main() {
    let (mut python, mut rounds, mut cases) = (None, 1, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--python" => python = arguments.next(),
            "--rounds" => rounds = arguments.next().unwrap().parse().unwrap(),
            // Cargo's own.
            "--bench" => {}
            _ => cases.push(argument),
        }
    }
    if cases.is_empty() {
        cases = DEFAULT_CASES.iter().map(ToString::to_string).collect();
    }
    println!("medians of {rounds} rounds; messages of {MESSAGE_CHARACTERS} random characters");
    for case in &cases {
        let (name, steps) = case.split_once('=').unwrap();
        let steps = steps.parse().unwrap();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut left_out = None;
        for _ in 0..rounds {
            ours.push(measure(name, steps));
            match python
                .as_ref()
                .map(|python| measure_langgraph(python, &case.replace("plain", "chain")))
            {
                Some(Ok(cost)) => theirs.push(cost),
                Some(Err(reason)) => left_out = Some(reason),
                None => {}
            }
        }
        print_case(case, steps, &ours, &theirs);
        if let Some(reason) = left_out {
            println!("  LangGraph left out: {reason}");
        }
        let load = std::fs::read_to_string("/proc/loadavg").unwrap();
        println!("  load {}", load.split(' ').next().unwrap());
    }
}
