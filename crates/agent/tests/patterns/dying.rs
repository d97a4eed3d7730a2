//! Every pattern with real processes that die: its own, killed with SIGKILL at every event, and an MCP server over
//! standard input and output that dies in the middle of a call or between two. Whatever dies, what reads is done again,
//! what cannot be undone is done once, and nothing waits for ever.
//!
//! The server is this test program, started again: see [`a_server_serves`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::testing::{Scenario, crash_everywhere};
use journal::{
    Engine, Journal, NewChild, Outcome, Page, Run, RunRecord, RunStatus, Settlement, StepStatus,
    WorkflowError,
};
use model::{Model, Output, Request, Response, Scripted};
use plumb_agent::act::{Acting, call_tool};
use plumb_agent::code::{Interpreter, Limits, serve_program};
use plumb_agent::watcher::Watcher;
use plumb_agent::workflow::fan_out;
use plumb_agent::{Agent, Way};
use serde_json::{Value, json};
use tool::mcp::{Definition, Keys, Pinned, Pins, ServerConfig, Servers, Settings};
use tool::{Secrets, Tool};

use crate::every;
use crate::support::{asked, calls, ended, instructions, new, says, told, work};

/// Tells a process that it is the server, and in which folder.
const SERVER: &str = "PLUMB_DYING_SERVER";

/// What is sent to the child processes of these tests: which test to run, and nothing around it.
fn this_program(test: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "--nocapture", "--test-threads=1", "-q"];
    let mut command = vec![program.display().to_string(), format!("dying::{test}")];
    command.extend(arguments.map(str::to_owned));
    command
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// Makes a server of this process, if it was started as one.
///
/// In its folder, `how` says what goes wrong: `look`, it dies in the middle of the first call that reads; `send`, it
/// dies when it has carried out a call that writes, before it says so; `between`, after each answer; `always`, in every
/// call; else, nothing. `sent` has a line for each call that writes and was carried out.
#[test]
fn a_server_serves() {
    let Some(folder) = std::env::var_os(SERVER) else {
        return;
    };
    for line in std::io::stdin().lines() {
        // What is no request needs no answer.
        let request: Value = serde_json::from_str(&line.unwrap()).unwrap_or_default();
        if request["id"].is_null() || request["method"].is_null() {
            continue;
        }
        let mut answer = json!({"jsonrpc": "2.0", "id": request["id"]});
        let (name, said) = match request["method"].as_str().unwrap() {
            "initialize" => (
                "result",
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "notes", "version": "1"}}),
            ),
            "tools/list" => ("result", json!({"tools": offered()})),
            "tools/call" => (
                "result",
                carried_out(Path::new(&folder), &request["params"]),
            ),
            _ => (
                "error",
                json!({"code": -32601, "message": "Method not found"}),
            ),
        };
        answer[name] = said;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").unwrap();
        out.flush().unwrap();
        if request["method"] == "tools/call" && read(Path::new(&folder), "how") == "between" {
            std::process::exit(7);
        }
    }
    std::process::exit(0);
}

/// What is done for a call; the process may not come back from it.
fn carried_out(folder: &Path, call: &Value) -> Value {
    let (how, name) = (read(folder, "how"), call["name"].as_str().unwrap());
    let text = call["arguments"]["text"].as_str().unwrap();
    let first_time = |name: &str| std::fs::File::create_new(folder.join(name)).is_ok();
    if how == "always" || how == "look" && name == "look" && first_time("died") {
        std::process::exit(7);
    }
    let mut verb = name;
    if name == "send" {
        if read(folder, "sent").lines().any(|sent| sent == text) {
            verb = "again";
        }
        let sent = std::fs::File::options()
            .append(true)
            .create(true)
            .open(folder.join("sent"));
        writeln!(sent.unwrap(), "{text}").unwrap();
        if how == "send" {
            std::process::exit(7);
        }
    }
    json!({"content": [{"type": "text", "text": format!("{verb} {text}")}]})
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]})
}

/// What the server offers, as it says it.
fn offered() -> Value {
    json!([
        {"name": "look", "description": "Looks.", "inputSchema": schema(), "annotations": {"readOnlyHint": true}},
        {"name": "send", "description": "Sends.", "inputSchema": schema()},
    ])
}

