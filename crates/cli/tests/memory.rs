//! What agents remember, skills, notes of the project and directories of agents, as a user has them, with a model on
//! the loopback whose answers are known, and with a small real one. Without its file that test says so and passes; with
//! `PLUMB_REQUIRE_MODELS=1`, as in `make test`, it fails.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Project, shown};

const HELPER: &str =
    "---\nname: helper\nmodel: openai:test\nmemory: [semantic, procedural]\n---\nYou help.\n";

fn text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        parts => {
            let parts = parts.as_array().into_iter().flatten();
            parts.filter_map(|part| part["text"].as_str()).collect()
        }
    }
}

fn call(name: &str, arguments: &Value) -> Value {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]})
}

/// `remember A=B` is saved, `be X` proposed, `wait` answered late; what a tool says is repeated; JSON is given where it
/// is asked for; all else is answered with what was shown.
fn answer(body: &Value) -> Value {
    let messages = body["messages"].as_array().unwrap();
    let last = messages.last().unwrap();
    let said = text(last);
    if !body["response_format"].is_null() {
        let fact = json!({"subject": "user", "attribute": "allergy", "value": "nuts"});
        return json!({"content": json!({"said": "", "facts": [fact], "instructions": []}).to_string()});
    }
    if last["role"] == "tool" {
        return json!({"content": said});
    }
    let (word, rest) = said
        .rsplit('\n')
        .next()
        .unwrap()
        .split_once(' ')
        .unwrap_or((&said, ""));
    match (word, rest.split_once('=')) {
        ("remember", Some((attribute, value))) => {
            let fact = json!({"subject": "user", "attribute": attribute, "value": value});
            call("memory_save", &fact)
        }
        ("be", _) => call(
            "memory_propose",
            &json!({"topic": "manner", "instruction": format!("Be {rest}.")}),
        ),
        ("skill", _) => call("skill_read", &json!({"skill": rest})),
        ("slowly", _) => {
            std::thread::sleep(Duration::from_millis(300));
            json!({"content": "slow"})
        }
        _ => {
            let shown: Vec<String> = messages.iter().map(text).collect();
            json!({"content": shown.join("\n---\n")})
        }
    }
}

fn project() -> (Project, String) {
    let project = Project::new(&[]);
    std::fs::write(project.path("helper.md"), HELPER).unwrap();
    (project, support::server(answer))
}

/// What an agent answers.
fn run(project: &Project, address: &str, arguments: &[&str]) -> Value {
    project.json(&[arguments, &["--base-url", address, "--json"]].concat())
}

/// With today's date, times and ids of runs replaced.
fn settled(project: &Project, text: &str) -> String {
    let mut text = text.to_owned();
    for run in project.json(&["runs", "--json"]).as_array().unwrap() {
        text = text.replace(run["id"].as_str().unwrap(), "[run]");
    }
    let mut settled = String::new();
    for word in text.split_inclusive([' ', '\n', ')']) {
        let bare = word.trim_end_matches([' ', '\n', ')']);
        let is_day = bare.len() == 10 && bare.starts_with("20") && bare.matches('-').count() == 2;
        let is_time = bare.len() == 8 && bare.matches(':').count() == 2;
        let end = &word[bare.len()..];
        match (is_day, is_time) {
            (true, _) => settled.push_str(&format!("[day]{end}")),
            (_, true) => settled.push_str(&format!("[time]{end}")),
            _ => settled.push_str(word),
        }
    }
    settled
}

#[test]
fn facts_are_listed_shown_searched_reverted_and_forgotten() {
    let (project, address) = project();
    let said = |text: &str| run(&project, &address, &["run", "helper.md", text]);
    let first = said("remember city=Bern");
    said("remember city=Basel");
    said("remember favourite colour=green");
    said("be brief");
    let plumb = |arguments: &[&str]| settled(&project, &project.shown(arguments));
    let shown = [
        plumb(&["memory"]),
        plumb(&["memory", "list", "--all"]),
        plumb(&["memory", "list", "--waiting"]),
        plumb(&[
            "memory",
            "search",
            "Which colour?",
            "--scope",
            "agent:helper",
        ]),
        plumb(&["memory", "show", "m1"]),
        plumb(&["memory", "revert", "m1"]),
        plumb(&["memory", "accept", "m5"]),
        plumb(&["memory", "accept", "m5"]),
        plumb(&["memory"]),
        plumb(&["memory", "forget", "m1"]),
        plumb(&["memory", "forget", "m99"]),
        plumb(&["memory", "list", "--all"]),
    ];
    insta::assert_snapshot!(shown.join("\n"));
    // The next run is told what is known, and what to do.
    let told = said("What do you know?");
    insta::assert_snapshot!(settled(&project, told["answer"].as_str().unwrap()));
    let entry = &project.json(&["memory", "show", "m4", "--json"])[0];
    assert_eq!(entry["said_by"], "user");
    assert_eq!(entry["step"], "memory.save[0]");
    assert_ne!(entry["run"], first["run"]);
    for run in [&first, &told] {
        assert_eq!(
            project.json(&["replay", run["run"].as_str().unwrap(), "--json"])["complete"],
            true
        );
    }
}

