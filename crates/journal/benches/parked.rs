//! Many parked runs: what they cost in memory and on disk, and how soon one of them goes on.
//!
//! ```text
//! cargo bench -p plumb-journal --bench parked --profile dev
//! cargo bench -p plumb-journal --bench parked --profile dev -- 100000
//! ```
//!
//! An engine starts so many runs, each of which does three steps of 1 KB and then asks a question.
//! Memory is that of the process (Linux). Then single runs are answered, and the time is taken from
//! the answer's being on disk to the run's end, with an engine that is at work.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::time::Instant;

use futures::StreamExt as _;
use journal::{Effect, Engine, Journal, NewRun, Question, Run, RunStatus, WorkflowError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

async fn workflow(run: Run) -> Result<Value, WorkflowError> {
    for number in 0..3u64 {
        let input = format!("{}{}", run.id(), "x".repeat(1000));
        run.step("work", Effect::Read, &input, |_| async { Ok(number) })
            .await?;
    }
    let answer: bool = run.ask("go", &Question::yes_or_no("Go on?")).await?;
    Ok(answer.into())
}

/// Resident memory and its peak, in MB.
fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes / 1024.0
    };
    (of("VmRSS:"), of("VmHWM:"))
}

#[tokio::main]
async fn main() {
    let count: usize = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(10_000);
    let folder = tempfile::tempdir_in(".").unwrap();
    let path = folder.path().join("journal.db");
    let journal = Journal::open(&path).unwrap();
    let engine = Engine::new(journal.clone()).register("asker", workflow);
    let before = memory();
    let start = Instant::now();
    futures::stream::iter(0..count)
        .for_each_concurrent(64, |number| {
            let journal = &journal;
            async move {
                let mut new = NewRun::new("asker", Value::from(number));
                new.id = Some(format!("run-{number}"));
                journal.submit(new).await.unwrap();
            }
        })
        .await;
    engine.run_until_idle().await.unwrap();
    let (resident, peak) = memory();
    let bytes = std::fs::metadata(&path).unwrap().len();
    println!(
        "{count} runs parked in {:.1} s; memory before {:.0} MB, after {resident:.0} MB, peak {peak:.0} MB; {:.0} MB on disk",
        start.elapsed().as_secs_f64(),
        before.0,
        bytes as f64 / 1e6
    );
    let stop = CancellationToken::new();
    let work = tokio::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move { engine.run_until(stop).await }
    });
    let mut times = Vec::new();
    for number in (0..count).step_by((count / 50).max(1)) {
        let id = format!("run-{number}");
        let mut events = journal.watch();
        journal
            .answer(&id, "go[0]", true.into(), "bench")
            .await
            .unwrap();
        let start = Instant::now();
        loop {
            let event = events.recv().await.unwrap();
            if event.run.as_str() == id && event.kind == journal::EventKind::RunFinished {
                break;
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(journal.run(&id).await.unwrap().status, RunStatus::Finished);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "answered and finished, {} of them: median {:.1} ms, longest {:.1} ms",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
    stop.cancel();
    work.await.unwrap().unwrap();
}
