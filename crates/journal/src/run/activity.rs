//! What a run's code is doing: steps in flight, and what it waits for.
//!
//! A run whose code only waits can leave memory. That is seen here: nothing is in flight, something is
//! waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::store::Wait;

/// Shared by the handles of a run.
#[derive(Clone, Default)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    busy: usize,
    /// How often something has been begun.
    begun: u64,
    waits: BTreeMap<u64, (Wait, String)>,
    /// Somebody parks the run when it only waits.
    driver: Option<Waker>,
    driven: bool,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is in flight for as long as what is returned lives.
    pub(super) fn busy(&self) -> Busy {
        let mut state = self.lock();
        state.busy += 1;
        state.begun += 1;
        Busy {
            activity: self.clone(),
            number: state.begun,
        }
    }

    /// What is in flight here does not count for as long as what is returned lives: it waits itself.
    pub(super) fn idle(&self) -> Idle {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        Activity::changed(state);
        Idle(self.clone())
    }

    /// From now on somebody parks the run when it only waits.
    pub(super) fn drive(&self) {
        self.lock().driven = true;
    }

    pub(super) fn is_driven(&self) -> bool {
        self.lock().driven
    }

    /// What the run waits for, in the order of the calls, when it does nothing else; else `waker` is told when that may have
    /// changed.
    pub(super) fn only_waits(&self, waker: &Waker) -> Option<Vec<(Wait, String)>> {
        let mut state = self.lock();
        if state.busy == 0 && !state.waits.is_empty() {
            return Some(state.waits.values().cloned().collect());
        }
        state.driver = Some(waker.clone());
        None
    }

    fn changed(mut state: MutexGuard<'_, State>) {
        let waker = state.driver.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// See [`Activity::busy`].
pub(super) struct Busy {
    activity: Activity,
    number: u64,
}

impl Busy {
    /// What is in flight here waits for something, with words for it, for as long as what is returned
    /// lives.
    pub(super) fn waiting(&self, wait: Wait, reason: String) -> Waiting {
        let mut state = self.activity.lock();
        state.waits.insert(self.number, (wait, reason));
        Activity::changed(state);
        Waiting {
            activity: self.activity.clone(),
            number: self.number,
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.busy = state.busy.saturating_sub(1);
        Activity::changed(state);
    }
}

/// See [`Activity::idle`].
pub(super) struct Idle(Activity);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.lock().busy += 1;
    }
}

/// See [`Busy::waiting`].
pub(super) struct Waiting {
    activity: Activity,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.activity.lock().waits.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_comes_in_the_order_of_the_calls() {
        let activity = Activity::default();
        let (first, second) = (activity.busy(), activity.busy());
        let wait = |busy: &Busy, at_ms| busy.waiting(Wait::Timer(at_ms), at_ms.to_string());
        let _later = wait(&second, 2);
        let _earlier = wait(&first, 1);
        assert!(activity.only_waits(Waker::noop()).is_none());
        drop((second, first));
        let waits = activity.only_waits(Waker::noop()).unwrap_or_default();
        let reasons: Vec<&str> = waits.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(reasons, ["1", "2"]);
    }
}
