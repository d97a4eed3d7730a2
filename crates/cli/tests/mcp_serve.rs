//! `plumb mcp`: agents and the library as a server, called by Plumb as the client, in both versions of the protocol.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Child;

use serde_json::{Value, json};
use support::{Project, shown};

const VERSIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

const SUMS: &str = "---\nname: sums\ndescription: Does sums.\nmodel: openai:test\ntools: [math]\n---\nYou do sums.\n";
const THRIFTY: &str = "---\nname: thrifty\nmodel: openai:test\ntools: [math]\nlimits: {steps: 1}\n---\nYou do sums.\n";
const SLOW: &str = "---\nname: slow\nmodel: openai:test\n---\nYou never end.\n";

/// Calls `math`, and then says what it has said.
fn answer(body: &Value) -> Value {
    let messages = body["messages"].as_array().unwrap();
    if messages[0]["content"].to_string().contains("never end") {
        loop {
            std::thread::park();
        }
    }
    let last = messages.last().unwrap();
    if last["role"] == "tool" {
        return json!({"content": format!("It is {}.", last["content"].as_str().unwrap())});
    }
    json!({"tool_calls": [{"index": 0, "id": "c1", "type": "function",
        "function": {"name": "math", "arguments": "{\"expression\": \"20 + 22\"}"}}]})
}

/// A project that serves, and one that calls it.
struct Pair {
    serving: Project,
    calling: Project,
}

impl Pair {
    fn new() -> Pair {
        let serving = Project::new(&[(
            "chairs.md",
            "# Chairs\n\nA chair has four legs and a back.\n",
        )]);
        std::fs::create_dir(serving.path("agents")).unwrap();
        for (name, text) in [
            ("sums.md", SUMS),
            ("thrifty.md", THRIFTY),
            ("slow.md", SLOW),
        ] {
            std::fs::write(serving.path("agents").join(name), text).unwrap();
        }
        std::fs::write(serving.path("agents/README.md"), "No agent.\n").unwrap();
        let indexed = serving.output(&["index", "docs"]);
        assert!(indexed.status.success(), "{}", shown(&indexed));
        Pair {
            serving,
            calling: Project::new(&[]),
        }
    }

    /// Over standard input and output, in a version.
    fn over_stdio(&self, version: &str) {
        let model = support::server(answer);
        let (plumb, project) = (env!("CARGO_BIN_EXE_plumb"), self.serving.root().display());
        let (models, agents) = (self.serving.path("models"), self.serving.path("agents"));
        self.configure(&format!(
            "command = [{plumb:?}, \"--project\", \"{project}\", \"mcp\", {agents:?}, \"--base-url\", \"{model}\"]\n\
             env = {{ OPENAI_API_KEY = \"not-a-real-key\", PLUMB_MODELS = {models:?} }}\nprotocol = \"{version}\"\n"
        ));
    }

    fn configure(&self, server: &str) {
        let config = format!("[mcp.own]\ntime_s = 30\n{server}");
        std::fs::write(self.calling.path("plumb.toml"), config).unwrap();
    }

    fn approve(&self) {
        let approved = self.calling.output(&["mcp", "approve", "own", "--yes"]);
        assert!(approved.status.success(), "{}", shown(&approved));
    }

    fn calls(&self, tool: &str, arguments: &Value) -> String {
        let tool = format!("own/{tool}");
        self.calling
            .shown(&["mcp", "call", &tool, &arguments.to_string()])
    }
}

