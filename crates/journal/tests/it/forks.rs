//! Forks, replays and what differs between two runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use journal::{
    Effect, Error, Fork, Journal, Outcome, Run, RunStatus, Settlement, StepRecord, WorkflowError,
};
use serde_json::{Value, json};

use crate::support::{Bench, block_on, new_run};

/// How often work was done for real, over all runs.
#[derive(Clone, Default)]
struct Live(Arc<AtomicUsize>);

impl Live {
    fn taken(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

async fn say(
    run: &Run,
    live: &Live,
    name: &str,
    effect: Effect,
    input: &Value,
) -> journal::Result<String> {
    let text = format!("{name} of {input}");
    run.step(name, effect, input, |_| async move {
        live.0.fetch_add(1, Ordering::SeqCst);
        Ok(text)
    })
    .await
}

/// plan, two branches that read with the model, a pure cut, a note, a mail.
async fn workflow(run: Run, live: Live) -> Result<Value, WorkflowError> {
    let model = run.input()["model"].clone();
    let plan = say(&run, &live, "plan", Effect::Read, &json!("the plan")).await?;
    let mut read = Vec::new();
    for branch in 0..2 {
        let run = run.scope("branch", branch);
        read.push(say(&run, &live, "model", Effect::Read, &json!([model, branch])).await?);
    }
    let cut = say(&run, &live, "cut", Effect::Pure, &json!("same")).await?;
    let again = say(&run, &live, "fetch", Effect::Read, &json!("same")).await?;
    let note = say(&run, &live, "note", Effect::Idempotent, &json!(read)).await?;
    let mail = say(&run, &live, "mail", Effect::Irreversible, &json!(read)).await?;
    Ok(json!([plan, read, cut, again, note, mail]))
}

async fn finished(journal: &Journal, live: &Live) {
    let mut new = new_run("one");
    new.input = json!({"model": "small", "search": {"limit": 3}});
    let run = journal.start(new).await.unwrap();
    let outcome = run
        .execute(|run| workflow(run, live.clone()))
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    assert_eq!(live.taken(), 7);
}

fn at(path: &str) -> Fork {
    Fork {
        id: Some("fork".to_string()),
        at: Some(path.to_string()),
        ..Fork::default()
    }
}

/// A step's address, whether it is shared, and what is noted of it.
fn marked(step: &StepRecord) -> String {
    let marks: Vec<&str> = step.attributes.keys().map(String::as_str).collect();
    let shared = if step.shared { "shared" } else { "" };
    format!("{} {shared}{}", step.path, marks.join(","))
}

#[test]
fn a_fork_shares_what_came_before_and_is_live_from_there() {
    block_on(async {
        let bench = Bench::new();
        let (journal, live) = (bench.open(), Live::default());
        finished(&journal, &live).await;
        let bytes = bench.number("SELECT count(*) FROM event");
        let mut changes = at("branch[1]/model[0]");
        changes.set.insert("model".to_string(), json!("large"));
        changes.set.insert("search.limit".to_string(), json!(9));
        let fork = journal.fork("one", changes).await.unwrap();
        assert_eq!(
            fork.input(),
            &json!({"model": "large", "search": {"limit": 9}})
        );
        // Nothing is copied: a start and the event of taking it up.
        assert_eq!(bench.number("SELECT count(*) FROM event"), bytes + 2);
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        let Outcome::Finished(output) = outcome else {
            panic!("{outcome:?}")
        };
        // Shared: the plan and the first branch, whatever model it now names. Live: the second branch
        // and the reading. From the recording: the pure cut; note and mail as drift.
        assert_eq!(live.taken(), 2);
        assert_eq!(
            output[1],
            json!([r#"model of ["small",0]"#, r#"model of ["large",1]"#])
        );
        let steps = journal.steps(fork.id()).await.unwrap();
        let marks: Vec<String> = steps.iter().map(marked).collect();
        assert_eq!(
            marks,
            [
                "plan[0] shared",
                "branch[0]/model[0] shared",
                "branch[1]/model[0] ",
                "cut[0] reused",
                "fetch[0] ",
                "note[0] drift",
                "mail[0] drift",
            ]
        );
        let record = journal.run("fork").await.unwrap();
        let source = record.forked_from.unwrap();
        assert_eq!(
            (source.run.as_str(), source.at.as_deref()),
            ("one", Some("branch[1]/model[0]"))
        );
        let differing: Vec<String> = journal
            .diff("one", "fork")
            .await
            .unwrap()
            .into_iter()
            .map(|difference| format!("{} {:?}", difference.path, difference.fields))
            .collect();
        assert_eq!(
            differing,
            [
                r#"branch[1]/model[0] ["input", "output"]"#,
                r#"note[0] ["input"]"#,
                r#"mail[0] ["input"]"#,
            ]
        );
    });
}

#[test]
fn what_is_unchanged_is_reused_on_request_and_answers_can_be_given() {
    block_on(async {
        let bench = Bench::new();
        let (journal, live) = (bench.open(), Live::default());
        finished(&journal, &live).await;
        let mut changes = at("branch[0]/model[0]");
        changes.reuse = true;
        changes
            .answers
            .insert("branch[1]/model[0]".to_string(), json!("made up"));
        changes
            .answers
            .insert("plan[0]".to_string(), json!("another plan"));
        let fork = journal.fork("one", changes).await.unwrap();
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        let Outcome::Finished(output) = outcome else {
            panic!("{outcome:?}")
        };
        // Only the step of the fork itself: it is what somebody wants to see again.
        assert_eq!(live.taken(), 1);
        assert_eq!(
            (&output[0], &output[1][1]),
            (&json!("another plan"), &json!("made up"))
        );
        let steps = journal.steps(fork.id()).await.unwrap();
        let with = |mark: &str| {
            let marked = steps
                .iter()
                .filter(|step| step.attributes.contains_key(mark));
            marked.map(|step| step.path.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(with("given"), ["plan[0]", "branch[1]/model[0]"]);
        assert_eq!(with("reused"), ["cut[0]", "fetch[0]"]);
        assert_eq!(with("drift"), ["note[0]", "mail[0]"]);
    });
}

/// A run that has its plan and nothing more.
async fn planned(journal: &Journal, live: &Live) {
    let mut new = new_run("one");
    new.input = json!({"model": "small"});
    let run = journal.start(new).await.unwrap();
    say(&run, live, "plan", Effect::Read, &json!("the plan"))
        .await
        .unwrap();
    run.park("half-way").await.unwrap();
    live.taken();
}

#[test]
fn a_fork_never_writes_to_the_world_by_itself() {
    block_on(async {
        let bench = Bench::new();
        let (journal, live) = (bench.open(), Live::default());
        planned(&journal, &live).await;
        let fork = journal.fork("one", at("plan[0]")).await.unwrap();
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        let Outcome::Parked(reason) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(
            reason.contains("step note[0] of the fork fork writes to the world"),
            "{reason}"
        );
        assert_eq!(live.taken(), 5);
        let error = journal
            .settle("fork", "note[0]", Settlement::NotDone)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("a fork does not do it"),
            "{error}"
        );
        journal
            .settle("fork", "note[0]", Settlement::Done(json!("noted")))
            .await
            .unwrap();
        let fork = journal.resume("fork").await.unwrap();
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert!(matches!(outcome, Outcome::Parked(reason) if reason.contains("mail[0]")));
        journal
            .settle("fork", "mail[0]", Settlement::Done(json!("sent")))
            .await
            .unwrap();
        let fork = journal.resume("fork").await.unwrap();
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        let Outcome::Finished(output) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((&output[4], &output[5]), (&json!("noted"), &json!("sent")));
        assert_eq!(live.taken(), 0);
    });
}

#[test]
fn a_fork_with_leave_to_write_does_what_takes_a_key_and_not_what_cannot_be_undone() {
    block_on(async {
        let bench = Bench::new();
        let (journal, live) = (bench.open(), Live::default());
        planned(&journal, &live).await;
        let mut changes = at("plan[0]");
        (changes.id, changes.live) = (Some("live".to_string()), true);
        let fork = journal.fork("one", changes).await.unwrap();
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert!(matches!(outcome, Outcome::Parked(reason) if reason.contains("mail[0]")));
        assert_eq!(live.taken(), 6);
    });
}

#[test]
fn a_fork_of_a_fork_and_a_fork_at_nothing() {
    block_on(async {
        let bench = Bench::new();
        let (journal, live) = (bench.open(), Live::default());
        finished(&journal, &live).await;
        let fork = journal.fork("one", at("fetch[0]")).await.unwrap();
        fork.execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert_eq!(live.taken(), 1);
        // The step stands in the run that the fork comes from.
        let mut again = at("branch[1]/model[0]");
        again.id = Some("again".to_string());
        let fork = journal.fork("fork", again).await.unwrap();
        let outcome = fork
            .execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)));
        assert_eq!(live.taken(), 2);
        let shared = journal.steps(fork.id()).await.unwrap();
        assert_eq!(shared.iter().filter(|step| step.shared).count(), 2);
        let whole = Fork {
            id: Some("whole".to_string()),
            ..Fork::default()
        };
        let fork = journal.fork("one", whole).await.unwrap();
        fork.execute(|run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert_eq!(live.taken(), 4);
        let error = journal.fork("one", at("nowhere[3]")).await.unwrap_err();
        assert!(matches!(error, Error::NoStep { .. }), "{error}");
        // Forks are runs like others: resumable, and the same each time.
        for id in ["fork", "again", "whole"] {
            let replay = journal
                .replay(id, |run| workflow(run, live.clone()))
                .await
                .unwrap();
            assert_eq!((replay.steps, replay.complete), (7, true), "{id}");
        }
        assert_eq!(live.taken(), 0);
    });
}

#[test]
fn a_replay_does_nothing_and_names_the_first_difference() {
    block_on(async {
        let bench = Bench::new();
        let (journal, live) = (bench.open(), Live::default());
        finished(&journal, &live).await;
        let events = bench.number("SELECT count(*) FROM event");
        let replay = journal
            .replay("one", |run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert_eq!((replay.steps, replay.complete, live.taken()), (7, true, 0));

        let cases: [(&str, &str); 4] = [
            ("another input", "plan[0]"),
            ("another step", "idea[0]"),
            ("a step less", "mail[0]"),
            ("another end", "(its end)"),
        ];
        for (case, place) in cases {
            let live = live.clone();
            let error = journal
                .replay("one", |run| async move {
                    match case {
                        "another input" => {
                            say(&run, &live, "plan", Effect::Read, &json!("a plan")).await?;
                            workflow(run, live).await
                        }
                        "another step" => {
                            say(&run, &live, "idea", Effect::Read, &json!("an idea")).await?;
                            workflow(run, live).await
                        }
                        "a step less" => {
                            let model = json!("small");
                            let mut read = Vec::new();
                            say(&run, &live, "plan", Effect::Read, &json!("the plan")).await?;
                            for branch in 0..2 {
                                let run = run.scope("branch", branch);
                                let input = json!([model, branch]);
                                read.push(say(&run, &live, "model", Effect::Read, &input).await?);
                            }
                            say(&run, &live, "cut", Effect::Pure, &json!("same")).await?;
                            say(&run, &live, "fetch", Effect::Read, &json!("same")).await?;
                            say(&run, &live, "note", Effect::Idempotent, &json!(read)).await?;
                            Ok(Value::Null)
                        }
                        _ => workflow(run, live).await.map(|_| json!("something else")),
                    }
                })
                .await
                .unwrap_err();
            let Error::Diverged { path, .. } = &error else {
                panic!("{case}: {error}")
            };
            assert_eq!(path, place, "{case}: {error}");
        }
        assert_eq!(live.taken(), 0);
        assert_eq!(bench.number("SELECT count(*) FROM event"), events);
        assert_eq!(
            journal.run("one").await.unwrap().status,
            RunStatus::Finished
        );
    });
}

#[test]
fn a_replay_of_a_run_that_was_cut_off_says_where_the_recording_ends() {
    block_on(async {
        let (journal, live) = (Journal::in_memory().unwrap(), Live::default());
        let mut new = new_run("one");
        new.input = json!({"model": "small"});
        let run = journal.start(new).await.unwrap();
        say(&run, &live, "plan", Effect::Read, &json!("the plan"))
            .await
            .unwrap();
        drop(run);
        let replay = journal
            .replay("one", |run| workflow(run, live.clone()))
            .await
            .unwrap();
        assert_eq!((replay.steps, replay.complete), (1, false));
        assert_eq!(replay.ends_at.as_deref(), Some("branch[0]/model[0]"));
    });
}

#[test]
fn a_version_is_kept_and_old_runs_have_none() {
    block_on(async {
        let (journal, live) = (Journal::in_memory().unwrap(), Live::default());
        let run = journal.start(new_run("old")).await.unwrap();
        say(&run, &live, "a", Effect::Read, &json!(1))
            .await
            .unwrap();
        say(&run, &live, "b", Effect::Read, &json!(1))
            .await
            .unwrap();
        drop(run);
        // The code has changed: it asks for its version between the two steps.
        for _ in 0..2 {
            let run = journal.resume("old").await.unwrap();
            say(&run, &live, "a", Effect::Read, &json!(1))
                .await
                .unwrap();
            assert_eq!(run.version("polite", 1).await.unwrap(), 0);
            say(&run, &live, "b", Effect::Read, &json!(1))
                .await
                .unwrap();
            assert_eq!(run.version("later", 4).await.unwrap(), 4);
        }
        let run = journal.resume("old").await.unwrap();
        say(&run, &live, "a", Effect::Read, &json!(1))
            .await
            .unwrap();
        say(&run, &live, "b", Effect::Read, &json!(1))
            .await
            .unwrap();
        // It has been 4 before, and stays so when the code moves on.
        assert_eq!(run.version("later", 5).await.unwrap(), 4);
    });
}
