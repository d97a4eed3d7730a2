//! One answer on its way: a task that asks the model, and a stream of server-sent events from it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use model::{Delta, Model, Request, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use super::gather::gathered;
use crate::error::ApiError;

/// Events that wait for a slow reader.
const QUEUE: usize = 256;
/// How long the status of an answer waits for its first piece. A model that reads a long prompt takes longer,
/// and its caller should see meanwhile that the connection is alive.
const HEAD_WAITS: Duration = Duration::from_secs(10);

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

/// A call of a model, and what is heard of it.
pub(crate) struct Call {
    answer: BoxFuture<'static, model::Result<Response>>,
    deltas: mpsc::UnboundedReceiver<Delta>,
    /// What was heard already and not taken.
    first: Option<News>,
    /// The answer, while pieces of it are left.
    ended: Option<model::Result<Response>>,
}

/// What is heard of a call.
enum News {
    Delta(Delta),
    End(model::Result<Response>),
}

impl Call {
    /// Asks `model`.
    pub(crate) fn begin(model: Arc<dyn Model>, request: Request) -> Call {
        let (sink, deltas) = mpsc::unbounded_channel();
        Call {
            answer: Box::pin(async move { model.generate(&request, Some(sink)).await }),
            deltas,
            first: None,
            ended: None,
        }
    }

    /// The next of it. Must not be asked again after its end.
    async fn news(&mut self) -> News {
        if let Some(first) = self.first.take() {
            return first;
        }
        let ended = match self.ended.take() {
            Some(ended) => ended,
            None => tokio::select! {
                biased;
                // First, so that what it says is heard in the same moment and not at the next waking.
                answered = &mut self.answer => answered,
                Some(delta) = self.deltas.recv() => return News::Delta(delta),
            },
        };
        // What came with the end.
        match self.deltas.try_recv() {
            Ok(delta) => {
                self.ended = Some(ended);
                News::Delta(delta)
            }
            Err(_) => News::End(ended),
        }
    }
}

/// Answers with a stream. The work is done where the stream is read: when the caller goes away, it ends,
/// and no event waits for another thread.
///
/// # Errors
/// What goes wrong before anything of the answer has come, in its first [`HEAD_WAITS`]: clients go by the
/// status to try again or not. What goes wrong later is an event of the stream.
pub(crate) async fn respond(
    model: Arc<dyn Model>,
    request: Request,
    mut writer: impl Writer,
) -> Result<HttpResponse, ApiError> {
    let mut call = Call::begin(model, request);
    match tokio::time::timeout(HEAD_WAITS, call.news()).await {
        Ok(News::End(Err(error))) => return Err(error.into()),
        Ok(news) => call.first = Some(news),
        Err(_) => {}
    }
    let (names, last) = (writer.names_events(), writer.last());
    let (events, received) = mpsc::channel(QUEUE);
    let work = async move {
        produce(call, &mut writer, &events).await;
    };
    let values = futures::stream::unfold((received, Some(Box::pin(work))), next);
    let events = values.map(move |value| event(&value, names));
    let last = futures::stream::iter(last.map(|last| Event::default().data(last)));
    let events = events.chain(last).map(Ok::<Event, Infallible>).boxed();
    let events = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(gathered(events.into_response()))
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

/// Sends the events of a call's answer; gives the answer, unless it broke off.
pub(crate) async fn produce(
    mut call: Call,
    writer: &mut impl Writer,
    events: &mpsc::Sender<Value>,
) -> Option<Response> {
    send(events, writer.begin()).await;
    loop {
        match call.news().await {
            News::Delta(delta) => send(events, writer.delta(delta)).await,
            News::End(Ok(response)) => {
                send(events, writer.end(&response)).await;
                return Some(response);
            }
            News::End(Err(error)) => {
                send(events, writer.failed(&ApiError::from(error))).await;
                return None;
            }
        }
    }
}

async fn send(events: &mpsc::Sender<Value>, values: Vec<Value>) {
    for value in values {
        // The caller may have gone; then the whole task ends.
        let _ = events.send(value).await;
    }
}
