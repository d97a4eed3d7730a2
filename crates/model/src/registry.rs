//! Models by their `provider:name`.

mod way;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Serialize;

use crate::capacity::Need;
use crate::catalogue::{self, Entry, Kind};
use crate::checked::Checked;
use crate::gguf::Header;
use crate::kept::{Answers, Kept};
use crate::limits::Gate;
use crate::providers::variable;
use crate::remote::{Manner, Remote};
use crate::{
    Bounds, Embed, Error, Fallback, Hedging, Keeping, Limits, Model, PROVIDERS, Patience, Result,
    Retry,
};
use crate::{fallback, prices};

#[cfg(feature = "local")]
mod local;
pub use way::Server;
use way::Way;

/// What opening models depends on. It holds names of variables, never a key.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The address of an OpenAI-compatible server; `$OPENAI_BASE_URL`, else OpenAI's own.
    pub base_url: Option<String>,
    /// What the local engine may use.
    pub local: Bounds,
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
    /// Local models that are open, by their files.
    #[cfg(feature = "local")]
    engines: Arc<Mutex<BTreeMap<std::path::PathBuf, std::sync::Weak<crate::local::Loaded>>>>,
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
    /// The memory that it needs at work, in bytes; under the settings where the file is here.
    pub memory_bytes: u64,
    /// Whether that much is free, or allowed; `None` on a system that does not say.
    pub fits: Option<bool>,
    /// The tokens that a prompt and its answer may have together, of a chat model.
    pub context_tokens: Option<u32>,
    /// The names of its adapters on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<String>,
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
            #[cfg(feature = "local")]
            engines: Arc::default(),
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
            catalogue::largest_chat(self.settings.local.machine())?.name
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
        // From the last, so that each knows whether there is another one after it.
        for one in name.rsplit(',').map(str::trim) {
            if one.is_empty() && !name.trim().is_empty() {
                return Err(Error::Unknown {
                    name: name.to_owned(),
                    hint: "there is no name beside one of its commas".to_owned(),
                });
            }
            match self.open_one(one, !opened.is_empty()) {
                Ok(model) => opened.push(model),
                // A misspelt name is never passed over in silence.
                Err(error @ Error::Unknown { .. }) => return Err(error),
                Err(error) if !fallback::another_may(&error) => return Err(error),
                Err(error) => {
                    tracing::warn!(model = one, %error, "left out");
                    first_error = Some(error);
                }
            }
        }
        opened.reverse();
        let mut opened = opened.into_iter();
        match (opened.next(), first_error) {
            (Some(first), None) if opened.len() == 0 => Ok(first),
            (Some(first), _) => Ok(Arc::new(Fallback::new(first, opened.collect()))),
            (None, Some(error)) => Err(error),
            (None, None) => Err(unknown(name)),
        }
    }

    /// Opens one model; `others` says that another one is asked where this one fails.
    fn open_one(&self, name: &str, others: bool) -> Result<Arc<dyn Model>> {
        let Some((provider, model)) = name.split_once(':').filter(|pair| !pair.1.is_empty()) else {
            return Err(unknown(name));
        };
        if provider == "local" {
            return self.open_local(model);
        }
        let way = self.way(name, provider)?;
        let address = way.address.clone();
        let checked: Arc<dyn Model> =
            Arc::new(Checked::new(Arc::new(self.remote(way, model, others)?)));
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
        Ok(Arc::new(self.remote(way, model, false)?))
    }

    /// The names of the models that a provider or a server of the user's offers, asked of it.
    ///
    /// # Errors
    /// As [`Models::open`], and what the provider says.
    pub async fn offered(&self, provider: &str) -> Result<Vec<String>> {
        let way = self.way(provider, provider)?;
        way.wire("")?.names().await
    }

    fn remote(&self, way: Way, model: &str, others: bool) -> Result<Remote> {
        let (provider, settings) = (way.provider.clone(), &self.settings);
        let provider = provider.as_str();
        let manner = Manner {
            retry: settings.retry,
            patience: settings.timeouts.get(provider).copied().unwrap_or_default(),
            hedging: settings.hedging.get(provider).copied(),
            others,
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

    #[cfg(not(feature = "local"))]
    fn open_local(&self, local: &str) -> Result<Arc<dyn Model>> {
        Err(Error::Unfit {
            model: format!("local:{local}"),
            reason: "this build has no local engine".to_owned(),
            hint: "build with the feature `local`".to_owned(),
        })
    }

    /// All catalogued files.
    ///
    /// # Errors
    /// As [`catalogue::entries`]; [`Error::Setting`] for settings that no engine can work with.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let default = self.default_name()?;
        let options = self.settings.local.options()?;
        let room = self.settings.local.room();
        let listed = |entry: &Entry| {
            let name = match entry.kind {
                Kind::Chat => format!("local:{}", entry.name),
                Kind::Index => entry.name.clone(),
            };
            let file = entry.path().ok().filter(|_| entry.is_present());
            let header = file.as_deref().and_then(|path| Header::read(path).ok());
            let need = header.map_or(entry.memory_bytes, |header| {
                Need::of(&header, &options).total()
            });
            Listed {
                default: name == default,
                name,
                kind: entry.kind,
                present: file.is_some(),
                bytes: entry.bytes,
                memory_bytes: need,
                fits: room.map(|room| need <= room),
                context_tokens: entry
                    .context
                    .map(|trained| trained.min(options.context_tokens)),
                adapters: file.map(|path| adapters(&path)).unwrap_or_default(),
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

#[cfg(feature = "local")]
use local::adapters;

#[cfg(not(feature = "local"))]
fn adapters(_model: &std::path::Path) -> Vec<String> {
    Vec::new()
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
            (
                "local:qwen2.5-coder",
                "did you mean local:qwen2.5-coder-0.5b",
            ),
            #[cfg(feature = "local")]
            (
                "local:/no/such/model.gguf",
                "there is no file /no/such/model.gguf",
            ),
            #[cfg(feature = "local")]
            ("local:models/weights.bin", "ends in .gguf"),
            #[cfg(feature = "local")]
            ("local:minilm-int8", "there are local:qwen2.5-coder-1.5b,"),
            ("nosuch:x", "hint: there are local, anthropic,"),
            (
                "opena:x",
                "did you mean openai or openai-responses? plumb models lists all",
            ),
            ("local:qwen2.5-coder-0.5b,", "beside one of its commas"),
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
}
