//! The pattern `reflect`: its flow with each kind of critic, and its crashes at every event.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::sync::Arc;

use journal::testing::{Scenario, crash_everywhere};
use journal::{Effect, Engine, Journal, NewRun, OpenQuestion, Run, WorkflowError};
use model::{Message, Output, Request, Role, Scripted};
use plumb_agent::act::{Acting, Conversation};
use plumb_agent::reflect::{
    Critic, ModelCritic, Person, Reflected, Reflecting, ToolCritic, reflect,
};
use serde_json::{Value, json};
use tool::{Function, Secrets};

/// A writer whose n-th draft is `draft n`, and who is the critic where a verdict is asked for.
fn acting(verdict: fn(&str) -> Value) -> Acting {
    let model = Scripted::new("scripted:writer", move |request: &Request| {
        let last = request.messages.last().unwrap().text().into_owned();
        Ok(match &request.output {
            Output::Json(_) => verdict(&last).to_string(),
            Output::Text | Output::Given(_) => {
                let said = request
                    .messages
                    .iter()
                    .filter(|message| message.role == Role::User);
                format!("draft {}", said.count())
            }
        })
    });
    Acting::new(Arc::new(model))
}

/// The second draft is the best, the third is worse, and none is accepted.
fn never_content(text: &str) -> Value {
    let score = [("draft 1", 3), ("draft 2", 8), ("draft 3", 5)]
        .iter()
        .find(|(draft, _)| text.contains(draft))
        .map(|(_, score)| score);
    json!({"remarks": "Be clearer.", "score": score, "accepted": false})
}

fn content_with_the_second(text: &str) -> Value {
    let accepted = text.contains("draft 2");
    json!({"remarks": "Be clearer.", "score": 1, "accepted": accepted})
}

fn with_model(verdict: fn(&str) -> Value) -> Arc<dyn Critic> {
    Arc::new(ModelCritic {
        acting: acting(verdict),
        criteria: "clear".to_owned(),
    })
}

/// A test that passes from the second draft on, and before that fails with an error.
fn with_tool() -> Arc<dyn Critic> {
    let test = Function::new("test", "Tests.", |arguments: Value, _| async move {
        match arguments["draft"].as_str() {
            Some("draft 1") => Err("line 1 is wrong".into()),
            _ => Ok(json!({"remarks": "", "score": 10, "accepted": true})),
        }
    });
    let schema = json!({"type": "object"});
    Arc::new(ToolCritic {
        tool: Arc::new(test.parameters(schema).effect(Effect::Pure)),
        secrets: Secrets::default(),
    })
}

async fn workflow(run: Run, critic: Arc<dyn Critic>) -> Result<Value, WorkflowError> {
    let with = Reflecting {
        writer: acting(never_content),
        critic,
        drafts: 3,
    };
    let mut conversation = Conversation::new(&run);
    let written = async {
        conversation.push(Message::user("Write."))?;
        reflect(&run, &with, &mut conversation, "Write.").await
    };
    match written.await {
        Ok(reflected) => Ok(json!(reflected)),
        Err(error) => Err(error.for_the_journal()),
    }
}

fn engine(journal: Journal, critic: fn() -> Arc<dyn Critic>) -> Engine {
    Engine::new(journal).register("writer", move |run| workflow(run, critic()))
}

/// What came of it, and its steps. The person, where one is asked, accepts the second draft.
async fn written(critic: fn() -> Arc<dyn Critic>) -> (Reflected, Vec<String>) {
    let journal = Journal::in_memory().unwrap();
    let engine = engine(journal.clone(), critic);
    let id = journal
        .submit(NewRun::new("writer", json!({})))
        .await
        .unwrap();
    loop {
        engine.run_until_idle().await.unwrap();
        let Some(question) = journal.questions(None).await.unwrap().pop() else {
            break;
        };
        let answer = accepts_the_second(&question).unwrap();
        journal
            .answer(id.as_str(), &question.path, answer, "Ada")
            .await
            .unwrap();
    }
    let output = journal.run(id.as_str()).await.unwrap().output.unwrap();
    let steps = journal.steps(&id).await.unwrap();
    let steps = steps.iter().map(|step| step.path.clone()).collect();
    (serde_json::from_value(output).unwrap(), steps)
}

fn accepts_the_second(question: &OpenQuestion) -> Option<Value> {
    let accepted = question.text.contains("draft 2");
    Some(json!({"remarks": "Clearer!", "score": 2, "accepted": accepted}))
}

#[tokio::test]
async fn the_best_draft_counts_and_not_the_last() {
    let (reflected, steps) = written(|| with_model(never_content)).await;
    assert_eq!((reflected.text.as_str(), reflected.drafts), ("draft 2", 3));
    assert_eq!(reflected.verdict.unwrap().score, 8.0);
    assert_eq!(
        steps,
        [
            "draft[0]/model[0]",
            "critic[0]/model[0]",
            "draft[1]/model[0]",
            "critic[1]/model[0]",
            "draft[2]/model[0]",
            "critic[2]/model[0]"
        ]
    );
}

#[tokio::test]
async fn an_accepted_draft_ends_it_whoever_accepts_it() {
    let critics: [fn() -> Arc<dyn Critic>; 3] = [
        || with_model(content_with_the_second),
        with_tool,
        || Arc::new(Person),
    ];
    for critic in critics {
        let (reflected, steps) = written(critic).await;
        assert_eq!(
            (reflected.text.as_str(), reflected.drafts),
            ("draft 2", 2),
            "{steps:?}"
        );
        assert!(reflected.verdict.unwrap().accepted);
    }
}

fn crashing(test: &str, critic: fn() -> Arc<dyn Critic>) -> u64 {
    let new = NewRun::new("writer", json!({}));
    let scenario = Scenario::new(test, new, move |journal| engine(journal, critic));
    crash_everywhere(&scenario.answering(accepts_the_second))
        .unwrap()
        .kills
}

#[test]
fn every_crash_is_survived_with_a_model() {
    let kills = crashing("every_crash_is_survived_with_a_model", || {
        with_model(never_content)
    });
    assert!(kills >= 24, "{kills}");
}

#[test]
fn every_crash_is_survived_with_a_person() {
    let kills = crashing("every_crash_is_survived_with_a_person", || Arc::new(Person));
    assert!(kills >= 16, "{kills}");
}
