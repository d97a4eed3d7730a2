//! What stands around every model of a provider: limits, time-outs, trying again, the price.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Deserialize;

use crate::limits::{Gate, Outcome};
use crate::watch::{self, Patience, seconds};
use crate::{
    DeltaSink, Embed, Embedded, Error, Model, Request, Response, Result, Usage, catalogue, hedge,
    prices,
};

/// A provider's model with one request at a time, and what else the provider is asked.
pub(crate) trait Wire: Model {
    /// The names of the provider's models, as it calls them.
    fn names(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Texts as vectors.
    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Embedded>>;
}

/// The longest that a provider is waited for where another model can be asked.
const LONGEST_BEFORE_ANOTHER: Duration = Duration::from_secs(10);

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// How often a call is tried in all; at least once.
    pub tries: u32,
    /// The longest wait before the second try; twice that before the third, and so on. The wait itself
    /// is anything from nothing to that, so that many callers do not come back together.
    #[serde(rename = "first_wait_s", deserialize_with = "seconds")]
    pub first_wait: Duration,
    /// The longest wait of all. A provider that asks for more is not waited for.
    #[serde(rename = "longest_wait_s", deserialize_with = "seconds")]
    pub longest_wait: Duration,
}

/// When a second call is made beside one that has not begun to answer. The slower of both is dropped;
/// a provider bills its prompt all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hedging {
    /// How long the first one is waited for.
    #[serde(rename = "after_s", deserialize_with = "seconds")]
    pub after: Duration,
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
    /// trying again is no use. `chance` is any number; `others` says that another model is asked then.
    fn wait(&self, attempt: u32, error: &Error, chance: u64, others: bool) -> Option<Duration> {
        if attempt >= self.tries || !error.may_pass() {
            return None;
        }
        let longest = match others {
            true => self.longest_wait.min(LONGEST_BEFORE_ANOTHER),
            false => self.longest_wait,
        };
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let most = self.first_wait.saturating_mul(doubled).min(longest);
        let most_ms = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        let jitter = Duration::from_millis(chance % most_ms.saturating_add(1).max(1));
        match error {
            Error::Busy {
                wait_ms: Some(asked),
                ..
            }
            | Error::Resting { wait_ms: asked, .. } => {
                let asked = Duration::from_millis(*asked);
                // Never earlier than asked, and not all at that moment.
                (asked <= longest).then(|| asked + jitter.mul_f64(0.25))
            }
            // Each silence takes minutes.
            Error::TimedOut { .. } => (attempt == 1 && !others).then_some(jitter),
            _ => Some(jitter),
        }
    }
}

/// How the calls of one provider are made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    pub retry: Retry,
    pub patience: Patience,
    pub hedging: Option<Hedging>,
    /// Whether another model is asked where this one fails.
    pub others: bool,
}

/// A model of a provider with everything around it.
pub(crate) struct Remote {
    wire: Arc<dyn Wire>,
    gate: Arc<Gate>,
    manner: Manner,
}

impl Remote {
    /// `wire` makes one request and says how it went.
    pub(crate) fn new(wire: Arc<dyn Wire>, gate: Arc<Gate>, manner: Manner) -> Remote {
        Remote { wire, gate, manner }
    }

