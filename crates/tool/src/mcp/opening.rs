//! How a server is reached: started or called, and asked which version of the protocol it speaks.

use std::path::Path;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::ProtocolVersion;
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, RunningService,
};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};

use super::config::{VERSIONS, secret_value};
use super::handler::{Calls, Handler};
use super::numbered::Numbered;
use super::process::{self, Process};
use super::{Error, Keys, Result, ServerConfig};

/// The longest message of a server, in bytes. What is longer is dropped.
const MESSAGE_BYTES: usize = 8 << 20;

type Service = RunningService<RoleClient, Handler>;

/// A server to be reached.
pub(super) struct Reached<'a> {
    pub(super) name: &'a str,
    pub(super) config: &'a ServerConfig,
    pub(super) calls: Arc<Calls>,
}

/// Why it is not: in words; or a login is wanted, with an option of `plumb mcp login` for the scope, or nothing.
enum Closed {
    Failed(String),
    Login(String),
}

impl From<ClientInitializeError> for Closed {
    fn from(error: ClientInitializeError) -> Closed {
        if !error.is_authorization_required() && error.auth_challenge().is_none() {
            return Closed::Failed(format!("did not start: {}", chain(&error)));
        }
        let scope = error.auth_challenge().and_then(scope);
        Closed::Login(scope.map_or_else(String::new, |scope| format!(" --scope '{scope}'")))
    }
}

impl Reached<'_> {
    /// Starts or calls it, within the time that is allowed.
    pub(super) async fn open(
        &self,
        project: &Path,
        keys: &Keys,
    ) -> Result<(Service, Option<Process>)> {
        if let Some(url) = &self.config.url {
            offline(url, self.name)?;
            let settings = http_settings(self.name, self.config, url)?;
            let service = self.within(self.over_http(url, keys, settings)).await?;
            return Ok((service, None));
        }
        let started = process::start(self.name, self.config, project)?;
        let transport = AsyncRwTransport::new_client(started.output, started.input)
            .with_max_line_length(MESSAGE_BYTES);
        let opened = self
            .handler()
            .serve_with_lifecycle(Numbered::new(transport), self.lifecycle());
        let opened = async {
            tokio::select! {
                biased;
                opened = opened => Ok(opened?),
                () = started.process.ended() => Err(Closed::Failed("did not start: it ended".to_owned())),
            }
        };
        match self.within(opened).await {
            Ok(service) => Ok((service, Some(started.process))),
            Err(error) => Err(with_words(error, &started.process).await),
        }
    }

    async fn over_http(
        &self,
        url: &str,
        keys: &Keys,
        settings: StreamableHttpClientTransportConfig,
    ) -> Result<Service, Closed> {
        let authorized = keys.client(self.name, self.config, url).await;
        let authorized = authorized.map_err(|error| Closed::Failed(error.to_string()))?;
        Ok(match authorized {
            Some(client) => {
                let transport = StreamableHttpClientTransport::with_client(client, settings);
                let transport = Numbered::new(transport);
                self.handler()
                    .serve_with_lifecycle(transport, self.lifecycle())
                    .await?
            }
            None => {
                let transport = StreamableHttpClientTransport::from_config(settings);
                let transport = Numbered::new(transport);
                self.handler()
                    .serve_with_lifecycle(transport, self.lifecycle())
                    .await?
            }
        })
    }

    async fn within(
        &self,
        opened: impl Future<Output = Result<Service, Closed>>,
    ) -> Result<Service> {
        let unreachable = |message: String| Error::Unreachable {
            server: self.name.to_owned(),
            message,
            hint: match &self.config.url {
                Some(_) => format!("check the url of [mcp.{}] in plumb.toml", self.name),
                None => format!("check the command of [mcp.{}] in plumb.toml", self.name),
            },
        };
        match tokio::time::timeout(self.config.start(), opened).await {
            Ok(Ok(service)) => Ok(service),
            Ok(Err(Closed::Login(scope))) => Err(match &self.config.token {
                Some(variable) => Error::Unreachable {
                    server: self.name.to_owned(),
                    message: "does not take the token".to_owned(),
                    hint: format!("check the environment variable {variable}"),
                },
                None => Error::Login {
                    server: self.name.to_owned(),
                    scope,
                },
            }),
            Ok(Err(Closed::Failed(message))) => Err(unreachable(message)),
            Err(_) => Err(unreachable(format!(
                "did not answer within {} s",
                self.config.start_s
            ))),
        }
    }

    fn handler(&self) -> Handler {
        let fixed = self.config.protocol.as_deref().unwrap_or(VERSIONS[1]);
        Handler {
            server: self.name.to_owned(),
            protocol: version_of(fixed).unwrap_or(ProtocolVersion::LATEST),
            calls: Arc::clone(&self.calls),
        }
    }

    /// The newer version first, by asking the server; a fixed one where the user says so.
    fn lifecycle(&self) -> ClientLifecycleMode {
        match self.config.protocol.as_deref().and_then(version_of) {
            Some(version) if version.has_initialize() => ClientLifecycleMode::Initialize,
            Some(version) => ClientLifecycleMode::Discover {
                preferred_versions: vec![version],
            },
            None => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: Some(ProtocolVersion::V_2025_11_25),
            },
        }
    }
}

