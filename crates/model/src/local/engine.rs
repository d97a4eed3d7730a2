//! The thread that decodes: calls come in over a channel, each step decodes one batch for all of them.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};

use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};

use super::prefixes::Prefixes;
use super::slots::{Admission, Place, Slots};
use super::work::{Job, Work};
use crate::capacity::{BATCH, KEPT, Options};
use crate::{Error, Result};

/// Steps that the calls of one adapter have before those of another: to change it costs some
/// milliseconds.
const TURN: u32 = 8;

/// The handle of the thread; it ends when the handle is dropped.
pub(super) struct Engine {
    jobs: mpsc::Sender<Job>,
}

impl Engine {
    pub(super) fn start(
        backend: &'static LlamaBackend,
        model: Arc<LlamaModel>,
        adapters: Vec<LlamaLoraAdapter>,
        prefixes: Prefixes,
        options: Options,
    ) -> Result<Engine> {
        let (jobs, incoming) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let work = move || match context(backend, &model, options) {
            Err(error) => drop(ready.send(Err(error))),
            Ok(context) => {
                // The handle waits for this message.
                let _ = ready.send(Ok(()));
                Decoder::new(&model, context, adapters, prefixes, options).run(&incoming);
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
    let threads = i32::try_from(options.threads.max(1)).unwrap_or(1);
    let parameters = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(options.context_tokens))
        .with_n_batch(BATCH)
        .with_n_ubatch(BATCH)
        // One more, for what is about to be written to disk.
        .with_n_seq_max(options.parallel + KEPT + 1)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_kv_unified(true);
    model
        .new_context(backend, parameters)
        .map_err(|error| Error::Engine {
            message: error.to_string(),
        })
}

struct Decoder<'a> {
    model: &'a LlamaModel,
    context: LlamaContext<'a>,
    batch: LlamaBatch<'a>,
    /// The most tokens of a batch.
    most: usize,
    adapters: Vec<LlamaLoraAdapter>,
    /// The adapter that the context is set to, and how many steps of its turn are left.
    adapter: Option<usize>,
    turn: u32,
    slots: Slots,
    /// The sequence beyond the slots, empty but for a moment.
    spare: usize,
    prefixes: Prefixes,
    parallel: usize,
    waiting: VecDeque<Job>,
    work: Vec<Work>,
}

impl<'a> Decoder<'a> {
    fn new(
        model: &'a LlamaModel,
        context: LlamaContext<'a>,
        adapters: Vec<LlamaLoraAdapter>,
        prefixes: Prefixes,
        options: Options,
    ) -> Decoder<'a> {
        let most = usize::try_from(BATCH).unwrap_or(1);
        let sequences = usize::try_from(options.parallel + KEPT).unwrap_or(1);
        let capacity = usize::try_from(context.n_ctx()).unwrap_or(0);
        Decoder {
            model,
            context,
            batch: LlamaBatch::new(most, 1),
            most,
            adapters,
            adapter: None,
            turn: TURN,
            slots: Slots::new(sequences, capacity),
            spare: sequences,
            prefixes,
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
                    work.fail(message.clone());
                }
            }
        }
    }

    /// Ends the calls whose callers have gone.
    fn drop_abandoned(&mut self) {
        self.waiting.retain(|job| !job.reply.is_closed());
        for work in std::mem::take(&mut self.work) {
            match work.is_abandoned() {
                true => self.slots.release(work.slot),
                false => self.work.push(work),
            }
        }
    }

    /// Takes up waiting calls in their order, past those that wait for another's prefix. One that
    /// waits for room holds up those behind it, or it might wait for ever.
    fn admit(&mut self) {
        let mut index = 0;
        while self.work.len() < self.parallel {
            self.bring_back(index);
            let Some(job) = self.waiting.get(index) else {
                return;
            };
            let answer = match &job.given {
                Some(given) => given.len(),
                None => usize::try_from(job.max_tokens).unwrap_or(usize::MAX),
            };
            let stable = job.stable;
            let place = match self.slots.admit(&job.prompt, answer, job.adapter) {
                Admission::Admitted(place) => place,
                Admission::WaitsForPrefix => {
                    index += 1;
                    continue;
                }
                Admission::WaitsForRoom => return,
            };
            let Some(job) = self.waiting.remove(index) else {
                return;
            };
            self.share(&place);
            let mut work = Work::new(self.model, job, place.slot, place.shared);
            work.keeps = if place.shared < stable { stable } else { 0 };
            match work.stop {
                None => self.work.push(work),
                Some(stop) => {
                    // The constraint left no choice at all.
                    self.slots.release(place.slot);
                    work.finish(stop);
                }
            }
        }
    }

    /// Reads from disk what a waiting call begins with, where the cache does not have it.
    fn bring_back(&mut self, index: usize) {
        let waiting = self.waiting.get_mut(index);
        let Some(job) = waiting.filter(|job| !job.looked_up) else {
            return;
        };
        job.looked_up = true;
        let stable = job.prompt.get(..job.stable).unwrap_or_default().to_vec();
        if stable.is_empty() || self.slots.knows(&stable) {
            return;
        }
        let Some(file) = self.prefixes.find(&stable) else {
            return;
        };
        let Some(place) = self.slots.bring_back(&stable) else {
            return;
        };
        self.share(&place);
        let slot = id(place.slot);
        let read = self.context.state_seq_load_file(file, slot, stable.len());
        if !read.is_ok_and(|(tokens, _)| tokens == stable) {
            self.forget(place.slot);
        }
    }

    /// Writes to disk what calls began with that other processes begin with, too.
    fn keep_prefixes(&mut self) {
        let spare = id(self.spare);
        for work in self.work.iter_mut().filter(|work| work.keeps > 0) {
            let tokens = self.slots.tokens(work.slot);
            let Some(stable) = tokens.get(..work.keeps) else {
                continue;
            };
            work.keeps = 0;
            let count = u32::try_from(stable.len()).ok();
            let copied = self
                .context
                .copy_kv_cache_seq(id(work.slot), spare, Some(0), count);
            if copied.is_ok() {
                let context = &self.context;
                self.prefixes.keep(stable, |path| {
                    context.state_seq_save_file(path, spare, stable).is_ok()
                });
            }
            // Only the binding's own checks can fail, and it was copied to just now.
            let _ = self
                .context
                .clear_kv_cache_seq(u32::try_from(spare).ok(), None, None);
        }
    }

    /// Makes the cache as `place` says.
    fn share(&mut self, place: &Place) {
        for evicted in &place.evicted {
            self.clear(*evicted, 0);
        }
        if place.source == place.slot {
            self.clear(place.slot, place.shared);
            return;
        }
        self.clear(place.slot, 0);
        let shared = u32::try_from(place.shared).ok();
        let (source, slot) = (id(place.source), id(place.slot));
        // Positions were checked to be small; the binding fails for nothing else.
        let _ = self
            .context
            .copy_kv_cache_seq(source, slot, Some(0), shared);
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
        self.settle_adapter()?;
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
        self.keep_prefixes();
        for mut work in std::mem::take(&mut self.work) {
            let rows = std::mem::take(&mut work.rows);
            let advanced = rows
                .into_iter()
                .try_for_each(|row| work.advance(self.model, self.context.get_logits_ith(row)));
            match (advanced, work.stop) {
                (Ok(()), None) => self.work.push(work),
                (Ok(()), Some(stop)) => {
                    self.slots.release(work.slot);
                    work.finish(stop);
                }
                (Err(message), _) => {
                    self.slots.release(work.slot);
                    work.fail(message);
                }
            }
        }
        Ok(())
    }

    /// Sets the context to the adapter whose turn it is: it holds for a whole batch, so calls of different
    /// ones take turns.
    fn settle_adapter(&mut self) -> std::result::Result<(), String> {
        let wanted = || self.work.iter().map(|work| work.adapter);
        let is_wanted = wanted().any(|adapter| adapter == self.adapter);
        let later = wanted().filter(|adapter| *adapter > self.adapter).min();
        let Some(next) = later.or(wanted().min()) else {
            return Ok(());
        };
        self.turn = self.turn.saturating_sub(1);
        if is_wanted && (self.turn > 0 || next == self.adapter) {
            return Ok(());
        }
        let set = match next.and_then(|index| self.adapters.get_mut(index)) {
            Some(adapter) => self.context.lora_adapter_set(adapter, 1.0).is_ok(),
            // To remove one is to remove all; the binding wants any.
            None => match self.adapters.first_mut() {
                Some(any) => self.context.lora_adapter_remove(any).is_ok(),
                None => true,
            },
        };
        if !set {
            return Err("the adapter cannot be set".to_owned());
        }
        (self.adapter, self.turn) = (next, TURN);
        Ok(())
    }

    /// Puts pending tokens into the batch: those of answers first, so that a long prompt does not
    /// hold up the others.
    fn fill_batch(&mut self) -> std::result::Result<(), String> {
        self.batch.clear();
        let adapter = self.adapter;
        let its = self.work.iter_mut().filter(|work| work.adapter == adapter);
        let mut order: Vec<&mut Work> = its.collect();
        order.sort_by_key(|work| work.pending.len());
        let mut room = self.most;
        for work in order {
            let count = work.pending.len().min(room);
            room -= count;
            let wanted_from = work.wanted_from(work.pending.len());
            for (index, token) in work.pending.drain(..count).enumerate() {
                let position = self.slots.push(work.slot, token);
                let position = i32::try_from(position).map_err(|error| error.to_string())?;
                let wanted = index >= wanted_from;
                if wanted {
                    work.rows.push(self.batch.n_tokens());
                }
                self.batch
                    .add(token, position, &[id(work.slot)], wanted)
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

fn id(slot: usize) -> i32 {
    i32::try_from(slot).unwrap_or(i32::MAX)
}
