//! Every agent in `examples/`: its flow with a model whose answers are known; two of them with the smallest real model
//! that can call tools. `cargo xtask examples` runs all of them with the model that they are made for.
//!
//! Without the model's file a test says so and passes; with `PLUMB_REQUIRE_MODELS=1`, as in `make test`, it fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::Project;

const MODEL: &str = "local:qwen2.5-coder-0.5b";

fn example(path: &str) -> String {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/");
    format!("{examples}{path}")
}

/// What an agent answers with this model.
fn run(project: &Project, agent: &str, input: &[&str], model: &[&str]) -> Value {
    let agent = example(agent);
    project.json(&[&["run", &agent, "--json"], input, model].concat())
}

/// A project with the machine's models; `None`, said aloud, where they are not.
fn real() -> Option<Project> {
    let models: PathBuf = match std::env::var_os("PLUMB_MODELS") {
        Some(folder) => folder.into(),
        None => Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/plumb/models"),
    };
    if !models.join("qwen2.5-coder-0.5b.gguf").exists() {
        let required = std::env::var_os("PLUMB_REQUIRE_MODELS").is_some_and(|value| value == "1");
        assert!(!required, "plumb models pull qwen2.5-coder-0.5b");
        eprintln!("skipped: qwen2.5-coder-0.5b is missing");
        return None;
    }
    Some(Project::new(&[]).with_models(models))
}

#[test]
fn every_example_is_right_and_has_its_readme() {
    let project = Project::new(&[]);
    let mut agents = 0;
    for folder in std::fs::read_dir(example("")).unwrap().flatten() {
        if folder.path().is_file() {
            continue;
        }
        let name = folder.file_name().into_string().unwrap();
        let agent = folder.path().join(format!("{name}.md"));
        let checked = project.shown(&["check", agent.to_str().unwrap()]);
        assert!(checked.starts_with("exit 0"), "{checked}");
        let readme = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(
            readme.contains("plumb run"),
            "{name}: the README says how to run it"
        );
        let checks = std::fs::read_to_string(folder.path().join("checks.json")).unwrap();
        let checks: Value = serde_json::from_str(&checks).unwrap();
        let held_out = checks.as_array().unwrap().iter();
        let held_out = held_out.filter(|check| check["shown"] != true).count();
        assert!(held_out >= 2, "{name}: inputs that nobody has tuned on");
        agents += 1;
    }
    assert!(agents >= 8);
}

/// The last thing that was said to a model.
fn last(body: &Value) -> String {
    let last = body["messages"].as_array().unwrap().last().unwrap();
    last["content"].as_str().unwrap_or_default().to_owned()
}

/// The schema that the answer is held to.
fn schema(body: &Value) -> &Value {
    &body["response_format"]["json_schema"]["schema"]
}

fn scripted(agent: &str, input: &[&str], answer: fn(&Value) -> Value) -> Value {
    let project = Project::new(&[]);
    let address = support::server(answer);
    run(
        &project,
        agent,
        input,
        &["--model", "openai:test", "--base-url", &address],
    )
}

#[test]
fn an_email_is_sorted() {
    let input = "Subject: smoke\nThe lamp smokes!";
    let answer = scripted("email-triage/email-triage.md", &[input], |body| {
        assert_eq!(
            schema(body)["properties"]["urgency"]["enum"][0],
            "today",
            "{body}"
        );
        assert!(last(body).contains("The lamp smokes!"), "{body}");
        let triage = json!({"about": "smoke", "category": "defect", "urgency": "today", "reply_needed": true});
        json!({"content": triage.to_string()})
    });
    assert_eq!(answer["answer"]["urgency"], "today", "{answer}");
}

#[test]
fn code_is_reviewed() {
    let file = example("code-reviewer/discount.py");
    let answer = scripted(
        "code-reviewer/code-reviewer.md",
        &["--input", &file],
        |body| {
            assert!(
                schema(body)["required"]
                    .as_array()
                    .unwrap()
                    .contains(&json!("code")),
                "{body}"
            );
            assert!(last(body).contains("shell=True"), "{body}");
            let review = json!({"purpose": "p", "code": "shell=True", "problem": "runs what it is told",
            "kind": "security", "severity": "high", "suggestion": "s"});
            json!({"content": review.to_string()})
        },
    );
    assert_eq!(answer["answer"]["kind"], "security", "{answer}");
}

#[test]
fn a_tutor_suggests_a_question() {
    let file = example("tutor/largest.txt");
    let answer = scripted("tutor/tutor.md", &["--input", &file], |body| {
        assert_eq!(
            schema(body)["properties"]["question"]["pattern"],
            "^[A-Z][^?]+\\?$",
            "{body}"
        );
        assert!(last(body).contains("largest number of a list"), "{body}");
        let hint = json!({"does": "d", "bug": "begins at 0", "line": 2, "idea": "i", "question": "What of [-1]?"});
        json!({"content": hint.to_string()})
    });
    assert_eq!(answer["answer"]["question"], "What of [-1]?", "{answer}");
}