#[test]
fn a_fork_sees_the_memory_as_of_its_fork_point() {
    let (project, address) = project();
    let said = |text: &str| run(&project, &address, &["run", "helper.md", text]);
    said("remember city=Bern");
    let asked = said("Where do I live?");
    said("remember city=Basel");
    let now = said("Where do I live?");
    let id = asked["run"].as_str().unwrap();
    let fork = |at: &[&str]| {
        let forked = run(
            &project,
            &address,
            &[&["fork", id, "--set", "text=And now?"], at].concat(),
        );
        forked["answer"].as_str().unwrap().to_owned()
    };
    assert!(
        now["answer"].as_str().unwrap().contains("city: Basel"),
        "{now}"
    );
    // From the start, the memory is asked anew, as of then; at the model, it is answered from the journal.
    for at in [&[][..], &["--at", "memory[0]"], &["--at", "model[0]"]] {
        let answer = fork(at);
        assert!(
            answer.contains("city: Bern") && !answer.contains("Basel"),
            "{at:?}: {answer}"
        );
    }
}

#[test]
fn an_agent_that_is_called_in_a_fork_sees_the_memory_of_then_as_well() {
    let (project, address) = project();
    let desk = "---\nname: desk\nmodel: openai:test\npattern: team\n\
                team: {way: sequence, members: [helper.md]}\n---\nHelp.\n";
    std::fs::write(project.path("desk.md"), desk).unwrap();
    let helper = std::fs::read_to_string(project.path("helper.md")).unwrap();
    let helper = helper.replacen("---\n", "---\ndescription: Helps.\n", 1);
    std::fs::write(project.path("helper.md"), helper).unwrap();
    let said = |agent: &str, text: &str| run(&project, &address, &["run", agent, text]);
    said("helper.md", "remember city=Bern");
    let asked = said("desk.md", "Where do I live?");
    said("helper.md", "remember city=Basel");
    let now = said("desk.md", "Where do I live?");
    assert!(
        now["answer"].as_str().unwrap().contains("city: Basel"),
        "{now}"
    );
    let id = asked["run"].as_str().unwrap();
    let forked = run(&project, &address, &["fork", id, "--set", "text=And now?"]);
    let answer = forked["answer"].as_str().unwrap();
    assert!(
        answer.contains("city: Bern") && !answer.contains("Basel"),
        "{answer}"
    );
}

#[test]
fn a_run_that_is_killed_saves_a_fact_once() {
    let (project, address) = project();
    for delay_ms in [5, 20, 40, 60, 80, 120, 180, 260] {
        let fact = format!("remember number {delay_ms}={delay_ms}");
        let before = project.json(&["runs", "--json"]).as_array().unwrap().len();
        let mut child = project.spawn(&["run", "helper.md", &fact, "--base-url", &address]);
        std::thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let runs = project.json(&["runs", "--json"]);
        let runs = runs.as_array().unwrap();
        if runs.len() == before {
            // Killed before the run had begun.
            continue;
        }
        let id = runs[0]["id"].as_str().unwrap();
        let resumed = project.output(&["resume", id, "--base-url", &address]);
        assert!(resumed.status.success(), "{}", shown(&resumed));
        let versions = project.json(&["memory", "list", "--all", "--json"]);
        let number = delay_ms.to_string();
        let versions = versions.as_array().unwrap().iter();
        assert_eq!(
            versions
                .filter(|entry| entry["text"] == number.as_str())
                .count(),
            1,
            "{delay_ms} ms"
        );
    }
}

#[test]
fn what_was_said_is_learned_after_the_run() {
    let (project, address) = project();
    let agent = HELPER.replace(
        "[semantic, procedural]",
        "{kinds: [semantic, episodic], scope: user, learn: after}",
    );
    std::fs::write(project.path("helper.md"), agent).unwrap();
    let nobody = project.shown(&["run", "helper.md", "Hello", "--base-url", &address]);
    assert!(
        nobody.contains("hint: say who it is with --user KEY"),
        "{nobody}"
    );
    let arguments = [
        "run",
        "helper.md",
        "I may eat no nuts.",
        "--user",
        "ada",
        "--base-url",
        &address,
    ];
    insta::assert_snapshot!(settled(&project, &project.shown(&arguments)));
    let listed = project.json(&["memory", "list", "--scope", "user:ada", "--json"]);
    assert_eq!(listed[1]["said_by"], "user", "{listed:#}");
    // It is a run like any other.
    let runs = project.json(&["runs", "--json"]);
    let learned = runs
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["agent"] == "memory")
        .unwrap();
    let id = learned["id"].as_str().unwrap();
    assert_eq!(project.json(&["replay", id, "--json"])["complete"], true);
    assert_eq!(
        project.json(&["resume", id, "--json"])["lessons"][1]["kind"],
        "semantic"
    );
    let others = project.json(&["memory", "list", "--scope", "user:bo", "--json"]);
    assert_eq!(others, json!([]));
    assert!(
        project
            .shown(&["memory", "forget", "--scope", "user:ada"])
            .contains("forgotten: m1, m2")
    );
}

