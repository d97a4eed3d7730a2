//! Models by their `provider:name`.

mod way;

use std::collections::BTreeMap;
#[cfg(feature = "local")]
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;

use crate::catalogue::{self, Entry, Kind};
use crate::checked::Checked;
use crate::kept::{Answers, Kept};
use crate::limits::Gate;
use crate::providers::variable;
use crate::remote::{Manner, Remote};
#[cfg(feature = "local")]
use crate::store::file_error;
use crate::{
    Embed, Error, Fallback, Hedging, Keeping, Limits, Model, PROVIDERS, Patience, Result, Retry,
};
use crate::{fallback, prices};

pub use way::Server;
use way::Way;

/// What opening models depends on. It holds names of variables, never a key.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address of an OpenAI-compatible server; `$OPENAI_BASE_URL`, else OpenAI's own.
    pub base_url: Option<String>,
    /// Threads of the local engine; all cores where not set.
    pub threads: Option<u32>,
    /// OpenAI-compatible servers by the names that the user gave them.
    pub servers: BTreeMap<String, Server>,
    /// What may be asked of a provider or server, by its name.
    pub limits: BTreeMap<String, Limits>,
    /// How long a provider or server may be silent, by its name.
    pub timeouts: BTreeMap<String, Patience>,
    /// When a second call is made beside a slow one, by the provider's or server's name; never where
    /// not set.
    pub hedging: BTreeMap<String, Hedging>,
    /// When a call is tried again.
    pub retry: Retry,
    /// Whether answers are kept and given again to the same request; not where not set.
    pub keeping: Option<Keeping>,
}

/// Opens models and lists them.
#[derive(Clone, Debug)]
pub struct Models {
    settings: Settings,
    /// The ways to the providers, shared by all models that this opens.
    gates: Arc<Mutex<BTreeMap<String, Arc<Gate>>>>,
    answers: Arc<OnceLock<Arc<Answers>>>,
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
        Models {
            settings,
            gates: Arc::default(),
            answers: Arc::default(),
        }
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

    /// Opens `provider:name`: `local:` with a catalogued name or the path of a GGUF file, or a model of
    /// a provider ([`PROVIDERS`]) or of a server of the user's. Several, with commas between them, are
    /// tried in order; those that cannot be opened, as for want of a key, are left out.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Missing`], [`Error::Unfit`], [`Error::Key`], [`Error::Setting`] or
    /// [`Error::Engine`], each with what to do; the first one's when no one can be opened.
    pub fn open(&self, name: &str) -> Result<Arc<dyn Model>> {
        let mut opened = Vec::new();
        let mut first_error = None;
        for name in name.split(',').map(str::trim) {
            match self.open_one(name) {
                Ok(model) => opened.push(model),
                // A misspelt name is never passed over in silence.
                Err(error @ Error::Unknown { .. }) => return Err(error),
                Err(error) if !fallback::another_may(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(model = name, %error, "left out");
                    first_error.get_or_insert(error);
                }
            }
        }
        let mut opened = opened.into_iter();
        match (opened.next(), first_error) {
            (Some(first), None) if opened.len() == 0 => Ok(first),
            (Some(first), _) => Ok(Arc::new(Fallback::new(first, opened.collect()))),
            (None, Some(error)) => Err(error),
            (None, None) => Err(unknown(name)),
        }
    }

    fn open_one(&self, name: &str) -> Result<Arc<dyn Model>> {
        let Some((provider, model)) = name.split_once(':').filter(|pair| !pair.1.is_empty()) else {
            return Err(unknown(name));
        };
        if provider == "local" {
            return self.open_local(name, model);
        }
        let way = self.way(name, provider)?;
        let address = way.address.clone();
        let checked: Arc<dyn Model> = Arc::new(Checked::new(Arc::new(self.remote(way, model)?)));
        match &self.settings.keeping {
            Some(keeping) => Ok(Arc::new(Kept::new(
                checked,
                address,
                self.answers(keeping)?,
            ))),
            None => Ok(checked),
        }
    }

    /// Opens a model of a provider or of a server of the user's that turns texts into vectors.
    ///
    /// # Errors
    /// As [`Models::open`]. Whether the model can do it is said when it is asked.
    pub fn open_embedder(&self, name: &str) -> Result<Arc<dyn Embed>> {
        let Some((provider, model)) = name.split_once(':').filter(|pair| !pair.1.is_empty()) else {
            return Err(unknown(name));
        };
        let way = self.way(name, provider)?;
        Ok(Arc::new(self.remote(way, model)?))
    }

    /// The names of the models that a provider or a server of the user's offers, asked of it.
    ///
    /// # Errors
    /// As [`Models::open`], and what the provider says.
    pub async fn offered(&self, provider: &str) -> Result<Vec<String>> {
        let way = self.way(provider, provider)?;
        way.wire("")?.names().await
    }

