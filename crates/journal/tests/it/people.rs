//! Questions, answers, doubt, cancellation, and what secrets leave behind.

use std::sync::Arc;
use std::time::Duration;

use journal::{
    Effect, Engine, Error, Journal, ManualClock, NewChild, Options, Outcome, Question, Reconciled,
    Run, RunStatus, Settlement, StepError, StepOptions, StepStatus, WorkflowError,
};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run};

type Worked = Result<Value, WorkflowError>;

async fn travel(run: Run) -> Worked {
    let approve = Question::yes_or_no("May Ada travel?");
    let days = Question::new(
        "For how many days?",
        json!({"type": "object", "properties": {"days": {"type": "integer", "minimum": 1}},
               "required": ["days"]}),
    );
    let (approved, days) = futures::future::join(
        run.ask::<bool>("approve", &approve),
        run.ask::<Value>("days", &days),
    )
    .await;
    Ok(json!([approved?, days?]))
}

/// Says in words what is wrong with an answer.
async fn wrong_answers_are_refused(journal: &Journal) {
    let cases = [
        (
            "approve[0]",
            json!("yes"),
            r#""yes" is not of type "boolean""#,
        ),
        ("days[0]", json!({}), r#""days" is a required property"#),
        (
            "days[0]",
            json!({"days": 0}),
            "/days: 0 is less than the minimum of 1",
        ),
    ];
    for (path, answer, message) in cases {
        let error = journal
            .answer("one", path, answer, "Grace")
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::WrongAnswer { .. }) && text.contains(message),
            "{text}"
        );
    }
}

#[test]
fn questions_wait_on_disk_and_are_answered_once_by_address() {
    block_on(async {
        let bench = Bench::new();
        let run = bench.open().start(new_run("one")).await.unwrap();
        let outcome = run.execute(travel).await.unwrap();
        let Outcome::Parked(reason) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            reason,
            "approve[0] asks: May Ada travel?; days[0] asks: For how many days?"
        );
        drop(run);

        let journal = bench.open();
        let open = journal.questions(Some("one")).await.unwrap();
        let paths: Vec<&str> = open.iter().map(|question| question.path.as_str()).collect();
        assert_eq!(paths, ["approve[0]", "days[0]"]);
        assert_eq!(open[0].schema, json!({"type": "boolean"}));
        wrong_answers_are_refused(&journal).await;
        // The later question first: answers go by address.
        journal
            .answer("one", "days[0]", json!({"days": 3}), "Grace")
            .await
            .unwrap();
        let again = journal
            .answer("one", "days[0]", json!({"days": 4}), "Ada")
            .await
            .unwrap_err();
        assert!(matches!(again, Error::Answered { .. }), "{again}");
        let nowhere = journal
            .answer("one", "who[0]", json!(1), "Ada")
            .await
            .unwrap_err();
        assert!(matches!(nowhere, Error::NoQuestion { .. }), "{nowhere}");

        // Still one to go: the run parks again, and has not lost the first answer.
        let run = journal.resume("one").await.unwrap();
        assert!(matches!(
            run.execute(travel).await.unwrap(),
            Outcome::Parked(_)
        ));
        journal
            .answer("one", "approve[0]", json!(true), "Grace")
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        let outcome = run.execute(travel).await.unwrap();
        assert_eq!(outcome, Outcome::Finished(json!([true, {"days": 3}])));
        let steps = journal.steps(run.id()).await.unwrap();
        assert_eq!(steps[0].attributes["answered_by"], "Grace");
        assert!(journal.questions(None).await.unwrap().is_empty());
    });
}

#[test]
fn a_question_expires_by_the_clock_of_the_journal() {
    block_on(async {
        let clock = ManualClock::new(1_000_000);
        let bench = Bench::new();
        let options = Options {
            clock: Arc::new(clock.clone()),
            ..Options::default()
        };
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let workflow = |run: Run| async move {
            let with = Question::yes_or_no("Now?").or_after(500, json!(false));
            let mut without = Question::yes_or_no("Ever?");
            without.expires_after_ms = Some(800);
            let (with, without) = tokio::join!(
                run.ask::<bool>("with", &with),
                run.ask::<bool>("without", &without)
            );
            let without = without.unwrap_err().to_string();
            Ok::<Value, WorkflowError>(json!([with?, without]))
        };
        let run = journal.start(new_run("one")).await.unwrap();
        assert!(matches!(
            run.execute(workflow).await.unwrap(),
            Outcome::Parked(_)
        ));
        assert_eq!(journal.run("one").await.unwrap().ready_ms, Some(1_000_500));
        clock.set(1_000_500);
        let late = journal
            .answer("one", "with[0]", json!(true), "Grace")
            .await
            .unwrap_err();
        assert!(late.to_string().contains("it has expired"), "{late}");
        let run = journal.resume("one").await.unwrap();
        assert!(matches!(
            run.execute(workflow).await.unwrap(),
            Outcome::Parked(_)
        ));
        assert_eq!(journal.run("one").await.unwrap().ready_ms, Some(1_000_800));
        clock.set(2_000_000);
        let run = journal.resume("one").await.unwrap();
        let outcome = run.execute(workflow).await.unwrap();
        let expected = json!([false, "step without[0] failed: nobody has answered in time"]);
        assert_eq!(outcome, Outcome::Finished(expected));
    });
}

