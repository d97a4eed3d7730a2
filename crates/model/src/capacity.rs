//! What the local engine may use, and whether a model fits into it.
//!
//! What a model needs is estimated from the header of its file before anything is loaded: the weights, the
//! key-value cache of the context, and the buffers of a step. A model that needs more than there is is
//! refused with what would fit.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::gguf::Header;
use crate::memory::memory;
use crate::{Error, Result};

/// The most tokens decoded in one step. A step is what a new call, a call being answered, and a
/// cancelled one wait for, so it is short; a prompt goes through no faster in longer ones.
pub(crate) const BATCH: u32 = 128;
/// Sequences beyond those at work, which keep the beginnings of earlier calls.
pub(crate) const KEPT: u32 = 8;

/// What the engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tokens that the key-value cache holds, shared by all calls at work and by the prefix cache.
    pub context_tokens: u32,
    /// Calls that are decoded together; more wait.
    pub parallel: u32,
    /// Threads; all cores by default.
    pub threads: u32,
}

impl Default for Options {
    fn default() -> Options {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = u32::try_from(cores).unwrap_or(1).min(16);
        Options {
            context_tokens: 12_288,
            parallel: 8,
            threads,
        }
    }
}

/// What the user settled about the local engine; the rest has defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Threads of the engine.
    pub threads: Option<u32>,
    /// Tokens that its key-value cache holds.
    pub context_tokens: Option<u32>,
    /// Calls that are decoded together.
    pub parallel: Option<u32>,
    /// The most memory that a model may need, in megabytes; what is free where it is not set.
    pub memory_mb: Option<u64>,
}

impl Bounds {
    /// These, and where something is not set `other`.
    pub fn or(self, other: Bounds) -> Bounds {
        Bounds {
            threads: self.threads.or(other.threads),
            context_tokens: self.context_tokens.or(other.context_tokens),
            parallel: self.parallel.or(other.parallel),
            memory_mb: self.memory_mb.or(other.memory_mb),
        }
    }

    /// The options of the engine.
    ///
    /// # Errors
    /// [`Error::Setting`] for what no engine can work with.
    pub fn options(&self) -> Result<Options> {
        let default = Options::default();
        let options = Options {
            context_tokens: self.context_tokens.unwrap_or(default.context_tokens),
            parallel: self.parallel.unwrap_or(default.parallel),
            threads: self.threads.unwrap_or(default.threads),
        };
        for (name, value, least, most) in [
            ("context_tokens", options.context_tokens, 256, 1 << 20),
            ("parallel", options.parallel, 1, 64),
            ("threads", options.threads, 1, 512),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error::Setting {
                    message: format!("{name} of the local engine cannot be {value}"),
                    hint: format!("set it to {least} to {most}"),
                });
            }
        }
        Ok(options)
    }

    /// What a model may need, in bytes; `None` on a system that does not say, without a setting.
    pub(crate) fn room(&self) -> Option<u64> {
        let free = memory().map(|memory| memory.free);
        let allowed = self
            .memory_mb
            .map(|megabytes| megabytes.saturating_mul(1_000_000));
        match (free, allowed) {
            (Some(free), Some(allowed)) => Some(free.min(allowed)),
            (free, allowed) => free.or(allowed),
        }
    }

    /// What a model may need on this machine in bytes, with a fifth of the memory left to everything else.
    pub(crate) fn machine(&self) -> u64 {
        let total = memory().map_or(0, |memory| memory.total) / 5 * 4;
        let allowed = self
            .memory_mb
            .map(|megabytes| megabytes.saturating_mul(1_000_000));
        allowed.map_or(total, |allowed| total.min(allowed))
    }
}

/// What a model needs, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Its weights, and those of its adapters.
    pub weights: u64,
    /// The key-value cache.
    pub cache: u64,
    /// What a step computes with, and the tables of the vocabulary.
    pub buffers: u64,
}

