//! What is asked of one provider at once and in a minute, and a rest for it after it has failed again
//! and again.
//!
//! Waiting is first come, first served. Who stops waiting leaves no trace.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::{Error, Result};

/// The time in which requests and tokens are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Failures in a row after which a provider is left alone.
const FAILURES: u32 = 5;
/// How long it is left alone.
const REST: Duration = Duration::from_secs(30);

/// What may be asked of a provider; no limit where not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests at once.
    pub concurrent: Option<u32>,
    /// Requests in any minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens in any minute, of prompts and answers.
    pub tokens_per_minute: Option<u32>,
}

/// The way to one provider, shared by all its models.
#[derive(Debug)]
pub(crate) struct Gate {
    provider: String,
    limits: Limits,
    places: Semaphore,
    /// Held by whoever is next in the queue for the minute's budget.
    queue: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was asked in the last minute, oldest first: time, tokens. Empty where nothing is counted.
    asked: VecDeque<(Instant, u64)>,
    /// Their tokens together.
    tokens: u64,
    /// The number of the oldest of them.
    first: u64,
    failures: u32,
    rests_until: Option<Instant>,
}

/// A place among the requests at once, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    number: u64,
    _permit: SemaphorePermit<'a>,
}

impl Gate {
    /// The way to `provider` under these limits.
    pub(crate) fn new(provider: &str, limits: Limits) -> Gate {
        let places = limits.concurrent.map_or(Semaphore::MAX_PERMITS, |most| {
            usize::try_from(most.max(1)).unwrap_or(Semaphore::MAX_PERMITS)
        });
        Gate {
            provider: provider.to_owned(),
            limits,
            places: Semaphore::new(places),
            queue: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
        }
    }

    /// Waits until a request of about `tokens` may be made.
    ///
    /// # Errors
    /// [`Error::Resting`] while the provider is left alone.
    pub(crate) async fn enter(&self, tokens: u64) -> Result<Place<'_>> {
        self.refuse_while_resting()?;
        let Ok(permit) = self.places.acquire().await else {
            return Err(self.resting(Duration::ZERO));
        };
        let _next = self.queue.lock().await;
        loop {
            let now = Instant::now();
            let Some(wait) = self.wait(now, tokens) else {
                // It may have failed for others meanwhile.
                self.refuse_while_resting()?;
                let mut state = self.state();
                let number = state.first + u64::try_from(state.asked.len()).unwrap_or(0);
                if self.counts() {
                    state.asked.push_back((now, tokens));
                    state.tokens = state.tokens.saturating_add(tokens);
                }
                return Ok(Place {
                    number,
                    _permit: permit,
                });
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Says how a request went: with the tokens that it took, or failed through the provider's fault.
    pub(crate) fn leave(&self, place: Place<'_>, outcome: Outcome) {
        let mut state = self.state();
        match outcome {
            Outcome::Took(tokens) => {
                (state.failures, state.rests_until) = (0, None);
                state.correct(place.number, tokens);
            }
            Outcome::Refused => (state.failures, state.rests_until) = (0, None),
            Outcome::Failed => {
                state.failures += 1;
                if state.failures >= FAILURES {
                    state.rests_until = Some(Instant::now() + REST);
                }
            }
        }
    }

    /// How long a request of `tokens` must wait; `None` when it may be made.
    fn wait(&self, now: Instant, tokens: u64) -> Option<Duration> {
        let mut state = self.state();
        while let Some((asked, tokens)) = state.asked.front().copied()
            && now.duration_since(asked) >= WINDOW
        {
            state.asked.pop_front();
            state.first += 1;
            state.tokens = state.tokens.saturating_sub(tokens);
        }
        let requests = u64::try_from(state.asked.len()).unwrap_or(u64::MAX);
        let taken = state.tokens;
        let over =
            |limit: Option<u32>, count: u64| limit.is_some_and(|most| count > u64::from(most));
        let full = over(
            self.limits.requests_per_minute.map(|most| most.max(1)),
            requests + 1,
        ) || over(self.limits.tokens_per_minute, taken.saturating_add(tokens));
        // What alone exceeds the limit goes when nothing else does; the provider decides.
        let oldest = state.asked.front().filter(|_| full)?;
        Some((oldest.0 + WINDOW).duration_since(now))
    }

    /// Whether a minute's requests or tokens have a limit.
    fn counts(&self) -> bool {
        self.limits.requests_per_minute.is_some() || self.limits.tokens_per_minute.is_some()
    }

    fn refuse_while_resting(&self) -> Result<()> {
        let until = self.state().rests_until;
        let left = until.map(|until| until.duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => Err(self.resting(left)),
            None => Ok(()),
        }
    }

    fn resting(&self, left: Duration) -> Error {
        Error::Resting {
            provider: self.provider.clone(),
            wait_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// Puts what a request took in the place of what was guessed, while it is counted.
    fn correct(&mut self, number: u64, tokens: u64) {
        let place = number.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(asked) = place.and_then(|place| self.asked.get_mut(place)) {
            self.tokens = self.tokens.saturating_sub(asked.1).saturating_add(tokens);
            asked.1 = tokens;
        }
    }
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered and took so many tokens.
    Took(u64),
    /// It was refused for what it is.
    Refused,
    /// The provider failed.
    Failed,
}

#[cfg(test)]
mod tests;
