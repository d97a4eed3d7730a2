//! Engines: what they take up, how much at once, and how they stop. Budgets, and the clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use journal::{
    Budget, Cost, Dimension, Effect, Engine, EngineOptions, Error, Journal, ManualClock, NewRun,
    Options, Outcome, Page, Run, RunStatus, StepOptions, WorkflowError,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, block_on, new_run, say};

#[test]
fn many_runs_are_worked_on_within_bounds_and_in_the_order_of_their_start() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let order = Arc::new(Mutex::new(Vec::new()));
        let (a, m, o) = (Arc::clone(&active), Arc::clone(&most), Arc::clone(&order));
        let engine = Engine::new(journal.clone())
            .options(EngineOptions {
                runs: 3,
                steps: 2,
                ..EngineOptions::default()
            })
            .register("test", move |run| {
                let (active, most, order) = (Arc::clone(&a), Arc::clone(&m), Arc::clone(&o));
                async move {
                    order.lock().unwrap().push(run.id().to_string());
                    for _ in 0..3 {
                        run.step("work", Effect::Read, &(), |_| async {
                            let now = active.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                            active.fetch_sub(1, Ordering::SeqCst);
                            Ok(())
                        })
                        .await?;
                    }
                    Ok(Value::Null)
                }
            });
        for number in 0..20 {
            journal
                .submit(new_run(&format!("run-{number:02}")))
                .await
                .unwrap();
        }
        // Of an agent that this engine does not know.
        journal
            .submit(NewRun::new("another", Value::Null))
            .await
            .unwrap();
        engine.run_until_idle().await.unwrap();
        let runs = journal.runs(Page::default()).await.unwrap();
        let finished = runs
            .iter()
            .filter(|run| run.status == RunStatus::Finished)
            .count();
        assert_eq!((finished, runs.len()), (20, 21));
        assert_eq!(most.load(Ordering::SeqCst), 2);
        let order = order.lock().unwrap();
        let place = |id: usize| {
            order
                .iter()
                .position(|run| *run == format!("run-{id:02}"))
                .unwrap()
        };
        // Which of those that are taken up together begins first is left to the threads.
        assert!(place(0) < 10 && place(19) > 9, "{order:?}");
    });
}

#[test]
fn an_engine_that_is_told_to_stop_parks_what_it_has_and_another_goes_on() {
    block_on(async {
        let bench = Bench::new();
        let started = Arc::new(tokio::sync::Notify::new());
        let first = bench.open();
        let begun = Arc::clone(&started);
        let engine = Engine::new(first.clone()).register("test", move |run| {
            let begun = Arc::clone(&begun);
            async move {
                say(&run, "before").await?;
                begun.notify_one();
                run.step("long", Effect::Read, &(), |_| {
                    std::future::pending::<Result<u8, _>>()
                })
                .await?;
                Ok(Value::Null)
            }
        });
        first.submit(new_run("one")).await.unwrap();
        let stop = CancellationToken::new();
        let (worked, ()) = tokio::join!(engine.run_until(stop.clone()), async {
            started.notified().await;
            stop.cancel();
        });
        worked.unwrap();
        let record = first.run("one").await.unwrap();
        assert_eq!(record.status, RunStatus::Parked);
        assert!(record.ready_ms.is_some() && record.held_by.is_none());
        let second = bench.open();
        let engine = Engine::new(second.clone()).register("test", |run| async move {
            crate::support::recorded(&run, "before").await?;
            let long: u8 = run
                .step("long", Effect::Read, &(), |_| async { Ok(7) })
                .await?;
            Ok(json!(long))
        });
        engine.run_until_idle().await.unwrap();
        assert_eq!(second.run("one").await.unwrap().output, Some(json!(7)));
    });
}

#[test]
fn code_that_panics_costs_its_run_and_no_other() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tries);
        let engine = Engine::new(journal.clone())
            .register("test", move |run| {
                let tries = counted.fetch_add(1, Ordering::SeqCst);
                async move {
                    say(&run, "a").await?;
                    assert!(tries > 0, "the first attempt panics");
                    Ok(Value::Null)
                }
            })
            .register(
                "fine",
                |run| async move { Ok(json!(say(&run, "b").await?)) },
            );
        journal.submit(new_run("one")).await.unwrap();
        let fine = journal
            .submit(NewRun::new("fine", Value::Null))
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let watch = async {
            while journal.run("one").await.unwrap().status != RunStatus::Finished {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            stop.cancel();
        };
        let (worked, ()) = tokio::join!(engine.run_until(stop.clone()), watch);
        worked.unwrap();
        assert_eq!(
            journal.run(fine.as_str()).await.unwrap().status,
            RunStatus::Finished
        );
        assert_eq!(tries.load(Ordering::SeqCst), 2);
    });
}

