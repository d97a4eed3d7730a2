//! How much is written, and that many runs share a commit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use journal::{Effect, Journal, List, Moment, Options, Outcome, Question, Run, WorkflowError};
use serde_json::{Value, json};

use crate::caring::findings;
use crate::support::{Bench, block_on, new_run, say};

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

/// A conversation over a list: `so_far` steps that are answered, then live ones up to `steps`. With
/// the list as the input or inside of it.
async fn talk(run: &Run, nested: bool, so_far: usize, steps: usize) {
    let mut messages = run.list();
    for number in 0..steps {
        messages.push(&message(number)).unwrap();
        let work = |_| async move {
            assert!(number >= so_far, "the work of step {number} ran again");
            Ok(number)
        };
        let model = "m".repeat(300);
        let request = Request {
            model: &model,
            messages: &messages,
        };
        let said = if nested {
            run.step("model", Effect::Read, &request, work).await
        } else {
            run.step("model", Effect::Read, &messages, work).await
        };
        assert_eq!(said.unwrap(), number);
    }
}

#[derive(serde::Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a List,
}

#[test]
fn a_list_goes_on_after_a_resume_as_if_nothing_had_happened() {
    block_on(async {
        for nested in [false, true] {
            let (cut_off, whole) = (Bench::new(), Bench::new());
            for steps in [1, 23, 24, 60] {
                // Opened anew each time, so that nothing is known but what is on disk.
                let journal = cut_off.open();
                let run = match journal.resume("talk").await {
                    Ok(run) => run,
                    Err(_) => journal.start(new_run("talk")).await.unwrap(),
                };
                let done = journal.steps(run.id()).await.unwrap().len();
                talk(&run, nested, done, steps).await;
            }
            let run = whole.open().start(new_run("talk")).await.unwrap();
            talk(&run, nested, 0, 60).await;
            // The same nodes, down to the last one.
            let all = "SELECT group_concat(hex(hash) || length(body)) FROM \
                       (SELECT hash, body FROM payload ORDER BY hash)";
            assert_eq!(cut_off.text(all), whole.text(all));
            let journal = cut_off.open();
            assert_eq!(findings(&journal).await, []);
            let steps = journal.steps(run.id()).await.unwrap();
            let input = &steps[59].input;
            let messages = if nested { &input["messages"] } else { input };
            let expected: Vec<Value> = (0..60).map(message).collect();
            assert_eq!(*messages, json!(expected));
        }
    });
}

#[test]
fn what_the_journal_has_of_a_list_is_not_brought_to_it_again() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("talk")).await.unwrap();
        talk(&run, false, 0, 50).await;
        drop(run);
        // Were the first message cut again, it would be written where it is missing.
        let first = bench.text("SELECT hex(hash) FROM payload WHERE rowid = 1");
        assert_eq!(bench.sql("DELETE FROM payload WHERE rowid = 1"), 1);
        let run = bench.open().resume("talk").await.unwrap();
        talk(&run, false, 50, 51).await;
        let written = format!("SELECT count(*) FROM payload WHERE hex(hash) = '{first}'");
        assert_eq!(bench.number(&written), 0);
    });
}

#[test]
fn steps_that_are_written_in_another_order_than_called_have_their_own_lists() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("talk")).await.unwrap();
        let mut messages = run.list();
        for number in 0..5 {
            messages.push(&message(number)).unwrap();
        }
        let scope = run.scope("first", 0);
        let first = scope.step("model", Effect::Read, &messages, |_| async { Ok(1) });
        for number in 5..10 {
            messages.push(&message(number)).unwrap();
        }
        let second = run.step("model", Effect::Read, &messages, |_| async { Ok(2) });
        assert_eq!(second.await.unwrap(), 2);
        assert_eq!(first.await.unwrap(), 1);
        let steps = journal.steps(run.id()).await.unwrap();
        let lengths = steps
            .iter()
            .map(|step| step.input.as_array().unwrap().len());
        assert_eq!(lengths.collect::<Vec<_>>(), [10, 5]);
        assert_eq!(findings(&journal).await, []);
    });
}

/// Many steps side by side, as scopes of a run.
async fn many(run: &Run, steps: std::ops::Range<usize>) {
    let all = steps.map(|number| {
        let scope = run.scope("branch", number);
        async move {
            scope
                .step("step", Effect::Read, &number, |_| async move { Ok(number) })
                .await
        }
    });
    futures::future::try_join_all(all).await.unwrap();
}

