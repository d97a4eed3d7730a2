//! The pattern `plan`: a plan whose step fails is made again for the rest, a person may change it, and it survives
//! every crash.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::sync::Arc;

use journal::testing::{Scenario, crash_everywhere};
use journal::{Engine, Journal, NewRun, OpenQuestion, Run, WorkflowError};
use model::{Output, Request, Scripted};
use plumb_agent::act::Acting;
use plumb_agent::plan::{Planned, Planning, plan};
use serde_json::{Value, json};

fn step(name: &str, after: &[&str]) -> Value {
    json!({"name": name, "task": format!("do {name}"), "after": after})
}

/// The first plan has a step that cannot be done; the second goes another way.
fn script(request: &Request) -> String {
    let said = request.messages.last().unwrap().text().into_owned();
    let Output::Json(schema) = &request.output else {
        if !said.starts_with("The task:") {
            return format!("{} is over", said.lines().next().unwrap());
        }
        let done = said.lines().filter(|line| line.starts_with("Done"));
        return format!("From: {}", done.collect::<Vec<_>>().join("; "));
    };
    if schema["properties"]["steps"].is_null() {
        let mut earlier = request.messages.iter().map(|message| message.text());
        return json!({"done": !earlier.any(|said| said.starts_with("do swim"))}).to_string();
    }
    let steps = match said.contains("The last plan failed") {
        false => json!([
            step("run", &[]),
            step("jump", &[]),
            step("swim", &["run"]),
            step("rest", &["swim"])
        ]),
        true => json!([step("row", &["run"]), step("rest", &["row", "jump"])]),
    };
    json!({"steps": steps}).to_string()
}

fn planning(asks: bool) -> Planning {
    let model = Scripted::new("scripted:planner", |request| Ok(script(request)));
    Planning {
        asks,
        ..Planning::new(Acting::new(Arc::new(model)))
    }
}

async fn workflow(run: Run, asks: bool) -> Result<Value, WorkflowError> {
    match plan(&run, &planning(asks), "Cross the river.").await {
        Ok(planned) => Ok(json!(planned)),
        Err(error) => Err(error.for_the_journal()),
    }
}

fn engine(journal: Journal, asks: bool) -> Engine {
    Engine::new(journal).register("crossing", move |run| workflow(run, asks))
}

/// The person has something to say to the first plan: nobody has to swim.
fn changes(question: &OpenQuestion) -> Option<Value> {
    assert!(question.text.contains("do swim"), "{}", question.text);
    Some(json!({"steps": [step("walk", &[])]}))
}

async fn crossed(asks: bool) -> (Planned, Vec<String>) {
    let journal = Journal::in_memory().unwrap();
    let engine = engine(journal.clone(), asks);
    let id = journal
        .submit(NewRun::new("crossing", json!({})))
        .await
        .unwrap();
    engine.run_until_idle().await.unwrap();
    if let Some(question) = journal.questions(None).await.unwrap().pop() {
        let answer = changes(&question).unwrap();
        journal
            .answer(id.as_str(), &question.path, answer, "Ada")
            .await
            .unwrap();
        engine.run_until_idle().await.unwrap();
    }
    let output = journal.run(id.as_str()).await.unwrap().output.unwrap();
    let steps = journal.steps(&id).await.unwrap();
    let steps = steps.iter().map(|step| step.path.clone()).collect();
    (serde_json::from_value(output).unwrap(), steps)
}

#[tokio::test]
async fn what_is_done_stays_and_the_rest_is_planned_again() {
    let (planned, mut steps) = crossed(false).await;
    let done: Vec<&str> = planned.done.iter().map(|done| done.name.as_str()).collect();
    assert_eq!(done, ["run", "jump", "row", "rest"]);
    assert_eq!((planned.plans, planned.trouble), (2, None));
    assert!(
        planned.text.ends_with("Done, rest: do rest is over"),
        "{}",
        planned.text
    );
    steps.sort();
    assert_eq!(
        steps,
        [
            "model[0]",
            "plan[0]/model[0]",
            "plan[0]/step[0]/model[0]",
            "plan[0]/step[0]/model[1]",
            "plan[0]/step[1]/model[0]",
            "plan[0]/step[1]/model[1]",
            "plan[0]/step[2]/model[0]",
            "plan[0]/step[2]/model[1]",
            "plan[1]/model[0]",
            "plan[1]/step[0]/model[0]",
            "plan[1]/step[0]/model[1]",
            "plan[1]/step[1]/model[0]",
            "plan[1]/step[1]/model[1]",
        ]
    );
}

#[tokio::test]
async fn a_person_may_change_the_plan() {
    let (planned, _) = crossed(true).await;
    assert_eq!((planned.done.len(), planned.plans), (1, 1));
    assert_eq!(planned.done[0].name, "walk");
}

fn kills(test: &str, asks: bool) -> u64 {
    let new = NewRun::new("crossing", json!({}));
    let scenario = Scenario::new(test, new, move |journal| engine(journal, asks));
    crash_everywhere(&scenario.answering(changes))
        .unwrap()
        .kills
}

#[test]
fn every_crash_is_survived() {
    assert!(kills("every_crash_is_survived", false) >= 30);
}

#[test]
fn every_crash_is_survived_with_a_person() {
    assert!(kills("every_crash_is_survived_with_a_person", true) >= 10);
}
