//! The thread that decodes: calls come in over a channel, each step decodes one batch for all of them.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};

use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llguidance::Matcher;
use tokio::sync::oneshot;

use super::Options;
use super::choices::Sampled;
use super::slots::Slots;
use super::tokens;
use crate::{Error, Result, Stop, TextSink, Usage};

/// Tokens decoded at once.
const BATCH: usize = 512;
/// Sequences beyond those at work, which keep the beginnings of earlier calls.
const KEPT: u32 = 8;
/// Where a constraint leaves at most this many tokens, their probabilities are kept for choices.
const FEW: usize = 64;

/// A call as the engine's thread gets it.
pub(super) struct Job {
    pub prompt: Vec<LlamaToken>,
    pub matcher: Option<Matcher>,
    pub max_tokens: u32,
    pub temperature: f32,
    pub seed: u64,
    pub sink: Option<TextSink>,
    pub reply: oneshot::Sender<Result<Decoded>>,
}

/// What a call yields.
#[derive(Debug)]
pub(super) struct Decoded {
    pub text: String,
    pub sampled: Vec<Sampled>,
    pub usage: Usage,
    pub stop: Stop,
}

/// The handle of the thread; it ends when the handle is dropped.
pub(super) struct Engine {
    jobs: mpsc::Sender<Job>,
}

impl Engine {
    pub(super) fn start(
        backend: &'static LlamaBackend,
        model: Arc<LlamaModel>,
        options: Options,
    ) -> Result<Engine> {
        let (jobs, incoming) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let work = move || match context(backend, &model, options) {
            Err(error) => drop(ready.send(Err(error))),
            Ok(context) => {
                // The handle waits for this message.
                let _ = ready.send(Ok(()));
                Decoder::new(&model, context, options).run(&incoming);
            }
        };
        let failed = |message: String| Error::Engine { message };
        std::thread::Builder::new()
            .name("plumb-model".to_owned())
            .spawn(work)
            .map_err(|error| failed(error.to_string()))?;
        started
            .recv()
            .map_err(|error| failed(error.to_string()))??;
        Ok(Engine { jobs })
    }

    pub(super) fn submit(&self, job: Job) -> Result<()> {
        let gone = |_| Error::Engine {
            message: "its thread has ended".to_owned(),
        };
        self.jobs.send(job).map_err(gone)
    }
}

fn context<'a>(
    backend: &LlamaBackend,
    model: &'a LlamaModel,
    options: Options,
) -> Result<LlamaContext<'a>> {
    let batch = u32::try_from(BATCH).unwrap_or(u32::MAX);
    let threads = i32::try_from(options.threads.max(1)).unwrap_or(1);
    let parameters = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(options.context_tokens))
        .with_n_batch(batch)
        .with_n_ubatch(batch)
        .with_n_seq_max(options.parallel + KEPT)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_kv_unified(true);
    model
        .new_context(backend, parameters)
        .map_err(|error| Error::Engine {
            message: error.to_string(),
        })
}

/// A call at work.
struct Work {
    slot: usize,
    matcher: Option<Matcher>,
    max_tokens: u32,
    temperature: f32,
    random: Random,
    sink: Option<TextSink>,
    reply: oneshot::Sender<Result<Decoded>>,
    /// Tokens to be computed next.
    pending: VecDeque<LlamaToken>,
    /// The row of the batch whose logits say the next token.
    row: Option<i32>,
    text: Vec<u8>,
    /// How much of the text the sink has.
    streamed: usize,
    sampled: Vec<Sampled>,
    usage: Usage,
}

struct Decoder<'a> {
    model: &'a LlamaModel,
    context: LlamaContext<'a>,
    batch: LlamaBatch<'a>,
    slots: Slots,
    parallel: usize,
    waiting: VecDeque<Job>,
    work: Vec<Work>,
}

