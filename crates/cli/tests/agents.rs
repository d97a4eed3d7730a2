//! `plumb run`, `plumb chat`, `plumb check` and `plumb new` as a user has them, with a model on the loopback
//! whose answers are known.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use support::{Project, shown};

const CLOCK: &str = "---\nname: sums\nmodel: openai:test\ntools: [math, {files: {root: notes, write: true}}]\n---\nYou do sums.\n";

/// `call NAME ARGUMENTS` calls a tool; what a tool said is repeated; JSON is given where it is asked for;
/// anything else is counted.
fn answer(body: &Value) -> Value {
    let messages = body["messages"].as_array().unwrap();
    let text = |message: &Value| match &message["content"] {
        Value::String(text) => text.clone(),
        parts => parts[parts.as_array().map_or(0, Vec::len) - 1]["text"]
            .as_str()
            .unwrap_or("")
            .to_owned(),
    };
    let last = messages.last().unwrap();
    let said = text(last);
    if !body["response_format"].is_null() {
        return json!({"content": "{\"sum\": 5}"});
    }
    if last["role"] == "tool" {
        return json!({"content": format!("The tool says **{said}**.")});
    }
    match said
        .strip_prefix("call ")
        .and_then(|call| call.split_once(' '))
    {
        Some((name, arguments)) => json!({"tool_calls": [{
            "index": 0, "id": "c1", "type": "function",
            "function": {"name": name, "arguments": arguments},
        }]}),
        None => {
            let users = messages.iter().filter(|message| message["role"] == "user");
            let users: Vec<String> = users.map(text).collect();
            json!({"content": format!("{} has said: {}", body["model"].as_str().unwrap(), users.join(", "))})
        }
    }
}

fn project() -> (Project, String) {
    let project = Project::new(&[]);
    std::fs::write(project.path("sums.md"), CLOCK).unwrap();
    std::fs::create_dir(project.path("notes")).unwrap();
    std::fs::write(project.path("notes/today.md"), "Buy chairs.").unwrap();
    (project, support::server(answer))
}

