//! What a run and its steps do, without crashes.

use journal::{Effect, Error, EventKind, Journal, Page, RunStatus, StepError, StepStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run, recorded, say};

#[test]
fn a_finished_step_is_answered_from_the_journal() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        assert_eq!(say(&run, "a").await.unwrap(), "answer of a");
        assert_eq!(
            say(&run.scope("branch", 2), "a").await.unwrap(),
            "answer of a"
        );
        drop(run);
        let run = bench.open().resume("one").await.unwrap();
        assert_eq!(run.input(), &json!({"question": "why?"}));
        assert_eq!(run.definition(), "the definition");
        assert_eq!(recorded(&run, "a").await.unwrap(), "answer of a");
        assert_eq!(
            recorded(&run.scope("branch", 2), "a").await.unwrap(),
            "answer of a"
        );
        let error = recorded(&run, "a").await.unwrap_err();
        assert!(
            matches!(&error, Error::StepFailed { path, .. } if path == "a[1]"),
            "{error}"
        );
    });
}

#[test]
fn addresses_are_settled_by_the_call_and_counted_in_their_scope() {
    block_on(async {
        let run = Journal::in_memory()
            .unwrap()
            .start(new_run("one"))
            .await
            .unwrap();
        let path = |run: &journal::Run, name: &str| {
            let run = run.clone();
            let name = name.to_string();
            async move {
                let work =
                    |context: journal::StepContext| async move { Ok(context.path().to_string()) };
                run.step(&name, Effect::Pure, &(), work).await.unwrap()
            }
        };
        let first = run.step("a", Effect::Pure, &(), |context| async move {
            Ok(context.path().to_string())
        });
        assert_eq!(path(&run, "a").await, "a[1]");
        assert_eq!(first.await.unwrap(), "a[0]");
        let scope = run.scope("research", 0).scope("search", 3);
        assert_eq!(
            path(&scope, "model").await,
            "research[0]/search[3]/model[0]"
        );
        let same = run.scope("research", 0).scope("search", 3);
        assert_eq!(path(&same, "model").await, "research[0]/search[3]/model[1]");
        assert_eq!(
            path(&scope, "other").await,
            "research[0]/search[3]/other[0]"
        );
        for name in ["", "a/b", "a[0]", "a\n"] {
            let named = run
                .step(name, Effect::Pure, &(), |_| async { Ok(()) })
                .await;
            assert!(matches!(named, Err(Error::Name { .. })));
            let scope = run.scope(name, 0).scope("b", 0);
            let scoped = scope
                .step("c", Effect::Pure, &(), |_| async { Ok(()) })
                .await;
            assert!(matches!(scoped, Err(Error::Name { .. })));
        }
    });
}

#[test]
fn failures_are_results_and_faults_are_not() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        let failed = || async { Err::<u8, _>(StepError::Failed("no such order".to_string())) };
        let fault = || async { Err::<u8, _>(StepError::Fault("no network".to_string())) };
        let error = run
            .step("look", Effect::Read, &1, |_| failed())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "step look[0] failed: no such order");
        let error = run
            .step("ask", Effect::Read, &1, |_| fault())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::StepFault { .. }));
        let steps = bench.open().steps(run.id()).await.unwrap();
        assert_eq!(steps[0].status, StepStatus::Failed);
        assert_eq!(steps[1].status, StepStatus::Started);
        assert_eq!(steps[1].error.as_deref(), Some("no network"));
        assert_eq!(steps[1].finished_ms, None);
        drop(run);

        let run = bench.open().resume("one").await.unwrap();
        let again = run
            .step("look", Effect::Read, &1, |_| async { Ok(1u8) })
            .await
            .unwrap_err();
        assert_eq!(again.to_string(), "step look[0] failed: no such order");
        assert_eq!(
            run.step("ask", Effect::Read, &1, |_| async { Ok(2u8) })
                .await
                .unwrap(),
            2
        );
        let steps = bench.open().steps(run.id()).await.unwrap();
        assert_eq!(
            (steps[1].status, steps[1].attempts),
            (StepStatus::Finished, 2)
        );
        assert_eq!(steps[1].input, json!(1));
        let record = bench.open().run("one").await.unwrap();
        assert_eq!((record.steps, record.finished_steps), (2, 2));
    });
}

