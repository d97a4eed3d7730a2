//! Several engine processes on one file, killed and stopped at random moments.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use journal::{
    Effect, Engine, Error, Journal, NewRun, Options, Page, Run, RunStatus, WorkflowError,
};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, child, new_run, role};

const RUNS: usize = 40;
const STEPS: usize = 4;
const WORKERS: usize = 3;
const KILLS: usize = 12;
/// How long all this may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A line of the log that all processes write: some work began or ended.
struct Line {
    place: (String, String),
    key: String,
    pid: u32,
    ended: bool,
}

fn log_of(journal: &Path) -> PathBuf {
    journal.with_extension("log")
}

/// Appended in one write, so lines of several processes do not mix.
fn write_line(log: &Path, line: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn read_lines(log: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter(|line| line.split(' ').count() == 5);
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            Line {
                place: (words[0].to_string(), words[1].to_string()),
                key: words[2].to_string(),
                pid: words[3].parse().unwrap(),
                ended: words[4] == "end",
            }
        })
        .collect()
}

async fn write_down(run: Run, log: PathBuf) -> Result<Value, WorkflowError> {
    let mut said = Vec::new();
    for number in 0..STEPS {
        let effect = [Effect::Read, Effect::Idempotent][number % 2];
        let input = json!([run.id(), said]);
        let (id, log) = (run.id().to_string(), log.clone());
        let answer: String = run
            .step("write", effect, &input, |context| async move {
                let line = |word: &str| {
                    let (path, key) = (context.path(), context.key());
                    format!("{id} {path} {key} {} {word}", std::process::id())
                };
                write_line(&log, &line("begin"));
                // Long enough for a kill to come in between.
                tokio::time::sleep(Duration::from_millis(3)).await;
                write_line(&log, &line("end"));
                Ok(format!("{id} {}", context.path()))
            })
            .await?;
        said.push(answer);
    }
    Ok(json!(said))
}

/// As a child: work until killed.
fn act(path: &Path) -> ! {
    let log = log_of(path);
    block_on(async {
        let journal = Journal::open(path).unwrap();
        let engine = Engine::new(journal).register("test", move |run| write_down(run, log.clone()));
        engine.run_until(Default::default()).await.unwrap();
    });
    std::process::exit(0)
}

/// Kills a process, and waits until it is gone; only then may others take its runs up.
fn kill(mut worker: Child) -> u32 {
    worker.kill().unwrap();
    worker.wait().unwrap();
    worker.id()
}

#[test]
fn many_processes_that_are_killed_do_all_the_work_once() {
    if let Some((_, path)) = role() {
        act(&path);
    }
    let bench = Bench::new();
    block_on(async {
        let journal = bench.open();
        for number in 0..RUNS {
            journal
                .submit(new_run(&format!("run-{number}")))
                .await
                .unwrap();
        }
    });
    let spawn = || {
        let test = "workers::many_processes_that_are_killed_do_all_the_work_once";
        child(test, &bench.path(), &json!({}))
    };
    let log = log_of(&bench.path());
    let mut workers: Vec<Child> = (0..WORKERS).map(|_| spawn()).collect();
    let mut killed = BTreeMap::new();
    let begun = Instant::now();
    // Kills come as the work goes on, wherever it happens to be then.
    for number in 1..=KILLS {
        let lines = number * (2 * RUNS * STEPS) / (KILLS + 2);
        while read_lines(&log).len() < lines {
            assert!(begun.elapsed() < PATIENCE, "the work does not get on");
            std::thread::yield_now();
        }
        // Before the kill: right after it, others may take its runs up and write.
        let lines = read_lines(&log).len();
        killed.insert(kill(workers.remove(0)), lines);
        workers.push(spawn());
    }
    block_on(async {
        let journal = bench.open();
        let everything = || Page {
            limit: RUNS,
            before: None,
        };
        loop {
            let runs = journal.runs(everything()).await.unwrap();
            if runs.iter().all(|run| run.status == RunStatus::Finished) {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the work does not come to its end"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for run in journal.runs(everything()).await.unwrap() {
            let said = (0..STEPS).map(|number| format!("{} write[{number}]", run.id));
            assert_eq!(run.output, Some(json!(said.collect::<Vec<_>>())));
        }
    });
    workers.into_iter().for_each(|worker| {
        kill(worker);
    });
    check(&read_lines(&log), &killed);
}

/// Nobody worked on a run that another living process was working on, a step kept its key, and was done
/// again only where the process that did it before had been killed.
fn check(lines: &[Line], killed: &BTreeMap<u32, usize>) {
    let mut at_work: BTreeMap<&str, u32> = BTreeMap::new();
    let mut keys: BTreeMap<&(String, String), &str> = BTreeMap::new();
    let mut done: BTreeMap<&(String, String), u32> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        let dead = |pid: &u32| killed.get(pid).is_some_and(|at| *at <= number);
        assert_eq!(*keys.entry(&line.place).or_insert(&line.key), line.key);
        let run = line.place.0.as_str();
        if line.ended {
            assert_eq!(
                at_work.remove(run),
                Some(line.pid),
                "{run} has another process"
            );
            done.insert(&line.place, line.pid);
            continue;
        }
        if let Some(before) = at_work.insert(run, line.pid) {
            assert!(
                dead(&before),
                "{run} is worked on by {before} and {}",
                line.pid
            );
        }
        // Killed after the work and before its result was on disk: it may be done again.
        if let Some(before) = done.get(&line.place) {
            assert!(dead(before), "{:?} was done and is done again", line.place);
        }
    }
    assert_eq!(done.len(), RUNS * STEPS);
}

