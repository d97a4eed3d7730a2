//! Bugs that there were: a test for each, so that there are none of them again.

use journal::{Effect, Fork, Journal, Run, WorkflowError};
use serde_json::{Value, json};

use crate::support::{block_on, new_run, say};

async fn two_steps(run: Run) -> Result<Value, WorkflowError> {
    let first = say(&run, "first").await?;
    let second: String = run
        .step("second", Effect::Read, &first, |_| async {
            Ok("live".to_string())
        })
        .await?;
    Ok(json!([first, second]))
}

#[test]
fn a_replay_of_a_fork_writes_nothing() {
    block_on(async {
        let journal = Journal::in_memory().unwrap();
        let run = journal.start(new_run("one")).await.unwrap();
        run.execute(two_steps).await.unwrap();
        let mut fork = Fork {
            id: Some("fork".to_string()),
            at: Some("second[0]".to_string()),
            ..Fork::default()
        };
        fork.answers
            .insert("first[0]".to_string(), json!("another"));
        drop(journal.fork("one", fork).await.unwrap());
        // The fork has not come to the answer that it was given; it used to be written by the replay.
        let replay = journal.replay("fork", two_steps).await.unwrap();
        assert!(!replay.complete && replay.steps == 0, "{replay:?}");
        assert_eq!(replay.ends_at.as_deref(), Some("first[0]"));
    });
}