#[test]
fn a_translation_is_written_again_until_the_critic_accepts_it() {
    let answer = scripted("translator/translator.md", &["Good morning"], |body| {
        if schema(body).is_null() {
            let again = last(body).contains("Say Sie");
            return json!({"content": if again { "Guten Morgen" } else { "Moin" }});
        }
        let good = last(body).contains("Guten Morgen");
        let remarks = if good { "" } else { "Say Sie." };
        let score = if good { 9 } else { 3 };
        json!({"content": json!({"remarks": remarks, "score": score, "accepted": good}).to_string()})
    });
    assert_eq!(answer["answer"], "Guten Morgen", "{answer}");
    assert_eq!(answer["rounds"], 2, "{answer}");
}

/// The tool is called with these arguments first; then `answer` has the last word on what the tool said.
fn calls(body: &Value, name: &str, arguments: &Value, answer: impl Fn(&str) -> Value) -> Value {
    let messages = body["messages"].as_array().unwrap();
    let told = messages
        .iter()
        .rev()
        .find(|message| message["role"] == "tool");
    match told {
        None => {
            assert_eq!(body["tool_choice"], "required", "{body}");
            let function = json!({"name": name, "arguments": arguments.to_string()});
            json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]})
        }
        Some(told) => json!({"content": answer(told["content"].as_str().unwrap())}),
    }
}

#[test]
fn goods_are_classified_once_the_person_has_said_what_they_are_of() {
    let project = Project::new(&[]);
    let address = support::server(|body| {
        calls(
            body,
            "ask",
            &json!({"task": "What are the cups made of?"}),
            |told| {
                assert_eq!(told, "Porcelain.");
                let class = json!({"material": "porcelain or other ceramics", "kind": "other goods",
                    "chapter": "69 ceramic products"});
                json!({"goods": "cups", "class": class}).to_string().into()
            },
        )
    });
    let agent = example("import-classifier/import-classifier.md");
    let model = ["--model", "openai:test", "--base-url", &address];
    let parked = project.output(&[&["run", &agent, "500 cups", "--json"], &model[..]].concat());
    assert_eq!(parked.status.code(), Some(1), "{}", support::shown(&parked));
    let asked = &project.json(&["questions", "--json"])[0];
    assert_eq!(asked["text"], "What are the cups made of?", "{asked}");
    let (id, step) = (
        asked["run"].as_str().unwrap(),
        asked["path"].as_str().unwrap(),
    );
    assert!(
        project
            .output(&["answer", id, step, "Porcelain."])
            .status
            .success()
    );
    let answer = project.json(&["resume", id, "--json", "--base-url", &address]);
    assert_eq!(
        answer["answer"]["class"]["chapter"], "69 ceramic products",
        "{answer}"
    );
}

#[test]
fn a_companion_remembers_what_it_was_told() {
    let project = Project::new(&[]);
    let address = support::server(|body| match schema(body).is_null() {
        true => {
            let parts = body["messages"].as_array().unwrap().last().unwrap()["content"].to_string();
            json!({"content": format!("noted: {}", parts.contains("user, allergy: peanuts"))})
        }
        false => {
            let fact = json!({"subject": "user", "attribute": "allergy", "value": "peanuts"});
            json!({"content": json!({"said": "", "facts": [fact], "instructions": []}).to_string()})
        }
    });
    let model = ["--model", "openai:test", "--base-url", &address];
    let said =
        |text: &str| run(&project, "companion/companion.md", &[text], &model)["answer"].clone();
    assert_eq!(said("I am allergic to peanuts."), "noted: false");
    assert_eq!(said("Which food must I not eat?"), "noted: true");
}

#[test]
fn a_question_is_answered_from_the_database() {
    let question = "How many orders are still open?";
    let answer = scripted("sql-analyst/sql-analyst.md", &[question], |body| {
        let query = json!({"statement": "SELECT count(*) AS n FROM orders WHERE status = 'open'"});
        calls(body, "sql_query", &query, |told| told.into())
    });
    let rows: Value = serde_json::from_str(answer["answer"].as_str().unwrap()).unwrap();
    assert_eq!(rows["rows"], json!([[3]]), "{answer}");
}

#[test]
fn a_refund_is_decided_by_the_order() {
    let letter = "The chairs of order 4101 wobble.";
    let answer = scripted("refund-desk/refund-desk.md", &[letter], |body| {
        let query = json!({"statement": "SELECT *, days_since_delivery <= 30 AS in_time FROM orders WHERE id = 4101"});
        calls(body, "sql_query", &query, |told| {
            assert!(told.contains("160"), "{told}");
            let decision = json!({"order": 4101, "in_time": 1, "decision": "refund",
                "amount_francs": 160, "reply": "You get your money back."});
            decision.to_string().into()
        })
    });
    assert_eq!(answer["answer"]["amount_francs"], 160, "{answer}");
}

