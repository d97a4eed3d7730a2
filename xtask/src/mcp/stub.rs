//! A model that says what its instructions tell it to, over OpenAI's API: for agents in the conformance suite.
//!
//! Instructions are `Say: TEXT`, or `Call: TOOL ARGUMENTS` and then the text, or `Fail.`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;
use serde_json::{Value, json};

/// Listens on a thread that lives as long as this program, and gives the address.
pub(super) fn start() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}/v1", listener.local_addr()?);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answer(socket)));
        }
    });
    Ok(address)
}

fn answer(mut socket: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body)?;
    let (status, kind, said) = said(&request);
    write!(
        socket,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}",
        said.len()
    )?;
    Ok(())
}

/// Status, type and body of an answer.
fn said(request: &Value) -> (&'static str, &'static str, String) {
    let messages = request["messages"].as_array().cloned().unwrap_or_default();
    let instructions = messages.first().map(|first| &first["content"]);
    let instructions = instructions.and_then(Value::as_str).unwrap_or_default();
    let has_called = messages.iter().any(|message| message["role"] == "tool");
    if instructions.starts_with("Fail.") {
        let error =
            json!({"error": {"message": "This tool intentionally returns an error for testing"}});
        return ("400 Bad Request", "application/json", error.to_string());
    }
    let find = |word: &str| {
        let line = instructions.lines().find(|line| line.starts_with(word));
        line.and_then(|line| line.strip_prefix(word)).map(str::trim)
    };
    let (message, finish) = match find("Call:").filter(|_| !has_called) {
        Some(call) => {
            let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
            let call = json!({"index": 0, "id": "call-1", "type": "function",
                "function": {"name": name, "arguments": arguments}});
            (
                json!({"role": "assistant", "tool_calls": [call]}),
                "tool_calls",
            )
        }
        None => (
            json!({"role": "assistant", "content": find("Say:").unwrap_or("Yes.")}),
            "stop",
        ),
    };
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
    if request["stream"] == true {
        let piece = json!({"id": "1", "object": "chat.completion.chunk", "model": "stub",
            "choices": [{"index": 0, "delta": message, "finish_reason": finish}], "usage": usage});
        return (
            "200 OK",
            "text/event-stream",
            format!("data: {piece}\n\ndata: [DONE]\n\n"),
        );
    }
    let whole = json!({"id": "1", "object": "chat.completion", "model": "stub",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage});
    ("200 OK", "application/json", whole.to_string())
}
