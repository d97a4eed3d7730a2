//! Bugs that there were: a test for each, so that there are none of them again.

use std::sync::Arc;
use std::time::Duration;

use journal::{
    Budget, Cost, Effect, Engine, Error, EventKind, Fork, Journal, ManualClock, Moment, NewChild,
    NewRun, Options, Outcome, Question, Run, Settlement, StepOptions, StoreFault, WorkflowError,
};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run, say};

async fn two_steps(run: Run) -> Result<Value, WorkflowError> {
    let first = say(&run, "first").await?;
    let second: String = run
        .step("second", Effect::Read, &first, |_| async {
            Ok("live".to_string())
        })
        .await?;
    Ok(json!([first, second]))
}

#[test]
fn a_replay_of_a_fork_writes_nothing() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        run.execute(two_steps).await.unwrap();
        let mut fork = Fork {
            id: Some("fork".to_string()),
            at: Some("second[0]".to_string()),
            ..Fork::default()
        };
        fork.answers
            .insert("first[0]".to_string(), json!("another"));
        drop(journal.fork("one", fork).await.unwrap());
        // The fork has not come to the answer that it was given; it used to be written by the replay.
        let replay = journal.replay("fork", two_steps).await.unwrap();
        assert!(!replay.complete && replay.steps == 0, "{replay:?}");
        assert_eq!(replay.ends_at.as_deref(), Some("first[0]"));
    });
}

#[test]
fn a_replay_accepts_a_child_that_nobody_has_waited_for() {
    block_on(async {
        async fn parent(run: Run) -> Result<Value, WorkflowError> {
            let new = NewChild::new("child", Value::Null);
            let _child = run.spawn("child", &new).await?;
            Ok(json!("did not wait"))
        }
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        run.execute(parent).await.unwrap();
        let replay = journal.replay("one", parent).await.unwrap();
        assert!(replay.complete, "{replay:?}");
        assert_eq!(replay.output, Some(json!("did not wait")));
    });
}

#[test]
fn a_replay_of_a_run_that_was_cut_off_before_it_failed_is_no_divergence() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        say(&run, "first").await.unwrap();
        drop(run);
        let replay = journal.replay("one", |run| async move {
            say(&run, "first").await?;
            Err("no luck".into())
        });
        assert!(replay.await.unwrap().complete);
    });
}

#[test]
fn a_child_whose_beginning_cannot_be_written_stops_its_parent() {
    block_on(async {
        let bench = Bench::new();
        let options = Options {
            probe: Some(Arc::new(|_, event| match &event.kind {
                EventKind::RunStarted { agent } if agent == "child" => Err(StoreFault::Full),
                _ => Ok(()),
            })),
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let new = NewChild::new("child", Value::Null);
        let error = run.spawn("child", &new).await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error}");
        // Code that ignores the error gets no further.
        let error = say(&run, "next").await.unwrap_err();
        assert!(matches!(error, Error::Store { .. }), "{error}");
        assert!(run.finish(&Value::Null).await.is_err());
    });
}

#[test]
fn answers_that_are_found_are_no_steps_of_a_budget() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        run.execute(two_steps).await.unwrap();
        let fork = Fork {
            reuse: true,
            budget: Budget {
                steps: Some(1),
                ..Budget::default()
            },
            ..Fork::default()
        };
        let fork = journal.fork("one", fork).await.unwrap();
        let outcome = fork.execute(two_steps).await.unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
        assert_eq!(journal.spending(fork.id()).await.unwrap()[0].spent, 0);
    });
}

async fn think_twice(run: Run) -> Result<Value, WorkflowError> {
    for number in 0..2 {
        let reserve = StepOptions::reserve(Cost {
            tokens: 20,
            ..Cost::default()
        });
        let thought = run.step_with("think", Effect::Read, &number, reserve, |_| async {
            Ok(())
        });
        thought.await?;
    }
    Ok(Value::Null)
}

