//! What a server is: a program to start, or an address to call.

use std::collections::BTreeMap;
use std::time::Duration;

use journal::Effect;
use serde::Deserialize;

use super::{Error, Result};

/// A server, as `plumb.toml` describes it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// The program and its arguments; it speaks over its standard input and output.
    #[serde(default)]
    pub command: Vec<String>,
    /// The folder that it is started in, relative to the project.
    #[serde(default)]
    pub folder: Option<String>,
    /// Environment variables of the program, beyond those that every program needs.
    #[serde(default)]
    pub env: BTreeMap<String, Variable>,
    /// The address that is called, where it is no program.
    #[serde(default)]
    pub url: Option<String>,
    /// Headers that are sent to the address.
    #[serde(default)]
    pub headers: BTreeMap<String, Variable>,
    /// The environment variable that holds the token sent to the address.
    #[serde(default)]
    pub token: Option<String>,
    /// How a login at the address goes, where it wants one.
    #[serde(default)]
    pub login: Login,
    /// How long a call may take, in seconds. What a person is asked meanwhile does not count.
    #[serde(default = "sixty")]
    pub time_s: u64,
    /// How long a person is waited for whom the server asks in the middle of a call, in seconds.
    #[serde(default = "ten_minutes")]
    pub ask_s: u64,
    /// How long it may take to start, in seconds.
    #[serde(default = "sixty")]
    pub start_s: u64,
    /// The longest answer in bytes.
    #[serde(default = "answer_bytes")]
    pub answer_bytes: usize,
    /// What its tools do to the world, where its annotations are not to be believed.
    #[serde(default)]
    pub effects: BTreeMap<String, Effect>,
    /// The version of the protocol, where the server does not get on with being asked.
    #[serde(default)]
    pub protocol: Option<String>,
}

fn sixty() -> u64 {
    60
}

fn ten_minutes() -> u64 {
    600
}

fn answer_bytes() -> usize {
    20_000
}

/// The value of a variable: as it stands, or from one of Plumb's own environment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Variable {
    /// As it stands.
    Plain(String),
    /// The name of the environment variable that holds it. It is kept out of the journal.
    Secret {
        /// The name.
        secret: String,
    },
}

/// How a login goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// The id of this client, where the server knows it beforehand.
    pub client_id: Option<String>,
    /// The environment variable that holds the client's secret.
    pub client_secret: Option<String>,
    /// The address of a document that describes this client.
    pub client_metadata_url: Option<String>,
    /// What is asked for; what the server proposes where this is empty.
    pub scopes: Vec<String>,
    /// The port of this machine that the browser comes back to; any that is free where it is not given.
    pub port: u16,
}

/// The versions that are spoken, the preferred one first.
pub(super) const VERSIONS: [&str; 2] = ["2026-07-28", "2025-11-25"];

impl ServerConfig {
    /// Whether it is described as it must be.
    ///
    /// # Errors
    /// [`Error::Setting`], with the name of the server.
    pub fn check(&self, name: &str) -> Result<()> {
        let wrong = |message: &str, hint: &str| {
            Err(Error::Setting {
                message: format!("[mcp.{name}] {message}"),
                hint: hint.to_owned(),
            })
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if name.is_empty() || name.len() > 20 || !name.chars().all(fits) {
            return wrong(
                "cannot be a server's name",
                "1 to 20 letters, digits, `_` or `-`, such as [mcp.mail]",
            );
        }
        let other = "write command = [\"program\", \"argument\"], or url = \"http://...\"";
        match (self.command.first(), &self.url) {
            (None, None) => return wrong("has neither a command nor a url", other),
            (Some(_), Some(_)) => return wrong("has a command and a url", other),
            (Some(program), None) if program.is_empty() => {
                return wrong("has an empty command", other);
            }
            (Some(_), None) if !self.headers.is_empty() || self.token.is_some() => {
                return wrong(
                    "is a program, and programs take no headers and no token",
                    "give it what it needs as env = {NAME = {secret = \"VARIABLE\"}}",
                );
            }
            (None, Some(_)) if !self.env.is_empty() || self.folder.is_some() => {
                return wrong(
                    "is an address, and addresses take no env and no folder",
                    "give it headers = {NAME = \"value\"}, or token = \"VARIABLE\"",
                );
            }
            (None, Some(url)) if !url.starts_with("http://") && !url.starts_with("https://") => {
                return wrong("has a url that is none", other);
            }
            _ => {}
        }
        match &self.protocol {
            Some(version) if !VERSIONS.contains(&version.as_str()) => wrong(
                &format!("wants the protocol {version}, which is not spoken"),
                &format!("there are {}", VERSIONS.join(" and ")),
            ),
            _ => Ok(()),
        }
    }

    /// The environment variables whose values are kept out of the journal.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let values = self.env.values().chain(self.headers.values());
        let named = values.filter_map(|variable| match variable {
            Variable::Secret { secret } => Some(secret.as_str()),
            Variable::Plain(_) => None,
        });
        let own = [&self.token, &self.login.client_secret];
        named.chain(own.into_iter().flatten().map(String::as_str))
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_secs(self.time_s)
    }

