//! Events per second, for one run and for 64, beside plain SQLite that writes as many events with the
//! same payloads in the same commits, by turns in the same process on the same disk.
//!
//! `cargo bench -p plumb-journal --bench events --profile dev` (seconds per case and rounds: `-- 2 5`; only
//! one part: `-- write` or `-- resume`; only some cases: `-- write read`, `idempotent`, `one`, `many`)
//!
//! A step has two events: that it begins (short), and its result of 1 KB. A step with
//! [`Effect::Read`] needs one commit: its result has to be on disk before it is given to the code. One with
//! [`Effect::Idempotent`] needs two: its beginning has to be on disk before its work is done. So plain
//! SQLite writes for each run
//!
//! - beside `Read`: both rows in one transaction (with 64 runs: 128 rows),
//! - beside `Idempotent`: two transactions with a row each (64 rows each).
//!
//! It does so in one thread, with a prepared statement, and has nobody to hand the results to. *Bare* is a
//! table without an index, which no run could be read from again; *indexed* is the table of the journal:
//! the same columns with the same bytes in them, and the index that finds the events of a run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::path::Path;
use std::time::{Duration, Instant};

use journal::{Effect, Journal, NewRun};
use rusqlite::{Connection, Transaction, params};
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

/// What plain SQLite writes into.
#[derive(Clone, Copy, PartialEq)]
enum Table {
    Bare,
    Indexed,
}

const BARE: &str =
    "CREATE TABLE event (seq INTEGER PRIMARY KEY, run INTEGER, at_ms INTEGER, body TEXT)";

/// What the journal itself writes into.
const JOURNAL: [&str; 5] = [
    include_str!("../src/store/v1.sql"),
    include_str!("../src/store/v2.sql"),
    include_str!("../src/store/v3.sql"),
    include_str!("../src/store/v4.sql"),
    include_str!("../src/store/v5.sql"),
];

/// Rows of the same bytes as [`journaled`] writes, in as many commits: what SQLite itself can do.
fn raw(path: &Path, runs: u64, effect: Effect, table: Table, time: Duration) -> f64 {
    let mut connection = Connection::open(path).unwrap();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "FULL")
        .unwrap();
    let schema = match table {
        Table::Bare => &[BARE][..],
        Table::Indexed => &JOURNAL[..],
    };
    for part in schema {
        connection.execute_batch(part).unwrap();
    }
    let start = Instant::now();
    let (mut steps, mut events) = (0, 0);
    while start.elapsed() < time {
        match effect {
            Effect::Idempotent => {
                for end in [false, true] {
                    let transaction = connection.transaction().unwrap();
                    (0..runs).for_each(|run| insert(&transaction, table, run, steps, end));
                    transaction.commit().unwrap();
                }
            }
            _ => {
                let transaction = connection.transaction().unwrap();
                for run in 0..runs {
                    insert(&transaction, table, run, steps, false);
                    insert(&transaction, table, run, steps, true);
                }
                transaction.commit().unwrap();
            }
        }
        steps += 1;
        events += 2 * runs;
    }
    events as f64 / start.elapsed().as_secs_f64()
}

/// Writes the event that a step begins, or its end.
fn insert(transaction: &Transaction<'_>, table: Table, run: u64, step: u64, end: bool) {
    let body = match end {
        false => format!("{{\"input\":{step}}}"),
        true => format!("{{\"output\":{}}}", Value::from(payload(run << 32 | step))),
    };
    let at_ms = 1_800_000_000_000_i64 + i64::try_from(step).unwrap();
    match table {
        Table::Bare => transaction
            .prepare_cached("INSERT INTO event (run, at_ms, body) VALUES (?1, ?2, ?3)")
            .unwrap()
            .execute(params![run.cast_signed(), at_ms, body]),
        Table::Indexed => transaction
            .prepare_cached(
                "INSERT INTO event (run, kind, at_ms, path, effect, fingerprint, body, digest) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .unwrap()
            .execute(params![
                run.cast_signed(),
                if end { 12 } else { 10 },
                at_ms,
                format!("step[{step}]"),
                (!end).then_some(1),
                (!end).then_some([7_u8; 32]),
                body,
                i64::MAX - at_ms
            ]),
    }
    .unwrap();
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
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let seconds = numbers.first().copied().unwrap_or(2);
    let rounds = numbers.get(1).copied().unwrap_or(3);
    let folder = tempfile::tempdir_in(".").unwrap();
    if wanted("write") {
        write_part(folder.path(), Duration::from_secs(seconds), rounds);
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

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Three programs by turns, each time with a new file; of the figures and of the ratios the medians.
fn write_part(folder: &Path, time: Duration, rounds: u64) {
    println!(
        "events/s, results of 1 KB, WAL, synchronous=FULL; medians of {rounds} rounds of {time:?}"
    );
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9} {:>11}",
        "", "journal", "bare", "", "indexed", ""
    );
    let only: Vec<String> = std::env::args().collect();
    for effect in [Effect::Read, Effect::Idempotent] {
        for runs in [1, 64] {
            let other = match effect {
                Effect::Read => "idempotent",
                _ => "read",
            };
            let other_runs = if runs == 1 { "many" } else { "one" };
            if only.iter().any(|word| word == other || word == other_runs) {
                continue;
            }
            let mut figures = [Vec::new(), Vec::new(), Vec::new()];
            for round in 0..rounds {
                let file = |name: &str| folder.join(format!("{name}-{effect:?}-{runs}-{round}"));
                figures[0].push(journaled(&file("journal"), runs, effect, time));
                for (place, table) in [(1, Table::Bare), (2, Table::Indexed)] {
                    let path = file(&format!("raw-{place}"));
                    figures[place].push(raw(&path, runs, effect, table, time));
                }
            }
            let ratio = |place: usize| {
                let ratios = figures[0].iter().zip(&figures[place]);
                median(ratios.map(|(mine, raw)| mine / raw * 100.0).collect())
            };
            let (bare, indexed) = (ratio(1), ratio(2));
            let [journal, raw_bare, raw_indexed] = figures.map(median);
            let name = format!(
                "{effect:?}, {runs} {}",
                if runs == 1 { "run" } else { "runs" }
            );
            println!(
                "{name:<22} {journal:>9.0} {raw_bare:>9.0} {bare:>8.0}% {raw_indexed:>9.0} {indexed:>10.0}%"
            );
        }
    }
}
