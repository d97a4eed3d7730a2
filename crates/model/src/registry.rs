//! Models by their `provider:name`.

#[cfg(feature = "local")]
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::catalogue::{self, Entry, Kind};
#[cfg(feature = "local")]
use crate::store::file_error;
use crate::{Error, Model, OpenAi, Result};

/// What opening models depends on.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address of an OpenAI-compatible server; `$OPENAI_BASE_URL`, else OpenAI's own.
    pub base_url: Option<String>,
    /// Threads of the local engine; all cores where not set.
    pub threads: Option<u32>,
}

/// Opens models and lists them.
#[derive(Clone, Debug)]
pub struct Models {
    settings: Settings,
}

/// A line of the list of models.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its `provider:name`, or the bare name of what is no chat model.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// Whether it is on this machine.
    pub present: bool,
    /// Whether it is what `plumb` uses when no model is named.
    pub default: bool,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its licence.
    pub licence: String,
    /// What it is.
    pub about: String,
}

impl Models {
    /// Models under these settings.
    pub fn new(settings: Settings) -> Models {
        Models { settings }
    }

    /// The largest catalogued local chat model that fits the machine's memory, the smallest where
    /// none does.
    ///
    /// # Errors
    /// As [`catalogue::entries`].
    pub fn default_name(&self) -> Result<String> {
        Ok(format!(
            "local:{}",
            catalogue::largest_chat(machine_memory())?.name
        ))
    }

    /// Opens `provider:name`: `local:` with a catalogued name or the path of a GGUF file, or `openai:`
    /// with a model of the server.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Missing`], [`Error::Unfit`], [`Error::Setting`] or
    /// [`Error::Engine`], each with what to do.
    pub fn open(&self, name: &str) -> Result<Arc<dyn Model>> {
        match name.split_once(':') {
            Some(("local", local)) => self.open_local(name, local),
            Some(("openai", remote)) => Ok(Arc::new(OpenAi::new(
                remote,
                self.settings.base_url.as_deref(),
            )?)),
            _ => Err(Error::Unknown {
                name: name.to_owned(),
                hint:
                    "a model is called local:NAME or openai:NAME; plumb models lists the local ones"
                        .to_owned(),
            }),
        }
    }

    #[cfg(feature = "local")]
    fn open_local(&self, name: &str, local: &str) -> Result<Arc<dyn Model>> {
        let mut options = crate::local::Options::default();
        if let Some(threads) = self.settings.threads {
            options.threads = threads;
        }
        if Path::new(local)
            .extension()
            .is_some_and(|extension| extension == "gguf")
        {
            let path = Path::new(local);
            let metadata = std::fs::metadata(path);
            let bytes = metadata.map_err(|error| file_error(path, error))?.len();
            // Weights, and on top what the catalogued models need for their cache and buffers.
            check_memory(name, bytes + bytes / 4 + 500_000_000)?;
            return Ok(Arc::new(crate::local::Local::load(name, path, options)?));
        }
        let entry = catalogue::find(name)?;
        let path = entry.verified()?;
        check_memory(&entry.name, entry.memory_bytes)?;
        Ok(Arc::new(crate::local::Local::load(name, &path, options)?))
    }

    #[cfg(not(feature = "local"))]
    fn open_local(&self, name: &str, _local: &str) -> Result<Arc<dyn Model>> {
        Err(Error::Unfit {
            model: name.to_owned(),
            reason: "this build has no local engine".to_owned(),
            hint: "build with the feature `local`".to_owned(),
        })
    }

    /// All catalogued files.
    ///
    /// # Errors
    /// As [`catalogue::entries`].
    pub fn list(&self) -> Result<Vec<Listed>> {
        let default = self.default_name()?;
        let listed = |entry: &Entry| {
            let name = match entry.kind {
                Kind::Chat => format!("local:{}", entry.name),
                Kind::Index => entry.name.clone(),
            };
            Listed {
                default: name == default,
                name,
                kind: entry.kind,
                present: entry.is_present(),
                bytes: entry.bytes,
                licence: entry.licence.clone(),
                about: entry.title.clone(),
            }
        };
        Ok(catalogue::entries()?.iter().map(listed).collect())
    }

    /// The models that the OpenAI-compatible server offers.
    ///
    /// # Errors
    /// [`Error::Setting`] without an address or key, [`Error::Unreachable`] or [`Error::Refused`].
    pub async fn remote(&self) -> Result<Vec<String>> {
        OpenAi::new("", self.settings.base_url.as_deref())?
            .models()
            .await
    }
}

/// What the system says of its memory; `None` where it does not.
fn memory() -> Option<sysinfo::System> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    Some(system)
}

/// The machine's memory, in bytes.
fn machine_memory() -> u64 {
    let Some(system) = memory() else { return 0 };
    system
        .cgroup_limits()
        .map_or(system.total_memory(), |limits| limits.total_memory)
}

/// Says before loading that a model does not fit in what is free, and proposes one that does.
#[cfg(feature = "local")]
fn check_memory(name: &str, needed: u64) -> Result<()> {
    match memory().map(|system| free(&system)) {
        Some(free) => refuse_unless_fits(name, needed, free),
        // A system that does not say is trusted.
        None => Ok(()),
    }
}

#[cfg(feature = "local")]
fn free(system: &sysinfo::System) -> u64 {
    let available = system.available_memory();
    // Not its own `free_memory`, which counts cached files as used.
    let limits = system.cgroup_limits();
    limits.map_or(available, |limits| {
        available.min(limits.total_memory.saturating_sub(limits.rss))
    })
}

#[cfg(feature = "local")]
fn refuse_unless_fits(name: &str, needed: u64, free: u64) -> Result<()> {
    if needed <= free {
        return Ok(());
    }
    let smaller = catalogue::largest_chat(free)?;
    Err(Error::Unfit {
        model: name.to_owned(),
        reason: format!(
            "it takes {} MB of memory and {} MB are free",
            needed / 1_000_000,
            free / 1_000_000
        ),
        hint: match smaller.memory_bytes <= free {
            true => format!("--model local:{} fits", smaller.name),
            false => "free some memory".to_owned(),
        },
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        let models = Models::new(Settings::default());
        for (name, expected) in [
            ("qwen", "a model is called local:NAME or openai:NAME"),
            ("local:qwen2.5-coder", "did you mean qwen2.5-coder-0.5b"),
            ("local:/no/such/model.gguf", "/no/such/model.gguf"),
        ] {
            let error = models.open(name).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_model_that_does_not_fit_is_refused_with_one_that_does() {
        assert!(refuse_unless_fits("big", 2_000, 2_000).is_ok());
        let refusal = |free| refuse_unless_fits("local:big", 9_000_000_000, free).unwrap_err();
        let error = refusal(1_500_000_000).to_string();
        assert!(error.contains("takes 9000 MB"), "{error}");
        assert!(error.contains("1500 MB are free"), "{error}");
        assert!(
            error.contains("--model local:qwen2.5-coder-0.5b fits"),
            "{error}"
        );
        assert!(refusal(1_000).to_string().contains("free some memory"));
    }
}