    pub(super) fn ask(&self) -> Duration {
        Duration::from_secs(self.ask_s)
    }

    pub(super) fn start(&self) -> Duration {
        Duration::from_secs(self.start_s)
    }
}

impl Variable {
    /// Its value.
    ///
    /// # Errors
    /// [`Error::Setting`] when it is a secret that is not set.
    pub(super) fn value(&self, server: &str) -> Result<String> {
        match self {
            Variable::Plain(value) => Ok(value.clone()),
            Variable::Secret { secret } => secret_value(secret, server),
        }
    }
}

/// The value of a secret.
pub(super) fn secret_value(variable: &str, server: &str) -> Result<String> {
    std::env::var(variable).map_err(|_| Error::Setting {
        message: format!("the MCP server {server} needs the secret {variable}"),
        hint: format!("set the environment variable {variable}"),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(name: &str, config: serde_json::Value) -> String {
        let config: ServerConfig = serde_json::from_value(config).unwrap();
        config
            .check(name)
            .map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_server_is_a_program_or_an_address() {
        let program = json!({"command": ["server"], "env": {"KEY": {"secret": "MAIL_KEY"}}});
        assert_eq!(check("mail", program), "fine");
        assert_eq!(
            check("mail", json!({"url": "http://127.0.0.1:1/mcp"})),
            "fine"
        );
        insta::assert_snapshot!(check("mail", json!({})), @r#"
        [mcp.mail] has neither a command nor a url
        hint: write command = ["program", "argument"], or url = "http://..."
        "#);
        insta::assert_snapshot!(check("my mail", json!({"command": ["server"]})), @"
        [mcp.my mail] cannot be a server's name
        hint: 1 to 20 letters, digits, `_` or `-`, such as [mcp.mail]
        ");
        insta::assert_snapshot!(check("mail", json!({"command": ["a"], "token": "B"})), @r#"
        [mcp.mail] is a program, and programs take no headers and no token
        hint: give it what it needs as env = {NAME = {secret = "VARIABLE"}}
        "#);
        insta::assert_snapshot!(check("mail", json!({"url": "mail.example"})), @r#"
        [mcp.mail] has a url that is none
        hint: write command = ["program", "argument"], or url = "http://..."
        "#);
        insta::assert_snapshot!(check("mail", json!({"command": ["a"], "protocol": "2024"})), @"
        [mcp.mail] wants the protocol 2024, which is not spoken
        hint: there are 2026-07-28 and 2025-11-25
        ");
    }

    #[test]
    fn secrets_are_known_by_their_variables() {
        let config: ServerConfig = serde_json::from_value(json!({
            "url": "http://127.0.0.1", "token": "A", "headers": {"x": {"secret": "B"}, "y": "plain"},
            "login": {"client_secret": "C"}}))
        .unwrap();
        assert_eq!(config.secrets().collect::<Vec<_>>(), ["B", "A", "C"]);
    }
}