async fn think(run: &Run, tokens: u64, used: u64) -> journal::Result<u64> {
    let cost = |tokens| Cost {
        tokens,
        ..Cost::default()
    };
    let options = StepOptions::reserve(cost(tokens));
    run.step_with(
        "think",
        Effect::Read,
        &tokens,
        options,
        |context| async move {
            context.spent(cost(used));
            Ok(used)
        },
    )
    .await
}

#[test]
fn an_exhausted_budget_parks_with_a_question_and_goes_on_when_it_is_raised() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let workflow = |run: Run| async move {
            let branches = (0..3).map(|branch| {
                let run = run.scope("branch", branch);
                async move { think(&run, 400, 100).await }
            });
            let thought = futures::future::try_join_all(branches).await?;
            Ok::<Value, WorkflowError>(json!(thought))
        };
        let mut new = new_run("one");
        new.budget = Budget {
            tokens: Some(500),
            steps: Some(10),
            ..Budget::default()
        };
        let run = journal.start(new).await.unwrap();
        // One branch after the other: what the first has not used is there for the second.
        let outcome = run.execute(workflow).await.unwrap();
        let spent = |spending: Vec<journal::Spending>| {
            let of = |dimension| spending.iter().find(move |row| row.dimension == dimension);
            let tokens = of(Dimension::Tokens).unwrap();
            (
                tokens.most,
                tokens.spent,
                tokens.reserved,
                of(Dimension::Steps).unwrap().spent,
            )
        };
        match outcome {
            Outcome::Finished(_) => panic!("three times 400 do not fit into 500 at once"),
            Outcome::Parked(reason) => {
                assert!(reason.contains("budget/tokens[500] asks"), "{reason}")
            }
            other => panic!("{other:?}"),
        }
        let questions = journal.questions(None).await.unwrap();
        assert_eq!(questions.len(), 1, "branches side by side ask once");
        assert_eq!(questions[0].path, "budget/tokens[500]");
        let (_, before, reserved, _) = spent(journal.spending(run.id()).await.unwrap());
        assert!(before >= 100 && reserved == 0, "{before} {reserved}");
        let low = journal
            .answer("one", "budget/tokens[500]", json!(500), "Ada")
            .await
            .unwrap_err();
        assert!(matches!(low, Error::WrongAnswer { .. }), "{low}");
        journal
            .answer("one", "budget/tokens[500]", json!(5_000), "Ada")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        let outcome = run.execute(workflow).await.unwrap();
        assert_eq!(outcome, Outcome::Finished(json!([100, 100, 100])));
        assert_eq!(
            spent(journal.spending(run.id()).await.unwrap()),
            (5_000, 300, 0, 3)
        );
    });
}

#[test]
fn a_budget_that_is_not_raised_ends_the_step_with_an_error() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let workflow = |run: Run| async move {
            let thought = think(&run, 400, 100).await;
            Ok::<Value, WorkflowError>(json!(thought.map_err(|error| error.to_string())))
        };
        let mut new = new_run("one");
        new.budget.tokens = Some(300);
        let run = journal.start(new).await.unwrap();
        assert!(matches!(
            run.execute(workflow).await.unwrap(),
            Outcome::Parked(_)
        ));
        journal
            .answer("one", "budget/tokens[300]", Value::Null, "Ada")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        let Outcome::Finished(output) = run.execute(workflow).await.unwrap() else {
            panic!()
        };
        let error = output["Err"].as_str().unwrap();
        assert!(
            error.starts_with("the budget of run one is exhausted: 0 of 300 tokens"),
            "{error}"
        );
    });
}