#[test]
fn an_agent_is_a_tool_and_each_call_a_run() {
    for version in VERSIONS {
        let pair = Pair::new();
        pair.over_stdio(version);
        pair.approve();
        let shown = pair.calling.json(&["mcp", "show", "own", "--json"]);
        assert_eq!(shown["protocol"], version);
        let tools: Vec<String> = shown["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| {
                format!(
                    "{} {}",
                    tool["tool"]["name"].as_str().unwrap(),
                    tool["effect"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            tools,
            [
                "slow read",
                "sums read",
                "thrifty read",
                "library_search read",
                "library_read read"
            ]
        );
        let said = pair.calls("sums", &json!({"input": "What is 20 + 22?"}));
        assert!(
            said.starts_with("exit 0") && said.contains("= 42."),
            "{version}: {said}"
        );
        assert!(said.contains("… own.sums "), "{version}: {said}");
        let runs = pair.serving.json(&["runs", "--json"]);
        assert_eq!(
            (&runs[0]["agent"], &runs[0]["status"]),
            (&json!("sums"), &json!("finished"))
        );
    }
}

#[test]
fn a_run_that_asks_asks_at_the_client() {
    let pair = Pair::new();
    pair.over_stdio("2026-07-28");
    pair.approve();
    let said = pair.calls("thrifty", &json!({"input": "What is 20 + 22?"}));
    assert!(
        said.starts_with("exit 1") && said.contains("parked"),
        "{said}"
    );
    // The question stands in both journals, and no process is left.
    let open = pair.calling.json(&["questions", "--json"]);
    let question = &open[0];
    let (run, path) = (
        question["run"].as_str().unwrap(),
        question["path"].as_str().unwrap(),
    );
    let answered = pair
        .calling
        .output(&["answer", run, path, "{\"answer\": 100}"]);
    assert!(answered.status.success(), "{}", shown(&answered));
    let done = pair.calling.shown(&["resume", run]);
    assert!(
        done.starts_with("exit 0") && done.contains("= 42."),
        "{done}"
    );
    let runs = pair.serving.json(&["runs", "--json"]);
    assert_eq!(runs.as_array().unwrap().len(), 1, "it is the same run");
}

#[test]
fn the_library_is_searched_and_read() {
    let pair = Pair::new();
    pair.over_stdio("2026-07-28");
    pair.approve();
    let found = pair.calls(
        "library_search",
        &json!({"question": "How many legs has a chair?"}),
    );
    assert!(found.contains("four legs"), "{found}");
    let (_, rest) = found.split_once("\"id\":\"").unwrap();
    let id = rest.split('"').next().unwrap();
    let read = pair.calls("library_read", &json!({"id": id, "around": 1}));
    assert!(read.contains("four legs"), "{read}");
    let none = pair.calls("library_read", &json!({"id": "0000000000000000"}));
    assert!(none.starts_with("exit 1"), "{none}");
}

#[test]
fn a_call_that_is_no_longer_wanted_ends_its_run() {
    let pair = Pair::new();
    pair.over_stdio("2025-11-25");
    pair.approve();
    let config = std::fs::read_to_string(pair.calling.path("plumb.toml")).unwrap();
    std::fs::write(
        pair.calling.path("plumb.toml"),
        config.replace("time_s = 30", "time_s = 2"),
    )
    .unwrap();
    let said = pair.calls("slow", &json!({}));
    assert!(
        said.contains("took longer than 2 s and was cancelled"),
        "{said}"
    );
    let runs = pair.serving.json(&["runs", "--json"]);
    assert_eq!(runs[0]["status"], "cancelled", "{runs}");
}

/// Ends with its value.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn over_http_who_shows_the_token_may_call() {
    let pair = Pair::new();
    let mut child = pair
        .serving
        .command(&[
            "mcp",
            "agents",
            "--listen",
            "127.0.0.1:0",
            "--base-url",
            &support::server(answer),
        ])
        .env("OPENAI_API_KEY", "not-a-real-key")
        .env("PLUMB_TOKEN", "the-token")
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let _serving = Serving(child);
    let line = lines
        .find_map(|line| line.ok().filter(|line| line.contains(" at http")))
        .unwrap();
    let url = line
        .split_once(" at ")
        .unwrap()
        .1
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    for version in VERSIONS {
        pair.configure(&format!(
            "url = \"{url}\"\ntoken = \"OWN_TOKEN\"\nprotocol = \"{version}\"\n"
        ));
        let with = |token: &str, words: &[&str]| {
            let mut command = pair.calling.command(words);
            shown(&command.env("OWN_TOKEN", token).output().unwrap())
        };
        let wrong = with("another", &["mcp", "show", "own"]);
        assert!(wrong.starts_with("exit 1"), "{version}: {wrong}");
        let approved = with("the-token", &["mcp", "approve", "own", "--yes"]);
        assert!(approved.starts_with("exit 0"), "{version}: {approved}");
        let said = with(
            "the-token",
            &["mcp", "call", "own/sums", "{\"input\": \"20 + 22?\"}"],
        );
        assert!(
            said.contains("= 42.") && said.contains("… own.sums "),
            "{version}: {said}"
        );
    }
    // A page in a browser that was led here by another name.
    let address = url.trim_start_matches("http://").trim_end_matches("/mcp");
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    use std::io::Write as _;
    write!(socket, "POST /mcp HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer the-token\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    let mut refused = String::new();
    socket.read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
}

#[test]
fn what_cannot_be_served_is_said() {
    let project = Project::new(&[]);
    insta::assert_snapshot!(project.shown(&["mcp", "--no-library"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: there is nothing to serve
    hint: name an agent's file or a --server, or leave out --no-library
    ");
    insta::assert_snapshot!(project.shown(&["mcp", "missing.md"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: cannot serve missing.md: cannot read the agent file missing.md: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(project.shown(&["mcp", "--listen", "0.0.0.0:0", "--no-token"]), @r"
    exit 1
    --- stdout
    --- stderr
    error: without a token, 0.0.0.0:0 would let everybody in who can reach it
    hint: leave out --no-token, or listen at 127.0.0.1
    ");
}

/// A program that speaks the protocol by itself, line by line, in the older version.
struct Wire {
    serving: Serving,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    id: u64,
}

impl Wire {
    fn new(project: &Project, words: &[&str]) -> Wire {
        let mut child = project.command(words);
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wire = Wire {
            serving: Serving(child),
            lines,
            id: 0,
        };
        let own = json!({"name": "test", "version": "1"});
        let hello = json!({"protocolVersion": VERSIONS[0], "capabilities": {}, "clientInfo": own});
        wire.asks("initialize", &hello);
        wire.writes(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        wire
    }

    fn writes(&mut self, message: &Value) {
        let input = self.serving.0.stdin.as_mut().unwrap();
        writeln!(input, "{message}").unwrap();
    }

    fn asks(&mut self, method: &str, params: &Value) -> Value {
        self.id += 1;
        let id = self.id;
        self.writes(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let line = self.lines.next().unwrap().unwrap();
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["id"] == id {
                return said;
            }
        }
    }
}

#[test]
fn a_server_is_passed_on_with_all_that_it_offers() {
    let project = Project::new(&[]);
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/server.py");
    let config = format!("[mcp.suite]\ncommand = [\"python3\", {server:?}]\n");
    std::fs::write(project.path("plumb.toml"), config).unwrap();
    let words = ["mcp", "--server", "suite", "--no-library"];
    let refused = project.shown(&words);
    assert!(
        refused.contains("no tool of the MCP server suite has been approved"),
        "{refused}"
    );
    let approved = project.output(&["mcp", "approve", "suite", "test_image_content", "--yes"]);
    assert!(approved.status.success(), "{}", shown(&approved));
    let mut wire = Wire::new(&project, &words);
    let tools = wire.asks("tools/list", &json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap();
    let names: Vec<&Value> = tools.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["test_image_content"], "only what is approved");
    let called = wire.asks(
        "tools/call",
        &json!({"name": "test_image_content", "arguments": {}}),
    );
    assert_eq!(called["result"]["content"][0]["mimeType"], "image/png");
    let read = wire.asks("resources/read", &json!({"uri": "test://template/7/data"}));
    let held = read["result"]["contents"][0]["text"].as_str().unwrap();
    assert!(held.contains("\"7\""), "{held}");
    let none = wire.asks("resources/read", &json!({"uri": "test://other"}));
    assert_eq!(none["error"]["data"]["uri"], "test://other");
    let prompts = wire.asks("prompts/list", &json!({}));
    assert_eq!(prompts["result"]["prompts"].as_array().unwrap().len(), 5);
    let got = wire.asks(
        "prompts/get",
        &json!({"name": "test_prompt_with_arguments", "arguments": {"arg1": "here"}}),
    );
    assert!(
        got["result"]["messages"].to_string().contains("here"),
        "{got}"
    );
    let begun = json!({"ref": {"type": "ref/prompt", "name": "test_simple_prompt"},
        "argument": {"name": "any", "value": "te"}});
    let completed = wire.asks("completion/complete", &begun);
    assert_eq!(
        completed["result"]["completion"]["values"],
        json!(["testing", "tested"])
    );
}