#[test]
fn a_question_that_cannot_be_answered_is_refused_when_asked() {
    block_on(async {
        let run = Journal::in_memory()
            .unwrap()
            .start(new_run("one"))
            .await
            .unwrap();
        let bad = Question::new("?", json!({"type": "no such type"}));
        let error = run.ask::<Value>("bad", &bad).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("its schema is not a JSON Schema"),
            "{error}"
        );
        let bad = Question::yes_or_no("?").or_after(1, json!("perhaps"));
        let error = run.ask::<Value>("default", &bad).await.unwrap_err();
        assert!(
            error.to_string().contains("its default is no answer"),
            "{error}"
        );
    });
}

/// Pays once; the other side has fallen silent.
async fn pay(run: Run) -> Worked {
    let paid = run.step("pay", Effect::Irreversible, &12, |_| async {
        Err::<u64, _>(StepError::Fault("the line went dead".to_string()))
    });
    let other = async {
        run.scope("beside", 0)
            .step("note", Effect::Read, &(), |_| async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Ok(1)
            })
            .await
    };
    let (paid, other) = tokio::join!(paid, other);
    other?;
    Ok(json!(paid?))
}

#[test]
fn doubt_is_settled_by_a_person() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        for (id, settlement, expected) in [
            ("done", Settlement::Done(json!(12)), Outcome::Finished(json!(12))),
            (
                "not-done",
                Settlement::NotDone,
                Outcome::Parked("step pay[0] could not be done: the line went dead; resume the run to try it again".to_string()),
            ),
        ] {
            let run = journal.start(new_run(id)).await.unwrap();
            assert!(matches!(run.execute(pay).await.unwrap(), Outcome::Parked(_)));
            drop(run);
            let run = journal.resume(id).await.unwrap();
            let outcome = run.execute(pay).await.unwrap();
            assert_eq!(outcome, Outcome::Parked("step pay[0] is in doubt".to_string()));
            // What went on beside it has come to its end first.
            let steps = journal.steps(run.id()).await.unwrap();
            assert_eq!(steps[1].status, StepStatus::Finished);
            drop(run);
            let no = journal.settle(id, "beside[0]/note[0]", Settlement::NotDone).await.unwrap_err();
            assert!(no.to_string().contains("it has a result"), "{no}");
            journal.settle(id, "pay[0]", settlement).await.unwrap();
            let twice = journal.settle(id, "pay[0]", Settlement::NotDone).await.unwrap_err();
            assert!(matches!(twice, Error::NotInDoubt { .. }), "{twice}");
            let run = journal.resume(id).await.unwrap();
            assert_eq!(run.execute(pay).await.unwrap(), expected);
        }
    });
}

#[test]
fn doubt_is_settled_by_the_step_itself_where_it_can() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let cases = [
            (Ok(Reconciled::Done(json!(7))), Some(7)),
            (Ok(Reconciled::NotDone), Some(1)),
            (Ok(Reconciled::Unknown), None),
            (Err(StepError::Fault("no answer".to_string())), None),
        ];
        for (number, (found, expected)) in cases.into_iter().enumerate() {
            let id = format!("run-{number}");
            let run = journal.start(new_run(&id)).await.unwrap();
            let fault = || async { Err::<u64, _>(StepError::Fault("silence".to_string())) };
            run.step("pay", Effect::Irreversible, &12, |_| fault())
                .await
                .unwrap_err();
            drop(run);
            let run = journal.resume(&id).await.unwrap();
            let options = StepOptions::default().reconcile(|context| async move {
                assert_eq!((context.key().len(), context.path()), (64, "pay[0]"));
                found
            });
            let paid = run
                .step_with("pay", Effect::Irreversible, &12, options, |_| async {
                    Ok(1u64)
                })
                .await;
            match expected {
                Some(expected) => assert_eq!(paid.unwrap(), expected),
                None => assert!(matches!(paid, Err(Error::InDoubt { .. }))),
            }
        }
    });
}

