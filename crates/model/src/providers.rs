//! The providers that are known by name: where they are, how they speak, which variable holds the key.

use genai::adapter::AdapterKind;

/// A provider.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    /// What stands before the colon of a model's name.
    pub name: &'static str,
    /// Its address.
    pub base_url: &'static str,
    /// The environment variable that holds its key; `None` where it wants none.
    pub key_variable: Option<&'static str>,
    pub(crate) protocol: Protocol,
}

/// How a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// OpenAI's chat completions.
    Chat,
    /// Bedrock's Converse.
    Converse,
    /// Another one, through the library.
    Native(AdapterKind),
}

const fn chat(name: &'static str, base_url: &'static str, variable: &'static str) -> Provider {
    Provider {
        name,
        base_url,
        key_variable: Some(variable),
        protocol: Protocol::Chat,
    }
}

const fn native(
    name: &'static str,
    base_url: &'static str,
    key_variable: Option<&'static str>,
    kind: AdapterKind,
) -> Provider {
    Provider {
        name,
        base_url,
        key_variable,
        protocol: Protocol::Native(kind),
    }
}

/// All of them.
pub const PROVIDERS: &[Provider] = &[
    native(
        "anthropic",
        "https://api.anthropic.com/v1",
        Some("ANTHROPIC_API_KEY"),
        AdapterKind::Anthropic,
    ),
    Provider {
        name: "bedrock",
        base_url: "https://bedrock-runtime.us-east-1.amazonaws.com",
        key_variable: Some("AWS_BEARER_TOKEN_BEDROCK"),
        protocol: Protocol::Converse,
    },
    // Its own protocol, as the library speaks it, has no tools.
    chat(
        "cohere",
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
    ),
    chat(
        "deepseek",
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
    ),
    chat(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
    ),
    native(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        Some("GEMINI_API_KEY"),
        AdapterKind::Gemini,
    ),
    chat("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    chat("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    chat("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    chat(
        "nebius",
        "https://api.studio.nebius.com/v1",
        "NEBIUS_API_KEY",
    ),
    native(
        "ollama",
        "http://localhost:11434",
        None,
        AdapterKind::Ollama,
    ),
    chat("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    native(
        "openai-responses",
        "https://api.openai.com/v1",
        Some("OPENAI_API_KEY"),
        AdapterKind::OpenAIResp,
    ),
    chat(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
    ),
    chat(
        "together",
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
    ),
    chat("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
];

/// The environment variables that hold keys. Whoever writes things down keeps their values out.
pub const KEY_VARIABLES: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
    "COHERE_API_KEY",
    "DEEPSEEK_API_KEY",
    "FIREWORKS_API_KEY",
    "GEMINI_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "MOONSHOT_API_KEY",
    "NEBIUS_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "TOGETHER_API_KEY",
    "XAI_API_KEY",
];

impl Provider {
    /// The provider called `name`.
    pub fn find(name: &str) -> Option<&'static Provider> {
        PROVIDERS.iter().find(|provider| provider.name == name)
    }

    /// Its key, where it is set.
    pub(crate) fn key(&self) -> Option<Key> {
        Key::from_variable(self.key_variable?)
    }
}

/// A provider's key, and the variable that it is from. It is never shown.
#[derive(Clone)]
pub(crate) struct Key {
    /// `None` where it is from no variable.
    pub variable: Option<String>,
    pub value: String,
}

impl Key {
    /// The key in an environment variable.
    pub(crate) fn from_variable(name: &str) -> Option<Key> {
        let value = variable(name)?;
        Some(Key {
            variable: Some(name.to_owned()),
            value,
        })
    }

    #[cfg(test)]
    pub(crate) fn new(variable: &str, value: &str) -> Key {
        Key {
            variable: Some(variable.to_owned()),
            value: value.to_owned(),
        }
    }

    /// A text without the key, which some servers repeat.
    pub(crate) fn hidden_in(&self, text: &str) -> String {
        match self.value.is_empty() {
            true => text.to_owned(),
            false => text.replace(&self.value, "[key]"),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({:?})", self.variable)
    }
}

/// The value of an environment variable, unless it is blank.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    value.filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_known_as_a_secret() {
        for provider in PROVIDERS {
            let variable = provider.key_variable;
            assert!(
                variable.is_none_or(|variable| KEY_VARIABLES.contains(&variable)),
                "{}",
                provider.name
            );
        }
        let sorted = |names: Vec<&str>| names.is_sorted();
        assert!(sorted(
            PROVIDERS.iter().map(|provider| provider.name).collect()
        ));
        assert!(sorted(KEY_VARIABLES.to_vec()));
    }
}
