//! The journal's commands, on runs that the test makes through the journal itself: what a person asks,
//! answers, settles, compares, moves and cleans up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use journal::{Effect, Journal, NewRun, Outcome, Question, Run, StepError, WorkflowError};
use serde_json::{Value, json};
use support::Project;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(future)
}

fn journal(project: &Project) -> Journal {
    Journal::open(&project.path(".plumb/plumb.db")).unwrap()
}

fn new_run(id: &str) -> NewRun {
    let mut new = NewRun::new("travel", json!({"question": "London?"}));
    new.id = Some(id.to_owned());
    new
}

/// Looks something up, asks two questions, and pays; the line goes dead.
async fn travel(run: Run) -> Result<Value, WorkflowError> {
    let price: u64 = run
        .step("look up", Effect::Read, "London", |_| async { Ok(120) })
        .await?;
    let approved: bool = run
        .ask(
            "approve",
            &Question::yes_or_no("May Ada travel for 120 pounds?"),
        )
        .await?;
    let name = Question::new("In whose name?", json!({"type": "string", "minLength": 2}));
    let name: String = run.ask("name", &name).await?;
    let paid: u64 = run
        .step(
            "pay",
            Effect::Irreversible,
            &(price, approved, name),
            |_| async { Err(StepError::Fault("the line went dead".to_owned())) },
        )
        .await?;
    Ok(json!(paid))
}

/// Runs the workflow as far as it goes.
fn go_on(project: &Project, id: &str) -> Outcome {
    block_on(async {
        let journal = journal(project);
        let run = match journal.start(new_run(id)).await {
            Err(journal::Error::Exists { .. }) => journal.resume(id).await.unwrap(),
            run => run.unwrap(),
        };
        run.execute(travel).await.unwrap()
    })
}

