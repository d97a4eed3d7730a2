//! What stands around every model of a provider: limits, time-outs, trying again, the price.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::limits::{Gate, Outcome};
use crate::watch::{self, Patience};
use crate::{DeltaSink, Error, Model, Request, Response, Result, prices};

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a call is tried in all; at least once.
    pub tries: u32,
    /// The longest wait before the second try; twice that before the third, and so on. The wait itself
    /// is anything from nothing to that, so that many callers do not come back together.
    pub first_wait: Duration,
    /// The longest wait of all. A provider that asks for more is not waited for.
    pub longest_wait: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            tries: 4,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// How long to wait after the try `attempt`, counted from 1, failed with `error`; `None` when
    /// trying again is no use. `chance` is any number.
    fn wait(&self, attempt: u32, error: &Error, chance: u64) -> Option<Duration> {
        if attempt >= self.tries || !error.may_pass() {
            return None;
        }
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let most = self
            .first_wait
            .saturating_mul(doubled)
            .min(self.longest_wait);
        let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let jitter = Duration::from_millis(chance % most_ms.saturating_add(1).max(1));
        match error {
            Error::Busy {
                wait_ms: Some(asked),
                ..
            } => {
                let asked = Duration::from_millis(*asked);
                // Never earlier than asked, and not all at that moment.
                (asked <= self.longest_wait).then(|| asked + jitter.mul_f64(0.25))
            }
            _ => Some(jitter),
        }
    }
}

/// A model of a provider with everything around it.
pub(crate) struct Remote {
    wire: Arc<dyn Model>,
    gate: Arc<Gate>,
    retry: Retry,
    patience: Patience,
}

impl Remote {
    /// `wire` makes one request and says how it went.
    pub(crate) fn new(
        wire: Arc<dyn Model>,
        gate: Arc<Gate>,
        retry: Retry,
        patience: Patience,
    ) -> Remote {
        Remote {
            wire,
            gate,
            retry,
            patience,
        }
    }

    async fn once(
        &self,
        request: &Request,
        sink: Option<&DeltaSink>,
        seen: &mut bool,
    ) -> Result<Response> {
        let place = self.gate.enter(self.estimate(request)).await?;
        let wire = self.wire.as_ref();
        let answer = watch::call(wire, request, sink, Some(self.patience), seen).await;
        let outcome = match &answer {
            Ok(response) => {
                let usage = &response.usage;
                Outcome::Took(u64::from(usage.prompt_tokens) + u64::from(usage.output_tokens))
            }
            // A provider that counts requests is not down.
            Err(Error::Busy { status: 429, .. }) => Outcome::Refused,
            Err(error) if error.may_pass() => Outcome::Failed,
            Err(_) => Outcome::Refused,
        };
        self.gate.leave(place, outcome);
        answer
    }

    /// About how many tokens a request takes.
    fn estimate(&self, request: &Request) -> u64 {
        let messages = request.messages.iter();
        let prompt: usize = messages
            .map(|message| self.wire.count_tokens(&message.text()))
            .sum();
        u64::try_from(prompt).unwrap_or(u64::MAX) + u64::from(request.max_tokens)
    }
}

impl Model for Remote {
    fn name(&self) -> &str {
        self.wire.name()
    }

    fn context_tokens(&self) -> Option<u32> {
        self.wire
            .context_tokens()
            .or_else(|| prices::find(self.name())?.context)
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.wire.count_tokens(text)
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, Result<Response>> {
        Box::pin(async move {
            let mut attempt = 1;
            let mut seen = false;
            loop {
                let error = match self.once(request, sink.as_ref(), &mut seen).await {
                    Ok(mut response) => {
                        response.cost_micros = response
                            .cost_micros
                            .or_else(|| prices::cost_micros(self.name(), &response.usage));
                        return Ok(response);
                    }
                    Err(error) => error,
                };
                let chance = RandomState::new().build_hasher().finish();
                // What was seen cannot be taken back.
                match self.retry.wait(attempt, &error, chance).filter(|_| !seen) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(error),
                }
                attempt += 1;
            }
        })
    }
}

#[cfg(test)]
mod tests;
