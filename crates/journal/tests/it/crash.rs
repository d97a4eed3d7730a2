//! Killed with SIGKILL right before and right after each event, a run resumes to the same result, and
//! no finished step runs twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use journal::{Effect, Error, Journal, Moment, Options, Run, RunStatus, StepContext, StepStatus};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, child, new_run, role};

/// Which works ran, by address, with the keys they were given.
type Ran = Mutex<BTreeMap<String, Vec<String>>>;

async fn work(context: StepContext, ran: &Ran, answer: Value) -> Result<Value, journal::StepError> {
    let mut ran = ran.lock().unwrap();
    ran.entry(context.path().to_string())
        .or_default()
        .push(context.key().to_string());
    Ok(answer)
}

/// A sequence, parallel branches in nested scopes, all effects, a failure, clock and chance.
async fn workflow(run: &Run, ran: &Ran) -> Result<Value, Error> {
    let topics: Vec<String> = run
        .step("plan", Effect::Read, run.input(), |context| async move {
            work(context, ran, json!(["a", "b", "c"]))
                .await
                .map(|_| ["a", "b", "c"].map(String::from).to_vec())
        })
        .await?;
    let chance = run.random().await?;
    let branches = topics.iter().enumerate().map(|(index, topic)| async move {
        let branch = run.scope("branch", index);
        let mut messages = vec![json!({"topic": topic})];
        for round in 0..2 {
            let answer = json!({"topic": topic, "round": round, "text": "word ".repeat(80)});
            let answer = branch
                .step("read", Effect::Read, &messages, |context| {
                    work(context, ran, answer)
                })
                .await?;
            messages.push(answer);
        }
        // With chance in its input, a random number that is not journaled would be a divergence.
        let input = (topic, chance);
        branch
            .step("note", Effect::Idempotent, &input, |context| {
                work(context, ran, json!(1))
            })
            .await?;
        Ok::<Value, Error>(json!(messages))
    });
    let found = futures::future::try_join_all(branches).await?;
    let failed = run
        .step::<_, Value, _, _>("lookup", Effect::Read, &(), |context| async move {
            work(context, ran, Value::Null).await?;
            Err(journal::StepError::Failed("nothing there".to_string()))
        })
        .await;
    let Err(Error::StepFailed { message, .. }) = failed else {
        panic!("{failed:?}")
    };
    let mailed = run
        .step("mail", Effect::Irreversible, &found, |context| {
            work(context, ran, json!("sent"))
        })
        .await?;
    let output = json!({"found": found, "lookup": message, "mailed": mailed});
    run.finish(&output).await?;
    Ok(output)
}

/// As a child: run until event `stop` is about to be, or has become, durable, say so, and wait.
fn act(role: &Value, path: &Path) {
    let stop = role["stop"].as_u64().unwrap();
    let moment = if role["after"] == true {
        Moment::After
    } else {
        Moment::Before
    };
    let seen = AtomicU64::new(0);
    let probe = move |at: Moment, _: &journal::Event| {
        if at == moment && seen.fetch_add(1, Ordering::SeqCst) + 1 == stop {
            println!("\nREACHED");
            loop {
                std::thread::park();
            }
        }
        Ok(())
    };
    let options = Options {
        probe: Some(Arc::new(probe)),
        ..Options::default()
    };
    let journal = Journal::open_with(path, options).unwrap();
    block_on(async {
        let run = match journal.resume("one").await {
            Err(Error::NotFound { .. }) => journal.start(new_run("one")).await.unwrap(),
            run => run.unwrap(),
        };
        workflow(&run, &Ran::default()).await.unwrap();
    });
}

/// Starts a child that stops at an event and kills it there. `false` when it ended before.
fn killed_at(bench: &Bench, stop: u64, after: bool) -> bool {
    let role = json!({"stop": stop, "after": after});
    let mut child = child("crash::killed_at_every_event", &bench.path(), &role);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reached = lines.map_while(Result::ok).any(|line| line == "REACHED");
    child.kill().unwrap();
    child.wait().unwrap();
    reached
}

