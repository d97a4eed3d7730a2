//! One answer on its way: a task that asks the model, and a stream of server-sent events from it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use futures::StreamExt as _;
use model::{Delta, Model, Request, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::error::ApiError;

/// Events that wait for a slow reader.
const QUEUE: usize = 256;

/// Writes the events of one dialect.
pub(crate) trait Writer: Send + 'static {
    /// What comes before the answer.
    fn begin(&mut self) -> Vec<Value>;
    /// A piece of the answer.
    fn delta(&mut self, delta: Delta) -> Vec<Value>;
    /// What comes after it.
    fn end(&mut self, response: &Response) -> Vec<Value>;
    /// What is said when it broke off.
    fn failed(&mut self, error: &ApiError) -> Vec<Value>;
    /// Whether each event is also named by its `type`.
    fn names_events(&self) -> bool;
    /// The text after the last event, where the dialect has one.
    fn last(&self) -> Option<&'static str>;
}

/// Answers with a stream. When the caller goes away, so does the work.
pub(crate) fn respond(
    model: Arc<dyn Model>,
    request: Request,
    writer: impl Writer,
) -> HttpResponse {
    let (events, received) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        tokio::select! {
            () = produce(model, request, writer, &events) => {}
            () = events.closed() => {}
        }
    });
    let stream = futures::stream::unfold(received, |mut received| async move {
        let event: Event = received.recv().await?;
        Some((Ok::<Event, Infallible>(event), received))
    });
    Sse::new(stream.boxed())
        .keep_alive(KeepAlive::default())
        .into_response()
}

async fn produce(
    model: Arc<dyn Model>,
    request: Request,
    mut writer: impl Writer,
    events: &mpsc::Sender<Event>,
) {
    let (sink, mut deltas) = mpsc::unbounded_channel();
    let names = writer.names_events();
    let first = writer.begin();
    send(events, first, names).await;
    let answer = async move { model.generate(&request, Some(sink)).await };
    tokio::pin!(answer);
    let answered = loop {
        tokio::select! {
            biased;
            Some(delta) = deltas.recv() => send(events, writer.delta(delta), names).await,
            answered = &mut answer => break answered,
        }
    };
    // What came with the end.
    while let Ok(delta) = deltas.try_recv() {
        send(events, writer.delta(delta), names).await;
    }
    let last = match answered {
        Ok(response) => writer.end(&response),
        Err(error) => writer.failed(&ApiError::from(error)),
    };
    send(events, last, names).await;
    if let Some(last) = writer.last() {
        // The caller may have gone.
        let _ = events.send(Event::default().data(last)).await;
    }
}

async fn send(events: &mpsc::Sender<Event>, values: Vec<Value>, names: bool) {
    for value in values {
        let mut event = Event::default().data(value.to_string());
        if names && let Some(name) = value["type"].as_str() {
            event = event.event(name);
        }
        // The caller may have gone; then the whole task ends.
        let _ = events.send(event).await;
    }
}