#[test]
fn a_fork_asks_itself_whether_to_raise_its_limits() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let mut new = new_run("one");
        new.budget.tokens = Some(10);
        let run = journal.start(new).await.unwrap();
        run.execute(think_twice).await.unwrap();
        let path = "budget/tokens[10]";
        journal
            .answer("one", path, json!(100), "Ada")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        run.execute(think_twice).await.unwrap();
        let mut fork = Fork {
            id: Some("fork".to_string()),
            at: Some("think[1]".to_string()),
            ..Fork::default()
        };
        fork.budget.tokens = Some(10);
        let fork = journal.fork("one", fork).await.unwrap();
        // The answer of the other run used to be taken for its own, again and again.
        let outcome = tokio::time::timeout(Duration::from_secs(20), fork.execute(think_twice));
        let outcome = outcome.await.expect("it goes round in circles").unwrap();
        assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
        journal
            .answer("fork", path, json!(100), "Ada")
            .await
            .unwrap();
        let fork = journal.resume("fork").await.unwrap();
        let outcome = fork.execute(think_twice).await.unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
    });
}

#[test]
fn a_fork_cancels_its_own_children() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let engine = Engine::new(journal.clone())
            .register("test", |run: Run| async move {
                let new = NewChild::new("waiter", Value::Null);
                let child = run.spawn("wait", &new).await?;
                child.cancel().await?;
                Ok(json!(child.wait().await?))
            })
            .register("waiter", |run: Run| async move {
                let question = Question::yes_or_no("For ever?");
                Ok(json!(run.ask::<bool>("ever", &question).await?))
            });
        journal.submit(new_run("one")).await.unwrap();
        engine.run_until_idle().await.unwrap();
        let fork = Fork {
            id: Some("fork".to_string()),
            ..Fork::default()
        };
        drop(journal.fork("one", fork).await.unwrap());
        engine.run_until_idle().await.unwrap();
        let [one, fork] = ["one", "fork"];
        let (one, fork) = tokio::join!(journal.run(one), journal.run(fork));
        let (one, fork) = (one.unwrap(), fork.unwrap());
        assert_eq!(fork.output, one.output, "{fork:?}");
    });
}

#[test]
fn a_start_that_fails_keeps_no_lease() {
    block_on(async {
        let bench = Bench::new();
        let clock = ManualClock::new(10_000_000);
        let turned = clock.clone();
        let options = Options {
            clock: Arc::new(clock.clone()),
            probe: Some(Arc::new(move |moment, _| {
                if moment == Moment::After {
                    turned.set(1_000_000);
                }
                Ok(())
            })),
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let error = journal.start(new_run("one")).await.unwrap_err();
        assert!(matches!(error, Error::Clock { .. }), "{error}");
        clock.set(10_000_000);
        // The clock is set back again while the run is taken up; the lease used to stay, too.
        for _ in 0..2 {
            let error = journal.resume("one").await.unwrap_err();
            assert!(matches!(error, Error::Clock { .. }), "{error}");
            clock.set(10_000_000);
        }
    });
}

#[test]
fn a_fork_of_a_fork_shares_the_answers_that_were_given() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let three = |run: Run| async move {
            let mut said = Vec::new();
            for name in ["first", "second", "third"] {
                said.push(say(&run, name).await?);
            }
            Ok::<Value, WorkflowError>(json!(said))
        };
        run.execute(three).await.unwrap();
        let at = |id: &str, path: &str| Fork {
            id: Some(id.to_string()),
            at: Some(path.to_string()),
            ..Fork::default()
        };
        let mut first = at("fork", "third[0]");
        first.answers.insert("first[0]".to_string(), json!("given"));
        let fork = journal.fork("one", first).await.unwrap();
        fork.execute(three).await.unwrap();
        // At a step that the first fork shares with the run that it comes from.
        let again = journal
            .fork("fork", at("again", "second[0]"))
            .await
            .unwrap();
        let outcome = again.execute(three).await.unwrap();
        let expected = json!(["given", "answer of second", "answer of third"]);
        assert_eq!(outcome, Outcome::Finished(expected));
    });
}

