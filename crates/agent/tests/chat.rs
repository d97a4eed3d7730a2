//! A conversation as a run: its turns, another model, a failure, its crashes at every event, and its replay.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::sync::{Arc, Mutex};

use journal::testing::{Scenario, crash_everywhere};
use journal::{Engine, Journal, NewRun, OpenQuestion, Outcome};
use model::{Model, Request, Response, Role, Scripted};
use plumb_agent::Agent;
use plumb_agent::chat::{Chat, Event};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A model that says what it has been told, and cannot hear of mice.
fn parrot(name: &str) -> Arc<dyn Model> {
    let own = name.to_owned();
    Arc::new(Scripted::with_calls(name, move |request: &Request| {
        let said = request
            .messages
            .iter()
            .filter(|message| message.role == Role::User);
        let said: Vec<String> = said.map(|message| message.text().into_owned()).collect();
        if said.last().is_some_and(|last| last.contains("mice")) {
            return Err(model::Error::Unreachable {
                provider: own.clone(),
                message: "it ran away".to_owned(),
            });
        }
        Ok(Response {
            text: format!("{own} heard: {}", said.join(" / ")),
            ..Response::default()
        })
    }))
}

type Told = Arc<Mutex<Vec<String>>>;

fn chat(told: &Told) -> Chat {
    let told = Arc::clone(told);
    Chat {
        agent: Agent::new(parrot("scripted:one")).instructions("You repeat."),
        model: Arc::new(parrot),
        events: Arc::new(move |turn, event| {
            let said = match event {
                Event::Answered(acted) => acted.text,
                Event::Failed(error) => format!("failed: {error}"),
                Event::Said(_) | Event::Progress(_) => return,
            };
            told.lock().unwrap().push(format!("{turn}: {said}"));
        }),
        stop: CancellationToken::new(),
    }
}

/// Says these, a turn each, and goes on with the run as a new process would.
async fn talk(journal: &Journal, told: &Told, said: &[Value]) -> String {
    let run = journal.start(NewRun::new("chat", json!({}))).await.unwrap();
    let id = run.id().to_string();
    let mut run = Some(run);
    for said in said {
        go_on(run.take().unwrap(), told).await;
        let question = journal.questions(Some(&id)).await.unwrap().pop().unwrap();
        journal
            .answer(&id, &question.path, said.clone(), "Ada")
            .await
            .unwrap();
        run = Some(journal.resume(&id).await.unwrap());
    }
    told.lock().unwrap().clear();
    go_on(run.unwrap(), told).await;
    id
}

async fn go_on(run: journal::Run, told: &Told) {
    let chat = chat(told);
    let outcome = run
        .execute(|run| async move { chat.workflow(run).await })
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Parked(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_conversation_goes_on_turn_by_turn() {
    let (journal, told) = (Journal::in_memory().unwrap(), Told::default());
    let said = [
        json!({"text": "cats"}),
        json!({"text": "mice"}),
        json!({"text": "dogs", "model": "scripted:two"}),
        json!({"text": "birds"}),
    ];
    let id = talk(&journal, &told, &said).await;
    // What failed is forgotten; the other model stays.
    insta::assert_snapshot!(told.lock().unwrap().join("\n"), @r"
    0: scripted:one heard: cats
    1: failed: scripted:one failed: it ran away
    hint: try again when it is up, or name a second model after a comma
    2: scripted:two heard: cats / dogs
    3: scripted:two heard: cats / dogs / birds
    ");
    let run = journal.run(&id).await.unwrap();
    let steps = journal.steps(&run.id).await.unwrap();
    let steps: Vec<String> = steps
        .iter()
        .map(|step| format!("{} {:?}", step.path, step.status))
        .collect();
    insta::assert_snapshot!(steps.join("\n"), @r"
    turn[0]/user[0] Finished
    turn[0]/model[0] Finished
    turn[1]/user[0] Finished
    turn[1]/model[0] Failed
    turn[2]/user[0] Finished
    turn[2]/model[0] Finished
    turn[3]/user[0] Finished
    turn[3]/model[0] Finished
    turn[4]/user[0] Started
    ");

    told.lock().unwrap().clear();
    let chat = chat(&told);
    let replayed = journal.replay(&id, |run| async move { chat.workflow(run).await });
    let replay = replayed.await.unwrap();
    assert_eq!(replay.ends_at.as_deref(), Some("turn[4]/user[0]"));
    assert_eq!(told.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn an_answer_that_has_no_text_is_refused_and_the_question_stays() {
    let (journal, told) = (Journal::in_memory().unwrap(), Told::default());
    let id = talk(&journal, &told, &[]).await;
    for wrong in [
        json!("cats"),
        json!({}),
        json!({"text": "cats", "modell": "x"}),
    ] {
        let refused = journal.answer(&id, "turn[0]/user[0]", wrong, "Ada").await;
        assert!(
            matches!(refused, Err(journal::Error::WrongAnswer { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(journal.questions(Some(&id)).await.unwrap().len(), 1);
}

fn engine(journal: Journal) -> Engine {
    Engine::new(journal).register("chat", |run| async move {
        chat(&Told::default()).workflow(run).await
    })
}

fn answers(question: &OpenQuestion) -> Option<Value> {
    match question.path.as_str() {
        "turn[0]/user[0]" => Some(json!({"text": "cats"})),
        "turn[1]/user[0]" => Some(json!({"text": "dogs"})),
        _ => Some(json!({"text": "", "end": true})),
    }
}

#[test]
fn a_conversation_survives_every_crash() {
    let new = NewRun::new("chat", json!({}));
    let scenario =
        Scenario::new("a_conversation_survives_every_crash", new, engine).answering(answers);
    let crashes = crash_everywhere(&scenario).unwrap();
    assert!(crashes.kills >= 10, "{crashes:?}");
}