#[test]
fn another_input_at_a_recorded_address_is_a_divergence() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        let long = "lorem ipsum ".repeat(500);
        let input = json!({"text": long, "temperature": 0.2});
        run.step("model", Effect::Read, &input, |_| async { Ok(1) })
            .await
            .unwrap();
        drop(run);
        let run = bench.open().resume("one").await.unwrap();
        let other = json!({"text": long, "temperature": 0.3});
        let error = run
            .step("model", Effect::Read, &other, |_| async { Ok(1) })
            .await
            .unwrap_err();
        let Error::Diverged {
            path,
            recorded,
            asked,
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(path, "model[0]");
        assert!(
            recorded.contains("\"temperature\":0.2}") && recorded.len() < 300,
            "{recorded}"
        );
        assert!(asked.contains("\"temperature\":0.3}"), "{asked}");
    });
}

#[test]
fn a_map_without_order_is_the_same_input_on_every_day() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        run.step("a", Effect::Read, &json!({"x": 1, "y": 2}), |_| async {
            Ok(1)
        })
        .await
        .unwrap();
        drop(run);
        let run = bench.open().resume("one").await.unwrap();
        let turned = json!({"y": 2, "x": 1});
        assert_eq!(
            run.step("a", Effect::Read, &turned, |_| async { Ok(2) })
                .await
                .unwrap(),
            1
        );
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    volts: f64,
    label: String,
}

#[test]
fn the_caller_sees_what_a_resume_would_give() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        journal.add_secret("hunter22").unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        let volts = 1.0 / 3.0 * 2.225e-300;
        let live: Reading = run
            .step("read", Effect::Read, &(), |_| async move {
                Ok(Reading {
                    volts,
                    label: "key hunter22".to_string(),
                })
            })
            .await
            .unwrap();
        drop((run, journal));
        let run = bench.open().resume("one").await.unwrap();
        let again: Reading = run
            .step("read", Effect::Read, &(), |_| async {
                Err(StepError::Failed(String::new()))
            })
            .await
            .unwrap();
        assert_eq!(live, again);
        assert_eq!(live.label, "key [secret]");

        // A type that does not read back what it wrote is found at once, not after a crash.
        let error = run
            .step::<_, f64, _, _>("nan", Effect::Pure, &(), |_| async { Ok(f64::NAN) })
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Unreadable { path, .. } if path == "nan[0]"),
            "{error}"
        );
    });
}

#[test]
fn runs_are_found_by_prefix_and_listed_newest_first() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let mut generated = new_run("");
        generated.id = None;
        let own = journal.start(generated.clone()).await.unwrap();
        assert_eq!(own.id().as_str().len(), 14);
        let next = journal.start(generated).await.unwrap();
        assert!(
            own.id().as_str()[..9] <= next.id().as_str()[..9],
            "ids sort by time"
        );
        for id in ["travel-41", "travel-42", "travel"] {
            journal.start(new_run(id)).await.unwrap();
        }
        assert_eq!(
            journal.run("travel-42").await.unwrap().id.as_str(),
            "travel-42"
        );
        assert_eq!(journal.run("travel").await.unwrap().id.as_str(), "travel");
        let error = journal.run("travel-").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`travel-` could be any of travel-41, travel-42; give more characters"
        );
        for absent in ["", "x", "%", "travel-42-"] {
            assert!(
                matches!(journal.run(absent).await, Err(Error::NotFound { .. })),
                "{absent}"
            );
        }
        for bad in ["", "a b", "ä", &"x".repeat(65)] {
            assert!(
                matches!(journal.start(new_run(bad)).await, Err(Error::Id { .. })),
                "{bad}"
            );
        }
        let error = journal.start(new_run("travel")).await.unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        let ids = |records: Vec<journal::RunRecord>| -> Vec<String> {
            records
                .into_iter()
                .map(|record| record.id.to_string())
                .collect()
        };
        let first = journal
            .runs(Page {
                limit: 2,
                before: None,
            })
            .await
            .unwrap();
        let before = Some(first[1].id.clone());
        assert_eq!(ids(first), ["travel", "travel-42"]);
        let rest = ids(journal.runs(Page { limit: 2, before }).await.unwrap());
        assert_eq!(rest, ["travel-41", next.id().as_str()]);
    });
}