#[test]
fn an_answer_that_is_found_survives_a_crash_between_its_events() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        run.execute(two_steps).await.unwrap();
        let options = Options {
            probe: Some(Arc::new(|_, event| match &event.kind {
                EventKind::StepFinished { .. } => Err(StoreFault::Write),
                _ => Ok(()),
            })),
            ..Options::default()
        };
        let failing = Journal::open_with(&bench.path(), options).unwrap();
        let mut fork = Fork {
            id: Some("fork".to_string()),
            ..Fork::default()
        };
        fork.answers.insert("first[0]".to_string(), json!("given"));
        let fork = failing.fork("one", fork).await.unwrap();
        assert!(fork.execute(two_steps).await.is_err());
        drop((fork, failing));
        let fork = bench.open().resume("fork").await.unwrap();
        let outcome = fork.execute(two_steps).await.unwrap();
        assert_eq!(outcome, Outcome::Finished(json!(["given", "live"])));
    });
}

#[test]
fn a_question_whose_answer_is_found_survives_a_crash_between_its_events() {
    block_on(async {
        let bench = Bench::new();
        let asks = |run: Run| async move {
            let question = Question::yes_or_no("Shall it go on?");
            Ok::<Value, WorkflowError>(json!(run.ask::<bool>("go", &question).await?))
        };
        let journal = bench.open();
        let run = journal.start(new_run("one")).await.unwrap();
        run.execute(asks).await.unwrap();
        journal
            .answer("one", "go[0]", json!(true), "Ada")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        run.execute(asks).await.unwrap();
        drop(journal);
        for given in [false, true] {
            let options = Options {
                probe: Some(Arc::new(|_, event| match &event.kind {
                    EventKind::StepFinished { .. } => Err(StoreFault::Write),
                    _ => Ok(()),
                })),
                ..Options::default()
            };
            let failing = Journal::open_with(&bench.path(), options).unwrap();
            let mut fork = Fork {
                id: Some(format!("fork-{given}")),
                reuse: !given,
                ..Fork::default()
            };
            if given {
                fork.answers.insert("go[0]".to_string(), json!(false));
            }
            let fork = failing.fork("one", fork).await.unwrap();
            assert!(fork.execute(asks).await.is_err());
            let id = fork.id().to_string();
            drop((fork, failing));
            let fork = bench.open().resume(&id).await.unwrap();
            let outcome = fork.execute(asks).await.unwrap();
            assert_eq!(outcome, Outcome::Finished(json!(!given)));
        }
    });
}

#[test]
fn a_fork_goes_on_live_with_a_step_that_it_has_begun() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let source = journal.start(new_run("one")).await.unwrap();
        let mut fork = Fork {
            id: Some("fork".to_string()),
            reuse: true,
            ..Fork::default()
        };
        fork.budget.tokens = Some(100);
        let fork = journal.fork("one", fork).await.unwrap();
        let reserve = || {
            StepOptions::reserve(Cost {
                tokens: 20,
                ..Cost::default()
            })
        };
        // The source has not got so far yet: the fork begins the step live, and crashes in it. It used
        // to take the answer that the source has meanwhile, and to keep what it had set aside.
        let step = fork.step_with("think", Effect::Read, &0, reserve(), |_| {
            std::future::pending::<Result<(), journal::StepError>>()
        });
        let cut_off = tokio::time::timeout(Duration::from_millis(200), step).await;
        assert!(cut_off.is_err());
        let id = fork.id().clone();
        drop(fork);
        assert_eq!(journal.spending(&id).await.unwrap()[0].reserved, 20);
        source.execute(think_twice).await.unwrap();
        let fork = journal.resume("fork").await.unwrap();
        let outcome = fork.execute(think_twice).await.unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
        let spending = journal.spending(fork.id()).await.unwrap();
        // One step live, the other from the recording.
        assert_eq!((spending[0].spent, spending[0].reserved), (20, 0));
    });
}

