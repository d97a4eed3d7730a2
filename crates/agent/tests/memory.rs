//! What agents remember: written by a tool and after the run, once whatever happens, and seen by forks as it was.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{Event, Journal, Moment, NewRun, Options, Outcome, StoreFault};
use knowledge::memory::{
    Entry, Filter, Memory, MemoryKind, NewEntry, Outcome as Became, Said, Source, State,
};
use model::{Message, Model, Part, Request, Response, Scripted, Stop, ToolCall};
use plumb_agent::act::Acting;
use plumb_agent::memory::{Learner, Lessons, Remembering};
use plumb_agent::{Agent, Input, Kind, Learn};
use serde_json::{Value, json};

fn remembering(folder: &Path) -> Remembering {
    Remembering {
        memory: Memory::open(folder, None).unwrap(),
        scope: "agent:helper".to_owned(),
        kinds: MemoryKind::ALL.to_vec(),
        learn: Learn::During,
        as_of_ms: None,
    }
}

fn call(name: &str, arguments: Value) -> Response {
    Response {
        tool_calls: vec![ToolCall {
            id: "c1".to_owned(),
            name: name.to_owned(),
            arguments,
            signature: None,
        }],
        stop: Stop::ToolCalls,
        ..Response::default()
    }
}

fn told(request: &Request) -> Vec<String> {
    let parts = request.messages.iter().flat_map(Message::parts);
    let results = parts.filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.content),
        _ => None,
    });
    results.collect()
}

/// Saves two facts, searches, and answers with what it was shown.
fn saves(request: &Request) -> Response {
    let told = told(request);
    match told.len() {
        0 => call(
            "memory_save",
            json!({"subject": "user", "attribute": "favourite colour", "value": "green", "since": "2025-05-05"}),
        ),
        1 => call(
            "memory_save",
            json!({"subject": "user", "attribute": "city", "value": "Basel", "since": "2026-01-02", "until": ""}),
        ),
        2 => call("memory_search", json!({"question": "colour"})),
        _ => {
            // A day that nobody has said is left out, and the model is told so; the fact is kept.
            let made_up = "The day `2025-05-05` was left out: the user has not named it.";
            assert!(told[0].contains(made_up), "{}", told[0]);
            assert!(!told[1].contains("left out"), "{}", told[1]);
            Response {
                text: told[2].clone(),
                ..Response::default()
            }
        }
    }
}

fn agent(folder: &Path, script: fn(&Request) -> Response) -> Agent {
    let model = Scripted::with_calls("scripted:helper", move |request| Ok(script(request)));
    Agent {
        memory: Some(remembering(folder)),
        ..Agent::new(Arc::new(model)).instructions("You help.")
    }
}

// The day is the user's: a call that writes may not take one from nowhere.
const SAID: &str = "My favourite colour is green, and I moved on 2026-01-02.";

fn new_run(id: &str, text: &str) -> NewRun {
    let input = Input {
        kind: Kind::Run,
        text: text.to_owned(),
        attachments: Vec::new(),
        model: "scripted:helper".to_owned(),
        folder: ".".into(),
        user: None,
        review_plan: false,
    };
    NewRun {
        id: Some(id.to_owned()),
        ..NewRun::new("helper", json!(input))
    }
}

async fn work(journal: &Journal, id: &str, text: &str, agent: Agent) -> journal::Result<Outcome> {
    let run = match journal.run(id).await {
        Ok(_) => journal.resume(id).await?,
        Err(_) => journal.start(new_run(id, text)).await?,
    };
    run.execute(|run| async move { agent.workflow(run).await })
        .await
}

fn entries(folder: &Path) -> Vec<Entry> {
    remembering(folder).memory.list(&Filter::default()).unwrap()
}

