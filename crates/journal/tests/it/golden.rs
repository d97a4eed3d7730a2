//! Journals written by earlier versions read and resume for ever. A file under `tests/journals/` is
//! never changed; a new version of the schema adds a folder. `PLUMB_WRITE_GOLDEN=1` writes the one of
//! the current version where it is missing.

use std::path::{Path, PathBuf};

use std::io::BufReader;

use journal::{
    Clock, Cost, Effect, Engine, EngineOptions, Error, Fork, Journal, ManualClock, NewChild,
    NewRun, Options, Page, Question, Run, RunStatus, Settlement, StepError, StepOptions,
    StepStatus, WorkflowError,
};
use serde_json::{Value, json};

use crate::caring::findings;
use crate::support::block_on;

fn folder(version: &str) -> PathBuf {
    // Not `env!`: clones that share a target directory share this program too.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    Path::new(&here).join("../../tests/journals").join(version)
}

/// What the golden runs do: long and short payloads, a growing list, keys that look like
/// references, scopes, a failure, attributes.
async fn workflow(run: &Run, live: bool) -> Result<Value, Error> {
    let check = move || {
        if live {
            Ok(())
        } else {
            Err(StepError::Failed("a finished step ran again".to_string()))
        }
    };
    let text: String = run
        .step(
            "write",
            Effect::Pure,
            &json!({"$plumb": 1, "words": 400}),
            |_| async move {
                check()?;
                Ok("Plumb remembers what it did. ".repeat(200))
            },
        )
        .await?;
    let mut messages =
        vec![json!({"role": "system", "content": "Answer in one word. ".repeat(20)})];
    for round in 0..6 {
        let scope = run.scope("talk", round / 3);
        let said: Value = scope
            .step(
                "model",
                Effect::Read,
                &json!({"messages": messages}),
                |context| async move {
                    check()?;
                    context.attribute("model", "scripted:golden");
                    context.attribute("output_tokens", round);
                    let content = format!("reply {round} ").repeat(40);
                    Ok(json!({"role": "assistant", "content": content, "$$plumb": 0.1}))
                },
            )
            .await?;
        messages.push(said);
    }
    let failed = run
        .step::<_, Value, _, _>("lookup", Effect::Idempotent, &"order 7", |_| async move {
            check()?;
            Err(StepError::Failed("no such order".to_string()))
        })
        .await;
    let Err(Error::StepFailed { message, .. }) = failed else {
        return failed;
    };
    Ok(json!({"length": text.len(), "messages": messages, "lookup": message}))
}

/// Everything that the journal tells, but for times.
async fn told(journal: &Journal) -> Value {
    let mut all = Vec::new();
    for record in journal.runs(Page::default()).await.unwrap() {
        let steps = journal.steps(&record.id).await.unwrap();
        let mut told = json!({"run": record, "steps": steps});
        for time in ["created_ms", "updated_ms"] {
            told["run"][time] = Value::Null;
        }
        for step in told["steps"].as_array_mut().unwrap() {
            step["started_ms"] = Value::Null;
            step["finished_ms"] = json!(!step["finished_ms"].is_null());
        }
        all.push(told);
    }
    json!(all)
}

/// Whether all that was told when the file was written is still told; fields may have been added.
fn assert_told(told: &Value, expected: &Value, place: &str) {
    match (told, expected) {
        (Value::Object(told), Value::Object(expected)) => {
            for (key, field) in expected {
                let place = format!("{place}/{key}");
                let now = told.get(key).unwrap_or_else(|| panic!("{place} is gone"));
                assert_told(now, field, &place);
            }
        }
        (Value::Array(told), Value::Array(expected)) => {
            assert_eq!(told.len(), expected.len(), "{place}");
            for (index, (now, item)) in told.iter().zip(expected).enumerate() {
                assert_told(now, item, &format!("{place}/{index}"));
            }
        }
        _ => assert_eq!(told, expected, "{place}"),
    }
}