impl Need {
    /// What the model of `header` needs with `options`.
    pub fn of(header: &Header, options: &Options) -> Need {
        let batch = u64::from(BATCH);
        let [width, inner, _] = header.widths();
        let rows = batch + u64::from(options.parallel + KEPT);
        let logits = rows * header.vocabulary() * FLOAT;
        let layer = batch * (4 * width + 3 * inner) * FLOAT;
        let mask = batch * u64::from(options.context_tokens) * FLOAT;
        Need {
            weights: header.bytes,
            cache: u64::from(options.context_tokens) * header.cache_width() * HALF,
            buffers: logits + layer + mask + header.vocabulary() * WORD + PROCESS,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.buffers
    }
}

/// Bytes of a number in buffers and in the cache.
const FLOAT: u64 = 4;
const HALF: u64 = 2;
/// What constraints keep of each token of the vocabulary, as measured.
const WORD: u64 = 500;
/// What the process takes whatever the model.
const PROCESS: u64 = 60_000_000;

/// Says before loading that the model at `path` does not fit, and what would.
///
/// # Errors
/// [`Error::Unfit`] with what it needs, what there is, and what to set.
#[cfg(feature = "local")]
pub(crate) fn check(
    name: &str,
    path: &std::path::Path,
    adapters: u64,
    bounds: &Bounds,
) -> Result<()> {
    let Some(room) = bounds.room() else {
        // A system that does not say is trusted.
        return Ok(());
    };
    let header = Header::read(path)?;
    refuse_unless_fits(name, &header, adapters, bounds, room)
}

#[cfg(any(test, feature = "local"))]
fn refuse_unless_fits(
    name: &str,
    header: &Header,
    adapters: u64,
    bounds: &Bounds,
    room: u64,
) -> Result<()> {
    let options = bounds.options()?;
    let with = |context_tokens| {
        let mut need = Need::of(
            header,
            &Options {
                context_tokens,
                ..options
            },
        );
        need.weights += adapters;
        need
    };
    let need = with(options.context_tokens);
    if need.total() <= room {
        return Ok(());
    }
    let gigabytes = |bytes: u64| {
        let tenths = (bytes + 50_000_000) / 100_000_000;
        format!("{}.{} GB", tenths / 10, tenths % 10)
    };
    let is_allowed = |megabytes: u64| megabytes.saturating_mul(1_000_000) == room;
    let is_bound = bounds.memory_mb.is_some_and(is_allowed);
    let allowed = if is_bound { "are allowed" } else { "are free" };
    let shorter = [16_384, 8_192, 4_096, 2_048].into_iter();
    let shorter = shorter
        .filter(|tokens| *tokens < options.context_tokens)
        .find(|tokens| with(*tokens).total() <= room)
        .map(|tokens| format!("--context-tokens {tokens} makes it fit"));
    let smaller = crate::catalogue::entries()?.iter().filter(|entry| {
        entry.kind == crate::catalogue::Kind::Chat
            && entry.memory_bytes <= room
            && !name.ends_with(&entry.name)
    });
    let smaller = smaller
        .max_by_key(|entry| entry.bytes)
        .map(|entry| format!("--model local:{} fits", entry.name));
    let more = is_bound.then(|| {
        let megabytes = need.total().div_ceil(1_000_000);
        format!("--memory-mb {megabytes} allows it, if so much is free")
    });
    let hints: Vec<String> = shorter.into_iter().chain(smaller).chain(more).collect();
    Err(Error::Unfit {
        model: name.to_owned(),
        reason: format!(
            "it needs {} of memory (weights {}, cache of {} tokens {}, buffers {}) and {} {allowed}",
            gigabytes(need.total()),
            gigabytes(need.weights),
            options.context_tokens,
            gigabytes(need.cache),
            gigabytes(need.buffers),
            gigabytes(room),
        ),
        hint: match hints.is_empty() {
            true => "free some memory, or take a machine that has more".to_owned(),
            false => hints.join("; "),
        },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::gguf::tests::{number, text, written};

    /// A model of 1.1 GB as its header tells; the file itself is empty.
    fn header() -> Header {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let values = [
            ("general.architecture", 8, text("qwen2")),
            ("qwen2.block_count", 4, number(28)),
            ("qwen2.embedding_length", 4, number(1536)),
            ("qwen2.feed_forward_length", 4, number(8960)),
            ("qwen2.attention.head_count", 4, number(12)),
            ("qwen2.attention.head_count_kv", 4, number(2)),
            ("qwen2.vocab_size", 4, number(151_936)),
        ];
        std::fs::write(&path, written(&values)).unwrap();
        let mut header = Header::read(&path).unwrap();
        header.bytes = 1_117_320_768;
        header
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_what_would() {
        let header = header();
        let bounds = Bounds::default();
        let refusal = |room, bounds: &Bounds| {
            refuse_unless_fits("local:big", &header, 0, bounds, room)
                .map_err(|error| error.to_string())
        };
        assert_eq!(refusal(4_000_000_000, &bounds), Ok(()));
        insta::assert_snapshot!(refusal(1_600_000_000, &bounds).unwrap_err(), @r"
        local:big does not run on this machine: it needs 1.7 GB of memory (weights 1.1 GB, cache of 12288 tokens 0.4 GB, buffers 0.2 GB) and 1.6 GB are free
        hint: --context-tokens 8192 makes it fit; --model local:qwen2.5-coder-0.5b fits
        ");
        insta::assert_snapshot!(refusal(600_000_000, &bounds).unwrap_err(), @r"
        local:big does not run on this machine: it needs 1.7 GB of memory (weights 1.1 GB, cache of 12288 tokens 0.4 GB, buffers 0.2 GB) and 0.6 GB are free
        hint: --model local:smollm2-135m fits
        ");
        insta::assert_snapshot!(refusal(200_000_000, &bounds).unwrap_err(), @r"
        local:big does not run on this machine: it needs 1.7 GB of memory (weights 1.1 GB, cache of 12288 tokens 0.4 GB, buffers 0.2 GB) and 0.2 GB are free
        hint: free some memory, or take a machine that has more
        ");
        let bounds = Bounds {
            memory_mb: Some(300),
            ..bounds
        };
        insta::assert_snapshot!(refusal(300_000_000, &bounds).unwrap_err(), @r"
        local:big does not run on this machine: it needs 1.7 GB of memory (weights 1.1 GB, cache of 12288 tokens 0.4 GB, buffers 0.2 GB) and 0.3 GB are allowed
        hint: --memory-mb 1717 allows it, if so much is free
        ");
        // Adapters count, and so does a longer context.
        let need = Need::of(&header, &Options::default()).total();
        assert!(refuse_unless_fits("local:big", &header, 0, &Bounds::default(), need).is_ok());
        assert!(refuse_unless_fits("local:big", &header, 1, &Bounds::default(), need).is_err());
        let long = Bounds {
            context_tokens: Some(32_768),
            ..Bounds::default()
        };
        assert!(refuse_unless_fits("local:big", &header, 0, &long, need).is_err());
    }

    #[test]
    fn the_catalogue_says_what_a_model_needs_by_default() {
        for entry in catalogue::entries().unwrap() {
            // Where the file is not here, nothing can be compared.
            let file = entry.path().ok().filter(|path| path.exists());
            let Some(header) = file.and_then(|path| Header::read(&path).ok()) else {
                continue;
            };
            let need = Need::of(&header, &Options::default()).total();
            let most = entry.memory_bytes;
            assert!(
                (most / 10 * 9..=most).contains(&need),
                "{}: {need}",
                entry.name
            );
            assert_eq!(entry.context, header.context_tokens());
        }
    }

    #[test]
    fn settings_that_no_engine_can_work_with_are_refused() {
        let zero = Bounds {
            threads: Some(0),
            ..Bounds::default()
        };
        let error = zero.options().unwrap_err().to_string();
        assert_eq!(
            error,
            "threads of the local engine cannot be 0\nhint: set it to 1 to 512"
        );
        let small = Bounds {
            context_tokens: Some(8),
            ..zero
        };
        assert_eq!(small.or(Bounds::default()).threads, Some(0));
        assert!(small.options().is_err());
    }
}
