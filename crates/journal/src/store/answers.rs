//! How a step waits for the writer's word that its event is on disk.
//!
//! On a fast disk a commit takes about 100 µs, and putting a thread to sleep and waking it another 20 to
//! 30: a run that works alone would pay them with each step. So whoever is the only one to wait looks for
//! the answer for about as long as a commit takes. Several share commits, and have better to do meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::writer::{CommitTime, has_one_processor};
use crate::{Error, Result};

/// Where a commit takes longer, waking a thread does not matter.
const QUICK: Duration = Duration::from_micros(250);
/// How long to look without letting other tasks of the thread have their turn.
const TURN: Duration = Duration::from_micros(30);

/// Who waits, and for how long it may be worth looking.
pub(super) struct Answers {
    waiting: AtomicUsize,
    commit_time: CommitTime,
    may_look: bool,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers {
            waiting: AtomicUsize::new(0),
            commit_time: CommitTime::default(),
            may_look: !has_one_processor(),
        }
    }
}

/// One who waits, counted as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Answers {
    /// Where the writer tells how long its last commit took.
    pub(super) fn commit_time(&self) -> CommitTime {
        Arc::clone(&self.commit_time)
    }

    /// Waits for an answer; [`Error::Gone`] when there is nobody to give it.
    pub(super) async fn wait_for<T>(&self, mut answer: oneshot::Receiver<T>) -> Result<T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let start = Instant::now();
        while self.is_worth_looking(start) {
            let turn = Instant::now();
            while turn.elapsed() < TURN {
                match answer.try_recv() {
                    Ok(answer) => return Ok(answer),
                    Err(TryRecvError::Closed) => return Err(Error::Gone),
                    Err(TryRecvError::Empty) => std::hint::spin_loop(),
                }
            }
            tokio::task::yield_now().await;
        }
        answer.await.map_err(|_| Error::Gone)
    }

    fn is_worth_looking(&self, start: Instant) -> bool {
        let usual = Duration::from_nanos(self.commit_time.load(Ordering::Relaxed));
        self.may_look
            && self.waiting.load(Ordering::Relaxed) == 1
            && usual < QUICK
            && start.elapsed() < usual * 2
    }
}