    fn remote(&self, way: Way, model: &str) -> Result<Remote> {
        let (provider, settings) = (way.provider.clone(), &self.settings);
        let provider = provider.as_str();
        let manner = Manner {
            retry: settings.retry,
            patience: settings.timeouts.get(provider).copied().unwrap_or_default(),
            hedging: settings.hedging.get(provider).copied(),
        };
        Ok(Remote::new(way.wire(model)?, self.gate(provider), manner))
    }

    fn answers(&self, keeping: &Keeping) -> Result<Arc<Answers>> {
        let answers = match self.answers.get() {
            Some(answers) => answers,
            None => {
                let new = Arc::new(Answers::new(keeping)?);
                self.answers.get_or_init(|| new)
            }
        };
        Ok(Arc::clone(answers))
    }

    fn gate(&self, provider: &str) -> Arc<Gate> {
        let mut gates = self
            .gates
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let limits = self
            .settings
            .limits
            .get(provider)
            .copied()
            .unwrap_or_default();
        let gate = gates
            .entry(provider.to_owned())
            .or_insert_with(|| Arc::new(Gate::new(provider, limits)));
        Arc::clone(gate)
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

    /// The providers and the user's servers, with what is known of their models.
    pub fn providers(&self) -> Vec<ListedProvider> {
        let set = |name: &str| variable(name).is_some();
        let mut listed: Vec<_> = PROVIDERS
            .iter()
            .map(|provider| ListedProvider {
                name: provider.name.to_owned(),
                base_url: self
                    .own_address(provider)
                    .unwrap_or_else(|| provider.base_url.to_owned()),
                key_variable: provider.key_variable.map(str::to_owned),
                ready: provider.key_variable.is_none_or(set)
                    || self.own_address(provider).is_some(),
                models: known_models(provider.name),
            })
            .collect();
        for (name, server) in &self.settings.servers {
            listed.retain(|provider| provider.name != *name);
            listed.push(ListedProvider {
                name: name.clone(),
                base_url: server.base_url.clone(),
                key_variable: server.key.clone(),
                ready: server.key.as_deref().is_none_or(set),
                models: BTreeMap::new(),
            });
        }
        for provider in &mut listed {
            provider.base_url = without_user(&provider.base_url);
        }
        listed
    }
}

/// A provider in the list.
#[derive(Clone, Debug, Serialize)]
pub struct ListedProvider {
    /// What stands before the colon.
    pub name: String,
    /// Its address, without what authenticates.
    pub base_url: String,
    /// The environment variable that holds its key.
    pub key_variable: Option<String>,
    /// Whether that variable is set, or none is wanted. Nobody was asked.
    pub ready: bool,
    /// The models whose price is known, by `provider:name`. There are others.
    pub models: BTreeMap<&'static str, &'static prices::Price>,
}

fn known_models(provider: &str) -> BTreeMap<&'static str, &'static prices::Price> {
    let models = prices::table().models.iter();
    models
        .filter(|(name, _)| name.split_once(':').is_some_and(|pair| pair.0 == provider))
        .map(|(name, price)| (name.as_str(), price))
        .collect()
}

/// An address without the user and password that may stand in it.
fn without_user(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => address.to_owned(),
    }
}

fn unknown(name: &str) -> Error {
    Error::Unknown {
        name: name.to_owned(),
        hint: "a model is called provider:name, such as local:NAME or openai:NAME; plumb models lists them"
            .to_owned(),
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
            ("qwen", "a model is called provider:name"),
            ("antropic:claude", "did you mean anthropic"),
            ("local:", "a model is called provider:name"),
            #[cfg(feature = "local")]
            ("local:qwen2.5-coder", "did you mean qwen2.5-coder-0.5b"),
            #[cfg(feature = "local")]
            ("local:/no/such/model.gguf", "/no/such/model.gguf"),
        ] {
            let error = models.open(name).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_server_speaks_a_protocol_that_there_is() {
        let server = |protocol: &str| Server {
            base_url: "http://127.0.0.1:1".to_owned(),
            key: None,
            protocol: Some(protocol.to_owned()),
        };
        let servers = [("a", "anthropic"), ("b", "antropic")];
        let servers = servers.map(|(name, protocol)| (name.to_owned(), server(protocol)));
        let models = Models::new(Settings {
            servers: BTreeMap::from(servers),
            ..Settings::default()
        });
        assert!(models.open("a:x").is_ok());
        let error = models.open("b:x").err().unwrap().to_string();
        assert!(
            error.contains("speaks antropic") && error.contains("did you mean anthropic"),
            "{error}"
        );
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
