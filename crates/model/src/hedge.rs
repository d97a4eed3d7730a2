//! A second call beside one that has not begun to answer: the first of both to begin gives the answer.

use std::time::Duration;

use futures::future::{BoxFuture, select_all};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{Delta, DeltaSink, Response, Result};

/// A call on its way.
struct Run<'a> {
    answer: BoxFuture<'a, Result<Response>>,
    pieces: UnboundedReceiver<Delta>,
}

/// What is heard of it.
enum News {
    Piece(Delta),
    End(Result<Response>),
}

impl Run<'_> {
    /// The next of it. Must not be asked again after its end.
    async fn news(&mut self) -> News {
        tokio::select! {
            biased;
            Some(piece) = self.pieces.recv() => News::Piece(piece),
            answer = &mut self.answer => News::End(answer),
        }
    }
}

/// Makes a call, and another one when the first has not begun to answer `after` that time. The slower
/// one is dropped. Pieces of the faster one go to `sink`; `seen` is set at the first.
///
/// # Errors
/// That of the call that was left.
pub(crate) async fn race<'a>(
    call: impl Fn(DeltaSink) -> BoxFuture<'a, Result<Response>>,
    after: Duration,
    sink: Option<&DeltaSink>,
    seen: &mut bool,
) -> Result<Response> {
    let begin = || {
        let (inner, pieces) = unbounded_channel();
        let answer = call(inner);
        Run { answer, pieces }
    };
    let mut runs = vec![begin()];
    let mut timer = Box::pin(tokio::time::sleep(after));
    let mut may_begin = true;
    loop {
        let heard = tokio::select! {
            biased;
            (news, index, _) = select_all(runs.iter_mut().map(|run| Box::pin(run.news()))) => Some((news, index)),
            () = &mut timer, if may_begin => None,
        };
        may_begin &= heard.is_some();
        let Some((news, index)) = heard else {
            runs.push(begin());
            continue;
        };
        let run = runs.swap_remove(index);
        if matches!(news, News::End(Err(_))) && !runs.is_empty() {
            continue;
        }
        let dropped_calls = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        drop(runs);
        return finish(run, news, sink, seen, dropped_calls).await;
    }
}

/// The rest of the faster call, from what was heard first of it.
async fn finish(
    mut run: Run<'_>,
    mut news: News,
    sink: Option<&DeltaSink>,
    seen: &mut bool,
    dropped_calls: u32,
) -> Result<Response> {
    let mut pass = |piece| {
        if let Some(sink) = sink {
            *seen = true;
            // Whoever reads the stream may have gone; the answer still comes whole.
            let _ = sink.send(piece);
        }
    };
    loop {
        match news {
            News::Piece(piece) => pass(piece),
            News::End(answer) => {
                while let Ok(piece) = run.pieces.try_recv() {
                    pass(piece);
                }
                return answer.map(|response| Response {
                    dropped_calls,
                    ..response
                });
            }
        }
        news = run.news().await;
    }
}
