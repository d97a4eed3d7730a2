//! A watcher, and what it carries back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use journal::testing::{Scenario, crash_everywhere};
use journal::{Effect, Engine, Journal, Run, WorkflowError};
use plumb_agent::Agent;
use plumb_agent::act::Acting;
use plumb_agent::watcher::{Standing, Watcher, look, say};
use serde_json::{Value, json};
use tool::{Function, Tool};

use crate::support::{agent, asked, calls, ended, model, new, says, told, work};

/// Reads a page, and then as many as it is told to.
fn reader(page: Arc<dyn Tool>) -> Agent {
    let reads = agent(|request| {
        let wishes = request.messages.iter().filter(|message| {
            message
                .text()
                .starts_with("Meanwhile the user says: one more")
        });
        let pages = told(request).len();
        match pages <= wishes.count() {
            true => calls(&[("page", json!({"number": pages}))]),
            false => says(&format!("{pages} pages; {}", asked(request))),
        }
    });
    let mut reads = reads.tool(page).unwrap();
    reads.listens = true;
    reads
}

fn page(journal: Option<Journal>) -> Arc<dyn Tool> {
    let page = Function::new("page", "Reads a page.", move |page: Value, _| {
        let journal = journal.clone();
        async move {
            let number = page["number"].as_u64().unwrap_or_default();
            // While the first page is read, the user wants one more.
            if let Some(journal) = journal.filter(|_| number == 0) {
                let ids = journal.runs(journal::Page::default()).await.unwrap();
                let id = ids.last().unwrap().id.to_string();
                let standing = look(&journal, &id).await.unwrap();
                assert!(!standing.is_over);
                say(&journal, &id, "one more", "Ada").await.unwrap();
                // It is heard when the question has been seen to be answered.
                while journal.questions(Some(&id)).await.unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            Ok(format!("page {number}"))
        }
    });
    let schema = json!({"type": "object", "properties": {"number": {"type": "integer"}}});
    Arc::new(page.parameters(schema).effect(Effect::Read))
}

#[tokio::test]
async fn what_the_user_says_meanwhile_is_heard_and_replayed() {
    let journal = Journal::in_memory().unwrap();
    let make = |page: Arc<dyn Tool>| {
        move |run: Run| -> BoxFuture<'static, Result<Value, WorkflowError>> {
            Box::pin(work(run, reader(page)))
        }
    };
    let run = journal.start(new("Read.")).await.unwrap();
    let id = run.id().clone();
    let outcome = run
        .execute(make(page(Some(journal.clone()))))
        .await
        .unwrap();
    let journal::Outcome::Finished(output) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(output["text"], "2 pages; Meanwhile the user says: one more");
    let replay = journal.replay(id.as_str(), make(page(None))).await.unwrap();
    assert!(replay.complete);
    let late = say(&journal, id.as_str(), "and more", "Ada")
        .await
        .unwrap_err()
        .to_string();
    assert!(late.contains("does not listen now"), "{late}");
    let standing = look(&journal, id.as_str()).await.unwrap();
    let sentence = standing.sentence();
    assert!(standing.is_over && standing.done == 5, "{standing:?}");
    // How long it took is the machine's affair.
    assert!(
        sentence.starts_with("It is over after ")
            && sentence.contains(" s (finished): 5 steps are done, at last model"),
        "{sentence}"
    );
}

#[test]
fn every_crash_is_survived_by_who_listens() {
    let test = "watching::every_crash_is_survived_by_who_listens";
    let scenario = Scenario::new(test, new("Read."), |journal| {
        Engine::new(journal).register("patterns", |run| work(run, reader(page(None))))
    });
    assert!(crash_everywhere(&scenario).unwrap().kills >= 16);
}

#[tokio::test]
async fn a_watcher_tells_what_is_new_until_it_is_over() {
    let journal = Journal::in_memory().unwrap();
    let watched = journal.start(new("Read.")).await.unwrap();
    let id = watched.id().to_string();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&heard);
    let watcher = |journal: &Journal| Watcher {
        journal: journal.clone(),
        acting: Some(Acting::new(model(|request| {
            let log = asked(request);
            let line = log.lines().next().unwrap().replace('"', "'");
            says(&json!({"sentence": line}).to_string())
        }))),
        every: Duration::from_millis(1),
        most: 1_000,
        tell: {
            let telling = Arc::clone(&telling);
            Arc::new(move |sentence| telling.lock().unwrap().push(sentence.to_owned()))
        },
    };
    let own = journal.start(new("")).await.unwrap();
    let watching = {
        let (watcher, id) = (watcher(&journal), id.clone());
        own.execute(move |run| async move { ended(watcher.watch(&run, &id).await) })
    };
    let working = async {
        watched
            .step("lay", Effect::Read, &1, |context| async move {
                context.attribute("title", "bricks");
                Ok(())
            })
            .await
            .unwrap();
        // The watcher comes to look.
        while heard.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        watched.finish(&json!("a wall")).await.unwrap();
    };
    let _working = own.working();
    let (outcome, ()) = tokio::join!(watching, working);
    outcome.unwrap();
    let heard = heard.lock().unwrap().clone();
    assert!(
        heard
            .first()
            .unwrap()
            .starts_with("In short: It has been working for 0 s:"),
        "{heard:?}"
    );
    assert!(
        heard
            .last()
            .unwrap()
            .contains("It is over after 0 s (finished): one step is done, at last lay (bricks)."),
        "{heard:?}"
    );
    let journaled = journal.steps(own.id()).await.unwrap();
    assert!(journaled.iter().any(|step| step.path == "look[0]"));
}

#[test]
fn how_a_run_stands_is_said_in_a_sentence() {
    let doing = |path: &str, title: &str, took_ms| plumb_agent::watcher::Doing {
        path: path.to_owned(),
        title: title.to_owned(),
        took_ms,
        error: None,
    };
    let mut standing = Standing {
        is_over: false,
        reason: None,
        since_ms: 250_000,
        done: 0,
        latest: Vec::new(),
        under_way: vec![doing("model[0]", "", 250_000)],
    };
    let mut said = vec![standing.sentence()];
    standing.done = 7;
    standing.latest = vec![doing(
        "plan[0]/step[1]/files.read[0]",
        "{\"path\":\"a.md\"}",
        12,
    )];
    said.push(standing.sentence());
    standing.under_way = Vec::new();
    said.push(standing.sentence());
    standing.reason = Some("plan[0]/person[0] asks: May this be done?".to_owned());
    said.push(standing.sentence());
    standing.is_over = true;
    standing.latest[0].error = Some("no such file".to_owned());
    standing.reason = Some("no model".to_owned());
    said.push(standing.sentence());
    insta::assert_snapshot!(said.join("\n"), @r#"
    It has been working for 4 min: nothing is done yet; now model for 4 min.
    It has been working for 4 min: 7 steps are done, at last files.read of step[1] ({"path":"a.md"}); now model for 4 min.
    It has been working for 4 min: 7 steps are done, at last files.read of step[1] ({"path":"a.md"}).
    It waits after 4 min: plan[0]/person[0] asks: May this be done?; 7 steps are done, at last files.read of step[1] ({"path":"a.md"}).
    It is over after 4 min (no model): 7 steps are done, at last files.read of step[1] ({"path":"a.md"}), which failed: no such file.
    "#);
}