#[test]
fn how_a_run_ends_is_recorded_and_final_for_its_handle() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("parked")).await.unwrap();
        run.park("waits for Ada").await.unwrap();
        let error = say(&run, "a").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "run parked takes no more steps: it has been parked (waits for Ada)"
        );
        let record = journal.run("parked").await.unwrap();
        assert_eq!(record.status, RunStatus::Parked);
        assert_eq!(record.reason.as_deref(), Some("waits for Ada"));
        assert_eq!(record.held_by, None);
        let again = journal.resume("parked").await.unwrap();
        let record = journal.run("parked").await.unwrap();
        assert_eq!((record.status, record.reason), (RunStatus::Running, None));
        assert_eq!(record.held_by.as_deref(), Some("this process"));
        again.fail("gave up").await.unwrap();
        assert_eq!(
            journal.run("parked").await.unwrap().status,
            RunStatus::Failed
        );

        let again = journal.resume("parked").await.unwrap();
        again.finish(&json!({"done": true})).await.unwrap();
        assert!(matches!(
            again.park("late").await,
            Err(Error::Closed { .. })
        ));
        let record = journal.run("parked").await.unwrap();
        assert_eq!(
            (record.status, record.output),
            (RunStatus::Finished, Some(json!({"done": true})))
        );
        let error = journal.resume("parked").await.unwrap_err();
        assert!(matches!(error, Error::Finished { .. }), "{error}");
    });
}

#[test]
fn a_run_has_one_holder_until_its_last_handle_goes() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("one")).await.unwrap();
        let clone = run.scope("a", 0);
        drop(run);
        let error = bench.open().resume("one").await.unwrap_err();
        assert!(
            matches!(&error, Error::Held { by, .. } if by == "this process"),
            "{error}"
        );
        drop(clone);
        // The same journal: another one might ask before the first has written that it let go.
        let resumed = journal.resume("one").await;
        assert_eq!(resumed.unwrap().id().as_str(), "one");
    });
}

#[test]
fn cancelling_drops_what_is_in_flight() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let run = journal.start(new_run("one")).await.unwrap();
        say(&run, "a").await.unwrap();
        let (begun, wait) = tokio::sync::oneshot::channel();
        let flight = run.step("never", Effect::Read, &(), |_| async move {
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
            Ok(())
        });
        let stop = async {
            wait.await.unwrap();
            run.cancel();
        };
        let (flown, ()) = tokio::join!(flight, stop);
        assert!(matches!(flown, Err(Error::Cancelled)));
        assert!(matches!(
            say(&run.scope("b", 0), "c").await,
            Err(Error::Cancelled)
        ));
        run.cancelled().await;
        run.park("stopped by the user").await.unwrap();
        drop(run);
        let run = journal.resume("one").await.unwrap();
        assert!(!run.is_cancelled());
        assert_eq!(recorded(&run, "a").await.unwrap(), "answer of a");
        run.step("never", Effect::Read, &(), |_| async { Ok(()) })
            .await
            .unwrap();
        let steps = journal.outline(run.id()).await.unwrap();
        assert_eq!(
            steps.iter().map(|step| step.attempts).collect::<Vec<_>>(),
            [1, 2]
        );
    });
}

