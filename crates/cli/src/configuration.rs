//! `plumb.toml`: servers of the project, how providers are called, and what the local engine may use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::{
    Bounds, Hedging, Keeping, Limits, PROVIDERS, Patience, Provider, Retry, Server, catalogue,
};
use serde::Deserialize;
use tool::mcp::ServerConfig;

/// The name of the file.
const FILE: &str = "plumb.toml";

/// What `plumb.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// Servers by the names that stand before the colon of their models.
    pub servers: BTreeMap<String, Server>,
    /// What may be asked of a provider or server.
    pub limits: BTreeMap<String, Limits>,
    /// How long a provider or server may be silent.
    pub timeouts: BTreeMap<String, Patience>,
    /// When a second call is made beside a slow one.
    pub hedging: BTreeMap<String, Hedging>,
    /// When a call is tried again.
    pub retry: Retry,
    /// Whether answers are kept, and where.
    pub answers: Option<Keeping>,
    /// What the local engine may use.
    pub local: Bounds,
    /// MCP servers by the names that agents call them by.
    pub mcp: BTreeMap<String, ServerConfig>,
    /// The folder that the file is in; the working directory where there is none.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Configuration {
    /// Reads the file of the working directory or of the nearest folder upwards that has one; nothing
    /// is configured where there is none.
    pub fn find() -> anyhow::Result<Configuration> {
        let here = std::env::current_dir().context("cannot tell the working directory")?;
        let files = here.ancestors().map(|folder| folder.join(FILE));
        let found: Option<PathBuf> = files.into_iter().find(|file| file.is_file());
        let Some(file) = found else {
            return Ok(Configuration {
                folder: here,
                ..Configuration::default()
            });
        };
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let mut read = Configuration::read(&text, &file)?;
        read.folder = file.parent().unwrap_or(&here).to_owned();
        Ok(read)
    }

    fn read(text: &str, file: &Path) -> anyhow::Result<Configuration> {
        // The error names line and column, and what is known instead.
        let read: Configuration =
            toml::from_str(text).with_context(|| format!("{} is wrong", file.display()))?;
        let name_is_fine =
            |name: &str| !name.is_empty() && !name.contains([':', ',']) && name != "local";
        if let Some(name) = read.servers.keys().find(|name| !name_is_fine(name)) {
            anyhow::bail!(
                "{}: a server cannot be called `{name}`\nhint: a name without colon and comma, and not `local`",
                file.display()
            );
        }
        let called = read.limits.keys().map(|name| ("limits", name));
        let called = called.chain(read.timeouts.keys().map(|name| ("timeouts", name)));
        let called = called.chain(read.hedging.keys().map(|name| ("hedging", name)));
        for (table, name) in called {
            if !read.servers.contains_key(name) && Provider::find(name).is_none() {
                let servers = read.servers.keys().map(String::as_str);
                let known = PROVIDERS
                    .iter()
                    .map(|provider| provider.name)
                    .chain(servers);
                anyhow::bail!(
                    "{}: [{table}.{name}]: there is no server and no provider {name}\nhint: {}",
                    file.display(),
                    catalogue::nearest("", name, known, "plumb models")
                );
            }
        }
        for (name, server) in &read.mcp {
            let checked = server.check(name);
            checked.with_context(|| format!("{} is wrong", file.display()))?;
        }
        Ok(read)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Configuration> {
        Configuration::read(text, Path::new(FILE))
    }

    #[test]
    fn servers_and_limits_are_read() {
        let configuration = read(
            "[servers.lab]\nbase_url = \"http://127.0.0.1:8000/v1\"\nkey = \"LAB_KEY\"\n\n[limits.lab]\nconcurrent = 2\ntokens_per_minute = 9000\n",
        )
        .unwrap();
        assert_eq!(configuration.servers["lab"].key.as_deref(), Some("LAB_KEY"));
        let limits = configuration.limits["lab"];
        assert_eq!(
            (limits.concurrent, limits.requests_per_minute),
            (Some(2), None)
        );
        assert_eq!(read("").unwrap(), Configuration::default());
        let local = read("[local]\nthreads = 1\nmemory_mb = 900\n")
            .unwrap()
            .local;
        assert_eq!((local.threads, local.memory_mb), (Some(1), Some(900)));
    }

    #[test]
    fn how_providers_are_called_is_read() {
        let configuration = read(
            "[timeouts.groq]\nfirst_token_s = 2.5\n\n[hedging.groq]\nafter_s = 1\n\n[retry]\ntries = 2\n\n[answers]\nmegabytes = 10\n",
        )
        .unwrap();
        let patience = configuration.timeouts["groq"];
        assert_eq!(patience.first.as_millis(), 2500);
        assert_eq!(patience.between, Patience::default().between);
        assert_eq!(configuration.hedging["groq"].after.as_secs(), 1);
        assert_eq!(configuration.retry.tries, 2);
        assert_eq!(configuration.answers.unwrap().megabytes, 10);
        assert!(read("[hedging.lab]\nafter_s = -1\n").is_err());
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_the_line() {
        for text in [
            "\n[limits.lab]\nconcurent = 2\n",
            "\n\nserver = 1\n",
            "[timeouts.lab]\nfirst = 1\n",
            "[retry]\n\nagain = 1\n",
            "[servers.lab]\nurl = 1\n\n",
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(
                error.contains("line") && error.contains("unknown field"),
                "{error}"
            );
        }
        let error = read("[limits.antropic]\nconcurrent = 2\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "plumb.toml: [limits.antropic]: there is no server and no provider antropic\nhint: did you mean anthropic? plumb models lists all"
        );
        let error = read("[servers.local]\nbase_url = \"http://127.0.0.1/v1\"\n").unwrap_err();
        assert!(
            error.to_string().contains("cannot be called `local`"),
            "{error}"
        );
    }
}
