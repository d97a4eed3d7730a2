//! Pieces of a body that are there at the same time, written in one.

use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::{FutureExt as _, Stream, StreamExt as _};

/// A piece that has grown to so many bytes waits for no more.
const ENOUGH: usize = 16 * 1024;
/// Turns that the other tasks get: the one that reads from a provider needs two for a piece.
const TURNS: u32 = 3;

/// The same answer in fewer, longer pieces. Nothing waits for what is not there yet: a piece goes out once
/// the other tasks had their turns.
///
/// A provider's events come many in a packet, but a task of its own reads them off one by one. Without this
/// each would be a write of its own, which costs more than all else that is done for it.
pub(super) fn gathered(answer: Response) -> Response {
    answer.map(|body| Body::from_stream(gather(body.into_data_stream())))
}

fn gather<E>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, E>> {
    let pieces = pieces.fuse().boxed();
    futures::stream::unfold((pieces, None), |(mut pieces, failed)| async move {
        if let Some(error) = failed {
            return Some((Err(error), (pieces, None)));
        }
        let mut whole = vec![match pieces.next().await? {
            Ok(first) => first,
            Err(error) => return Some((Err(error), (pieces, None))),
        }];
        let mut failed = None;
        while whole.iter().map(Bytes::len).sum::<usize>() < ENOUGH {
            match soon(pieces.next()).await.flatten() {
                Some(Ok(piece)) => whole.push(piece),
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
                None => break,
            }
        }
        let whole = match whole.as_slice() {
            [alone] => alone.clone(),
            several => several.concat().into(),
        };
        Some((Ok(whole), (pieces, failed)))
    })
}

/// What comes of `future` now, or once the other tasks of this thread have had their turns.
async fn soon<T>(mut future: impl Future<Output = T> + Unpin) -> Option<T> {
    let mut turns = 0;
    futures::future::poll_fn(|context| match future.poll_unpin(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if turns == TURNS => Poll::Ready(None),
        Poll::Pending => {
            turns += 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::channel::mpsc;

    use super::*;

    type Piece = Result<Bytes, &'static str>;

    #[tokio::test]
    async fn what_another_task_sends_one_by_one_comes_in_one_and_what_comes_later_later() {
        let (sender, receiver) = mpsc::unbounded::<Piece>();
        let (mut one, mut rest) = (mpsc::channel::<Piece>(0), sender.clone());
        // A channel without room: its sender has to be woken for each.
        tokio::spawn(async move {
            for number in 0..30 {
                let piece = Bytes::from(format!("{number} "));
                futures::SinkExt::send(&mut one.0, Ok(piece)).await.ok();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            futures::SinkExt::send(&mut one.0, Ok("late".into()))
                .await
                .ok();
            futures::SinkExt::send(&mut one.0, Err("broken")).await.ok();
            rest.start_send(Ok("end".into())).ok();
        });
        drop(sender);
        let all: Vec<Piece> = gather(one.1.chain(receiver)).collect().await;
        let together: String = (0..30).map(|number| format!("{number} ")).collect();
        assert_eq!(
            all,
            [
                Ok(together.into()),
                Ok("late".into()),
                Err("broken"),
                Ok("end".into())
            ]
        );
    }

    #[tokio::test]
    async fn a_piece_grows_to_a_measure() {
        let long = Bytes::from(vec![b'a'; ENOUGH]);
        let pieces = [
            Ok("b".into()),
            Ok(long.clone()),
            Ok(long),
            Ok::<_, ()>("c".into()),
        ];
        let all: Vec<_> = gather(futures::stream::iter(pieces)).collect().await;
        let lengths: Vec<usize> = all.iter().flatten().map(Bytes::len).collect();
        assert_eq!(lengths, [ENOUGH + 1, ENOUGH, 1]);
    }
}
