//! Journals written by earlier versions read and resume for ever. A file under `tests/journals/` is
//! never changed; a new version of the schema adds a folder. `PLUMB_WRITE_GOLDEN=1` writes the one of
//! the current version where it is missing.

use std::path::{Path, PathBuf};

use journal::{Effect, Error, Journal, NewRun, Page, Run, StepError};
use serde_json::{Value, json};

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

#[test]
fn version_1_reads_and_resumes() {
    let folder = folder("v1");
    let (file, expected) = (folder.join("journal.db"), folder.join("expected.json"));
    if std::env::var_os("PLUMB_WRITE_GOLDEN").is_some() && !file.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        block_on(write(&file));
        // Leaves nothing of this machine behind: the leases are gone, and so are their pages.
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
            .unwrap();
        drop(connection);
        let journal = Journal::open(&file).unwrap();
        let told = serde_json::to_string_pretty(&block_on(told(&journal))).unwrap();
        std::fs::write(&expected, told + "\n").unwrap();
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