#[test]
fn a_project_tells_its_agents_about_itself_and_gives_them_skills() {
    let (project, address) = project();
    std::fs::write(project.path("AGENTS.md"), "Prices are in francs.\n").unwrap();
    let skill = project.path("skills/invoices");
    std::fs::create_dir_all(&skill).unwrap();
    let head = "---\nname: invoices\ndescription: How invoices are written.\n---\n";
    std::fs::write(
        skill.join("SKILL.md"),
        format!("{head}Write the sum last.\n"),
    )
    .unwrap();
    std::fs::create_dir_all(project.path("agents/more")).unwrap();
    let agent = "---\nname: desk\ndescription: Answers.\nmodel: openai:test\ntools: [ask, 'agent:translator']\n---\nYou answer.\n";
    std::fs::write(project.path("agents/desk.md"), agent).unwrap();
    let agent = "---\nname: translator\ndescription: Translates.\n---\nYou translate.\n";
    std::fs::write(project.path("agents/more/translator.md"), agent).unwrap();

    insta::assert_snapshot!(
        run(&project, &address, &["run", "helper.md", "What now?"])["answer"]
            .as_str()
            .unwrap()
    );
    let read = run(&project, &address, &["run", "helper.md", "skill invoices"]);
    assert_eq!(read["answer"], "Write the sum last.");
    // An agent is called by its name.
    let desk = run(&project, &address, &["run", "desk", "Hello"]);
    assert!(
        desk["answer"].as_str().unwrap().starts_with("You answer."),
        "{desk}"
    );

    std::fs::write(
        project.path("agents/wrong.md"),
        "---\nname: wrong\ntools: ['agent:nobody']\n---\nHelp.\n",
    )
    .unwrap();
    let circle = "---\nname: circle\ntools:\n  - time\n  - agent:circle\n---\nHelp.\n";
    std::fs::write(project.path("agents/circle.md"), circle).unwrap();
    std::fs::write(
        skill.join("SKILL.md"),
        head.replace("invoices\nd", "Invoices\nd") + "x\n",
    )
    .unwrap();
    let shown = [
        project.shown(&["agents"]),
        project.shown(&["check", "desk"]),
        project.shown(&["check", "agents/wrong.md", "circle"]),
        project.shown(&["check", "helper.md"]),
        project.shown(&["run", "nobody", "Hello"]),
    ];
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_real_model_remembers_what_it_was_told() {
    let models: PathBuf = match std::env::var_os("PLUMB_MODELS") {
        Some(folder) => folder.into(),
        None => Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/plumb/models"),
    };
    if !models.join("qwen2.5-coder-1.5b.gguf").exists() {
        let required = std::env::var_os("PLUMB_REQUIRE_MODELS").is_some_and(|value| value == "1");
        assert!(!required, "plumb models pull qwen2.5-coder-1.5b");
        eprintln!("skipped: qwen2.5-coder-1.5b is missing");
        return;
    }
    let project = Project::new(&[]).with_models(models);
    let write = |file: &str, settings: &str, instructions: &str| {
        let head = format!(
            "---\nname: helper\nmodel: local:qwen2.5-coder-1.5b\n{settings}\nmax_tokens: 80\n---\n"
        );
        std::fs::write(project.path(file), format!("{head}{instructions}\n")).unwrap();
    };
    write(
        "listens.md",
        "memory: [semantic]\ncalls_first: true\nlimits: {rounds: 1}",
        "You remember what the user tells you about themselves: save it with memory_save.",
    );
    write(
        "answers.md",
        "memory: {kinds: [semantic], learn: never}",
        "Answer in one short sentence.",
    );
    project.json(&[
        "run",
        "listens.md",
        "My favourite colour is green.",
        "--json",
    ]);
    let known = project.json(&["memory", "list", "--json"]);
    assert!(
        known[0]["text"].as_str().unwrap().contains("green"),
        "{known:#}"
    );
    assert_eq!(known[0]["said_by"], "user", "{known:#}");
    let answer = project.json(&[
        "run",
        "answers.md",
        "What is my favourite colour?",
        "--json",
    ]);
    assert!(
        answer["answer"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("green"),
        "{answer:#}"
    );
}
