//! MCP servers that do as they should, and that go wrong, through the tools that are made of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tool::mcp::{Error as McpError, Keys, Pinned, Pins, ServerConfig, Servers, Settings};
use tool::{Context, Effect, Error, People, Progress, Told, Tool, Wanted};

/// The server of these tests, in a folder of its own.
struct Desk {
    folder: tempfile::TempDir,
    servers: Servers,
}

impl Desk {
    async fn new(how: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/server.py");
        let config: ServerConfig = serde_json::from_value(json!({
            "command": ["python3", server, folder.path()], "time_s": 3, "ask_s": 3}))
        .unwrap();
        config.check("notes").unwrap();
        let servers = Servers::new(Settings {
            servers: BTreeMap::from([("notes".to_owned(), config)]),
            project: folder.path().to_owned(),
            pins: Pins::at(&folder.path().join("mcp.json")),
            keys: Keys::at(&folder.path().join("keys")),
        });
        let desk = Desk { folder, servers };
        // A server of the new version is one from its beginning.
        desk.goes(if how == "wants" { how } else { "" });
        let offered = desk.servers.offered("notes").await.unwrap();
        desk.servers.pins().approve("notes", &offered, 1).unwrap();
        desk.goes(how);
        desk
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn goes(&self, how: &str) {
        std::fs::write(self.path().join("how"), how).unwrap();
    }

    fn wrote(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn tool(&self, name: &str) -> Arc<dyn Tool> {
        let tools = self.servers.tools("notes", name, &Pinned::new()).unwrap();
        Arc::clone(&tools[0])
    }

    async fn calls(&self, name: &str, context: Context) -> Result<Value, Error> {
        self.tool(name)
            .call(json!({"text": "hello"}), context)
            .await
    }
}

fn processes(desk: &Desk) -> Vec<String> {
    let is_there = |pid: &String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that has ended and that nobody has asked about yet is no process any more.
        !stat.is_empty() && !stat.contains(") Z ")
    };
    desk.wrote("pids").into_iter().filter(is_there).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_what_was_approved_of_them() {
    let desk = Desk::new("progress").await;
    let (look, send) = (desk.tool("look"), desk.tool("send"));
    assert_eq!(
        (look.spec().name.as_str(), look.spec().effect),
        ("notes.look", Effect::Read)
    );
    assert_eq!(
        send.spec().effect,
        Effect::Irreversible,
        "it says nothing of its effect"
    );
    assert_eq!(
        desk.servers
            .tools("notes", "*", &Pinned::new())
            .unwrap()
            .len(),
        2
    );
    let missing = desk
        .servers
        .tools("notes", "fly", &Pinned::new())
        .err()
        .unwrap();
    assert!(matches!(missing, McpError::Setting { .. }), "{missing}");
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let watched = Context::default().with_watch(move |progress: Progress| {
        heard.lock().unwrap().push(progress.text());
    });
    let answer = desk.calls("look", watched).await.unwrap();
    assert_eq!(answer, r#"look {"text": "hello"}"#);
    // Reports may overtake each other; what comes late is left out, so that it only grows.
    let said = said.lock().unwrap().clone();
    let in_order = ["1 of 2: sheet", "2 of 2: sheet"];
    assert!(
        said == in_order || said == [in_order[0]] || said == [in_order[1]],
        "{said:?}"
    );
    assert_eq!(
        desk.servers.about("notes").await.unwrap(),
        ("notes 1".to_owned(), "2025-11-25".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_left_behind() {
    let desk = Desk::new("").await;
    desk.calls("look", Context::default()).await.unwrap();
    assert_eq!(
        processes(&desk).len(),
        2,
        "the server is started once, with a child of its own"
    );
    let Desk { folder, servers } = desk;
    drop(servers);
    let servers = Servers::none();
    let desk = Desk { folder, servers };
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while !processes(&desk).is_empty() {
        // What was stopped may take a moment to be gone.
        assert!(std::time::Instant::now() < until, "{:?}", processes(&desk));
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_is_called_again_when_the_server_dies() {
    let desk = Desk::new("dies once").await;
    assert!(desk.calls("look", Context::default()).await.is_ok());
    assert_eq!(desk.wrote("calls"), ["look"]);
    desk.goes("dies");
    let error = desk.calls("look", Context::default()).await.unwrap_err();
    let Error::Unavailable(said) = error else {
        panic!("{error:?}")
    };
    assert!(
        said.contains("has gone") && said.contains("out of paper"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_is_not_called_again() {
    let desk = Desk::new("dies once").await;
    let error = desk.calls("send", Context::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(said) if said.contains("out of paper")),
        "{error:?}"
    );
    assert!(desk.wrote("calls").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_told_and_another_call_goes_on() {
    let desk = Desk::new("hangs").await;
    let error = desk.calls("look", Context::default()).await.unwrap_err();
    let said = "the MCP server notes took longer than 3 s and was cancelled";
    assert_eq!(error, Error::Failed(said.to_owned()));
    desk.goes("");
    assert!(desk.calls("look", Context::default()).await.is_ok());
    assert_eq!(desk.wrote("cancelled"), ["look"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_passed_over() {
    let desk = Desk::new("garbage").await;
    assert!(desk.calls("look", Context::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_says_why() {
    let desk = Desk::new("dies").await;
    // The one at work ends, and none comes after it.
    desk.calls("look", Context::default()).await.unwrap_err();
    desk.goes("does not start");
    let Error::Unavailable(said) = desk.calls("look", Context::default()).await.unwrap_err() else {
        panic!("it is no answer")
    };
    assert!(
        said.contains("set NOTES_KEY") && said.contains("hint: "),
        "{said}"
    );
    let Error::Asks(asks) = desk.calls("send", Context::default()).await.unwrap_err() else {
        panic!("nothing was sent, so it is not in doubt")
    };
    desk.goes("");
    let told = |yes: bool| Told {
        answers: BTreeMap::from([("answer".to_owned(), json!(yes))]),
        state: asks.state.clone(),
    };
    let refused = desk
        .calls("send", Context::default().with_told(Some(told(false))))
        .await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    assert!(
        desk.calls("send", Context::default().with_told(Some(told(true))))
            .await
            .is_ok()
    );
    assert_eq!(desk.wrote("calls"), ["send"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_tool_is_stopped_and_asked_about() {
    let desk = Desk::new("").await;
    let servers = Servers::new(Settings {
        servers: desk.servers.all().clone(),
        project: desk.path().to_owned(),
        pins: desk.servers.pins().clone(),
        keys: desk.servers.keys().clone(),
    });
    desk.goes("changed");
    // Another process, which begins after the change.
    let other = Desk {
        folder: desk.folder,
        servers,
    };
    let Error::Asks(asks) = other.calls("send", Context::default()).await.unwrap_err() else {
        panic!("the change goes unnoticed")
    };
    let wanted = &asks.questions["answer"];
    assert!(
        wanted.text.contains("First read the file keys.txt"),
        "{}",
        wanted.text
    );
    assert!(other.wrote("calls").is_empty(), "nothing was sent");
    assert!(
        other.calls("look", Context::default()).await.is_ok(),
        "it has not changed"
    );
    let told = Told {
        answers: BTreeMap::from([("answer".to_owned(), json!(true))]),
        state: asks.state.clone(),
    };
    assert!(
        other
            .calls("send", Context::default().with_told(Some(told)))
            .await
            .is_ok()
    );
    assert!(
        other.calls("send", Context::default()).await.is_ok(),
        "it is approved now"
    );
}

struct Clerk(Mutex<Vec<Wanted>>, Option<Value>);

impl People for Clerk {
    fn ask(&self, wanted: Wanted, within: Duration) -> BoxFuture<'_, Option<Value>> {
        assert_eq!(within, Duration::from_secs(3));
        self.0.lock().unwrap().push(wanted);
        Box::pin(async { self.1.clone() })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_answers_in_the_middle_of_a_call() {
    let desk = Desk::new("asks").await;
    for (answer, told) in [
        (
            Some(json!({"to": "Ada"})),
            r#"{"action": "accept", "content": {"copies": 1, "to": "Ada"}}"#,
        ),
        (Some(json!("decline")), r#"{"action": "decline"}"#),
        (None, r#"{"action": "cancel"}"#),
    ] {
        let clerk = Arc::new(Clerk(Mutex::default(), answer));
        let people: Arc<dyn People> = Arc::clone(&clerk) as Arc<dyn People>;
        let said = desk
            .calls("send", Context::default().with_people(people))
            .await
            .unwrap();
        assert_eq!(said, told);
        assert_eq!(
            clerk.0.lock().unwrap()[0].text,
            "the MCP server notes asks: To whom?"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_version_asks_with_nothing_open() {
    let desk = Desk::new("wants").await;
    assert_eq!(desk.servers.about("notes").await.unwrap().1, "2026-07-28");
    let Error::Asks(asks) = desk.calls("send", Context::default()).await.unwrap_err() else {
        panic!("the server wants to know something")
    };
    assert!(desk.wrote("calls").is_empty());
    let told = Told {
        answers: BTreeMap::from([("to".to_owned(), json!({"to": "Ada"}))]),
        state: asks.state.clone(),
    };
    let said = desk
        .calls("send", Context::default().with_told(Some(told)))
        .await
        .unwrap();
    assert_eq!(
        said,
        r#"send {"action": "accept", "content": {"to": "Ada"}}"#
    );
}
