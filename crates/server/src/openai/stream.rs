//! One answer on its way: a task that asks the model, and a stream of server-sent events from it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use futures::{Stream, StreamExt as _};
use model::{Delta, Model, Request, Response};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::error::ApiError;

/// Events that wait for a slow reader.
const QUEUE: usize = 256;

/// Events that go out together at most.
const GATHERED: usize = 32;

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
    let events = gathered(values.boxed()).map(move |value| event(&value, names));
    let last = futures::stream::iter(last.map(|last| Event::default().data(last)));
    Sse::new(events.chain(last).map(Ok::<Event, Infallible>).boxed())
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// The same, with those that are on their way at the same moment one right after the other: they go out with one
/// write. A provider's pieces often arrive together, and are handed over by another task one at a time.
fn gathered<T>(values: impl Stream<Item = T> + Unpin) -> impl Stream<Item = T> {
    let begin = (values.fuse(), VecDeque::new());
    futures::stream::unfold(begin, async |(mut values, mut ready)| {
        if ready.is_empty() {
            ready.push_back(values.next().await?);
            let mut has_waited = false;
            while ready.len() < GATHERED {
                let polled = poll_fn(|context| Poll::Ready(values.poll_next_unpin(context)));
                match polled.await {
                    Poll::Ready(Some(value)) => {
                        ready.push_back(value);
                        has_waited = false;
                    }
                    Poll::Pending if !has_waited => {
                        has_waited = true;
                        tokio::task::yield_now().await;
                    }
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
        }
        Some((ready.pop_front()?, (values, ready)))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_together_goes_out_without_a_pause() {
        let (send, mut receive) = mpsc::channel(1);
        tokio::spawn(async move {
            for number in 0..100 {
                // Never more than one at a time.
                let _ = send.send(number).await;
            }
        });
        let values = futures::stream::poll_fn(move |context| receive.poll_recv(context));
        let mut values = Box::pin(gathered(values));
        // What was given out before a pause is what goes out with one write.
        let (mut all, mut writes, mut written) = (Vec::new(), 0, 0);
        loop {
            match poll_fn(|context| Poll::Ready(values.poll_next_unpin(context))).await {
                Poll::Ready(Some(value)) => all.push(value),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    writes += usize::from(all.len() > written);
                    written = all.len();
                    tokio::task::yield_now().await;
                }
            }
        }
        assert_eq!(all, (0..100).collect::<Vec<i32>>());
        assert!(writes <= 4, "{writes} writes");
    }
}