async fn write(path: &Path) {
    let journal = Journal::open(path).unwrap();
    for id in ["finished", "parked", "cut-off"] {
        let new = NewRun {
            id: Some(id.to_string()),
            agent: "golden".to_string(),
            definition: "Do what the golden test does.\n".repeat(20),
            input: json!({"question": "Does it still read?"}),
            budget: Default::default(),
        };
        let run = journal.start(new).await.unwrap();
        let output = workflow(&run, true).await.unwrap();
        let fault = || async { Err::<u8, _>(StepError::Fault("no network".to_string())) };
        match id {
            "finished" => run.finish(&output).await.unwrap(),
            "parked" => {
                run.step("fetch", Effect::Read, &"page", |_| fault())
                    .await
                    .unwrap_err();
                run.park("the network is down").await.unwrap();
            }
            _ => {
                run.step("pay", Effect::Irreversible, &12, |_| fault())
                    .await
                    .unwrap_err();
            }
        }
    }
}

/// Leaves nothing of this machine behind: the leases are gone, and so are their pages.
fn clean(file: &Path) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
}

async fn write_told(file: &Path, expected: &Path) {
    let journal = Journal::open(file).unwrap();
    let told = serde_json::to_string_pretty(&told(&journal).await).unwrap();
    std::fs::write(expected, told + "\n").unwrap();
}

#[test]
fn version_1_reads_and_resumes() {
    let folder = folder("v1");
    let (file, expected) = (folder.join("journal.db"), folder.join("expected.json"));
    if std::env::var_os("PLUMB_WRITE_GOLDEN").is_some() && !file.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        block_on(write(&file));
        clean(&file);
        block_on(write_told(&file, &expected));
    }
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("journal.db");
    std::fs::copy(&file, &path).unwrap();
    block_on(async {
        let journal = Journal::open(&path).unwrap();
        let expected: Value =
            serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
        assert_told(&told(&journal).await, &expected, "");

        let run = journal.resume("parked").await.unwrap();
        let output = workflow(&run, false).await.unwrap();
        assert_eq!(Some(&output), expected[2]["run"].get("output"));
        let page = run.step("fetch", Effect::Read, &"page", |_| async {
            Ok("found".to_string())
        });
        assert_eq!(page.await.unwrap(), "found");
        run.finish(&output).await.unwrap();

        let run = journal.resume("cut-off").await.unwrap();
        workflow(&run, false).await.unwrap();
        let paid = run
            .step("pay", Effect::Irreversible, &12, |_| async { Ok(1) })
            .await;
        assert!(matches!(paid, Err(Error::InDoubt { .. })));
    });
}

/// The time when the runs of versions 2 and 3 wait for a timer, milliseconds since 1970 (UTC).
const BEGIN_MS: i64 = 1_700_000_000_000;
/// How long they wait.
const WAIT_MS: u64 = 86_400_000;

fn at(file: &Path, clock: &ManualClock) -> Journal {
    let options = Options {
        clock: std::sync::Arc::new(clock.clone()),
        ..Options::default()
    };
    Journal::open_with(file, options).unwrap()
}

/// The workflows of version 2 and 3, by the names of their agents.
fn workflows(journal: &Journal, live: bool) -> Engine {
    let options = EngineOptions {
        poll_ms: 10,
        ..EngineOptions::default()
    };
    Engine::new(journal.clone())
        .options(options)
        .register("golden", move |run| async move {
            Ok(workflow(&run, live).await?)
        })
        .register("parent", |run| async move {
            let new = NewChild::new("child", json!({"text": "Mind the step. ".repeat(40)}));
            let child = run.spawn("child", &new).await?;
            let answer = child.wait().await??;
            run.version("greeting", 2).await?;
            Ok(json!({"child": answer}))
        })
        .register("child", |run| async move {
            let question = Question::new(
                "How many?",
                json!({"type": "integer", "description": "any number. ".repeat(30)}),
            );
            let many: i64 = run.ask("many", &question).await?;
            Ok((many + 1).into())
        })
        .register("timer", |run| async move {
            run.sleep(std::time::Duration::from_millis(WAIT_MS)).await?;
            Ok("woken".into())
        })
        .register("asking", |run| async move {
            let question =
                Question::yes_or_no("May Ada travel?").or_after(10 * WAIT_MS, false.into());
            Ok(run.ask::<bool>("approve", &question).await?.into())
        })
        .register("spender", |run| async move { Ok(spend(&run).await?) })
        .register("cancelled", |run| async move {
            run.ask::<bool>("never", &Question::yes_or_no("Ever?"))
                .await?;
            Ok(Value::Null)
        })
}