#[test]
fn what_is_said_of_a_step_after_its_holder_has_stalled_is_not_lost() {
    block_on(async {
        let bench = Bench::new();
        let clock = ManualClock::new(10_000_000);
        let options = Options {
            clock: Arc::new(clock.clone()),
            inline: true,
            ..Options::default()
        };
        let lease_ms = i64::try_from(options.lease_ms).unwrap();
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let cut_off = run.step("pay", Effect::Irreversible, &0, |_| {
            std::future::pending::<Result<(), journal::StepError>>()
        });
        let cut_off = tokio::time::timeout(Duration::from_millis(50), cut_off).await;
        assert!(cut_off.is_err());
        drop(run);
        let (go_on, held_up) = tokio::sync::oneshot::channel::<()>();
        let workflow = |held_up: tokio::sync::oneshot::Receiver<()>| {
            |run: Run| async move {
                let pay = run.step("pay", Effect::Irreversible, &0, |_| async { Ok(()) });
                let other = run.step("other", Effect::Read, &0, |_| async {
                    let _ = held_up.await;
                    Ok(())
                });
                let (paid, other) = tokio::join!(pay, other);
                paid?;
                other?;
                Ok::<Value, WorkflowError>(Value::Null)
            }
        };
        let run = journal.resume("one").await.unwrap();
        let executed = run.execute(workflow(held_up));
        let settled = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            clock.set(10_000_000 + 2 * lease_ms);
            let settlement = Settlement::NotDone;
            journal.settle("one", "pay[0]", settlement).await.unwrap();
            go_on.send(()).unwrap();
        };
        // It used to park, for a doubt that there was no more, and nobody woke it.
        let (outcome, ()) = tokio::join!(executed, settled);
        assert!(
            matches!(outcome, Err(Error::LeaseLost { .. })),
            "{outcome:?}"
        );
        let (go_on, held_up) = tokio::sync::oneshot::channel::<()>();
        drop(go_on);
        let run = journal.resume("one").await.unwrap();
        let outcome = run.execute(workflow(held_up)).await.unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
    });
}

#[test]
fn a_failed_write_does_not_make_a_lost_lease_good_again() {
    block_on(async {
        let bench = Bench::new();
        let options = Options {
            probe: Some(Arc::new(|_, event| match &event.kind {
                EventKind::RunStarted { agent } if agent == "unlucky" => Err(StoreFault::Full),
                _ => Ok(()),
            })),
            inline: true,
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        say(&run, "first").await.unwrap();
        bench.open().cancel("one", "enough").await.unwrap();
        let unlucky = journal.start(NewRun::new("unlucky", Value::Null)).await;
        assert!(matches!(unlucky, Err(Error::Store { .. })), "{unlucky:?}");
        // The writer used to take the lease for its own still, and wrote to a run that had ended.
        let error = say(&run, "second").await.unwrap_err();
        assert!(matches!(error, Error::RunCancelled { .. }), "{error}");
    });
}

#[test]
fn a_version_is_that_of_its_own_scope() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        // Cut off when one of two branches had got further than the other.
        let fast = run.scope("fast", 0);
        say(&fast, "first").await.unwrap();
        say(&fast, "second").await.unwrap();
        drop((run, fast));
        let run = journal.resume("one").await.unwrap();
        let (slow, fast) = (run.scope("slow", 0), run.scope("fast", 0));
        assert_eq!(slow.version("polite", 1).await.unwrap(), 1);
        say(&fast, "first").await.unwrap();
        assert_eq!(fast.version("polite", 1).await.unwrap(), 0);
    });
}

#[test]
fn what_a_cancelled_run_had_set_aside_is_free_again() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let mut new = new_run("one");
        new.budget.tokens = Some(100);
        let run = journal.start(new).await.unwrap();
        let new = NewChild::new("child", Value::Null);
        let child = run.spawn("child", &new);
        let child = journal
            .resume(child.await.unwrap().id().as_str())
            .await
            .unwrap();
        let reserve = StepOptions::reserve(Cost {
            tokens: 20,
            ..Cost::default()
        });
        let step = child.step_with("think", Effect::Read, &0, reserve, |_| {
            std::future::pending::<Result<(), journal::StepError>>()
        });
        let in_flight = tokio::time::timeout(Duration::from_millis(100), step).await;
        assert!(in_flight.is_err());
        assert_eq!(journal.spending(run.id()).await.unwrap()[0].reserved, 20);
        journal.cancel(child.id().as_str(), "enough").await.unwrap();
        assert_eq!(journal.spending(run.id()).await.unwrap()[0].reserved, 0);
    });
}