impl<'a> Decoder<'a> {
    fn new(model: &'a LlamaModel, context: LlamaContext<'a>, options: Options) -> Decoder<'a> {
        let sequences = usize::try_from(options.parallel + KEPT).unwrap_or(1);
        let capacity = usize::try_from(context.n_ctx()).unwrap_or(0);
        Decoder {
            model,
            context,
            batch: LlamaBatch::new(BATCH, 1),
            slots: Slots::new(sequences, capacity),
            parallel: usize::try_from(options.parallel).unwrap_or(1),
            waiting: VecDeque::new(),
            work: Vec::new(),
        }
    }

    fn run(mut self, incoming: &mpsc::Receiver<Job>) {
        loop {
            if self.work.is_empty() && self.waiting.is_empty() {
                match incoming.recv() {
                    Ok(job) => self.waiting.push_back(job),
                    Err(_) => return,
                }
            }
            self.waiting.extend(incoming.try_iter());
            self.drop_abandoned();
            self.admit();
            if let Err(message) = self.step() {
                for work in std::mem::take(&mut self.work) {
                    self.forget(work.slot);
                    let error = Error::Engine {
                        message: message.clone(),
                    };
                    let _ = work.reply.send(Err(error));
                }
            }
        }
    }

    /// Ends the calls whose callers have gone.
    fn drop_abandoned(&mut self) {
        self.waiting.retain(|job| !job.reply.is_closed());
        let (gone, stay): (Vec<Work>, Vec<Work>) = std::mem::take(&mut self.work)
            .into_iter()
            .partition(|work| work.reply.is_closed());
        self.work = stay;
        gone.iter().for_each(|work| self.slots.release(work.slot));
    }

    /// Takes up waiting calls, in their order but past those that wait for another's prefix.
    fn admit(&mut self) {
        let mut index = 0;
        while self.work.len() < self.parallel && index < self.waiting.len() {
            let answer = |job: &Job| usize::try_from(job.max_tokens).unwrap_or(usize::MAX);
            let place = match self.waiting.get(index) {
                Some(job) => self.slots.admit(&job.prompt, answer(job)),
                None => return,
            };
            let Some(place) = place else {
                index += 1;
                continue;
            };
            let Some(job) = self.waiting.remove(index) else {
                return;
            };
            for evicted in &place.evicted {
                self.clear(*evicted, 0);
            }
            if place.source == place.slot {
                self.clear(place.slot, place.shared);
            } else {
                self.clear(place.slot, 0);
                let shared = u32::try_from(place.shared).ok();
                let (source, slot) = (id(place.source), id(place.slot));
                // Positions were checked to be small; the binding fails for nothing else.
                let _ = self
                    .context
                    .copy_kv_cache_seq(source, slot, Some(0), shared);
            }
            self.work
                .push(Work::new(self.model, job, place.slot, place.shared));
        }
    }

    /// Removes from a sequence of the cache what lies at `from` and after it.
    fn clear(&mut self, slot: usize, from: usize) {
        let from = u32::try_from(from).ok();
        let _ = self
            .context
            .clear_kv_cache_seq(u32::try_from(slot).ok(), from, None);
    }

    fn forget(&mut self, slot: usize) {
        self.clear(slot, 0);
        self.slots.empty(slot);
    }

    /// Decodes one batch and samples what it settles.
    fn step(&mut self) -> std::result::Result<(), String> {
        self.fill_batch()?;
        if self.batch.n_tokens() == 0 {
            return Ok(());
        }
        loop {
            match self.context.decode(&mut self.batch) {
                Ok(()) => break,
                Err(DecodeError::NoKvCacheSlot) => match self.slots.oldest_idle() {
                    Some(slot) => self.forget(slot),
                    None => return Err("the key-value cache is full".to_owned()),
                },
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut going = Vec::new();
        for mut work in std::mem::take(&mut self.work) {
            let Some(row) = work.row.take() else {
                going.push(work);
                continue;
            };
            let logits = self.context.get_logits_ith(row);
            match work.advance(self.model, logits) {
                Ok(None) => going.push(work),
                Ok(Some(stop)) => {
                    self.slots.release(work.slot);
                    work.finish(stop);
                }
                Err(message) => {
                    self.slots.release(work.slot);
                    let _ = work.reply.send(Err(Error::Engine { message }));
                }
            }
        }
        self.work = going;
        Ok(())
    }

    /// Puts pending tokens into the batch: those of answers first, so that a long prompt does not
    /// hold up the others.
    fn fill_batch(&mut self) -> std::result::Result<(), String> {
        self.batch.clear();
        let mut order: Vec<usize> = (0..self.work.len()).collect();
        order.sort_by_key(|index| self.work.get(*index).map_or(0, |work| work.pending.len()));
        let mut room = BATCH;
        for index in order {
            let Some(work) = self.work.get_mut(index) else {
                continue;
            };
            let Some(slot) = self.slots.slots.get_mut(work.slot) else {
                continue;
            };
            let count = work.pending.len().min(room);
            room -= count;
            for _ in 0..count {
                let Some(token) = work.pending.pop_front() else {
                    break;
                };
                let last = work.pending.is_empty();
                let position =
                    i32::try_from(slot.tokens.len()).map_err(|error| error.to_string())?;
                let row = self.batch.n_tokens();
                let sequence = [id(work.slot)];
                self.batch
                    .add(token, position, &sequence, last)
                    .map_err(|error| error.to_string())?;
                slot.tokens.push(token);
                if last {
                    work.row = Some(row);
                }
            }
        }
        Ok(())
    }
}

fn id(slot: usize) -> i32 {
    i32::try_from(slot).unwrap_or(i32::MAX)
}

impl Work {
    fn new(model: &LlamaModel, job: Job, slot: usize, shared: usize) -> Work {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let usage = Usage {
            prompt_tokens: count(job.prompt.len()),
            cached_tokens: count(shared),
            output_tokens: 0,
        };
        let mut work = Work {
            slot,
            matcher: job.matcher,
            max_tokens: job.max_tokens,
            temperature: job.temperature,
            random: Random(job.seed),
            sink: job.sink,
            reply: job.reply,
            pending: job.prompt.into_iter().skip(shared).collect(),
            row: None,
            text: Vec::new(),
            streamed: 0,
            sampled: Vec::new(),
            usage,
        };
        // What the answer must begin with is computed together with the prompt.
        let forced = work.force();
        work.take(model, forced);
        work
    }

    /// Appends the tokens that the constraint leaves no choice about.
    fn force(&mut self) -> Vec<LlamaToken> {
        let Some(matcher) = &mut self.matcher else {
            return Vec::new();
        };
        let forced = matcher.consume_ff_tokens();
        forced
            .into_iter()
            .map(|token| LlamaToken(token.cast_signed()))
            .collect()
    }

    /// Takes the next token from `logits`, and those that follow without a choice.
    fn advance(
        &mut self,
        model: &LlamaModel,
        logits: &[f32],
    ) -> std::result::Result<Option<Stop>, String> {
        if self.matcher.as_ref().is_some_and(Matcher::is_stopped) {
            return Ok(Some(Stop::End));
        }
        let token = match &mut self.matcher {
            None => sample(
                &mut self.random,
                self.temperature,
                logits.iter().copied().enumerate(),
            ),
            Some(matcher) => {
                let mask = matcher.compute_mask().map_err(|error| error.to_string())?;
                let allowed: Vec<(usize, f32)> = mask
                    .iter()
                    .filter_map(|index| {
                        let index = usize::try_from(index).ok()?;
                        Some((index, *logits.get(index)?))
                    })
                    .collect();
                if allowed.len() > 1 && allowed.len() <= FEW {
                    self.sampled
                        .push(probabilities(model, self.text.len(), &allowed));
                }
                sample(&mut self.random, self.temperature, allowed.into_iter())
            }
        };
        let Some(token) = token else {
            return Err("the constraint leaves no token".to_owned());
        };
        if model.vocab().is_eog(token) {
            return Ok(Some(Stop::End));
        }
        let mut taken = vec![token];
        if let Some(matcher) = &mut self.matcher {
            matcher
                .consume_token(token.0.cast_unsigned())
                .map_err(|error| error.to_string())?;
            taken.extend(self.force());
        }
        Ok(self.take(model, taken))
    }

    fn take(&mut self, model: &LlamaModel, taken: Vec<LlamaToken>) -> Option<Stop> {
        for token in &taken {
            self.text.extend(tokens::bytes(model, *token));
        }
        self.usage.output_tokens += u32::try_from(taken.len()).unwrap_or(0);
        self.pending.extend(taken);
        self.stream();
        if self.matcher.as_ref().is_some_and(Matcher::is_stopped) {
            return Some(Stop::End);
        }
        (self.usage.output_tokens >= self.max_tokens).then_some(Stop::Length)
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
        self.streamed += complete.len();
        // Whoever reads the stream may have gone; the answer still comes whole.
        let _ = sink.send(complete.to_owned());
    }

    fn finish(self, stop: Stop) {
        let text = String::from_utf8_lossy(&self.text).into_owned();
        let decoded = Decoded {
            text,
            sampled: self.sampled,
            usage: self.usage,
            stop,
        };
        let _ = self.reply.send(Ok(decoded));
    }
}

/// The likeliest token, or at a temperature one drawn by its probability.
fn sample(
    random: &mut Random,
    temperature: f32,
    allowed: impl Iterator<Item = (usize, f32)>,
) -> Option<LlamaToken> {
    let token = |index: usize| i32::try_from(index).ok().map(LlamaToken);
    if temperature <= 0.0 {
        return token(
            allowed
                .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?
                .0,
        );
    }
    let allowed: Vec<(usize, f32)> = allowed.collect();
    let most = allowed
        .iter()
        .map(|(_, logit)| *logit)
        .fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: f32| f64::from((logit - most) / temperature).exp();
    let sum: f64 = allowed.iter().map(|(_, logit)| weight(*logit)).sum();
    let mut left = random.next() * sum;
    for (index, logit) in &allowed {
        left -= weight(*logit);
        if left <= 0.0 {
            return token(*index);
        }
    }
    token(allowed.last()?.0)
}

fn probabilities(model: &LlamaModel, offset: usize, allowed: &[(usize, f32)]) -> Sampled {
    let most = allowed
        .iter()
        .map(|(_, logit)| *logit)
        .fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = allowed.iter().map(|(_, logit)| (logit - most).exp()).sum();
    let allowed = allowed.iter().filter_map(|(index, logit)| {
        let token = LlamaToken(i32::try_from(*index).ok()?);
        Some((tokens::bytes(model, token), (logit - most).exp() / sum))
    });
    Sampled {
        offset,
        allowed: allowed.collect(),
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the draws of a call follow from its seed alone.
struct Random(u64);

impl Random {
    /// The next draw, 0..1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}