/// The databases of the examples are those that their scripts make.
#[test]
fn the_sample_databases_are_made_of_their_scripts() {
    for (script, database, tables) in [
        (
            "sql-analyst/shop.sql",
            "sql-analyst/shop.db",
            &["customers", "products", "orders"][..],
        ),
        (
            "refund-desk/orders.sql",
            "refund-desk/orders.db",
            &["orders"],
        ),
    ] {
        let made = rusqlite::Connection::open_in_memory().unwrap();
        made.execute_batch(&std::fs::read_to_string(example(script)).unwrap())
            .unwrap();
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let kept = rusqlite::Connection::open_with_flags(example(database), flags).unwrap();
        let rows = |connection: &rusqlite::Connection, table: &str| {
            let mut statement = connection
                .prepare(&format!("SELECT * FROM {table}"))
                .unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            let mut all = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                let values = (0..columns)
                    .map(|column| row.get::<_, rusqlite::types::Value>(column).unwrap());
                all.push(values.collect::<Vec<_>>());
            }
            all
        };
        for table in tables {
            assert_eq!(
                rows(&kept, table),
                rows(&made, table),
                "{database}: {table}"
            );
        }
    }
}

#[test]
fn meeting_notes_become_tasks() {
    let project = Project::new(&[]);
    let address = support::server(|body| {
        let schema = &body["response_format"]["json_schema"]["schema"];
        assert_eq!(schema["required"], json!(["tasks"]), "{body}");
        let notes = body["messages"].as_array().unwrap().last().unwrap()["content"]
            .as_str()
            .unwrap();
        assert!(notes.contains("forty chairs"), "{notes}");
        let task = json!({"what": "order forty chairs", "who": "Ada", "due": "by Monday"});
        json!({"content": json!({"tasks": [task]}).to_string()})
    });
    let notes = example("meeting-notes/notes.txt");
    let model = ["--model", "openai:test", "--base-url", &address];
    let answer = run(
        &project,
        "meeting-notes/meeting-notes.md",
        &["--input", &notes],
        &model,
    );
    assert_eq!(answer["answer"]["tasks"][0]["who"], "Ada", "{answer}");
}

#[test]
fn meeting_notes_become_tasks_with_a_real_model() {
    let Some(project) = real() else { return };
    let notes = example("meeting-notes/notes.txt");
    let model = ["--model", MODEL];
    let answer = run(
        &project,
        "meeting-notes/meeting-notes.md",
        &["--input", &notes],
        &model,
    );
    let tasks = answer["answer"]["tasks"].as_array().unwrap();
    let chairs = tasks
        .iter()
        .find(|task| task["what"].as_str().unwrap().contains("chairs"));
    assert_eq!(
        chairs.map(|task| &task["who"]),
        Some(&json!("Ada")),
        "{answer:#}"
    );
}

const QUESTION: &str = "Within how many days can I give a chair back?";

#[test]
fn the_shop_desk_answers_from_its_handbook() {
    let project = Project::new(&[]);
    let address = support::server(|body| {
        let mut messages = body["messages"].as_array().unwrap().iter();
        if let Some(told) = messages.find(|message| message["role"] == "tool") {
            // It searches once, and then is asked to answer.
            assert_eq!(last(body), format!("Answer now, in words: {QUESTION}"));
            let found = told["content"].as_str().unwrap();
            let days = found.contains("given back within 30 days") && found.contains("returns.md");
            return json!({"content": format!("found: {days}")});
        }
        assert_eq!(body["tool_choice"], "required", "{body}");
        let call = json!({"name": "library_search", "arguments": "{\"question\": \"give furniture back days\"}"});
        json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": call}]})
    });
    let model = ["--model", "openai:test", "--base-url", &address];
    let answer = run(&project, "shop-desk/shop-desk.md", &[QUESTION], &model);
    assert_eq!(answer["answer"], "found: true", "{answer}");
}

#[test]
fn the_shop_desk_answers_from_its_handbook_with_a_real_model() {
    let Some(project) = real() else { return };
    let answer = run(
        &project,
        "shop-desk/shop-desk.md",
        &[QUESTION],
        &["--model", MODEL],
    );
    assert!(
        answer["answer"].as_str().unwrap().contains("30"),
        "{answer:#}"
    );
    assert!(answer["calls"].as_u64().unwrap() >= 1, "{answer:#}");
    let replay = project.json(&["replay", answer["run"].as_str().unwrap(), "--json"]);
    assert_eq!(replay["complete"], true);
}

#[test]
fn a_conversation_with_a_real_model_goes_on_where_it_was() {
    let Some(project) = real() else { return };
    let said = |arguments: &[&str], line: &str| -> Value {
        use std::io::Write as _;
        let mut child = project
            .command(arguments)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", support::shown(&output)))
    };
    let first = said(
        &["chat", MODEL, "--json"],
        "The secret word is plumb. Say yes.\n",
    );
    assert_eq!(first["end"], "answered", "{first}");
    let id = project.json(&["runs", "--json"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = said(
        &["chat", "--resume", &id, "--json"],
        "What is the secret word?\n",
    );
    assert!(
        second["answer"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("plumb"),
        "{second}"
    );
}