/// As a child that will be stopped: take the run up, say so, and try to go on when told.
fn act_stopped(path: &Path) {
    let options = Options {
        lease_ms: 400,
        ..Options::default()
    };
    let journal = Journal::open_with(path, options).unwrap();
    let log = log_of(path);
    block_on(async {
        let run = journal.start(NewRun {
            id: Some("one".to_string()),
            ..NewRun::new("test", Value::Null)
        });
        let run = run.await.unwrap();
        let first: u32 = run
            .step("first", Effect::Read, &(), |_| async {
                Ok(std::process::id())
            })
            .await
            .unwrap();
        write_line(&log, &format!("has {first}"));
        let deadline = Instant::now() + PATIENCE;
        while !log.with_extension("go").exists() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let worked = log.with_extension("worked");
        let second = run.step("second", Effect::Idempotent, &(), |_| async {
            std::fs::write(&worked, "").unwrap();
            Ok(())
        });
        let said = match second.await {
            Err(Error::LeaseLost { .. }) => "lost".to_string(),
            other => format!("{other:?}"),
        };
        write_line(&log, &format!("second {said}"));
    });
}

fn signal(process: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

fn wait_for(path: &Path, words: &str) {
    let begun = Instant::now();
    while !std::fs::read_to_string(path)
        .unwrap_or_default()
        .contains(words)
    {
        assert!(begun.elapsed() < PATIENCE, "no `{words}`");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_was_stopped_for_longer_than_its_lease_stops_working() {
    if let Some((_, path)) = role() {
        return act_stopped(&path);
    }
    let bench = Bench::new();
    let test = "workers::a_process_that_was_stopped_for_longer_than_its_lease_stops_working";
    let mut stopped = child(test, &bench.path(), &json!({}));
    let log = log_of(&bench.path());
    wait_for(&log, "has ");
    signal(&stopped, "STOP");
    block_on(async {
        let journal = bench.open();
        // Alive, so only the expiry frees the run.
        let begun = Instant::now();
        let run = loop {
            match journal.resume("one").await {
                Ok(run) => break run,
                Err(Error::Held { .. }) => assert!(begun.elapsed() < PATIENCE),
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        std::fs::write(log.with_extension("go"), "").unwrap();
        signal(&stopped, "CONT");
        tokio::task::spawn_blocking({
            let log = log.clone();
            move || wait_for(&log, "second ")
        })
        .await
        .unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("second lost"), "{said}");
        assert!(
            !log.with_extension("worked").exists(),
            "it worked without its lease"
        );
        let first: u32 = run
            .step("first", Effect::Read, &(), |_| async { Ok(0) })
            .await
            .unwrap();
        assert_eq!(first, stopped.id());
        run.finish(&Value::Null).await.unwrap();
    });
    stopped.wait().unwrap();
}