    /// One answer, from two calls where the first does not begin.
    async fn once(
        &self,
        request: &Request,
        sink: Option<&DeltaSink>,
        seen: &mut bool,
    ) -> Result<Response> {
        let Some(hedging) = self.manner.hedging else {
            return self.call(request, sink, seen).await;
        };
        let call = |sink: DeltaSink| -> BoxFuture<'_, Result<Response>> {
            Box::pin(async move { self.call(request, Some(&sink), &mut false).await })
        };
        hedge::race(call, hedging.after, sink, seen).await
    }

    /// One call.
    async fn call(
        &self,
        request: &Request,
        sink: Option<&DeltaSink>,
        seen: &mut bool,
    ) -> Result<Response> {
        let place = self.gate.enter(self.estimate(request)).await?;
        let patience = Some(self.manner.patience);
        let answer = watch::call(self.wire.as_ref(), request, sink, patience, seen).await;
        let took = |response: &Response| {
            u64::from(response.usage.prompt_tokens) + u64::from(response.usage.output_tokens)
        };
        self.gate.leave(place, outcome(answer.as_ref().map(took)));
        answer
    }

    async fn embed_once(&self, texts: &[String]) -> Result<Embedded> {
        let tokens = |text: &String| self.wire.count_tokens(text);
        let estimate = texts.iter().map(tokens).sum::<usize>();
        let estimate = u64::try_from(estimate).unwrap_or(u64::MAX);
        let place = self.gate.enter(estimate).await?;
        let silence = self.manner.patience.first;
        let answer = match tokio::time::timeout(silence, self.wire.embed(texts)).await {
            Ok(answer) => answer,
            Err(_) => Err(watch::timed_out(self.wire.name(), false, silence)),
        };
        let took = |embedded: &Embedded| embedded.tokens.map_or(estimate, u64::from);
        self.gate.leave(place, outcome(answer.as_ref().map(took)));
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

    /// Waits before the next try; gives the error back where there is none.
    async fn pause(&self, attempt: &mut u32, error: Error, seen: bool) -> Result<()> {
        let chance = RandomState::new().build_hasher().finish();
        let manner = &self.manner;
        let wait = manner.retry.wait(*attempt, &error, chance, manner.others);
        // What was seen cannot be taken back.
        let Some(wait) = wait.filter(|_| !seen) else {
            return Err(self.explained(error).await);
        };
        tokio::time::sleep(wait).await;
        *attempt += 1;
        Ok(())
    }

    /// A model that the provider does not know, with the nearest that it does.
    async fn explained(&self, error: Error) -> Error {
        let Error::Unknown { name, hint } = error else {
            return error;
        };
        let (provider, model) = self
            .wire
            .name()
            .split_once(':')
            .unwrap_or((self.wire.name(), ""));
        let mut names = self.wire.names().await.unwrap_or_default();
        if names.is_empty() {
            let known = prices::table().models.keys();
            let known =
                known.filter_map(|name| name.split_once(':').filter(|name| name.0 == provider));
            names.extend(known.map(|name| name.1.to_owned()));
        }
        let hint = match names.is_empty() {
            true => hint,
            false => catalogue::nearest(
                &format!("{provider}:"),
                model,
                names.iter().map(String::as_str),
                &format!("plumb models --provider {provider}"),
            ),
        };
        Error::Unknown { name, hint }
    }

    /// What an answer cost, the prompts of calls that were dropped for it included.
    fn cost(&self, response: &Response) -> Option<u64> {
        let prompt = Usage {
            prompt_tokens: response.usage.prompt_tokens,
            ..Usage::default()
        };
        let answer = prices::cost_micros(self.wire.name(), &response.usage)?;
        let dropped = prices::cost_micros(self.wire.name(), &prompt)?;
        Some(answer + dropped * u64::from(response.dropped_calls))
    }
}

/// How a request went, for the way to its provider.
fn outcome(answer: std::result::Result<u64, &Error>) -> Outcome {
    match answer {
        Ok(tokens) => Outcome::Took(tokens),
        // A provider that counts requests is not down.
        Err(Error::Busy { status: 429, .. }) => Outcome::Refused,
        Err(error) if error.may_pass() => Outcome::Failed,
        Err(_) => Outcome::Refused,
    }
}

impl Model for Remote {
    fn name(&self) -> &str {
        self.wire.name()
    }

    fn context_tokens(&self) -> Option<u32> {
        self.wire
            .context_tokens()
            .or_else(|| prices::find(self.wire.name())?.context)
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
                match self.once(request, sink.as_ref(), &mut seen).await {
                    Ok(mut response) => {
                        response.cost_micros =
                            response.cost_micros.or_else(|| self.cost(&response));
                        return Ok(response);
                    }
                    Err(error) => self.pause(&mut attempt, error, seen).await?,
                }
            }
        })
    }
}

impl Embed for Remote {
    fn name(&self) -> &str {
        self.wire.name()
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded>> {
        Box::pin(async move {
            let mut attempt = 1;
            loop {
                match self.embed_once(&texts).await {
                    Ok(mut embedded) => {
                        let usage = embedded.tokens.map(|prompt_tokens| Usage {
                            prompt_tokens,
                            ..Usage::default()
                        });
                        embedded.cost_micros =
                            usage.and_then(|usage| prices::cost_micros(self.wire.name(), &usage));
                        return Ok(embedded);
                    }
                    Err(error) => self.pause(&mut attempt, error, false).await?,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