async fn spend(run: &Run) -> Result<Value, Error> {
    for tokens in [60, 70] {
        let options = StepOptions::reserve(Cost {
            tokens,
            money_micros: 9,
        });
        let work = |context: journal::StepContext| async move {
            context.spent(Cost {
                tokens: tokens - 10,
                money_micros: 3,
            });
            Ok(tokens)
        };
        run.step_with("model", Effect::Read, &tokens, options, work)
            .await?;
    }
    Ok("spent".into())
}

fn golden_run(id: &str, agent: &str) -> NewRun {
    NewRun {
        id: Some(id.to_string()),
        agent: agent.to_string(),
        definition: "Do what the golden test does.\n".repeat(20),
        input: json!({"question": "Does it still read?"}),
        budget: Default::default(),
    }
}

/// Writes the journal of version 2 or 3; what version 1 has is in it as well.
async fn write_2(path: &Path, clock: &ManualClock) {
    let journal = at(path, clock);
    let engine = workflows(&journal, true);
    for (id, agent) in [
        ("finished", "golden"),
        ("family", "parent"),
        ("timer", "timer"),
        ("asking", "asking"),
        ("cancelled", "cancelled"),
    ] {
        journal.submit(golden_run(id, agent)).await.unwrap();
    }
    let mut new = golden_run("spender", "spender");
    new.budget.tokens = Some(100);
    new.budget.money_micros = Some(1_000);
    new.budget.steps = Some(10);
    journal.submit(new).await.unwrap();
    engine.run_until_idle().await.unwrap();
    // The child's question is answered, and so is the one about the budget; another one stays open.
    let open = journal.questions(None).await.unwrap();
    let child = open.iter().find(|open| open.path == "many[0]").unwrap();
    let answer = journal.answer(child.run.as_str(), "many[0]", 41.into(), "Ada");
    answer.await.unwrap();
    let answer = journal.answer("spender", "budget/tokens[100]", 200.into(), "Ada");
    answer.await.unwrap();
    journal.cancel("cancelled", "enough").await.unwrap();
    engine.run_until_idle().await.unwrap();
    // A fork from the middle with another input, where somebody says what a step that writes
    // answered; and one that takes another answer.
    let mut fork = Fork {
        id: Some("fork".to_string()),
        at: Some("talk[1]/model[0]".to_string()),
        reuse: true,
        ..Fork::default()
    };
    let question = "question".to_string();
    fork.set.insert(question, "And forked?".into());
    let run = journal.fork("finished", fork).await.unwrap();
    let error = workflow(&run, true).await.unwrap_err();
    assert!(matches!(error, Error::NotLive { .. }), "{error}");
    drop(run);
    let found = Settlement::Done("order 7 is on its way".into());
    journal.settle("fork", "lookup[0]", found).await.unwrap();
    let run = journal.resume("fork").await.unwrap();
    let output = workflow(&run, true).await.unwrap();
    run.finish(&output).await.unwrap();
    drop(run);
    let mut fork = Fork {
        id: Some("given".to_string()),
        at: Some("lookup[0]".to_string()),
        ..Fork::default()
    };
    fork.answers.insert("write[0]".to_string(), "Short.".into());
    let run = journal.fork("finished", fork).await.unwrap();
    let error = workflow(&run, true).await.unwrap_err();
    assert!(matches!(error, Error::NotLive { .. }), "{error}");
    drop(run);
    // A step in doubt that has not happened, and one of which nobody has said so yet.
    for id in ["settled", "doubtful"] {
        let run = journal.start(golden_run(id, "payer")).await.unwrap();
        let fault = run.step("pay", Effect::Irreversible, &12, |_| async {
            Err::<u8, _>(StepError::Fault("no network".to_string()))
        });
        fault.await.unwrap_err();
        run.park("in doubt").await.unwrap();
    }
    let not_done = Settlement::NotDone;
    journal.settle("settled", "pay[0]", not_done).await.unwrap();
    journal.pin("finished", "the golden export").await.unwrap();
}