#[test]
fn time_is_counted_while_the_run_is_worked_on() {
    block_on(async {
        let clock = ManualClock::new(1_000_000);
        let options = Options {
            clock: Arc::new(clock.clone()),
            ..Options::default()
        };
        let bench = Bench::new();
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let turned = clock.clone();
        let workflow = move |run: Run| {
            let clock = turned.clone();
            async move {
                for number in 0..3 {
                    run.step("work", Effect::Read, &number, |_| async {
                        let now_ms = journal::Clock::now_ms(&clock);
                        clock.set(now_ms + 400);
                        Ok(())
                    })
                    .await?;
                }
                Ok::<Value, WorkflowError>(Value::Null)
            }
        };
        let mut new = new_run("one");
        new.budget.time_ms = Some(600);
        let run = journal.start(new).await.unwrap();
        let Outcome::Parked(reason) = run.execute(workflow.clone()).await.unwrap() else {
            panic!()
        };
        assert!(reason.contains("800 of 600 ms"), "{reason}");
        // A week goes by: it does not count.
        clock.set(1_000_000 + 7 * 86_400_000);
        journal
            .answer("one", "budget/time[600]", json!(10_000), "Ada")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        assert!(matches!(
            run.execute(workflow).await.unwrap(),
            Outcome::Finished(_)
        ));
        let spending = journal.spending(run.id()).await.unwrap();
        assert_eq!((spending[0].spent, spending[0].most), (1_200, 10_000));
    });
}

#[test]
fn a_clock_that_is_set_back_parks_the_run() {
    block_on(async {
        let clock = ManualClock::new(10_000_000);
        let options = Options {
            clock: Arc::new(clock.clone()),
            ..Options::default()
        };
        let bench = Bench::new();
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let turned = clock.clone();
        let workflow = move |run: Run| {
            let clock = turned.clone();
            async move {
                say(&run, "a").await?;
                clock.set(9_998_000);
                say(&run, "a little back is nothing").await?;
                clock.set(9_000_000);
                say(&run, "b").await?;
                Ok::<Value, WorkflowError>(Value::Null)
            }
        };
        let run = journal.start(new_run("one")).await.unwrap();
        let Outcome::Parked(reason) = run.execute(workflow.clone()).await.unwrap() else {
            panic!()
        };
        assert!(
            reason.starts_with("the clock was set back by 1000 s"),
            "{reason}"
        );
        let steps = journal.steps(run.id()).await.unwrap();
        assert!(
            steps
                .windows(2)
                .all(|pair| pair[0].started_ms <= pair[1].started_ms)
        );
        clock.set(10_000_001);
        drop(run);
        let run = journal.resume("one").await.unwrap();
        clock.set(10_000_002);
        let fixed = |run: Run| async move {
            for name in ["a", "a little back is nothing", "b"] {
                say(&run, name).await?;
            }
            Ok::<Value, WorkflowError>(Value::Null)
        };
        assert!(matches!(
            run.execute(fixed).await.unwrap(),
            Outcome::Finished(_)
        ));
    });
}

#[test]
fn parked_runs_cost_disk_only() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let most = Arc::new(AtomicUsize::new(0));
        let (active, seen) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&most));
        let engine = Engine::new(journal.clone()).register("test", move |run| {
            let in_memory = InMemory::new(&active, &seen);
            async move {
                let _in_memory = in_memory;
                run.ask::<bool>("go", &journal::Question::yes_or_no("Go?"))
                    .await
                    .map(Value::from)
                    .map_err(WorkflowError::from)
            }
        });
        for batch in 0..10 {
            let starts =
                (0..100).map(|number| journal.submit(new_run(&format!("run-{batch}-{number}"))));
            futures::future::try_join_all(starts).await.unwrap();
        }
        engine.run_until_idle().await.unwrap();
        assert_eq!(journal.questions(None).await.unwrap().len(), 1_000);
        assert!(most.load(Ordering::SeqCst) <= 256);
        journal
            .answer("run-7-7", "go[0]", json!(true), "Ada")
            .await
            .unwrap();
        engine.run_until_idle().await.unwrap();
        let by_status = journal
            .runs(Page {
                limit: 2_000,
                ..Page::default()
            })
            .await
            .unwrap();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for run in &by_status {
            *counts.entry(run.status.as_str()).or_default() += 1;
        }
        assert_eq!(counts, BTreeMap::from([("finished", 1), ("parked", 999)]));
    });
}

/// Counts how many are alive at once.
struct InMemory(Arc<AtomicUsize>);

impl InMemory {
    fn new(active: &Arc<AtomicUsize>, most: &AtomicUsize) -> InMemory {
        let now = active.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(now, Ordering::SeqCst);
        InMemory(Arc::clone(active))
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
