//! What a user sees of models that cannot answer, and of providers: the real binary against a server on
//! loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::{Value, json};
use support::Project;

const PORTS: (&str, &str) = (
    "ports.md",
    "# Ports\n\nThe Alder server listens on port 4711.\n",
);

/// A server that answers every request with this; its address.
fn server(status: u16, headers: &str, body: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let body = body.to_string();
    let reply = format!(
        "HTTP/1.1 {status} X\r\n{headers}connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            // The client may have gone.
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    address
}

fn read_request(stream: &mut std::net::TcpStream) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

/// A project whose server `lab` is there.
fn project(address: &str, more: &str) -> Project {
    let project = Project::new(&[PORTS]);
    let file = format!("[servers.lab]\nbase_url = \"{address}\"\n{more}\n[retry]\ntries = 1\n");
    std::fs::write(project.path("plumb.toml"), file).unwrap();
    project
}

/// What the terminal shows when a question is asked of `model`.
fn asked(project: &Project, model: &str) -> String {
    let shown = project.shown(&["research", "Which port?", "docs", "--model", model]);
    let (_, errors) = shown.split_once("--- stderr\n").unwrap();
    let begins = |line: &str| line.starts_with("error: ") || line.starts_with("step ");
    let errors: Vec<&str> = errors.lines().skip_while(|line| !begins(line)).collect();
    assert!(
        errors.iter().any(|line| line.starts_with("hint: ")),
        "{shown}"
    );
    errors.join("\n")
}

fn refused(status: u16, headers: &str, message: &str, code: &str) -> Project {
    let body = json!({"error": {"message": message, "code": code}, "data": []});
    project(&server(status, headers, &body), "")
}

/// The address and the run's name are others each time.
macro_rules! snapshot {
    ($name:expr, $value:expr) => {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"127\.0\.0\.1:\d+", "[address]");
        settings.add_filter(r"\b1[0-9a-z]{13}\b", "[run]");
        settings.bind(|| insta::assert_snapshot!($name, $value));
    };
}

#[test]
fn who_must_act_is_told_with_a_hint() {
    let no_key = project(
        "http://127.0.0.1:1/v1",
        "key = \"PLUMB_TEST_NO_SUCH_KEY\"\n",
    );
    snapshot!("key-missing", asked(&no_key, "lab:small"));
    snapshot!("provider-unknown", asked(&no_key, "antropic:claude"));
    snapshot!(
        "key-of-a-provider-missing",
        asked(&no_key, "anthropic:claude-sonnet-4-5")
    );
    let wrong = refused(401, "", "Incorrect API key provided.", "invalid_api_key");
    snapshot!("key-wrong", asked(&wrong, "lab:small"));
    let unknown = refused(
        404,
        "",
        "The model `smal` does not exist.",
        "model_not_found",
    );
    snapshot!("model-unknown", asked(&unknown, "lab:smal"));
    let long =
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.";
    let long = refused(400, "", long, "context_length_exceeded");
    snapshot!("context-too-long", asked(&long, "lab:small"));
    let withheld = refused(
        400,
        "",
        "Your request was rejected by the safety system.",
        "content_policy_violation",
    );
    snapshot!("content-refused", asked(&withheld, "lab:small"));
    let busy = refused(
        429,
        "retry-after: 20\r\n",
        "Rate limit reached.",
        "rate_limit_exceeded",
    );
    snapshot!("rate-limit", asked(&busy, "lab:small"));
    let credit = refused(
        429,
        "",
        "You exceeded your current quota.",
        "insufficient_quota",
    );
    snapshot!("no-credit", asked(&credit, "lab:small"));
    let down = refused(500, "", "The server had an error.", "server_error");
    snapshot!("provider-down", asked(&down, "lab:small"));
    let nobody = project("http://127.0.0.1:1/v1", "");
    snapshot!("nobody-listens", asked(&nobody, "lab:small"));
}

#[test]
fn a_provider_is_shown_with_what_it_offers() {
    let body = json!({"data": [{"id": "small"}, {"id": "large"}]});
    let project = project(&server(200, "", &body), "");
    snapshot!("provider", project.shown(&["models", "--provider", "lab"]));
    let shown = project.json(&["models", "--provider", "lab", "--json"]);
    assert_eq!(shown["provider"]["reachable"], true);
    assert_eq!(shown["provider"]["models"]["lab:small"], Value::Null);
    let shown = project.json(&["models", "--json"]);
    let providers = shown["providers"].as_array().unwrap();
    let of = |name: &str| {
        providers
            .iter()
            .find(|provider| provider["name"] == name)
            .unwrap()
    };
    assert_eq!(of("lab")["offered"], json!(["small", "large"]));
    snapshot!(
        "provider-misspelt",
        project.shown(&["models", "--provider", "lba"])
    );
}

#[test]
fn the_local_models_are_shown_alone() {
    let project = project("http://127.0.0.1:1/v1", "");
    let shown = project.shown(&["models", "--provider", "local"]);
    let lines = shown.lines().filter(|line| line.contains(':'));
    assert_eq!(lines.clone().count(), 3, "{shown}");
    assert!(
        lines.clone().all(|line| line.starts_with("local:")),
        "{shown}"
    );
}

#[test]
fn a_provider_that_is_not_there_is_shown_with_what_is_known() {
    let project = project("http://127.0.0.1:1/v1", "");
    let shown = project.shown(&["models", "--provider", "lab"]);
    assert!(
        shown.starts_with("exit 0") && shown.contains("not reachable"),
        "{shown}"
    );
    assert!(
        shown.contains("cannot be reached") && shown.contains("hint:"),
        "{shown}"
    );
}
