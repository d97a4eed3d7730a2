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

/// Answers with a stream. The work is done where the stream is read: when the caller goes away, it ends,
/// and no event waits for another thread.
pub(crate) fn respond(
    model: Arc<dyn Model>,
    request: Request,
    mut writer: impl Writer,
) -> HttpResponse {
    let (names, last) = (writer.names_events(), writer.last());
    let (events, received) = mpsc::channel(QUEUE);
    let work = async move {
        produce(model, request, &mut writer, &events).await;
    };
    let values = futures::stream::unfold((received, Some(Box::pin(work))), next);
    let events = values.map(move |value| event(&value, names));
    let last = futures::stream::iter(last.map(|last| Event::default().data(last)));
    Sse::new(events.chain(last).map(Ok::<Event, Infallible>).boxed())
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// The next event, with the work done that it takes.
async fn next<W: Future<Output = ()> + Unpin>(
    (mut received, mut work): (mpsc::Receiver<Value>, Option<W>),
) -> Option<(Value, (mpsc::Receiver<Value>, Option<W>))> {
    loop {
        let Some(running) = &mut work else {
            let value = received.recv().await?;
            return Some((value, (received, work)));
        };
        tokio::select! {
            biased;
            // First, so that what it says is heard in the same moment and not at the next waking.
            () = running => work = None,
            Some(value) = received.recv() => return Some((value, (received, work))),
        }
    }
}

fn event(value: &Value, named: bool) -> Event {
    let event = Event::default().data(value.to_string());
    match value["type"].as_str().filter(|_| named) {
        Some(name) => event.event(name),
        None => event,
    }
}

/// Asks the model and sends the events of its answer; gives the answer, unless it broke off.
pub(crate) async fn produce(
    model: Arc<dyn Model>,
    request: Request,
    writer: &mut impl Writer,
    events: &mpsc::Sender<Value>,
) -> Option<Response> {
    let (sink, mut deltas) = mpsc::unbounded_channel();
    send(events, writer.begin()).await;
    let answer = async move { model.generate(&request, Some(sink)).await };
    tokio::pin!(answer);
    let answered = loop {
        tokio::select! {
            biased;
            answered = &mut answer => break answered,
            Some(delta) = deltas.recv() => send(events, writer.delta(delta)).await,
        }
    };
    // What came with the end.
    while let Ok(delta) = deltas.try_recv() {
        send(events, writer.delta(delta)).await;
    }
    match answered {
        Ok(response) => {
            send(events, writer.end(&response)).await;
            Some(response)
        }
        Err(error) => {
            send(events, writer.failed(&ApiError::from(error))).await;
            None
        }
    }
}

async fn send(events: &mpsc::Sender<Value>, values: Vec<Value>) {
    for value in values {
        // The caller may have gone; then the whole task ends.
        let _ = events.send(value).await;
    }
}
