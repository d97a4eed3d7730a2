//! A provider on loopback: it gives each connection the next of its replies and keeps what it was asked.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses a part, and may fail loudly"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumb_model::{Embed, Model, Models, Retry, Server, Settings};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a connection is answered.
#[derive(Clone)]
pub(crate) enum Reply {
    /// This, and the connection is closed.
    Bytes(Vec<u8>),
    /// This, and then nothing more while the connection stays open.
    Silence(Vec<u8>),
}

impl Reply {
    /// A whole answer.
    pub(crate) fn new(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let length = body.len();
        let mut bytes = head(status, headers, length);
        bytes.extend(body);
        Reply::Bytes(bytes)
    }

    /// A stream of events.
    pub(crate) fn events(body: impl AsRef<[u8]>) -> Reply {
        Reply::new(200, "content-type: text/event-stream\r\n", body)
    }

    /// An answer of which only the beginning comes.
    pub(crate) fn cut(body: &str) -> Reply {
        let mut bytes = head(
            200,
            "content-type: text/event-stream\r\n",
            body.len() + 1000,
        );
        bytes.extend(body.as_bytes());
        Reply::Bytes(bytes)
    }

    /// A stream that stops speaking after `body`.
    pub(crate) fn silent_after(body: &str) -> Reply {
        let mut bytes = head(
            200,
            "content-type: text/event-stream\r\n",
            body.len() + 1000,
        );
        bytes.extend(body.as_bytes());
        Reply::Silence(bytes)
    }
}

fn head(status: u16, headers: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n")
        .into_bytes()
}

/// What was asked: the first line with the headers, and the body.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub head: String,
    pub body: Value,
}

/// A provider on loopback.
pub(crate) struct Provider {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Provider {
    /// One that gives these replies, one to a connection.
    pub(crate) async fn new(replies: Vec<Reply>) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut silent = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                kept.lock().unwrap().push(request);
                match reply {
                    Reply::Bytes(bytes) => {
                        stream.write_all(&bytes).await.unwrap();
                        // The client may have gone.
                        let _ = stream.shutdown().await;
                    }
                    Reply::Silence(bytes) => {
                        stream.write_all(&bytes).await.unwrap();
                        silent.push(stream);
                    }
                }
            }
            std::future::pending::<()>().await;
        });
        Provider { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Settings under which its models are `lab:NAME` in this protocol; nothing is waited for long.
    pub(crate) fn settings(&self, protocol: &str) -> Settings {
        let server = Server {
            base_url: self.address.clone(),
            key: None,
            protocol: Some(protocol.to_owned()),
        };
        Settings {
            servers: BTreeMap::from([("lab".to_owned(), server)]),
            retry: Retry {
                first_wait: Duration::from_millis(1),
                ..Retry::default()
            },
            ..Settings::default()
        }
    }

    pub(crate) fn model(&self, protocol: &str, name: &str) -> Arc<dyn Model> {
        let models = Models::new(self.settings(protocol));
        models.open(&format!("lab:{name}")).unwrap()
    }

    pub(crate) fn embedder(&self, protocol: &str, name: &str) -> Arc<dyn Embed> {
        let models = Models::new(self.settings(protocol));
        models.open_embedder(&format!("lab:{name}")).unwrap()
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(buffer.get(..count).unwrap());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or(0) {
                return Asked {
                    head: head.to_owned(),
                    body: serde_json::from_str(body).unwrap_or(Value::Null),
                };
            }
        }
        assert!(count > 0, "the client closed the connection");
    }
}