/// What a server says when it is called without a key, if it wants one.
pub(super) async fn challenge(config: &ServerConfig, name: &str) -> Option<String> {
    let url = config.url.as_deref()?;
    offline(url, name).ok()?;
    let reached = Reached {
        name,
        config,
        calls: Arc::default(),
    };
    let settings = http_settings(name, config, url).ok()?;
    let transport = StreamableHttpClientTransport::from_config(settings);
    let opened = reached
        .handler()
        .serve_with_lifecycle(transport, reached.lifecycle());
    match tokio::time::timeout(config.start(), opened).await {
        Ok(Err(error)) => error.auth_challenge().map(str::to_owned),
        Ok(Ok(_)) | Err(_) => None,
    }
}

fn version_of(version: &str) -> Option<ProtocolVersion> {
    let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
    known.find(|known| known.as_str() == version).cloned()
}

fn http_settings(
    name: &str,
    config: &ServerConfig,
    url: &str,
) -> Result<StreamableHttpClientTransportConfig> {
    let mut settings = StreamableHttpClientTransportConfig::with_uri(url)
        .max_sse_event_size(MESSAGE_BYTES)
        .max_json_response_size(MESSAGE_BYTES)
        .reinit_on_expired_session(true);
    if let Some(variable) = &config.token {
        settings = settings.auth_header(secret_value(variable, name)?);
    }
    for (header, value) in &config.headers {
        let wrong = |message: &str| Error::Setting {
            message: format!("[mcp.{name}] has a header {header} {message}"),
            hint: "write headers = {NAME = \"value\"}".to_owned(),
        };
        let key = reqwest::header::HeaderName::try_from(header.as_str());
        let value = reqwest::header::HeaderValue::try_from(value.value(name)?);
        let key = key.map_err(|_| wrong("that cannot be one's name"))?;
        let value = value.map_err(|_| wrong("whose value cannot be sent"))?;
        settings.custom_headers.insert(key, value);
    }
    Ok(settings)
}

/// The same error with what the program said last.
async fn with_words(error: Error, process: &Process) -> Error {
    let words = process.last_words().await;
    match error {
        Error::Unreachable {
            server,
            message,
            hint,
        } => Error::Unreachable {
            server,
            message: format!("{message}{words}"),
            hint,
        },
        other => other,
    }
}

/// The scope that a server asks for.
pub(super) fn scope(challenge: &str) -> Option<String> {
    let (_, rest) = challenge.split_once("scope=\"")?;
    let (scope, _) = rest.split_once('"')?;
    let fits = |c: char| c.is_ascii_graphic() && !"'\\".contains(c) || c == ' ';
    (!scope.is_empty() && scope.chars().all(fits)).then(|| scope.to_owned())
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    super::handler::plain(&text)
}

/// Nothing but this machine is called while `$PLUMB_OFFLINE` is set.
fn offline(url: &str, name: &str) -> Result<()> {
    let is_set =
        std::env::var("PLUMB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0"));
    let host = reqwest::Url::parse(url)
        .ok()
        .and_then(|url| Some(url.host_str()?.to_owned()));
    let host = host.unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if !is_set || host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return Ok(());
    }
    Err(Error::Setting {
        message: format!(
            "the MCP server {name} is on another machine, {host}, and PLUMB_OFFLINE forbids calling it"
        ),
        hint: "unset PLUMB_OFFLINE".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_from_a_challenge() {
        let challenge = "Bearer error=\"insufficient_scope\", scope=\"mail:send mail:read\"";
        assert_eq!(scope(challenge).as_deref(), Some("mail:send mail:read"));
        assert_eq!(scope("Bearer"), None);
        assert_eq!(scope("Bearer scope=\"'; rm -rf /\""), None);
    }
}