#[tokio::test]
async fn facts_are_saved_with_where_they_come_from_and_come_to_mind_later() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::in_memory().unwrap();
    let outcome = work(&journal, "first", SAID, agent(folder.path(), saves))
        .await
        .unwrap();
    let Outcome::Finished(output) = outcome else {
        panic!("{outcome:?}")
    };
    // What it has written itself it finds at once.
    assert!(
        output["text"].as_str().unwrap().contains("green"),
        "{output}"
    );

    let entries = entries(folder.path());
    let about = |entry: &Entry| {
        let source = &entry.source;
        (
            entry.sentence(),
            source.said_by,
            source.step.clone().unwrap(),
        )
    };
    let about: Vec<_> = entries.iter().map(about).collect();
    assert_eq!(
        about,
        [
            (
                "user, favourite colour: green".to_owned(),
                Said::User,
                "memory.save[0]".to_owned()
            ),
            // The user has said nothing of Basel.
            (
                "user, city: Basel".to_owned(),
                Said::Agent,
                "memory.save[1]".to_owned()
            ),
        ]
    );
    let first = |entry: &Entry| entry.source.run.as_deref() == Some("first");
    assert!(entries.iter().all(first));
    assert_eq!(entries[0].valid_from_ms, entries[0].recorded_ms);
    let since = plumb_agent::memory::time(entries[1].valid_from_ms);
    assert_eq!(since, "2026-01-02 00:00:00 UTC");

    let echo = agent(folder.path(), |request| Response {
        text: request.messages.last().unwrap().text().into_owned(),
        ..Response::default()
    });
    let outcome = work(&journal, "second", "What do I like?", echo.clone())
        .await
        .unwrap();
    let Outcome::Finished(output) = outcome else {
        panic!("{outcome:?}")
    };
    let day = plumb_agent::memory::time(entries[0].valid_from_ms);
    let shown = output["text"]
        .as_str()
        .unwrap()
        .replace(&day[..10], "[today]");
    insta::assert_snapshot!(shown);
    for (id, agent) in [("first", agent(folder.path(), saves)), ("second", echo)] {
        let replay = journal.replay(id, |run| async move { agent.workflow(run).await });
        assert!(replay.await.unwrap().complete);
    }
}

/// The store fails at every event in turn, so also between a write to the memory and the record of it.
#[tokio::test]
async fn a_run_that_is_cut_off_anywhere_saves_each_fact_once() {
    let mut cuts = 0;
    for stop in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let counted = Arc::new(AtomicU64::new(0));
        let probe = {
            let counted = Arc::clone(&counted);
            move |moment, _: &Event| {
                let is_it =
                    moment == Moment::Before && counted.fetch_add(1, Ordering::SeqCst) + 1 >= stop;
                if is_it {
                    Err(StoreFault::Write)
                } else {
                    Ok(())
                }
            }
        };
        let file = folder.path().join("plumb.db");
        let options = Options {
            probe: Some(Arc::new(probe)),
            ..Options::default()
        };
        let journal = Journal::open_with(&file, options).unwrap();
        let cut = work(&journal, "run", SAID, agent(folder.path(), saves)).await;
        drop(journal);
        if cut.is_ok() {
            break;
        }
        cuts += 1;
        let journal = Journal::open(&file).unwrap();
        let outcome = work(&journal, "run", SAID, agent(folder.path(), saves))
            .await
            .unwrap();
        let Outcome::Finished(output) = outcome else {
            panic!("{stop}: {outcome:?}")
        };
        assert!(
            output["text"].as_str().unwrap().contains("green"),
            "{stop}: {output}"
        );
        let entries = entries(folder.path());
        assert_eq!(entries.len(), 2, "cut off at event {stop}: {entries:#?}");
        assert!(
            entries.iter().all(|entry| entry.superseded_ms.is_none()),
            "{stop}"
        );
        assert_eq!(
            remembering(folder.path()).memory.generation().unwrap(),
            2,
            "{stop}"
        );
    }
    // A start, a recall, four answers of the model, three calls, each with two events at least.
    assert!(cuts >= 14, "{cuts}");
}

#[tokio::test]
async fn what_was_learned_as_an_instruction_counts_once_a_person_has_accepted_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::in_memory().unwrap();
    let proposes = agent(folder.path(), |request| match told(request).first() {
        None => call(
            "memory_propose",
            json!({"topic": "length", "instruction": "Answer in one word."}),
        ),
        Some(told) => Response {
            text: told.clone(),
            ..Response::default()
        },
    });
    work(&journal, "first", "Be brief from now on.", proposes)
        .await
        .unwrap();
    let system = || {
        agent(folder.path(), |request| Response {
            text: request.messages[0].text().into_owned(),
            ..Response::default()
        })
    };
    let shown = async |id: &str| match work(&journal, id, "Hello", system()).await.unwrap() {
        Outcome::Finished(output) => output["text"].as_str().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(shown("before").await, "You help.");
    let memory = remembering(folder.path()).memory;
    let waits = memory.list(&Filter::default()).unwrap();
    assert_eq!((waits.len(), waits[0].state), (1, State::Proposed));
    memory
        .accept(&waits[0].id, "Bo", waits[0].recorded_ms)
        .unwrap();
    assert_eq!(
        shown("after").await,
        "You help.\n\nAlso:\n- Answer in one word."
    );
}

