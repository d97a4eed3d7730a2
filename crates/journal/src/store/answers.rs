//! How a step waits for the writer's word that its event is on disk.
//!
//! On a fast disk a commit takes about 100 µs, and waking a thread when it is done another 20 to 30: a run
//! that does nothing but steps would pay them with each. So whoever is the only one to wait, and has come
//! back at once after the last answer, has itself woken by a timer before a commit usually ends, and looks
//! for the rest of the time. A run that has work to do between its steps does not lose much by the waking;
//! several share commits, and have better to do meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::writer::{CommitTime, has_one_processor};
use crate::{Error, Result};

/// Where a commit takes longer, waking a thread does not matter.
const QUICK: Duration = Duration::from_micros(250);
/// Who comes back later after an answer has work to do.
const AT_ONCE: Duration = Duration::from_micros(20);
/// How long before the end of a usual commit the timer is set: Linux lets timers be 50 µs late, and waking
/// takes its time.
const EARLY: Duration = Duration::from_micros(100);
/// How long to look without letting other tasks of the thread have their turn.
const TURN: Duration = Duration::from_micros(30);

/// Who waits, and for how long it may be worth looking.
pub(super) struct Answers {
    waiting: AtomicUsize,
    commit_time: CommitTime,
    may_look: bool,
    opened: Instant,
    /// When the last answer was taken, in nanoseconds since `opened`.
    answered: AtomicU64,
}

impl Default for Answers {
    fn default() -> Answers {
        Answers {
            waiting: AtomicUsize::new(0),
            commit_time: CommitTime::default(),
            may_look: !has_one_processor(),
            opened: Instant::now(),
            answered: AtomicU64::new(0),
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
        let result = match self.look_for(&mut answer).await {
            Some(result) => result,
            None => answer.await.map_err(|_| Error::Gone),
        };
        self.answered.store(self.now(), Ordering::Relaxed);
        result
    }

    /// Looks for an answer, if that is worth it, for about as long as a commit takes.
    async fn look_for<T>(&self, answer: &mut oneshot::Receiver<T>) -> Option<Result<T>> {
        let start = Instant::now();
        let usual = Duration::from_nanos(self.commit_time.load(Ordering::Relaxed));
        if !self.may_look || usual >= QUICK || self.since_last_answer() >= AT_ONCE {
            return None;
        }
        let mut found = take(answer);
        if found.is_none() && self.is_alone() {
            std::thread::sleep(usual.saturating_sub(EARLY));
        }
        while found.is_none() && self.is_alone() && start.elapsed() < usual * 2 {
            tokio::task::yield_now().await;
            let turn = Instant::now();
            while found.is_none() && turn.elapsed() < TURN {
                std::hint::spin_loop();
                found = take(answer);
            }
        }
        found
    }

    fn is_alone(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn since_last_answer(&self) -> Duration {
        let answered = self.answered.load(Ordering::Relaxed);
        Duration::from_nanos(self.now().saturating_sub(answered))
    }
}

/// What is there of an answer.
fn take<T>(answer: &mut oneshot::Receiver<T>) -> Option<Result<T>> {
    match answer.try_recv() {
        Ok(answer) => Some(Ok(answer)),
        Err(TryRecvError::Closed) => Some(Err(Error::Gone)),
        Err(TryRecvError::Empty) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Answers of a writer that needs so long for a commit.
    fn answers(commit: Duration) -> Answers {
        let answers = Answers::default();
        let nanos = u64::try_from(commit.as_nanos()).unwrap();
        answers.commit_time().store(nanos, Ordering::Relaxed);
        answers
    }

    #[tokio::test]
    async fn an_answer_is_found_whether_it_comes_soon_or_late_or_never() {
        for commit in [Duration::ZERO, QUICK / 2, QUICK * 2] {
            let answers = answers(commit);
            for late in [Duration::ZERO, commit, Duration::from_millis(5)] {
                let (sender, receiver) = oneshot::channel();
                let writer = std::thread::spawn(move || {
                    std::thread::sleep(late);
                    sender.send(7)
                });
                assert_eq!(answers.wait_for(receiver).await.unwrap(), 7);
                writer.join().unwrap().unwrap();
                let (sender, receiver) = oneshot::channel::<()>();
                drop(sender);
                assert!(matches!(answers.wait_for(receiver).await, Err(Error::Gone)));
            }
        }
    }

    #[tokio::test]
    async fn who_stops_waiting_is_not_counted_any_more() {
        let answers = answers(QUICK / 2);
        let (_sender, receiver) = oneshot::channel::<()>();
        let a_while = Duration::from_millis(5);
        let waited = tokio::time::timeout(a_while, answers.wait_for(receiver)).await;
        assert!(waited.is_err());
        assert_eq!(answers.waiting.load(Ordering::Relaxed), 0);
    }
}
