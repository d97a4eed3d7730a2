//! A call at work: what it has yet to compute, what it has said, and what bounds it.

use std::collections::VecDeque;
use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llguidance::Matcher;
use tokio::sync::oneshot;

use super::choices::Sampled;
use super::ending::{Bytes, Ending};
use super::sampling::{FEW, Random, likeliest_allowed, log_probability, probabilities, sample};
use super::tokens;
use crate::{Delta, DeltaSink, Error, Result, Stop, Usage};

/// A call as the engine's thread gets it.
pub(super) struct Job {
    pub prompt: Vec<LlamaToken>,
    /// How many tokens it begins with that many calls begin with.
    pub stable: usize,
    /// Whether they were looked for on disk.
    pub looked_up: bool,
    /// The answer, when none is to be written and only its likelihood is wanted.
    pub given: Option<Vec<LlamaToken>>,
    /// Which of the model's adapters it is decoded with.
    pub adapter: Option<usize>,
    pub matcher: Option<Matcher>,
    /// Set for an answer in JSON, which is brought to an end before its limit.
    pub bytes: Option<Arc<Bytes>>,
    pub max_tokens: u32,
    pub temperature: f32,
    pub seed: u64,
    pub sink: Option<DeltaSink>,
    pub reply: oneshot::Sender<Result<Decoded>>,
}

/// What a call yields.
#[derive(Debug)]
pub(super) struct Decoded {
    pub text: String,
    pub sampled: Vec<Sampled>,
    /// Of a given answer; see [`crate::Response::likelihood`].
    pub likelihood: Option<f32>,
    pub usage: Usage,
    pub stop: Stop,
}

/// A call at work.
pub(super) struct Work {
    /// The sequence that it has in the cache.
    pub slot: usize,
    /// Which of the model's adapters it is decoded with.
    pub adapter: Option<usize>,
    /// Tokens to be computed next.
    pub pending: VecDeque<LlamaToken>,
    /// How many tokens at the beginning are to be kept on disk once they are computed; 0 for none.
    pub keeps: usize,
    /// The rows of the batch whose logits are wanted: the one that says the next token, or those that say
    /// how likely the tokens of a given answer are.
    pub rows: Vec<i32>,
    /// Set once the answer is whole.
    pub stop: Option<Stop>,
    matcher: Option<Matcher>,
    ending: Option<Ending>,
    max_tokens: u32,
    temperature: f32,
    random: Random,
    sink: Option<DeltaSink>,
    reply: oneshot::Sender<Result<Decoded>>,
    text: Vec<u8>,
    /// How much of the text the sink has.
    streamed: usize,
    sampled: Vec<Sampled>,
    given: Option<Given>,
    usage: Usage,
}

/// An answer that is held against the model.
struct Given {
    /// Its tokens that were not looked at yet, and how many it has.
    tokens: VecDeque<LlamaToken>,
    count: usize,
    /// The sum of the logarithms of the others' probabilities.
    sum: f64,
}

impl Work {
    /// Takes up `job` in the sequence `slot`, which holds the first `shared` tokens of its prompt.
    pub(super) fn new(model: &LlamaModel, job: Job, slot: usize, shared: usize) -> Work {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let usage = Usage {
            prompt_tokens: count(job.prompt.len()),
            cached_tokens: count(shared),
            ..Usage::default()
        };
        let given = job.given.map(Given::new);
        // Nothing follows the last token of a given answer.
        let said = given.iter().flat_map(|given| given.tokens.iter().copied());
        let said = said.take(
            given
                .as_ref()
                .map_or(0, |given| given.count.saturating_sub(1)),
        );
        let mut work = Work {
            slot,
            adapter: job.adapter,
            keeps: 0,
            pending: job.prompt.into_iter().skip(shared).chain(said).collect(),
            rows: Vec::new(),
            // To say nothing is as likely as can be.
            stop: given
                .as_ref()
                .filter(|given| given.count == 0)
                .map(|_| Stop::End),
            matcher: job.matcher,
            ending: job.bytes.map(|bytes| Ending::new(bytes, job.max_tokens)),
            max_tokens: job.max_tokens,
            temperature: job.temperature,
            random: Random::new(job.seed),
            sink: job.sink,
            reply: job.reply,
            text: Vec::new(),
            streamed: 0,
            sampled: Vec::new(),
            given,
            usage,
        };
        // What the answer must begin with is computed together with the prompt.
        if work.given.is_none() {
            let forced = work.forced();
            work.append(model, forced);
        }
        work
    }

    /// Of `pending` tokens, from which one on the logits are wanted.
    pub(super) fn wanted_from(&self, pending: usize) -> usize {
        let given = self.given.as_ref().map_or(1, |given| given.count);
        pending.saturating_sub(given)
    }

    /// Whether the caller has gone.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Takes the next token from `logits`, and those that follow without a choice.
    pub(super) fn advance(
        &mut self,
        model: &LlamaModel,
        logits: &[f32],
    ) -> std::result::Result<(), String> {
        if let Some(given) = &mut self.given {
            if given.look(logits) {
                self.stop = Some(Stop::End);
            }
            return Ok(());
        }
        let Some(token) = self.choose(model, logits)? else {
            return Err("the constraint leaves no token".to_owned());
        };
        if model.vocab().is_eog(token) {
            self.stop = Some(Stop::End);
            return Ok(());
        }
        let mut taken = vec![token];
        if let Some(matcher) = &mut self.matcher {
            matcher
                .consume_token(token.0.cast_unsigned())
                .map_err(|error| error.to_string())?;
            taken.extend(self.forced());
        }
        match self.end_instead_of(model, &taken) {
            Some(end) => {
                self.append(model, end);
                self.stop = Some(Stop::Length);
            }
            None => self.append(model, taken),
        }
        match self.matcher.as_ref().and_then(Matcher::get_error) {
            Some(message) => Err(message),
            None => Ok(()),
        }
    }