#[test]
fn clock_and_chance_are_journaled() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        let seen = (run.now_ms().await.unwrap(), run.random().await.unwrap());
        let more = run.random().await.unwrap();
        assert_ne!(seen.1, more);
        drop(run);
        let run = bench.open().resume("one").await.unwrap();
        assert_eq!(
            (run.now_ms().await.unwrap(), run.random().await.unwrap()),
            seen
        );
        assert_eq!(run.random().await.unwrap(), more);
    });
}

#[test]
fn watchers_hear_of_everything_once_it_is_on_disk() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let mut watch = journal.watch();
        let run = journal.start(new_run("one")).await.unwrap();
        run.step("a", Effect::Idempotent, &(), |context| async move {
            context.attribute("model", "local:x");
            context.attribute("output_tokens", 7);
            Ok(context.key().len())
        })
        .await
        .unwrap();
        run.finish(&Value::Null).await.unwrap();
        let mut told = Vec::new();
        let mut last = 0;
        for _ in 0..4 {
            let event = watch.recv().await.unwrap();
            assert!(event.seq > last && event.run.as_str() == "one");
            last = event.seq;
            told.push(event.kind);
        }
        let attributes = json!({"model": "local:x", "output_tokens": 7});
        let path = "a[0]".to_string();
        assert_eq!(
            told,
            [
                EventKind::RunStarted {
                    agent: "test".to_string()
                },
                EventKind::StepStarted {
                    step: journal::StepKind::Call,
                    path: path.clone(),
                    effect: Effect::Idempotent,
                    attempt: 1
                },
                EventKind::StepFinished {
                    path,
                    attributes: attributes.as_object().unwrap().clone()
                },
                EventKind::RunFinished,
            ]
        );
        let steps = journal.steps(run.id()).await.unwrap();
        assert_eq!(steps[0].output, Some(json!(64)));
        assert_eq!(Value::from(steps[0].attributes.clone()), attributes);
        let outline = journal.outline(run.id()).await.unwrap();
        assert_eq!(
            (&outline[0].input, &outline[0].output),
            (&Value::Null, &None)
        );
    });
}

#[test]
fn secrets_do_not_reach_the_disk() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        assert!(matches!(
            journal.add_secret("short"),
            Err(Error::Secret { least: 6 })
        ));
        journal.add_secret("sk-4711-secret").unwrap();
        journal.add_secret("sk-4711-secret-longer").unwrap();
        let secret = "Bearer sk-4711-secret-longer and sk-4711-secret";
        let mut new = new_run("one");
        new.agent = secret.to_string();
        new.definition = secret.to_string();
        new.input = json!({"header": secret, secret: 1});
        let run = journal.start(new).await.unwrap();
        let long = json!([secret.repeat(50), {"deep": [secret]}]);
        let echoed: Value = run
            .step("a", Effect::Read, &long, |context| async move {
                context.attribute("note", secret);
                Ok(json!([secret]))
            })
            .await
            .unwrap();
        assert_eq!(echoed, json!(["Bearer [secret] and [secret]"]));
        for (name, error) in [
            ("b", StepError::Failed(secret.to_string())),
            ("c", StepError::Fault(secret.to_string())),
        ] {
            let step = run.step::<_, (), _, _>(name, Effect::Read, &(), |_| async { Err(error) });
            assert!(!step.await.unwrap_err().to_string().contains("4711"));
        }
        run.park(secret).await.unwrap();
        let run = journal.resume("one").await.unwrap();
        run.fail(secret).await.unwrap();
        let run = journal.resume("one").await.unwrap();
        run.finish(&json!(secret)).await.unwrap();
        drop((run, journal));
        // Written and checkpointed; compressed payloads are looked into through the journal.
        let mut checked = 0;
        for entry in std::fs::read_dir(bench.folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(4).any(|window| window == b"4711"));
            checked += bytes.len();
        }
        assert!(checked > 10_000);
        let steps = bench
            .open()
            .steps(&bench.open().run("one").await.unwrap().id)
            .await
            .unwrap();
        assert!(!format!("{steps:?}").contains("4711"));
        assert!(format!("{steps:?}").contains("Bearer [secret] and [secret]"));
    });
}
