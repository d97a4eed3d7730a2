//! The clock of a journal: the system's, or one that a test turns by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A future that is done when a time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a journal gets the time from.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970 (UTC).
    fn now_ms(&self) -> i64;
    /// Waits until [`Clock::now_ms`] has reached this time. May end early; whoever waits looks again.
    fn sleep_until(&self, at_ms: i64) -> Sleep;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A sleep is cut into pieces of this length, because the system's clock may be set meanwhile.
const LONGEST_SLEEP_MS: u64 = 60_000;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, at_ms: i64) -> Sleep {
        let left = u64::try_from(at_ms.saturating_sub(self.now_ms())).unwrap_or_default();
        Box::pin(tokio::time::sleep(Duration::from_millis(
            left.min(LONGEST_SLEEP_MS),
        )))
    }
}

/// A clock that stands still until it is set. For tests; clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Manual>>);

#[derive(Debug)]
struct Manual {
    now_ms: i64,
    next: u64,
    sleepers: BTreeMap<(i64, u64), Waker>,
}

impl ManualClock {
    /// A clock that shows this time, in milliseconds since 1970 (UTC).
    pub fn new(now_ms: i64) -> ManualClock {
        ManualClock(Arc::new(Mutex::new(Manual {
            now_ms,
            next: 0,
            sleepers: BTreeMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Manual> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the time, forwards or backwards, and wakes whoever has waited for it.
    pub fn set(&self, now_ms: i64) {
        let due = {
            let mut manual = self.lock();
            manual.now_ms = now_ms;
            let later = manual.sleepers.split_off(&(now_ms + 1, 0));
            std::mem::replace(&mut manual.sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// The earliest time that somebody waits for.
    pub fn next_sleeper_ms(&self) -> Option<i64> {
        self.lock().sleepers.keys().next().map(|(at_ms, _)| *at_ms)
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.lock().now_ms
    }

    fn sleep_until(&self, at_ms: i64) -> Sleep {
        let key = {
            let mut manual = self.lock();
            manual.next += 1;
            (at_ms, manual.next)
        };
        Box::pin(Sleeper {
            clock: self.clone(),
            key,
        })
    }
}

struct Sleeper {
    clock: ManualClock,
    key: (i64, u64),
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut manual = self.clock.lock();
        if manual.now_ms >= self.key.0 {
            return Poll::Ready(());
        }
        manual.sleepers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
    }
}