/// The tools of a server with this folder. The first one reads, the second one cannot be undone.
fn tools(folder: &Path) -> Vec<Arc<dyn Tool>> {
    let config: ServerConfig = serde_json::from_value(json!({
        "command": this_program("a_server_serves"), "env": {SERVER: folder}, "protocol": "2025-11-25"}))
    .unwrap();
    let servers = Servers::new(Settings {
        servers: BTreeMap::from([("notes".to_owned(), config)]),
        project: folder.to_owned(),
        pins: Pins::at(&folder.join("mcp.json")),
        keys: Keys::at(&folder.join("keys")),
    });
    let definition = |name: &str, description: &str, annotations: Value| -> Definition {
        let definition = json!({"name": name, "description": description, "schema": schema(),
            "annotations": annotations});
        serde_json::from_value(definition).unwrap()
    };
    let pinned = Pinned::from([(
        "notes".to_owned(),
        vec![
            definition("look", "Looks.", json!({"read_only": true})),
            definition("send", "Sends.", json!({})),
        ],
    )]);
    servers.tools("notes", "*", &pinned).unwrap()
}

/// Runs one program of the pattern `code`, where this process was started for it.
#[test]
fn a_worker_runs_a_program() {
    use std::io::IsTerminal as _;
    let input = std::io::stdin();
    let is_called = std::env::args().any(|argument| argument == "--exact") && !input.is_terminal();
    if is_called {
        // Past the capture of the test runner, whose own lines are not JSON, and are passed over.
        serve_program(BufReader::new(input), std::io::stdout()).unwrap_or_default();
    }
}

/// The one model of all: looks, sends, and says what came of both.
fn model() -> Arc<dyn Model> {
    Arc::new(Scripted::with_calls("scripted:dying", |request| {
        Ok(script(request))
    }))
}

fn script(request: &Request) -> Response {
    let said = asked(request);
    if let Output::Json(schema) = &request.output {
        return says(&formed(&schema.to_string(), &said).to_string());
    }
    let offers = |name: &str| request.tools.iter().any(|tool| tool.name == name);
    let all = told(request);
    let is_of_server = |text: &&String| {
        ["look ", "send ", "again "]
            .iter()
            .any(|verb| text.starts_with(verb))
    };
    let own: Vec<&String> = all.iter().filter(is_of_server).collect();
    // A text of its own for each who sends, so that it can be seen whether something was sent twice.
    let who = instructions(request)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let who = if who.starts_with("You are ") {
        who
    } else {
        "I".to_owned()
    };
    let text = json!({"text": format!("{who}: {}", said.replace('\n', " / "))});
    match own.len() {
        0 if all.is_empty() && offers("hand_off_to_second") => {
            calls(&[("hand_off_to_second", json!({}))])
        }
        0 if all.is_empty() && offers("helper") => calls(&[
            ("helper", json!({"task": "one"})),
            ("helper", json!({"task": "two"})),
        ]),
        0 if offers("notes_look") => calls(&[("notes_look", text)]),
        1 if offers("notes_send") => calls(&[("notes_send", text)]),
        _ => says(&format!("I have: {}", all.join("; "))),
    }
}

fn formed(schema: &str, said: &str) -> Value {
    let has = |name: &str| schema.contains(&format!("\"{name}\""));
    if has("program") && !said.contains("printed") {
        let lines = "print(notes_look(text='a'))\nprint(notes_send(text='b'))";
        return json!({"next": "program", "program": lines});
    }
    if has("who") && !said.contains("second says") {
        let who = if said.contains("helper says") {
            "second"
        } else {
            "helper"
        };
        return json!({"next": "ask", "who": who, "task": "look"});
    }
    if has("next") {
        return json!({"next": "answer", "answer": said.replace('\n', " / ")});
    }
    if has("steps") {
        let step = |name: &str, after: &[&str]| json!({"name": name, "task": name, "after": after, "expect": ""});
        return json!({"steps": [step("a", &[]), step("b", &[]), step("c", &["a", "b"])]});
    }
    if has("sentence") {
        return json!({"sentence": "It is dug."});
    }
    match has("accepted") {
        true => verdict(),
        false => json!({"done": true}),
    }
}

fn agent(pattern: &str, tools: &[Arc<dyn Tool>]) -> Agent {
    // Drafts side by side say the same: what each would send would look like sent again.
    let tools = if pattern == "best_of" {
        &tools[..1]
    } else {
        tools
    };
    let mut agent = every::agent(pattern, &model, tools);
    if pattern == "code" {
        let mut command = this_program("a_worker_runs_a_program");
        let program = command.remove(0).into();
        let worker = Interpreter::Worker {
            program,
            arguments: command,
        };
        agent.way = Way::Code(worker, Limits::default());
    }
    agent
}

