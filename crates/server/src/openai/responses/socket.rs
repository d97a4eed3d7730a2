//! Responses over a WebSocket: one after the other, each of which may go on with the one before it.
//!
//! The last response is kept while the connection is open, and nowhere else. A turn that fails forgets it.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::response::Response as HttpResponse;
use futures::{SinkExt as _, StreamExt as _};
use model::Role;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::stream::{self, Call};
use super::events::Events;
use super::{Past, read};
use crate::error::ApiError;
use crate::{LONGEST_REQUEST, Server};

/// Requests that wait while one is answered.
const MOST_WAITING: usize = 16;
/// Events that wait for a slow reader.
const QUEUE: usize = 256;

/// Takes up the connection.
pub(crate) async fn open(
    State(server): State<Arc<Server>>,
    upgrade: WebSocketUpgrade,
) -> HttpResponse {
    upgrade
        .max_message_size(LONGEST_REQUEST)
        .on_upgrade(move |socket| serve(server, socket))
}

/// Answers until the caller goes; then the work for it ends too.
async fn serve(server: Arc<Server>, socket: WebSocket) {
    let (mut out, mut incoming) = socket.split();
    let mut waiting = VecDeque::new();
    let mut past = None;
    loop {
        let next = match waiting.pop_front() {
            Some(text) => Some(text),
            None => text(incoming.next().await),
        };
        let Some(asked) = next else { return };
        let (events, mut received) = mpsc::channel(QUEUE);
        let turn = turn(&server, &asked, &mut past, events);
        tokio::pin!(turn);
        let mut done = false;
        loop {
            tokio::select! {
                biased;
                () = &mut turn, if !done => done = true,
                event = received.recv() => {
                    let Some(event) = event else { break };
                    if out.send(Frame::text(event.to_string())).await.is_err() {
                        return;
                    }
                }
                more = incoming.next() => match text(more) {
                    Some(text) if text.is_empty() => {}
                    Some(text) if waiting.len() < MOST_WAITING => waiting.push_back(text),
                    _ => return,
                },
            }
        }
    }
}

/// The text of a frame; `None` at the end. Pings are answered below.
fn text(frame: Option<Result<Frame, axum::Error>>) -> Option<String> {
    match frame?.ok()? {
        Frame::Text(text) => Some(text.to_string()),
        Frame::Ping(_) | Frame::Pong(_) => Some(String::new()),
        Frame::Binary(_) | Frame::Close(_) => None,
    }
}

/// One request and its answer.
async fn turn(server: &Server, asked: &str, past: &mut Option<Past>, events: mpsc::Sender<Value>) {
    // A ping.
    if asked.is_empty() {
        return;
    }
    let before = past.take();
    match answer(server, asked, before.as_ref(), &events).await {
        Ok(next) => *past = next,
        // The caller may have gone.
        Err(error) => drop(events.send(error.frame()).await),
    }
}

async fn answer(
    server: &Server,
    asked: &str,
    past: Option<&Past>,
    events: &mpsc::Sender<Value>,
) -> Result<Option<Past>, ApiError> {
    let asked = read(body(asked)?, past)?;
    let (model, request, frame) = asked.open(server).await?;
    let id = frame.id.clone();
    let mut conversation = request.messages.clone();
    // Instructions hold for one response; those within the conversation stay.
    if frame.has_instructions()
        && conversation
            .first()
            .is_some_and(|first| first.role == Role::System)
    {
        conversation.remove(0);
    }
    let call = Call::begin(model, request);
    let response = stream::produce(call, &mut Events::new(frame), events).await;
    Ok(response.map(|response| {
        conversation.push(response.message());
        Past { id, conversation }
    }))
}

/// The body of a request, without what only HTTP has.
fn body(text: &str) -> Result<Value, ApiError> {
    let mut body: Value =
        serde_json::from_str(text).map_err(|error| ApiError::invalid(error.to_string()))?;
    if body["type"] != "response.create" {
        return Err(ApiError::parameter("type", "type is response.create"));
    }
    if let Some(name) = ["stream", "stream_options", "background"]
        .iter()
        .find(|name| !body[**name].is_null())
    {
        return Err(ApiError::parameter(
            *name,
            format!("{name} is for HTTP alone"),
        ));
    }
    if let Some(fields) = body.as_object_mut() {
        fields.remove("type");
    }
    Ok(body)
}
