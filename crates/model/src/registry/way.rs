//! Where a provider or a server of the user's is, how it speaks, and the key for it.

use std::sync::Arc;

use serde::Deserialize;

use super::Models;
use crate::bedrock::Bedrock;
use crate::native::Native;
use crate::providers::{Key, Protocol, variable};
use crate::remote::Wire;
use crate::{Error, OpenAi, PROVIDERS, Provider, Result, catalogue};

/// A server of the user's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its address, such as `http://127.0.0.1:8000/v1`.
    pub base_url: String,
    /// The environment variable that holds its key; `None` where it wants none.
    pub key: Option<String>,
    /// The provider whose protocol it speaks; OpenAI's chat completions where not set.
    pub protocol: Option<String>,
}

/// The way to a provider.
pub(super) struct Way {
    pub(super) provider: String,
    pub(super) address: String,
    key: Option<Key>,
    protocol: Protocol,
}

impl Way {
    /// One request of a model.
    pub(super) fn wire(self, model: &str) -> Result<Arc<dyn Wire>> {
        let Way {
            provider,
            address,
            key,
            protocol,
        } = self;
        Ok(match protocol {
            Protocol::Native(kind) => Arc::new(Native::new(&provider, model, kind, &address, key)?),
            Protocol::Converse => Arc::new(Bedrock::new(&provider, model, &address, key)?),
            Protocol::Chat => Arc::new(OpenAi::new(&provider, model, &address, key)?),
        })
    }
}

impl Server {
    fn speaks(&self, name: &str) -> Result<Protocol> {
        let Some(protocol) = &self.protocol else {
            return Ok(Protocol::Chat);
        };
        match Provider::find(protocol) {
            Some(provider) => Ok(provider.protocol),
            None => Err(Error::Setting {
                message: format!(
                    "the server {name} speaks {protocol}, which is no provider's protocol"
                ),
                hint: catalogue::nearest(
                    "",
                    protocol,
                    PROVIDERS.iter().map(|provider| provider.name),
                    "plumb models",
                ),
            }),
        }
    }
}

impl Models {
    /// The way to a provider or to a server of the user's.
    pub(super) fn way(&self, name: &str, provider: &str) -> Result<Way> {
        let to = |address: &str, key, protocol| Way {
            provider: provider.to_owned(),
            address: address.to_owned(),
            key,
            protocol,
        };
        if let Some(server) = self.settings.servers.get(provider) {
            let key = match &server.key {
                Some(name) => {
                    let key = Key::from_variable(name);
                    Some(key.ok_or_else(|| missing_key(provider, name))?)
                }
                None => None,
            };
            return Ok(to(&server.base_url, key, server.speaks(provider)?));
        }
        let Some(known) = Provider::find(provider) else {
            return Err(self.unknown_provider(name, provider));
        };
        let key = known.key();
        let own = self.own_address(known);
        if let (None, None, Some(variable)) = (&key, &own, known.key_variable) {
            return Err(missing_key(provider, variable));
        }
        let address = own.unwrap_or_else(|| known.base_url.to_owned());
        Ok(to(&address, key, known.protocol))
    }

    /// The address that the user gave a provider.
    pub(super) fn own_address(&self, provider: &Provider) -> Option<String> {
        let given = || self.settings.base_url.clone();
        match provider.name {
            "openai" => given().or_else(|| variable("OPENAI_BASE_URL")),
            "ollama" => variable("OLLAMA_HOST").map(|host| match host.contains("://") {
                true => host,
                false => format!("http://{host}"),
            }),
            "bedrock" => provider
                .key()
                .and_then(|_| variable("AWS_REGION"))
                .map(|region| format!("https://bedrock-runtime.{region}.amazonaws.com")),
            _ => None,
        }
    }

    fn unknown_provider(&self, name: &str, provider: &str) -> Error {
        let servers = self.settings.servers.keys().map(String::as_str);
        let names = PROVIDERS
            .iter()
            .map(|provider| provider.name)
            .chain(servers);
        let names: Vec<&str> = std::iter::once("local").chain(names).collect();
        Error::Unknown {
            name: name.to_owned(),
            hint: catalogue::nearest("", provider, names.iter().copied(), "plumb models"),
        }
    }
}

fn missing_key(provider: &str, variable: &str) -> Error {
    Error::Key {
        provider: provider.to_owned(),
        variable: variable.to_owned(),
    }
}