/// The steps that a killed child had finished, and those that it had begun, with their effects. A run
/// of which nothing was left is started.
async fn left_behind(journal: &Journal) -> (BTreeSet<String>, BTreeMap<String, Effect>) {
    let record = match journal.run("one").await {
        Err(Error::NotFound { .. }) => {
            journal.start(new_run("one")).await.unwrap();
            return Default::default();
        }
        record => record.unwrap(),
    };
    let steps = journal.outline(&record.id).await.unwrap();
    let (ended, open): (Vec<_>, Vec<_>) = steps
        .into_iter()
        .partition(|step| step.status != StepStatus::Started);
    let open = open.into_iter().map(|step| (step.path, step.effect));
    (
        ended.into_iter().map(|step| step.path).collect(),
        open.collect(),
    )
}

/// Resumes what a killed child left behind and checks all that was promised.
async fn check_resumed(bench: &Bench, expected: &Value, place: &str) {
    let journal = bench.open();
    let (finished, open) = left_behind(&journal).await;
    let run = match journal.resume("one").await {
        Err(Error::Finished { .. }) => {
            assert_eq!(
                journal.run("one").await.unwrap().output.as_ref(),
                Some(expected),
                "{place}"
            );
            return;
        }
        run => run.unwrap(),
    };
    let ran = Ran::default();
    let result = workflow(&run, &ran).await;
    let ran = ran.into_inner().unwrap();
    for path in ran.keys() {
        assert!(
            !finished.contains(path),
            "{place}: {path} had finished and ran again"
        );
    }
    if open.get("mail[0]") == Some(&Effect::Irreversible) {
        assert!(
            matches!(&result, Err(Error::InDoubt { path, .. }) if path == "mail[0]"),
            "{place}"
        );
        assert!(
            !ran.contains_key("mail[0]"),
            "{place}: an irreversible step was repeated"
        );
        let record = journal.run("one").await.unwrap();
        assert_eq!(record.status, RunStatus::Parked, "{place}");
        assert_eq!(record.reason.as_deref(), Some("step mail[0] is in doubt"));
        return;
    }
    assert_eq!(&result.unwrap(), expected, "{place}");
    for (path, effect) in open {
        // `random` has no work of ours to look at.
        if effect == Effect::Idempotent {
            assert_eq!(ran[&path].len(), 1, "{place}: {path}");
        }
    }
    let record = journal.run("one").await.unwrap();
    assert_eq!(
        (record.status, record.steps, record.finished_steps),
        (RunStatus::Finished, 13, 13)
    );
}

#[test]
fn killed_at_every_event() {
    if let Some((role, path)) = role() {
        return act(&role, &path);
    }
    let keys = Ran::default();
    let expected = block_on(async {
        let run = Journal::in_memory()
            .unwrap()
            .start(new_run("one"))
            .await
            .unwrap();
        workflow(&run, &keys).await.unwrap()
    });
    let mut kills = 0;
    for after in [false, true] {
        for stop in 1.. {
            let bench = Bench::new();
            if !killed_at(&bench, stop, after) {
                break;
            }
            kills += 1;
            let place = format!("event {stop}, {}", if after { "after" } else { "before" });
            block_on(check_resumed(&bench, &expected, &place));
        }
    }
    // A start, 13 steps with a start and an end each, and the finish; before and after each.
    assert_eq!(kills, 2 * (1 + 13 * 2 + 1));
}

#[test]
fn killed_again_and_again_a_run_still_arrives() {
    let bench = Bench::new();
    let mut kills = 0;
    // Each life gets a few events further than the one before: a resume, what was cut off, and more.
    while killed_at_again(&bench) {
        kills += 1;
        assert!(kills < 40, "the run does not get on");
    }
    block_on(async {
        let record = bench.open().run("one").await.unwrap();
        let done = record.status == RunStatus::Finished
            || record.reason.as_deref() == Some("step mail[0] is in doubt");
        assert!(done && kills >= 3, "{record:?} after {kills} kills");
    });
}

fn killed_at_again(bench: &Bench) -> bool {
    killed_at(bench, 7, true)
}