#[test]
fn a_cancelled_run_stops_with_its_children_and_stays_so() {
    block_on(async {
        let bench = Bench::new();
        let journal = bench.open();
        let engine = Engine::new(journal.clone())
            .register("test", |run| async move {
                let child = run
                    .spawn("wait", &NewChild::new("waiter", Value::Null))
                    .await?;
                let slow = run.step("slow", Effect::Read, &(), |_| async {
                    std::future::pending::<()>().await;
                    Ok(1)
                });
                let (waited, slow) = tokio::join!(child.wait(), slow);
                Ok(json!([waited??, slow?]))
            })
            .register("waiter", |run| async move {
                Ok(json!(
                    run.ask::<bool>("ever", &Question::yes_or_no("Ever?"))
                        .await?
                ))
            });
        journal.submit(new_run("one")).await.unwrap();
        let work = engine.run_until_idle();
        let cancel = async {
            let child = loop {
                if let Some(question) = journal.questions(None).await.unwrap().pop() {
                    break question.run;
                }
                tokio::task::yield_now().await;
            };
            journal.cancel("one", "nobody needs it").await.unwrap();
            child
        };
        let (worked, child) = tokio::join!(work, cancel);
        worked.unwrap();
        for (id, reason) in [
            ("one", "nobody needs it"),
            (child.as_str(), "nobody needs it"),
        ] {
            let record = journal.run(id).await.unwrap();
            assert_eq!(record.status, RunStatus::Cancelled);
            assert_eq!(record.reason.as_deref(), Some(reason));
            assert!(matches!(
                journal.resume(id).await,
                Err(Error::RunCancelled { .. })
            ));
            assert!(matches!(
                journal.cancel(id, "again").await,
                Err(Error::RunCancelled { .. })
            ));
        }
        assert!(journal.questions(None).await.unwrap().is_empty());
        assert_eq!(
            journal
                .run(child.as_str())
                .await
                .unwrap()
                .parent
                .unwrap()
                .as_str(),
            "one"
        );
    });
}

#[test]
fn no_secret_reaches_the_file_in_any_shape_of_record() {
    let bench = Bench::new();
    const SECRET: &str = "sk-very-secret-4711";
    block_on(async {
        let journal = bench.open();
        journal.add_secret(SECRET).unwrap();
        let mut new = new_run("one");
        new.definition = format!("use {SECRET}");
        new.input = json!({"key": SECRET, SECRET: "as a key"});
        let run = journal.start(new).await.unwrap();
        let workflow = |run: Run| async move {
            let failing = run.step("fail", Effect::Read, &SECRET, |context| async move {
                context.attribute("header", SECRET);
                Err::<u8, _>(StepError::Failed(format!("401 for {SECRET}")))
            });
            let error = failing.await.unwrap_err();
            assert!(!error.to_string().contains(SECRET), "{error}");
            let long = SECRET.repeat(300);
            let output: String = run
                .step("long", Effect::Read, &(), |_| async { Ok(long) })
                .await?;
            assert!(!output.contains(SECRET));
            let question = Question::new(&format!("Is it {SECRET}?"), json!({"type": "string"}));
            let answer: String = run.ask("ask", &question).await?;
            Ok::<Value, WorkflowError>(json!([answer, SECRET]))
        };
        let Outcome::Parked(_) = run.execute(workflow).await.unwrap() else {
            panic!()
        };
        journal
            .answer("one", "ask[0]", json!(SECRET), SECRET)
            .await
            .unwrap();
        let run = journal.resume("one").await.unwrap();
        let outcome = run.execute(workflow).await.unwrap();
        assert_eq!(outcome, Outcome::Finished(json!(["[secret]", "[secret]"])));
        let other = journal.start(new_run("two")).await.unwrap();
        other.fail(SECRET).await.unwrap();
        let third = journal.start(new_run("three")).await.unwrap();
        drop(third);
        journal.cancel("three", SECRET).await.unwrap();
        assert_eq!(
            journal.redacted(&format!("a log line with {SECRET}")),
            "a log line with [secret]"
        );
        // With the write-ahead log, which is gone once the journal is closed.
        assert!(!on_disk(&bench).contains(SECRET));
    });
    assert!(on_disk(&bench).contains("[secret]"));
    assert!(!on_disk(&bench).contains(SECRET));
}

fn on_disk(bench: &Bench) -> String {
    let files = std::fs::read_dir(bench.folder.path()).unwrap();
    let bytes = files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap());
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

#[test]
fn what_a_run_waited_is_not_what_it_was_worked_on() {
    block_on(async {
        let clock = ManualClock::new(1_000_000);
        let options = Options {
            clock: Arc::new(clock.clone()),
            ..Options::default()
        };
        let bench = Bench::new();
        let journal = Journal::open_with(&bench.path(), options).unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        clock.set(1_000_010);
        crate::support::say(&run, "a").await.unwrap();
        run.park("until tomorrow").await.unwrap();
        drop(run);
        clock.set(9_000_000);
        let run = journal.resume("one").await.unwrap();
        clock.set(9_000_005);
        run.finish(&Value::Null).await.unwrap();
        assert_eq!(journal.worked_ms(run.id()).await.unwrap(), 15);
    });
}