/// The code of the runs of these tests, by the name of the run's agent.
async fn worked(
    run: Run,
    agent_name: &str,
    pattern: &str,
    journal: Journal,
    tools: Vec<Arc<dyn Tool>>,
) -> Result<Value, WorkflowError> {
    match (agent_name, pattern) {
        ("digger", _) => work(run, agent("act", &tools)).await,
        (_, "watcher") => watches(run, journal).await,
        (_, "workflow") => ended(branches(&run, &tools).await),
        _ => work(run, agent(pattern, &tools)).await,
    }
}

/// A run of its own digs, and is watched when it has got somewhere.
async fn watches(run: Run, journal: Journal) -> Result<Value, WorkflowError> {
    let child = run
        .spawn("dig", &NewChild::new("digger", "a hole".into()))
        .await?;
    let id = child.id().to_string();
    let dug = child.wait().await??;
    let watcher = Watcher {
        journal,
        acting: Some(Acting::new(model())),
        every: Duration::from_millis(1),
        most: 3,
        tell: Arc::new(|_| ()),
    };
    let said = ended(watcher.watch(&run, &id).await)?;
    Ok(json!({"text": dug["text"], "said": said}))
}

/// Plain Rust: two branches, each of which looks and then sends.
async fn branches(run: &Run, tools: &[Arc<dyn Tool>]) -> plumb_agent::Result<Value> {
    let said = fan_out(run, "branch", ["one", "two"], |run, text| async move {
        let mut said = Vec::new();
        for tool in tools {
            let (arguments, secrets) = (json!({"text": text}), Secrets::default());
            let answer = call_tool(&run, tool, &arguments, &secrets).await?;
            said.push(answer.text());
        }
        Ok(said.join("; "))
    });
    Ok(json!({"text": said.await?.join("; ")}))
}

fn engine(journal: Journal, folder: &Path, pattern: &'static str) -> Engine {
    let tools = tools(folder);
    ["patterns", "digger"]
        .into_iter()
        .fold(Engine::new(journal.clone()), |engine, name| {
            let (journal, tools) = (journal.clone(), tools.clone());
            engine.register(name, move |run| {
                worked(run, name, pattern, journal.clone(), tools.clone())
            })
        })
}

/// What a person says of each draft.
fn verdict() -> Value {
    json!({"remarks": "More.", "score": 5, "accepted": false})
}

/// Its process is killed with SIGKILL at every event; its server dies in the middle of a call as well.
fn is_killed(pattern: &'static str) {
    let test = format!("dying::killed::{pattern}");
    let scenario = Scenario::in_folder(&test, new("the wall"), move |journal, folder| {
        // Once in a run, whoever has been killed meanwhile.
        std::fs::write(folder.join("how"), "look").unwrap();
        engine(journal, folder, pattern)
    });
    let scenario = scenario.answering(|_| Some(verdict()));
    let crashes = crash_everywhere(&scenario).unwrap();
    assert!(crashes.kills >= 20, "{crashes:?}");
    // A call that writes was begun before some of the kills; drafts write nothing.
    assert_eq!(crashes.settled == 0, pattern == "best_of", "{crashes:?}");
}

/// A run, whose server dies as `how` says.
struct Desk {
    folder: tempfile::TempDir,
    journal: Journal,
    pattern: &'static str,
    tools: Vec<Arc<dyn Tool>>,
}

impl Desk {
    async fn new(pattern: &'static str, how: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("how"), how).unwrap();
        let journal = Journal::open(&folder.path().join("journal.db")).unwrap();
        journal.submit(new("the wall")).await.unwrap();
        let tools = tools(folder.path());
        Desk {
            folder,
            journal,
            pattern,
            tools,
        }
    }

    fn sent(&self) -> Vec<String> {
        let sent = read(self.folder.path(), "sent");
        sent.lines().map(str::to_owned).collect()
    }

    async fn runs(&self) -> Vec<RunRecord> {
        self.journal.runs(Page::default()).await.unwrap()
    }