/// Events are indexed by blocks of 4,096: a run is found in all that it has events in, also when others
/// wrote in between.
#[test]
fn a_run_whose_events_are_far_apart_is_whole() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let first = journal.start(new_run("first")).await.unwrap();
        many(&first, 0..1_500).await;
        let second = journal.start(new_run("second")).await.unwrap();
        many(&second, 0..2_700).await;
        many(&first, 1_500..2_000).await;
        first.park("for now").await.unwrap();
        drop(first);
        let blocks = "SELECT count(DISTINCT seq / 4096) FROM event WHERE run = 1";
        assert_eq!(bench.number(blocks), 2);
        assert_eq!(bench.number("SELECT max(seq) / 4096 FROM event"), 2);

        let first = journal.resume("first").await.unwrap();
        assert_eq!(journal.steps(first.id()).await.unwrap().len(), 2_000);
        let again = first.scope("branch", 1_999);
        let none = |_| async { Err::<usize, _>(journal::StepError::Failed("again".to_string())) };
        let answer = again.step("step", Effect::Read, &1_999, none).await;
        assert_eq!(answer.unwrap(), 1_999);
        first.finish(&json!("done")).await.unwrap();
        second.finish(&json!("done")).await.unwrap();
        assert_eq!(findings(&journal).await, []);

        let mut lines = Vec::new();
        journal.export("first", &mut lines).await.unwrap();
        let other = Journal::in_memory().unwrap();
        other.import(std::io::Cursor::new(lines)).await.unwrap();
        let there = other.run("first").await.unwrap().id;
        assert_eq!(other.steps(&there).await.unwrap().len(), 2_000);

        assert_eq!(journal.collect(i64::MAX).await.unwrap().runs, 2);
        assert_eq!(bench.number("SELECT count(*) FROM event"), 0);
    });
}

/// A commit need not write the row of every run in it; whoever asks is told all the same.
#[test]
fn the_row_of_a_run_may_lag_and_what_is_told_of_it_does_not() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("busy")).await.unwrap();
        let row = "SELECT finished_steps FROM run WHERE id = 'busy'";
        let (mut counted, mut lags) = (0, 0);
        for step in 1..=400 {
            say(&run, "step").await.unwrap();
            if step % 50 == 0 {
                let told = journal.run("busy").await.unwrap();
                assert_eq!((told.steps, told.finished_steps), (step, step));
                let last = journal.steps(run.id()).await.unwrap().pop().unwrap();
                assert_eq!(Some(told.updated_ms), last.finished_ms);
                assert_eq!(findings(&journal).await, []);
                let before = std::mem::replace(&mut counted, bench.number(row));
                lags += u64::from(counted == before);
            }
        }
        assert!(counted > 0 && lags > 0, "{counted} counted, {lags} lags");
        drop((run, journal));
        assert_eq!(bench.number(row), 400, "who lets a run go counts it up");
        let journal = bench.open();
        let run = journal.resume("busy").await.unwrap();
        run.park("enough").await.unwrap();
        assert_eq!(journal.run("busy").await.unwrap().finished_steps, 400);
        assert_eq!(findings(&journal).await, []);
    });
}

/// The writer keeps what the row of a run leaves out, so as not to read it again. An answer is an event of
/// the run that it has not kept, whoever writes it.
#[test]
fn events_that_others_write_into_a_busy_run_are_counted_once() {
    block_on(async {
        for answered_here in [true, false] {
            let bench = Bench::new();
            let journal = bench.open();
            let other = if answered_here {
                journal.clone()
            } else {
                bench.open()
            };
            let run = journal.start(new_run("busy")).await.unwrap();
            let workflow = async |run: Run| {
                let question = Question::new("How many?", json!({"type": "integer"}));
                let worker = run.scope("worker", 0);
                let asked = async { run.ask::<u32>("ask", &question).await };
                let worked = async {
                    for step in 0..700 {
                        if step == 100 {
                            // Inside a step: a run that only waits is parked.
                            let answer = async |_| {
                                let said = other.answer("busy", "ask[0]", json!(7), "somebody");
                                Ok(said.await.is_ok())
                            };
                            assert!(worker.step("answer", Effect::Read, &(), answer).await?);
                        }
                        say(&worker, "step").await?;
                    }
                    let told = journal.run("busy").await?;
                    assert_eq!((told.steps, told.finished_steps), (702, 702));
                    assert_eq!(findings(&journal).await, []);
                    Ok(())
                };
                let (answer, ()) = futures::future::try_join(asked, worked).await?;
                Ok::<_, WorkflowError>(json!(answer))
            };
            // Whether it hears of an answer from elsewhere before it has nothing else to do is left open.
            match run.execute(workflow).await.unwrap() {
                Outcome::Finished(answer) => assert_eq!(answer, json!(7)),
                outcome => assert!(matches!(outcome, Outcome::Parked(_)) && !answered_here),
            }
            let row = "SELECT finished_steps FROM run WHERE id = 'busy'";
            assert_eq!(bench.number(row), 702);
            assert_eq!(findings(&journal).await, []);
        }
    });
}
