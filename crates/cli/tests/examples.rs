//! Every agent in `examples/`: its flow with a model whose answers are known, and its own question with the
//! smallest real model that can call tools.
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
        let name = folder.file_name().into_string().unwrap();
        let agent = folder.path().join(format!("{name}.md"));
        let checked = project.shown(&["check", agent.to_str().unwrap()]);
        assert!(checked.starts_with("exit 0"), "{checked}");
        let readme = std::fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(
            readme.contains("plumb run"),
            "{name}: the README says how to run it"
        );
        agents += 1;
    }
    assert!(agents >= 2);
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
        let last = body["messages"].as_array().unwrap().last().unwrap();
        if last["role"] == "tool" {
            let found = last["content"].as_str().unwrap();
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