    /// Takes up whatever has not ended; the output of the run once it has.
    async fn goes_on(&self) -> Option<Value> {
        for record in self.runs().await {
            if !matches!(record.status, RunStatus::Running | RunStatus::Parked) {
                continue;
            }
            let run = self.journal.resume(record.id.as_str()).await.unwrap();
            let code = |run| {
                let (journal, tools) = (self.journal.clone(), self.tools.clone());
                Box::pin(worked(run, &record.agent, self.pattern, journal, tools))
            };
            let outcome = tokio::time::timeout(Duration::from_secs(120), run.execute(code));
            let outcome = outcome
                .await
                .unwrap_or_else(|_| panic!("{} hangs", self.pattern));
            match outcome.unwrap() {
                Outcome::Finished(output) if record.agent == "patterns" => return Some(output),
                Outcome::Finished(_) | Outcome::Parked(_) => {}
                other => panic!("{other:?}"),
            }
        }
        None
    }

    /// Answers whatever is asked.
    async fn answers(&self) {
        for question in self.journal.questions(None).await.unwrap() {
            let (run, path) = (question.run.as_str(), &question.path);
            let answered = self.journal.answer(run, path, verdict(), "Ada");
            answered.await.unwrap();
        }
    }

    /// Says what became of each step in doubt, as somebody would who has looked at the other side.
    async fn settles(&self) -> usize {
        let (mut doubts, sent) = (0, self.sent());
        for record in self.runs().await {
            for step in self.journal.steps(&record.id).await.unwrap() {
                if !(step.in_doubt && step.status == StepStatus::Started) {
                    continue;
                }
                let input = step.input.to_string();
                let done = sent.iter().find(|text| input.contains(text.as_str()));
                let settlement = done.map_or(Settlement::NotDone, |text| {
                    Settlement::Done(format!("send {text}").into())
                });
                let settled = self
                    .journal
                    .settle(record.id.as_str(), &step.path, settlement);
                settled.await.unwrap();
                doubts += 1;
            }
        }
        doubts
    }
}

/// The server dies as `how` says. Gives how often a person had to say what became of a step.
async fn server_dies(pattern: &'static str, how: &str) -> usize {
    let desk = Desk::new(pattern, how).await;
    let mut doubts = 0;
    let mut output = None;
    for _ in 0..60 {
        output = desk.goes_on().await;
        if output.is_some() {
            break;
        }
        // Nobody has said anything: what may have been done is not done again.
        let sent = desk.sent();
        output = desk.goes_on().await;
        let (before, after) = (BTreeSet::from_iter(sent), desk.sent());
        assert_eq!(
            after.len(),
            BTreeSet::from_iter(&after).len(),
            "{pattern}: {after:?}"
        );
        assert!(before.iter().all(|text| after.contains(text)));
        if output.is_some() {
            break;
        }
        if read(desk.folder.path(), "how") == "always" {
            assert!(
                after.is_empty() && desk.settles().await == 0,
                "{pattern}: {after:?}"
            );
            std::fs::write(desk.folder.path().join("how"), "").unwrap();
        }
        doubts += desk.settles().await;
        if pattern == "person" {
            desk.answers().await;
        }
    }
    let output = output.unwrap_or_else(|| panic!("{pattern} does not get on"));
    let (sent, said) = (desk.sent(), output["text"].as_str().unwrap());
    assert_eq!(
        sent.len(),
        BTreeSet::from_iter(&sent).len(),
        "{pattern}: {sent:?}"
    );
    assert!(!said.contains("again "), "{pattern}: {said}");
    assert_eq!(sent.is_empty(), pattern == "best_of", "{pattern}: {sent:?}");
    doubts
}

async fn its_server_dies(pattern: &'static str) {
    let doubts = server_dies(pattern, "send").await;
    assert_eq!(
        doubts == 0,
        pattern == "best_of",
        "{pattern}: {doubts} in doubt"
    );
    server_dies(pattern, "between").await;
    assert_eq!(server_dies(pattern, "always").await, 0, "{pattern}");
}

/// A test of each kind for each pattern.
macro_rules! patterns {
    ($($pattern:ident)*) => {
        /// Whoever works on it is killed.
        mod killed {
            $(#[test]
            fn $pattern() {
                super::is_killed(stringify!($pattern));
            })*
        }

        /// The server is gone.
        mod served {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $pattern() {
                super::its_server_dies(stringify!($pattern)).await;
            })*
        }

        /// The patterns that are tried here.
        const TRIED: &[&str] = &[$(stringify!($pattern)),*];
    };
}

patterns! {
    act reflect person plan code members supervisor sequence hand_off mixture best_of workflow watcher
}

#[test]
fn no_pattern_is_left_out() {
    assert!(
        every::PATTERNS
            .iter()
            .all(|pattern| TRIED.contains(pattern))
    );
}
