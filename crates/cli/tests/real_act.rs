//! The pattern `act` with a real model, the smallest of the catalogue that can call tools.
//!
//! Without its file the test says so and passes; with `PLUMB_REQUIRE_MODELS=1`, as in `make test`, it fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::sync::Arc;

use agent::Error;
use agent::act::{Acting, Conversation, act};
use journal::{Journal, NewRun, Outcome, WorkflowError};
use model::{Message, Model, Role};
use serde_json::{Value, json};
use tool::{Result, Toolbox, tool};

/// Looks an order up.
#[tool(name = "orders.lookup", effect = "read")]
async fn lookup(
    /// The order's number, such as A-17.
    order: String,
) -> Result<Value> {
    match order.as_str() {
        "A-17" => Ok(json!({"order": "A-17", "chairs": 4, "paid": 80})),
        _ => Err(format!("there is no order {order}").into()),
    }
}

/// The journal decides by its own errors what becomes of the run.
fn told_to_the_journal(error: Error) -> WorkflowError {
    match error {
        Error::Journal(error) => error.into(),
        other => other.to_string().into(),
    }
}

/// A small real model; `None`, said aloud, where its file is not there.
fn small() -> Option<Arc<dyn Model>> {
    let entry = model::catalogue::find("qwen2.5-coder-0.5b").unwrap();
    if !entry.is_present() {
        let required = std::env::var_os("PLUMB_REQUIRE_MODELS").is_some_and(|value| value == "1");
        assert!(!required, "plumb models pull {}", entry.name);
        eprintln!("skipped: {} is missing", entry.name);
        return None;
    }
    let name = format!("local:{}", entry.name);
    Some(
        model::Models::new(model::Settings::default())
            .open(&name)
            .unwrap(),
    )
}

#[tokio::test]
async fn a_real_model_calls_a_tool_and_answers_with_what_it_said() {
    let Some(model) = small() else { return };
    let journal = Journal::in_memory().unwrap();
    let run = journal
        .start(NewRun::new("service", json!({})))
        .await
        .unwrap();
    let mut tools = Toolbox::new();
    tools.add(lookup::tool()).unwrap();
    let with = Acting {
        tools,
        max_tokens: 120,
        ..Acting::new(model)
    };
    let outcome = run
        .execute(|run| async move {
            let mut conversation = Conversation::new(&run);
            let question = "How many chairs are in the order A-17? Look it up.";
            conversation
                .push(Message::user(question))
                .map_err(told_to_the_journal)?;
            let acted = act(&run, &with, &mut conversation).await;
            let acted = acted.map_err(told_to_the_journal)?;
            assert!(
                conversation
                    .messages()
                    .iter()
                    .any(|message| message.role == Role::Tool)
            );
            Ok(json!(acted))
        })
        .await
        .unwrap();
    let Outcome::Finished(output) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(output["text"].as_str().unwrap().contains('4'), "{output}");
    assert!(output["calls"].as_u64().unwrap() >= 1, "{output}");
}
