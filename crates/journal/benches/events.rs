//! Events per second, for one run and for 64, beside plain SQLite with the same settings, one after
//! the other in the same process on the same disk.
//!
//! `cargo bench -p plumb-journal --bench events --profile dev` (seconds per case: `-- 5`; only one
//! part: `-- write` or `-- resume`)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::path::Path;
use std::time::{Duration, Instant};

use journal::{Effect, Journal, NewRun};
use rusqlite::{Connection, params};
use serde_json::Value;

/// 1 KB of text that does not compress, different each time.
fn payload(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(1024);
    while text.len() < 1024 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b' ' + u8::try_from((state >> 33) % 94).unwrap()));
    }
    text
}

/// One event of 1 KB a row, `group` rows a commit: what SQLite itself can do.
fn raw(path: &Path, group: u64, time: Duration) -> f64 {
    let mut connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "FULL")
        .unwrap();
    let schema =
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, run INTEGER, at_ms INTEGER, body TEXT)";
    connection.execute_batch(schema).unwrap();
    let start = Instant::now();
    let mut events = 0;
    while start.elapsed() < time {
        let transaction = connection.transaction().unwrap();
        for run in 0..i64::try_from(group).unwrap() {
            transaction
                .prepare_cached("INSERT INTO event (run, at_ms, body) VALUES (?1, ?2, ?3)")
                .unwrap()
                .execute(params![run, 0, payload(events)])
                .unwrap();
            events += 1;
        }
        transaction.commit().unwrap();
    }
    events as f64 / start.elapsed().as_secs_f64()
}

/// Steps with a result of 1 KB; two events a step.
fn journaled(path: &Path, runs: u64, effect: Effect, time: Duration) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let journal = Journal::open(path).unwrap();
        let start = Instant::now();
        let mut tasks = Vec::new();
        for number in 0..runs {
            let (agent, definition) = ("bench".to_string(), String::new());
            let new = NewRun {
                id: None,
                agent,
                definition,
                input: Value::from(number),
                budget: Default::default(),
            };
            let run = journal.start(new).await.unwrap();
            tasks.push(tokio::spawn(async move {
                let mut steps = 0;
                while start.elapsed() < time {
                    let text = payload(number << 32 | steps);
                    let _: String = run
                        .step("step", effect, &steps, |_| async move { Ok(text) })
                        .await
                        .unwrap();
                    steps += 1;
                }
                steps
            }));
        }
        let mut steps = 0;
        for task in tasks {
            steps += task.await.unwrap();
        }
        steps as f64 * 2.0 / start.elapsed().as_secs_f64()
    })
}

/// A run of so many steps taken up again, every step answered from the journal.
fn resumed(path: &Path, steps: u64) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let journal = Journal::open(path).unwrap();
        let new = |number| NewRun {
            id: Some(format!("resume-{number}")),
            agent: "bench".to_string(),
            definition: String::new(),
            input: Value::Null,
            budget: Default::default(),
        };
        let run = journal.start(new(steps)).await.unwrap();
        let all = (0..steps).map(|number| {
            let scope = run.scope("branch", usize::try_from(number).unwrap());
            async move {
                let work = async move |_| Ok(payload(number));
                scope
                    .step("step", Effect::Read, &number, work)
                    .await
                    .unwrap()
            }
        });
        futures::future::join_all(all).await;
        drop(run);
        let start = Instant::now();
        let run = journal.resume(&format!("resume-{steps}")).await.unwrap();
        let opened = start.elapsed().as_secs_f64();
        for number in 0..steps {
            let scope = run.scope("branch", usize::try_from(number).unwrap());
            let none =
                async |_| Err::<String, _>(journal::StepError::Failed("ran again".to_string()));
            scope
                .step("step", Effect::Read, &number, none)
                .await
                .unwrap();
        }
        (opened, start.elapsed().as_secs_f64())
    })
}

fn main() {
    let wanted = |part: &str| {
        let others = ["write", "resume"]
            .into_iter()
            .filter(|other| *other != part);
        !others
            .into_iter()
            .any(|other| std::env::args().any(|argument| argument == other))
    };
    let seconds = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(3);
    let folder = tempfile::tempdir_in(".").unwrap();
    if wanted("write") {
        write_part(folder.path(), Duration::from_secs(seconds));
    }
    if wanted("resume") {
        for steps in [1_000, 10_000] {
            let (opened, answered) = resumed(&folder.path().join(format!("resume-{steps}")), steps);
            println!(
                "resume of {steps} steps: opened in {:.1} ms, all answered in {:.1} ms",
                opened * 1e3,
                answered * 1e3
            );
        }
    }
}

fn write_part(folder: &Path, time: Duration) {
    let file = |name: &str| folder.join(name);
    println!("events/s with 1 KB payloads, WAL, synchronous=FULL, {time:?} each");
    println!("{:<44} {:>9} {:>9}", "", "1 run", "64 runs");
    let line = |name: &str, one: f64, many: f64| println!("{name:<44} {one:>9.0} {many:>9.0}");
    let (one, many) = (raw(&file("raw-1"), 1, time), raw(&file("raw-64"), 64, time));
    line("SQLite: 1 KB a row, 1 or 64 rows a commit", one, many);
    for effect in [Effect::Read, Effect::Idempotent] {
        let mine = |runs| journaled(&file(&format!("{effect:?}-{runs}")), runs, effect, time);
        let (mine_one, mine_many) = (mine(1), mine(64));
        line(
            &format!("journal: {effect:?} steps, 2 events each"),
            mine_one,
            mine_many,
        );
        println!(
            "{:<44} {:>8.0}% {:>8.0}%",
            "",
            mine_one / one * 100.0,
            mine_many / many * 100.0
        );
    }
}