    fn choose(
        &mut self,
        model: &LlamaModel,
        logits: &[f32],
    ) -> std::result::Result<Option<LlamaToken>, String> {
        let Some(matcher) = &mut self.matcher else {
            let all = logits.iter().copied().enumerate();
            return Ok(sample(&mut self.random, self.temperature, all));
        };
        let mask = matcher.compute_mask().map_err(|error| error.to_string())?;
        if self.temperature <= 0.0 && mask.num_set() > FEW {
            self.sampled.push(Sampled::of_many(self.text.len()));
            return Ok(likeliest_allowed(logits, &mask));
        }
        let allowed: Vec<(usize, f32)> = mask
            .iter()
            .filter_map(|index| {
                let index = usize::try_from(index).ok()?;
                Some((index, *logits.get(index)?))
            })
            .collect();
        if allowed.len() > 1 {
            self.sampled
                .push(probabilities(model, self.text.len(), &allowed));
        }
        Ok(sample(
            &mut self.random,
            self.temperature,
            allowed.into_iter(),
        ))
    }

    /// What has to be said instead of `taken`, which the constraint took for said, so that the answer comes
    /// to a valid end within its limit.
    fn end_instead_of(
        &mut self,
        model: &LlamaModel,
        taken: &[LlamaToken],
    ) -> Option<Vec<LlamaToken>> {
        let (matcher, ending) = (self.matcher.as_ref()?, self.ending.as_mut()?);
        let text: Vec<u8> = taken
            .iter()
            .flat_map(|token| tokens::bytes(model, *token))
            .collect();
        let left = self.max_tokens.saturating_sub(self.usage.output_tokens);
        let left = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .saturating_sub(taken.len());
        let end = ending.instead_of(&text, matcher, left)?;
        Some(
            end.into_iter()
                .map(|token| LlamaToken(token.cast_signed()))
                .collect(),
        )
    }

    /// The tokens that the constraint leaves no choice about, which it takes for said.
    fn forced(&mut self) -> Vec<LlamaToken> {
        let Some(matcher) = &mut self.matcher else {
            return Vec::new();
        };
        let forced = matcher.consume_ff_tokens();
        let token = |token: u32| LlamaToken(token.cast_signed());
        forced.into_iter().map(token).collect()
    }

    fn append(&mut self, model: &LlamaModel, mut said: Vec<LlamaToken>) {
        let said_before = self.usage.output_tokens;
        let left = self.max_tokens.saturating_sub(said_before);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        // A constraint that failed calls itself stopped too.
        let done = |matcher: &Matcher| matcher.is_stopped() && !matcher.is_error();
        let is_complete = said.len() <= left && self.matcher.as_ref().is_some_and(done);
        said.truncate(left);
        for token in &said {
            let bytes = tokens::bytes(model, *token);
            self.ending
                .iter_mut()
                .for_each(|ending| ending.read(&bytes));
            self.text.extend(bytes);
        }
        self.usage.output_tokens += u32::try_from(said.len()).unwrap_or(0);
        self.pending.extend(said);
        self.stream();
        if is_complete {
            self.stop = Some(Stop::End);
        } else if self.usage.output_tokens >= self.max_tokens {
            self.stop = Some(Stop::Length);
        }
    }

    /// Sends what is complete UTF-8 and was not sent yet.
    fn stream(&mut self) {
        let Some(sink) = &self.sink else { return };
        let fresh = self.text.get(self.streamed..).unwrap_or_default();
        let complete = match std::str::from_utf8(fresh) {
            Ok(text) => text,
            Err(error) => {
                let whole = fresh.get(..error.valid_up_to()).unwrap_or_default();
                std::str::from_utf8(whole).unwrap_or_default()
            }
        };
        if complete.is_empty() {
            return;
        }
        self.streamed += complete.len();
        // Whoever reads the stream may have gone; the answer still comes whole.
        let _ = sink.send(Delta::Text {
            text: complete.to_owned(),
        });
    }

    /// Answers the caller, who may have gone.
    pub(super) fn finish(self, stop: Stop) {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        let decoded = Decoded {
            text,
            sampled: self.sampled,
            likelihood: self.given.map(|given| given.likelihood()),
            usage: self.usage,
            stop,
        };
        let _ = self.reply.send(Ok(decoded));
    }

    /// Tells the caller that the engine failed.
    pub(super) fn fail(self, message: String) {
        let _ = self.reply.send(Err(Error::Engine { message }));
    }
}

impl Given {
    fn new(tokens: Vec<LlamaToken>) -> Given {
        Given {
            count: tokens.len(),
            tokens: tokens.into(),
            sum: 0.0,
        }
    }

    /// Looks at the next token, whose logits these are; returns whether it was the last.
    fn look(&mut self, logits: &[f32]) -> bool {
        if let Some(token) = self.tokens.pop_front() {
            self.sum += f64::from(log_probability(logits, token));
        }
        self.tokens.is_empty()
    }

    fn likelihood(&self) -> f32 {
        (self.sum / self.count.max(1) as f64) as f32
    }
}
