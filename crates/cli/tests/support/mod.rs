//! The binary as a user has it: a project of its own, and nothing of the machine's settings.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// A temporary folder with a project, documents, and an empty models folder.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    models: PathBuf,
}

impl Project {
    /// A project without any model.
    pub(crate) fn new(files: &[(&str, &str)]) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        std::fs::create_dir_all(&models).unwrap();
        let project = Project { folder, models };
        std::fs::create_dir_all(project.path("docs")).unwrap();
        for (name, text) in files {
            std::fs::write(project.path("docs").join(name), text).unwrap();
        }
        project
    }

    /// With the models of the folder `models`.
    pub(crate) fn with_models(self, models: PathBuf) -> Project {
        Project { models, ..self }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// `plumb --project FOLDER ARGUMENTS` in that folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plumb"));
        command
            .current_dir(self.root())
            // No test calls a provider, whatever keys the machine has.
            .env("PLUMB_OFFLINE", "1")
            .env_remove("OPENAI_API_KEY")
            .env_remove("OPENAI_BASE_URL")
            .env_remove("PLUMB_MODEL")
            .env_remove("PLUMB_PROJECT")
            .env_remove("PLUMB_THREADS")
            .env("PLUMB_MODELS", &self.models)
            .arg("--project")
            .arg(self.root())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The standard output, as JSON, of a command that must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Exit status, standard output and standard error, with the folder's path replaced.
    pub(crate) fn shown(&self, arguments: &[&str]) -> String {
        let root = self.root().display().to_string();
        shown(&self.output(arguments)).replace(&root, "[project]")
    }
}

/// Exit status, standard output and standard error.
pub(crate) fn shown(output: &Output) -> String {
    let status = output.status;
    let status = status
        .code()
        .map_or(status.to_string(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "exit {status}\n--- stdout\n{}--- stderr\n{}",
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// Starts an OpenAI-compatible server that answers a request with what `answer` makes of it, a delta; gives its
/// address.
pub(crate) fn server(answer: fn(&Value) -> Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that was killed breaks its connection.
            std::thread::spawn(move || drop(serve(stream, answer)));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: fn(&Value) -> Value) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let delta = answer(&serde_json::from_slice(&body)?);
    let calls = !delta["tool_calls"].is_null();
    let end = json!({"choices": [{"delta": {}, "finish_reason": if calls { "tool_calls" } else { "stop" }}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 5}});
    let event = json!({"choices": [{"delta": delta}]});
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    write!(
        stream,
        "{head}data: {event}\n\ndata: {end}\n\ndata: {usage}\n\ndata: [DONE]\n\n"
    )
}