fn new_entry(attribute: &str, text: &str) -> NewEntry {
    NewEntry {
        scope: "agent:helper".to_owned(),
        kind: MemoryKind::Semantic,
        subject: "user".to_owned(),
        attribute: attribute.to_owned(),
        text: text.to_owned(),
        source: Source {
            said_by: Said::User,
            run: Some("earlier".to_owned()),
            step: None,
        },
        valid_from_ms: None,
        valid_to_ms: None,
        key: None,
    }
}

/// Learns what the user said; takes a place of residence for a city that is known.
fn learns(request: &Request) -> Response {
    let said = request.messages.last().unwrap().text().into_owned();
    let text = if said.starts_with("Known: user, city: Bern\nNew: user, residence: Basel") {
        json!({"relation": "replaces"})
    } else if said.starts_with("Known: user, city: Basel\nNew: user, residence: Basel") {
        json!({"relation": "same"})
    } else if said.starts_with("Known:") {
        json!({"relation": "other"})
    } else {
        json!({
            "said": "The user has moved to Basel.",
            "facts": [
                {"subject": "user", "attribute": "residence", "value": "Basel"},
                {"subject": "user", "attribute": "shoe size", "value": "43"},
            ],
            "instructions": [{"topic": "length", "instruction": "Answer in one word."}],
        })
    };
    Response {
        text: text.to_string(),
        ..Response::default()
    }
}

fn learner(folder: &Path, journal: &Journal) -> Learner {
    let answers = |request: &Request| Ok(learns(request));
    let model: Arc<dyn Model> = Arc::new(Scripted::with_calls("scripted:learner", answers));
    Learner {
        remembering: remembering(folder),
        acting: Acting::new(model),
        journal: journal.clone(),
    }
}

fn shown(lessons: &Lessons) -> String {
    let lessons = lessons.lessons.iter();
    let lines =
        lessons.map(|lesson| format!("{} {:?}: {}", lesson.id, lesson.outcome, lesson.text));
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_run_is_learned_from_once_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::in_memory().unwrap();
    let memory = remembering(folder.path()).memory;
    memory.save(&new_entry("city", "Bern"), 10).unwrap();
    let answers = agent(folder.path(), |_| Response {
        text: "Welcome to Basel.".to_owned(),
        ..Response::default()
    });
    let said = "I have moved to Basel. One word is enough.";
    work(&journal, "first", said, answers).await.unwrap();

    let learn = async |id: &str| {
        let learner = learner(folder.path(), &journal);
        let again = learner.clone();
        let of = journal.run("first").await.unwrap();
        let from = Input::of("first", &of.input).unwrap();
        let input = Input::to_learn(&of.id, &from, "scripted:learner");
        let mut new = NewRun::new("memory", json!(input));
        new.id = Some(id.to_owned());
        let run = journal.start(new).await.unwrap();
        let outcome = run
            .execute(|run| async move { learner.workflow(run).await })
            .await
            .unwrap();
        let replay = journal.replay(id, |run| async move { again.workflow(run).await });
        assert!(replay.await.unwrap().complete);
        match outcome {
            Outcome::Finished(output) => serde_json::from_value::<Lessons>(output).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let lessons = learn("learned").await;
    insta::assert_snapshot!(shown(&lessons));
    let now = remembering(folder.path()).memory.now(i64::MAX).unwrap();
    let filter = Filter {
        view: Some(now),
        kinds: vec![MemoryKind::Semantic],
        scope: None,
    };
    let known: Vec<_> = memory
        .list(&filter)
        .unwrap()
        .iter()
        .map(|entry| (entry.sentence(), entry.source.said_by))
        .collect();
    // The shoe size is nobody's word but the model's.
    assert_eq!(known, [("user, city: Basel".to_owned(), Said::User)]);
    let steps = journal
        .steps(&journal.run("learned").await.unwrap().id)
        .await
        .unwrap();
    assert!(steps.iter().any(|step| step.path == "fact[0]/model[0]"));

    // From the same run once more: nothing new.
    let again = learn("learned-again").await;
    let saved = again
        .lessons
        .iter()
        .filter(|lesson| lesson.outcome == Became::Saved);
    assert_eq!(saved.count(), 0, "{}", shown(&again));
    let waiting = memory.list(&Filter::default()).unwrap();
    let waiting = waiting
        .iter()
        .filter(|entry| entry.state == State::Proposed);
    assert_eq!(waiting.count(), 1);
}