#[test]
fn questions_are_listed_and_answered() {
    let project = Project::new(&[]);
    assert!(matches!(go_on(&project, "trip"), Outcome::Parked(_)));
    insta::assert_snapshot!(project.shown(&["questions"]), @r#"
    exit 0
    --- stdout
    trip  approve[0]
      May Ada travel for 120 pounds?
      answer like: {"type":"boolean"}
      plumb answer trip 'approve[0]' '<json>'
    --- stderr
    "#);
    let open = project.json(&["questions", "trip", "--json"]);
    assert_eq!(open[0]["schema"], json!({"type": "boolean"}));
    insta::assert_snapshot!(project.shown(&["answer", "trip", "approve[0]", "perhaps"]), @r#"
    exit 1
    --- stdout
    --- stderr
    error: the answer is not JSON: expected value at line 1 column 1
    hint: text needs quotation marks inside of the quotes: '"yes"'
    "#);
    insta::assert_snapshot!(project.shown(&["answer", "trip", "approve[0]", "3"]), @r#"
    exit 1
    --- stdout
    --- stderr
    error: this does not answer approve[0] of run trip: 3 is not of type "boolean"; the question is still open
    "#);
    insta::assert_snapshot!(project.shown(&["answer", "trip", "who[0]", "true"]), @"
    exit 1
    --- stdout
    --- stderr
    error: run trip has no open question who[0]: `plumb questions` lists those that are open
    ");
    insta::assert_snapshot!(project.shown(&["answer", "tr", "approve[0]", "true"]), @"
    exit 0
    --- stdout
    --- stderr
    answered; go on with: plumb resume trip
    ");
    insta::assert_snapshot!(project.shown(&["answer", "trip", "approve[0]", "false"]), @"
    exit 1
    --- stdout
    --- stderr
    error: the question approve[0] of run trip has been answered already; the first answer counts
    ");
    assert!(matches!(go_on(&project, "trip"), Outcome::Parked(_)));
    // Text is taken as it is typed, where text is wanted.
    insta::assert_snapshot!(project.shown(&["answer", "trip", "name[0]", "Ada Lovelace"]), @"
    exit 0
    --- stdout
    --- stderr
    answered; go on with: plumb resume trip
    ");
    insta::assert_snapshot!(project.shown(&["questions"]), @"
    exit 0
    --- stdout
    --- stderr
    no open questions
    ");
}

#[test]
fn a_step_in_doubt_is_shown_and_settled() {
    let project = Project::new(&[]);
    go_on(&project, "trip");
    for (step, answer) in [("approve[0]", "true"), ("name[0]", "Ada")] {
        project.output(&["answer", "trip", step, answer]);
        go_on(&project, "trip");
    }
    let outcome = go_on(&project, "trip");
    assert_eq!(
        outcome,
        Outcome::Parked("step pay[0] is in doubt".to_owned())
    );
    let shown = project.shown(&["runs", "show", "trip"]);
    assert!(
        shown.contains("in doubt: pay[0]; say what happened with: plumb runs settle trip 'pay[0]'"),
        "{shown}"
    );
    insta::assert_snapshot!(project.shown(&["runs", "settle", "trip", "pay[0]"]), @"
    exit 2
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      <--done <JSON>|--not-done>

    Usage: plumb runs settle <--done <JSON>|--not-done> <ID> <STEP>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(project.shown(&["runs", "settle", "trip", "pay[0]", "--done", "sent"]), @r#"
    exit 2
    --- stdout
    --- stderr
    error: invalid value 'sent' for '--done <JSON>': not JSON (expected value at line 1 column 1); text needs quotation marks inside of the quotes: '"sent"'

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(project.shown(&["runs", "settle", "trip", "look up[0]", "--not-done"]), @"
    exit 1
    --- stdout
    --- stderr
    error: step look up[0] of run trip is not in doubt: it has a result
    ");
    insta::assert_snapshot!(project.shown(&["runs", "settle", "trip", "pay[0]", "--done", "120"]), @"
    exit 0
    --- stdout
    --- stderr
    settled; go on with: plumb resume trip
    ");
    assert_eq!(go_on(&project, "trip"), Outcome::Finished(json!(120)));
    insta::assert_snapshot!(project.shown(&["resume", "trip"]), @"
    exit 1
    --- stdout
    --- stderr
    error: run trip is of the agent travel, which this version does not know
    ");
}

/// A project with two runs that were answered differently, and of which the second is cancelled.
fn one_and_two() -> Project {
    let project = Project::new(&[]);
    for (id, answer) in [("one", "true"), ("two", "false")] {
        go_on(&project, id);
        project.output(&["answer", id, "approve[0]", answer]);
    }
    project.output(&["runs", "cancel", "two", "--reason", "too dear"]);
    project
}

#[test]
fn runs_are_compared_and_cancelled() {
    let project = Project::new(&[]);
    go_on(&project, "one");
    go_on(&project, "two");
    insta::assert_snapshot!(project.shown(&["runs", "diff", "one", "two"]), @"
    exit 0
    --- stdout
    the runs do not differ in any step
    --- stderr
    ");
    project.output(&["answer", "one", "approve[0]", "true"]);
    project.output(&["answer", "two", "approve[0]", "false"]);
    insta::assert_snapshot!(project.shown(&["runs", "diff", "one", "two"]), @"
    exit 0
    --- stdout
    1 step differs, first approve[0]
    - one
    + two

    approve[0]: another output
      output
      - true
      + false
    --- stderr
    ");
    insta::assert_snapshot!(project.shown(&["runs", "cancel", "two", "--reason", "too dear"]), @"
    exit 0
    --- stdout
    --- stderr
    cancelled run two
    ");
    insta::assert_snapshot!(project.shown(&["runs", "cancel", "two"]), @"
    exit 1
    --- stdout
    --- stderr
    error: run two has been cancelled: too dear
    ");
}

#[test]
fn runs_are_taken_to_another_project() {
    let project = one_and_two();
    let file = project.path("two.jsonl");
    let exported = project.output(&["runs", "export", "two", "--out", file.to_str().unwrap()]);
    assert!(exported.status.success());
    let printed = project.output(&["runs", "export", "two"]).stdout;
    assert_eq!(std::fs::read(&file).unwrap(), printed);
    insta::assert_snapshot!(project.shown(&["runs", "import", "two.jsonl"]), @"
    exit 1
    --- stdout
    --- stderr
    error: cannot import two.jsonl: a run with the id two exists already; resume it or choose another id
    ");
    let other = Project::new(&[]);
    insta::assert_snapshot!(other.shown(&["runs", "import", file.to_str().unwrap()]), @"
    exit 0
    --- stdout
    two
    --- stderr
    ");
    assert_eq!(
        other.json(&["runs", "show", "two", "--json"])["status"],
        "cancelled"
    );
    let broken = String::from_utf8(printed)
        .unwrap()
        .replace("London", "Londen");
    std::fs::write(other.path("broken.jsonl"), broken).unwrap();
    let refused = other.shown(&["runs", "import", "broken.jsonl"]);
    assert!(
        refused.starts_with("exit 1") && refused.contains("nothing has been imported"),
        "{refused}"
    );
}

#[test]
fn a_journal_is_checked_and_old_runs_are_collected() {
    let project = one_and_two();
    insta::assert_snapshot!(project.shown(&["doctor"]), @"
    exit 0
    --- stdout
    the journal is sound
    --- stderr
    ");
    let connection = rusqlite::Connection::open(project.path(".plumb/plumb.db")).unwrap();
    connection
        .execute("UPDATE event SET at_ms = at_ms + 1 WHERE run = 1 AND path = 'look up[0]' AND kind = 12", [])
        .unwrap();
    drop(connection);
    insta::assert_snapshot!(project.shown(&["doctor"]), @"
    exit 1
    --- stdout
    run one, step look up[0], event 3: the event is not what was written (its digest differs)
    --- stderr
    1 finding
    hint: runs that are not named are not affected; restore the others from a backup, or delete them
    ");
    assert_eq!(
        project.json(&["gc", "--older-than", "30d", "--json"])["runs"],
        0
    );
    let collected = project.json(&["gc", "--older-than", "0s", "--json"]);
    assert_eq!(
        collected["runs"], 1,
        "the cancelled run, not the parked one: {collected}"
    );
}

#[test]
fn a_key_of_a_provider_is_nowhere_in_the_project() {
    const KEY: &str = "sk-test-0123456789abcdef";
    let project = Project::new(&[("notes.md", "# Notes\n\nThe port is 4711.\n")]);
    let question = format!("Which port goes with {KEY}?");
    let output = project
        .command(&["research", &question, "docs", "--model", "openai:none"])
        .env("OPENAI_API_KEY", KEY)
        // Nobody listens there: the run parks.
        .env("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", support::shown(&output));
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(KEY));
    let runs = project.json(&["runs", "--json"]);
    assert_eq!(
        runs[0]["input"]["question"],
        "Which port goes with [secret]?"
    );
    for file in std::fs::read_dir(project.path(".plumb")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes
                .windows(KEY.len())
                .any(|window| window == KEY.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}
