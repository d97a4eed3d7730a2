//! How much is written, and that many runs share a commit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use journal::{Effect, Journal, Moment, Options};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run};

/// Words in an order of their own, so that nothing compresses away what the test is about.
fn message(number: usize) -> Value {
    let mut state = number as u64 + 1;
    let mut content = String::new();
    while content.len() < 1000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        content.push_str(&format!("{:x} ", state >> 33));
    }
    json!({"role": "user", "content": content})
}

/// Bytes in the file after a conversation in which every step gets all messages so far.
fn conversation(steps: usize) -> i64 {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("talk")).await.unwrap();
        let mut messages = vec![message(0)];
        for number in 1..=steps {
            let input = json!({"model": "m", "messages": messages, "temperature": 0.0});
            let said: Value = run
                .step("model", Effect::Read, &input, |_| async move {
                    Ok(message(number))
                })
                .await
                .unwrap();
            messages.push(said);
        }
        run.finish(&json!(messages)).await.unwrap();
        drop(run);
        bench.number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    })
}

#[test]
fn a_conversation_of_n_messages_costs_n_times_a_message() {
    let (half, full) = (conversation(200), conversation(400));
    assert!(
        full * 10 < half * 22,
        "{half} bytes at 200 steps, {full} at 400"
    );
    // 400 KB of text.
    println!("{full} bytes for 400 messages of 1 KB");
    assert!(full < 1_500_000, "{full} bytes for 400 messages of 1 KB");
}

#[test]
fn a_conversation_reads_back_whole() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("talk")).await.unwrap();
        let messages: Vec<Value> = (0..50).map(message).collect();
        for length in 1..=messages.len() {
            let input = &messages[..length];
            run.step("model", Effect::Read, input, |_| async { Ok(()) })
                .await
                .unwrap();
        }
        let steps = journal.steps(run.id()).await.unwrap();
        for (index, step) in steps.iter().enumerate() {
            assert_eq!(step.input, json!(messages[..=index]));
        }
        assert_eq!(
            bench.number("SELECT count(*) FROM payload WHERE kind = 0"),
            50
        );
    });
}

#[test]
fn runs_share_commits() {
    let bench = Bench::new();
    let commits = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::new(AtomicUsize::new(0));
    let options = Options {
        probe: Some(Arc::new({
            let (commits, events) = (Arc::clone(&commits), Arc::clone(&events));
            // A commit is a row of Befores followed by a row of Afters.
            move |moment, _| {
                events.fetch_add(1, Ordering::Relaxed);
                let mut commits = commits.lock().unwrap();
                if commits.last() != Some(&moment) {
                    commits.push(moment);
                }
                Ok(())
            }
        })),
        ..Options::default()
    };
    let journal = Journal::open_with(&bench.path(), options).unwrap();
    block_on(async {
        let one = async |index: usize| {
            let run = journal
                .start(new_run(&format!("run-{index}")))
                .await
                .unwrap();
            for number in 0..20 {
                run.step("a", Effect::Read, &number, |_| async { Ok(()) })
                    .await
                    .unwrap();
            }
            run.finish(&Value::Null).await.unwrap();
        };
        futures::future::join_all((0..32).map(one)).await;
    });
    let commits = commits
        .lock()
        .unwrap()
        .iter()
        .filter(|moment| **moment == Moment::After)
        .count();
    let events = events.load(Ordering::Relaxed) / 2;
    assert_eq!(events, 32 * 42);
    assert!(
        commits < events / 8,
        "{events} events took {commits} commits"
    );
}

#[test]
fn intents_and_results_are_on_disk_when_they_have_to_be() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        let rows =
            |kind: u8| bench.number(&format!("SELECT count(*) FROM event WHERE kind = {kind}"));
        for (number, effect) in [
            Effect::Idempotent,
            Effect::Irreversible,
            Effect::Pure,
            Effect::Read,
        ]
        .into_iter()
        .enumerate()
        {
            let number = i64::try_from(number).unwrap();
            let work = async |_| Ok(rows(10));
            let begun: i64 = run.step("a", effect, &number, work).await.unwrap();
            if matches!(effect, Effect::Idempotent | Effect::Irreversible) {
                assert_eq!(begun, number + 1, "{effect:?}: the intent was not on disk");
            }
            assert_eq!(
                rows(12),
                number + 1,
                "{effect:?}: the result was not on disk"
            );
        }
        run.finish(&Value::Null).await.unwrap();
        assert_eq!(rows(4), 1);
    });
}

#[test]
fn an_intent_is_written_even_when_its_work_never_ends() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let mut watch = journal.watch();
        let run = journal.start(new_run("one")).await.unwrap();
        watch.recv().await.unwrap();
        let step = run.step("a", Effect::Read, &1, |_| {
            std::future::pending::<Result<(), _>>()
        });
        tokio::select! {
            _ = step => panic!("the step ended"),
            event = watch.recv() => {
                let kind = event.unwrap().kind;
                assert!(matches!(kind, journal::EventKind::StepStarted { attempt: 1, .. }));
            }
        }
    });
}