/// What a command says to these lines.
fn typed(project: &Project, address: &str, arguments: &[&str], lines: &str) -> Output {
    let all = [arguments, &["--base-url", address]].concat();
    let mut child = project.command(&all).stdin(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

/// With the ids of runs replaced.
fn without_ids(project: &Project, output: &Output) -> String {
    let mut text = shown(output);
    for run in project.json(&["runs", "--json"]).as_array().unwrap() {
        text = text.replace(run["id"].as_str().unwrap(), "[run]");
    }
    text.replace(&project.root().display().to_string(), "[project]")
}

#[test]
fn an_agent_works_on_its_input_and_its_run_can_be_resumed_replayed_and_forked() {
    let (project, address) = project();
    let call = "call math {\"expression\": \"2+3\"}";
    let run = |arguments: &[&str]| typed(&project, &address, arguments, "");
    let output = run(&["run", "sums.md", call]);
    insta::assert_snapshot!(without_ids(&project, &output), @r#"
    exit 0
    --- stdout
    The tool says **2+3 = 5**.
    --- stderr
    → math {"expression":"2+3"}
    ← math 2+3 = 5
    run [run]
    "#);
    let output = run(&["run", "sums.md", call, "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = answer["run"].as_str().unwrap();
    assert_eq!(
        (&answer["end"], &answer["calls"]),
        (&json!("answered"), &json!(1))
    );

    // Finished: answered again from the journal, also without a model.
    assert_eq!(project.json(&["resume", id, "--json"]), answer);
    assert_eq!(project.json(&["replay", id, "--json"])["complete"], true);
    let fork = [
        "fork",
        id,
        "--at",
        "model[1]",
        "--set",
        "model=openai:other",
        "--json",
    ];
    let output = run(&fork);
    let forked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(forked["answer"], answer["answer"], "{}", shown(&output));
    // Another agent in place of its own, from the start.
    std::fs::write(project.path("other.md"), CLOCK.replace("math, ", "")).unwrap();
    let output = run(&["fork", id, "--edit", "other.md", "--json"]);
    let forked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = forked["answer"].as_str().unwrap();
    assert!(said.contains("there is no tool math"), "{said}");
}

#[test]
fn files_are_read_and_written_below_the_root_and_nowhere_else() {
    let (project, address) = project();
    let said = |call: &str| {
        let output = typed(&project, &address, &["run", "sums.md", call, "--json"], "");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["answer"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        said("call files_read {\"file\": \"today.md\"}"),
        "The tool says **Buy chairs.**."
    );
    let out = said("call files_read {\"file\": \"../sums.md\"}");
    assert!(!out.contains("You do sums"), "{out}");
    said("call files_write {\"file\": \"new.md\", \"text\": \"New.\"}");
    assert_eq!(
        std::fs::read_to_string(project.path("notes/new.md")).unwrap(),
        "New."
    );
}

#[test]
fn an_answer_has_the_form_of_its_schema() {
    let (project, address) = project();
    let schema =
        json!({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]});
    std::fs::write(project.path("sum.json"), schema.to_string()).unwrap();
    std::fs::write(
        project.path("sums.md"),
        CLOCK.replace("name: sums", "name: sums\noutput: sum.json"),
    )
    .unwrap();
    let output = typed(&project, &address, &["run", "sums.md", "2+3", "--json"], "");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["answer"], json!({"sum": 5}), "{}", shown(&output));
}

#[test]
fn an_agent_that_reflects_writes_until_its_critic_is_content() {
    let project = Project::new(&[]);
    let address = support::server(|body| {
        let messages = body["messages"].as_array().unwrap();
        let last = messages.last().unwrap()["content"].as_str().unwrap();
        if body["response_format"].is_null() {
            let asked = messages.iter().filter(|message| message["role"] == "user");
            return json!({"content": format!("draft {}", asked.count())});
        }
        assert!(
            messages[0]["content"]
                .as_str()
                .unwrap()
                .contains("It is short."),
            "{body}"
        );
        let accepted = last.contains("draft 2");
        let verdict = json!({"remarks": "Shorter!", "score": 4, "accepted": accepted});
        json!({"content": verdict.to_string()})
    });
    let critic = "---\nname: critic\n---\nIt is short.\n";
    std::fs::write(project.path("critic.md"), critic).unwrap();
    let writer = "---\nname: writer\nmodel: openai:test\npattern: reflect\nreflect: {critic: critic.md}\n---\nYou write.\n";
    std::fs::write(project.path("writer.md"), writer).unwrap();
    let output = typed(
        &project,
        &address,
        &["run", "writer.md", "Write.", "--json"],
        "",
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["answer"], &answer["rounds"]),
        (&json!("draft 2"), &json!(2)),
        "{answer}"
    );
    // The critic is pinned with the run.
    std::fs::remove_file(project.path("critic.md")).unwrap();
    let replay = project.json(&["replay", answer["run"].as_str().unwrap(), "--json"]);
    assert_eq!(replay["complete"], true);
    assert!(project.shown(&["check", "writer.md"]).starts_with("exit 1"));
}

#[test]
fn an_agent_that_plans_does_the_steps_of_its_plan() {
    let project = Project::new(&[]);
    let address = support::server(|body| {
        let messages = body["messages"].as_array().unwrap();
        assert!(
            messages[0]["content"]
                .as_str()
                .unwrap()
                .starts_with("You cross rivers."),
            "{body}"
        );
        let schema = &body["response_format"]["json_schema"]["schema"]["properties"];
        let said = messages.last().unwrap()["content"].as_str().unwrap();
        let content = match (schema["steps"].is_null(), schema["done"].is_null()) {
            (false, _) => {
                json!({"steps": [{"name": "row", "task": "Row.", "after": []}]}).to_string()
            }
            (_, false) => json!({"done": true}).to_string(),
            _ if said.starts_with("Row.") => "rowed".to_owned(),
            _ => format!("over: {}", said.contains("Done, row: rowed")),
        };
        json!({"content": content})
    });
    let planner = "---\nname: planner\nmodel: openai:test\npattern: plan\n---\nYou cross rivers.\n";
    std::fs::write(project.path("planner.md"), planner).unwrap();
    let output = typed(
        &project,
        &address,
        &["run", "planner.md", "Cross.", "--json"],
        "",
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer["answer"], &answer["end"]),
        (&json!("over: true"), &json!("answered"))
    );
    let replay = project.json(&["replay", answer["run"].as_str().unwrap(), "--json"]);
    assert_eq!(replay["complete"], true);
    assert!(
        project
            .shown(&["chat", "planner.md"])
            .contains("plans one task")
    );
}

#[test]
fn a_conversation_is_held_line_by_line_and_taken_up_again() {
    let (project, address) = project();
    std::fs::write(project.path("shop.txt"), "Open from nine.\n").unwrap();
    let lines = "one\ntwo \\\nlines\n/model openai:other\n/attach shop.txt\nthree\n/nonsense\ncall math {\"expression\": \"2+3\"}\n/exit\nnever said\n";
    let output = typed(&project, &address, &["chat", "sums.md"], lines);
    insta::assert_snapshot!(without_ids(&project, &output), @r"
    exit 0
    --- stdout
    test has said: one
    test has said: one, two 
    lines
    other has said: one, two 
    lines, The file shop.txt:
    Open from nine.
    (end of shop.txt)

    three
    The tool says **2+3 = 5**.
    --- stderr
    openai:other answers from now on
    shop.txt goes with what you say next
    error: there is no command /nonsense
    hint: /help lists them
    go on with: plumb chat --resume [run]
    ");
    let run = project.json(&["runs", "--json"])[0].clone();
    assert_eq!(run["status"], "parked");
    let id = run["id"].as_str().unwrap();
    let output = typed(
        &project,
        &address,
        &["chat", "--resume", id, "--json"],
        "four\n",
    );
    let turn: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&turn["turn"], &turn["end"]),
        (&json!(4), &json!("answered"))
    );
    let said = turn["answer"].as_str().unwrap();
    assert!(
        said.starts_with("other has said: one, two \nlines, The file shop.txt:\nOpen from nine.\n"),
        "{said}"
    );

    // Somebody answers elsewhere, and `plumb resume` goes on.
    let path = project.json(&["questions", id, "--json"])[0]["path"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(path, "turn[5]/user[0]");
    let answered = project.output(&["answer", id, &path, "{\"text\": \"five\"}"]);
    assert!(answered.status.success(), "{}", shown(&answered));
    let resumed = typed(&project, &address, &["resume", id], "");
    assert!(resumed.status.success(), "{}", shown(&resumed));
    let replay = project.json(&["replay", id, "--json"]);
    assert_eq!(replay["ends_at"], "turn[6]/user[0]");
    let output = typed(&project, &address, &["chat", "--resume", id], "/end\n");
    assert!(shown(&output).contains("has ended"), "{}", shown(&output));
    assert_eq!(project.json(&["replay", id, "--json"])["complete"], true);
    assert!(shown(&project.output(&["resume", id])).contains("after 6 turns"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_the_answer_and_not_the_conversation() {
    use std::time::{Duration, Instant};
    let project = Project::new(&[]);
    let address =
        support::server(
            |body| match body["messages"].as_array().unwrap().last().unwrap()["content"].as_str() {
                // Never answered: the thread ends with the test.
                Some("slow") => loop {
                    std::thread::park();
                },
                _ => json!({"content": "quick"}),
            },
        );
    let arguments = ["chat", "openai:test", "--json", "--base-url", &address];
    let mut child = project
        .command(&arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"slow\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_asked = || {
        let runs = project.json(&["runs", "--json"]);
        let Some(id) = runs[0]["id"].as_str() else {
            return false;
        };
        let steps = project.json(&["runs", "show", id, "--json"])["steps"].clone();
        steps
            .as_array()
            .unwrap()
            .iter()
            .any(|step| step["path"] == "turn[0]/model[0]")
    };
    while !is_asked() {
        assert!(Instant::now() < deadline, "the model was not asked");
    }
    let pid = child.id().to_string();
    let told = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(told.unwrap().success());
    typed.write_all(b"fast\n").unwrap();
    drop(typed);
    let output = child.wait_with_output().unwrap();
    let turns: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(turns.len(), 2, "{}", shown(&output));
    assert_eq!(
        (&turns[0]["end"], &turns[1]["answer"]),
        (&json!("stopped"), &json!("quick"))
    );
    let id = project.json(&["runs", "--json"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // What was stopped is in the journal: the same code goes the same way.
    assert_eq!(
        project.json(&["replay", &id, "--json"])["ends_at"],
        "turn[2]/user[0]"
    );
}

#[test]
fn what_cannot_be_answered_is_forgotten_and_nothing_said_leaves_nothing() {
    let (project, _) = project();
    // Nobody listens there.
    let nowhere = "http://127.0.0.1:9/v1";
    let output = typed(
        &project,
        nowhere,
        &["chat", "openai:test", "--json"],
        "hello\n",
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "a program goes by the status"
    );
    let turn: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        turn["error"]
            .as_str()
            .unwrap()
            .contains("cannot be reached"),
        "{turn}"
    );
    let output = typed(&project, nowhere, &["chat", "openai:test"], "\n");
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{}",
        shown(&output)
    );
    let runs = project.json(&["runs", "--json"]);
    let statuses = |wanted: &str| {
        runs.as_array()
            .unwrap()
            .iter()
            .filter(|run| run["status"] == wanted)
            .count()
    };
    assert_eq!((statuses("parked"), statuses("cancelled")), (1, 1));
}

#[test]
fn an_agent_is_made_and_checked() {
    let project = Project::new(&[]);
    insta::assert_snapshot!(project.shown(&["new", "agent", "order-desk"]), @r#"
    exit 0
    --- stdout
    --- stderr
    wrote order-desk.md
    try it: plumb run order-desk.md "What is 17% of 240?", or plumb chat order-desk.md
    "#);
    insta::assert_snapshot!(project.shown(&["check", "order-desk.md"]), @r"
    exit 0
    --- stdout
    order-desk.md: agent order-desk; models: this machine's; tools: time, math
    --- stderr
    ");
    assert!(
        project
            .shown(&["new", "agent", "order-desk"])
            .starts_with("exit 1")
    );
    assert!(
        project
            .shown(&["new", "agent", "a/b"])
            .starts_with("exit 1")
    );
    for (file, text) in [
        ("a.md", "---\nname: a\ntools: [serch]\n---\nDo it.\n"),
        ("b.md", "---\nname: research\n---\nDo it.\n"),
        ("c.md", "---\nname: c\nmodel: local:nothing\n---\nDo it.\n"),
        (
            "d.md",
            "---\nname: d\ntools:\n  - files: {root: nowhere}\n---\nDo it.\n",
        ),
        ("e.md", "---\nname: e\nmodel: nobody:x\n---\nDo it.\n"),
        (
            "f.md",
            "---\nname: f\nmodel: local:smollm2-135m+support\n---\nDo it.\n",
        ),
    ] {
        std::fs::write(project.path(file), text).unwrap();
    }
    let shown = project.shown(&["check", "a.md", "b.md", "c.md", "d.md", "e.md", "f.md"]);
    insta::assert_snapshot!(shown, @r"
    exit 1
    --- stdout
    f.md: agent f; models: local:smollm2-135m+support; tools: none
    --- stderr
    error: a.md:3: tools[0]: there is no tool `serch`; there are time, math, ask, files, library.search, library, sql, web.fetch, web.search, http, shell, python, agent:NAME, and mcp:SERVER/TOOL
    hint: plumb tools lists the tools and their settings
    error: b.md:2: an agent cannot be called `research`
    hint: that is a built-in one; choose another name
    error: c.md:3: there is no model `local:nothing`
    hint: there are local:qwen2.5-coder-1.5b, local:qwen2.5-coder-0.5b, local:smollm2-135m
    error: d.md:4: the tool files: [project]/nowhere: No such file or directory (os error 2)
    hint: name a folder that there is, relative to the agent's file
    error: e.md:3: there is no provider `nobody`
    hint: there are local, anthropic, bedrock, cohere, deepseek, fireworks, gemini, groq, mistral, moonshot, nebius, ollama, openai, openai-responses, openrouter, together, xai
    ");
}

#[test]
fn the_schema_for_editors_is_up_to_date() {
    let project = Project::new(&[]);
    let schema = project.json(&["check", "--schema"]);
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/agent.schema.json"
    );
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    let kept: Value = serde_json::from_str(&kept).unwrap_or_default();
    assert!(
        kept == schema,
        "it is old: plumb check --schema > docs/reference/agent.schema.json"
    );
}