#[test]
fn a_step_that_was_given_up_sets_nothing_aside_once_its_run_has_finished() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let mut new = new_run("one");
        new.budget.tokens = Some(100);
        let run = journal.start(new).await.unwrap();
        let reserve = StepOptions::reserve(Cost {
            tokens: 20,
            ..Cost::default()
        });
        let slow = run.step_with("think", Effect::Read, &0, reserve, |_| {
            std::future::pending::<Result<(), journal::StepError>>()
        });
        assert!(
            tokio::time::timeout(Duration::from_millis(100), slow)
                .await
                .is_err()
        );
        run.finish(&Value::Null).await.unwrap();
        assert_eq!(journal.spending(run.id()).await.unwrap()[0].reserved, 0);
    });
}

#[test]
fn what_is_nested_too_deep_to_be_read_again_is_refused() {
    block_on(async {
        let nested = |depth: usize| {
            (0..depth).fold(json!("core"), |value, number| match number % 2 {
                0 => json!([value]),
                _ => json!({ "in": value }),
            })
        };
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        for depth in [1, 50, 100, 101, 110, 125, 126, 127, 130, 200] {
            let value = nested(depth);
            let step = run.step("nest", Effect::Read, &depth, |_| async { Ok(value) });
            match step.await {
                Ok(_) => {}
                Err(error) => {
                    assert!(depth > 100, "{depth}: {error}");
                    assert!(error.to_string().contains("nested"), "{error}");
                    break;
                }
            }
        }
        let steps = journal.steps(run.id()).await.unwrap();
        let deep = steps.iter().filter(|step| step.output.is_some());
        assert_eq!(deep.count(), 3);
    });
}

#[test]
fn a_replay_meets_the_faults_that_the_code_went_on_after() {
    block_on(async {
        async fn forgiving(run: Run, is_down: bool) -> Result<Value, WorkflowError> {
            let fetched = run.step("fetch", Effect::Read, &0, |_| async move {
                if is_down {
                    return Err(journal::StepError::Fault("no network".to_string()));
                }
                Ok(1)
            });
            Ok(match fetched.await {
                Ok(number) => json!(number),
                Err(error) => json!(error.to_string()),
            })
        }
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let outcome = run.execute(|run| forgiving(run, true)).await.unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
        let replay = journal
            .replay("one", |run| forgiving(run, false))
            .await
            .unwrap();
        assert!(replay.complete, "{replay:?}");
    });
}

#[test]
fn a_fork_does_not_reuse_what_was_said_of_other_limits() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let mut new = new_run("one");
        new.budget.tokens = Some(10);
        let run = journal.start(new).await.unwrap();
        run.execute(think_twice).await.unwrap();
        let path = "budget/tokens[10]";
        journal
            .answer("one", path, json!(100), "Ada")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        run.execute(think_twice).await.unwrap();
        let mut fork = Fork {
            id: Some("fork".to_string()),
            reuse: true,
            ..Fork::default()
        };
        fork.set.insert("question".to_string(), json!("another"));
        fork.budget.tokens = Some(10);
        let mut given = fork.clone();
        given.answers.insert(path.to_string(), json!(100));
        let error = journal.fork("one", given).await.unwrap_err();
        assert!(error.to_string().contains("limits of its own"), "{error}");
        let fork = journal.fork("one", fork).await.unwrap();
        // Another input, so that the step is live and the fork comes to its own limit.
        let outcome = fork.execute(|run| async move {
            let reserve = StepOptions::reserve(Cost {
                tokens: 20,
                ..Cost::default()
            });
            let thought = run.step_with("think", Effect::Read, &7, reserve, |_| async { Ok(()) });
            thought.await?;
            Ok(Value::Null)
        });
        // It used to take the recorded answer, again and again, with its limit as low as before.
        let outcome = tokio::time::timeout(Duration::from_secs(20), outcome);
        let outcome = outcome.await.expect("it goes round in circles").unwrap();
        assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
    });
}