/// That what version 2 or 3 wrote is sound, goes on, and can be checked against its code.
async fn check_2(path: &Path, clock: &ManualClock) {
    let journal = at(path, clock);
    assert_eq!(findings(&journal).await, []);
    let engine = workflows(&journal, false);
    let replayed = async |id: &str| {
        let agent = journal.run(id).await.unwrap().agent;
        let code = engine.workflow(&agent).unwrap().clone();
        let replay = journal.replay(id, |run| code(run)).await.unwrap();
        replay.complete
    };
    for id in ["finished", "family", "spender", "fork"] {
        assert!(replayed(id).await, "{id}");
    }
    for id in ["timer", "asking"] {
        assert!(!replayed(id).await, "{id}");
    }
    for (id, done) in [("settled", true), ("doubtful", false)] {
        let run = journal.resume(id).await.unwrap();
        let paid = run.step("pay", Effect::Irreversible, &12, |_| async { Ok(1u8) });
        match paid.await {
            Ok(paid) => assert!(done && paid == 1, "{id}"),
            Err(error) => assert!(
                !done && matches!(error, Error::InDoubt { .. }),
                "{id}: {error}"
            ),
        }
    }
    let run = journal.resume("given").await.unwrap();
    let error = workflow(&run, false).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotLive { path, .. } if path == "lookup[0]"),
        "{error}"
    );
    drop(run);

    // The rest goes on by itself once its time and its answer have come.
    clock.set(BEGIN_MS + 2 * WAIT_MS as i64);
    let answer = journal.answer("asking", "approve[0]", true.into(), "Grace");
    answer.await.unwrap();
    engine.run_until_idle().await.unwrap();
    for (id, output) in [("timer", json!("woken")), ("asking", json!(true))] {
        let record = journal.run(id).await.unwrap();
        assert_eq!(
            (record.status, record.output),
            (RunStatus::Finished, Some(output))
        );
    }
    let steps = journal
        .steps(&journal.run("settled").await.unwrap().id)
        .await;
    assert_eq!(steps.unwrap()[0].status, StepStatus::Finished);
    assert_eq!(findings(&journal).await, []);
}

/// That an export of version 2 or 3 comes into a journal of today and is what it was.
async fn check_export_2(file: &Path, expected: &Value) {
    let journal = Journal::in_memory().unwrap();
    let file = BufReader::new(std::fs::File::open(file).unwrap());
    let ids = journal.import(file).await.unwrap();
    assert_eq!(
        ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        ["finished"]
    );
    assert_eq!(findings(&journal).await, []);
    let expected = expected.as_array().unwrap().iter();
    let mut expected = expected.filter(|told| told["run"]["id"] == "finished");
    assert_told(&told(&journal).await[0], expected.next().unwrap(), "");
    let replay = journal.replay("finished", |run| async move {
        Ok::<_, WorkflowError>(workflow(&run, false).await?)
    });
    assert!(replay.await.unwrap().complete);
}

#[test]
fn version_2_reads_resumes_replays_and_imports() {
    reads_resumes_replays_and_imports("v2");
}

/// What differs from version 2 is how events are found.
#[test]
fn version_3_reads_resumes_replays_and_imports() {
    reads_resumes_replays_and_imports("v3");
}

/// What differs from version 3 is when the rows of runs are brought up to date.
#[test]
fn version_4_reads_resumes_replays_and_imports() {
    reads_resumes_replays_and_imports("v4");
}

/// What differs from version 4 is how the digest of an event is taken.
#[test]
fn version_5_reads_resumes_replays_and_imports() {
    reads_resumes_replays_and_imports("v5");
}

fn reads_resumes_replays_and_imports(version: &str) {
    let folder = folder(version);
    let (file, expected) = (folder.join("journal.db"), folder.join("expected.json"));
    let export = folder.join("finished.jsonl");
    let clock = ManualClock::new(BEGIN_MS);
    if std::env::var_os("PLUMB_WRITE_GOLDEN").is_some() && !file.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        block_on(write_2(&file, &clock));
        clean(&file);
        block_on(write_told(&file, &expected));
        let mut lines = Vec::new();
        block_on(Journal::open(&file).unwrap().export("finished", &mut lines)).unwrap();
        std::fs::write(&export, lines).unwrap();
    }
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("journal.db");
    std::fs::copy(&file, &path).unwrap();
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
    assert!(clock.now_ms() == BEGIN_MS);
    block_on(async {
        assert_told(&told(&at(&path, &clock)).await, &expected, "");
        check_2(&path, &clock).await;
        check_export_2(&export, &expected).await;
    });
}
