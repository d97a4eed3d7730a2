//! One server at work: how it is reached, what it offers, and one call of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CallToolResult,
    CancelledNotification, CancelledNotificationParam, ClientNotification, ClientRequest,
    PaginatedRequestParams, ProtocolVersion, RequestId, ServerResult,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt as _, Peer, PeerRequestOptions,
    RunningService, ServiceError,
};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};

use super::config::{VERSIONS, secret_value};
use super::handler::{Calls, Handler};
use super::numbered::Numbered;
use super::process::{self, Process};
use super::{Definition, Error, Keys, Result, ServerConfig};
use crate::Context;

/// The longest message of a server, in bytes. What is longer is dropped.
const MESSAGE_BYTES: usize = 8 << 20;

/// The most tools of one server.
const MOST_TOOLS: usize = 1_000;

/// How long what a server offers is believed without asking again.
const BELIEVED: Duration = Duration::from_secs(60);

/// A server at work. It stops when this is dropped.
pub(super) struct Connection {
    // Dropped first: a program's input ends, and then it is waited for.
    service: RunningService<RoleClient, Handler>,
    process: Option<Process>,
    calls: Arc<Calls>,
    listed: tokio::sync::Mutex<Option<(Instant, Arc<Vec<Definition>>)>>,
}

/// How a call ends without an answer of the server.
pub(super) enum CallEnd {
    /// The server has answered with an error.
    Refused(String),
    /// The server has gone, with what is known about it.
    Gone(String),
    /// It took too long and was cancelled.
    TooLong,
    /// The server wants a login, and has done nothing. The scope it asks for, if it says.
    Login(Option<String>),
}

impl Connection {
    /// Starts or calls a server and agrees on a version with it.
    pub(super) async fn open(
        name: &str,
        config: &ServerConfig,
        project: &Path,
        keys: &Keys,
    ) -> Result<Connection> {
        let calls = Arc::new(Calls::default());
        let own = |version: &str| version_of(version).unwrap_or(ProtocolVersion::LATEST);
        let handler = Handler {
            server: name.to_owned(),
            protocol: own(config.protocol.as_deref().unwrap_or(VERSIONS[1])),
            calls: Arc::clone(&calls),
        };
        let lifecycle = lifecycle(config.protocol.as_deref());
        let (service, process) = match &config.url {
            Some(url) => {
                let opened = over_http(name, config, url, keys, handler, lifecycle);
                (within(name, config, opened).await?, None)
            }
            None => {
                let started = process::start(name, config, project)?;
                let transport = AsyncRwTransport::new_client(started.output, started.input)
                    .with_max_line_length(MESSAGE_BYTES);
                let opened = async {
                    let served = handler
                        .serve_with_lifecycle(Numbered::new(transport), lifecycle)
                        .await;
                    served.map_err(|error| (failed(&error), login_scope(&error)))
                };
                let opened = within(name, config, opened).await;
                match opened {
                    Ok(service) => (service, Some(started.process)),
                    Err(error) => return Err(with_words(error, &started.process).await),
                }
            }
        };
        Ok(Connection {
            service,
            process,
            calls,
            listed: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    /// The server's name for itself, and the version of the protocol.
    pub(super) fn about(&self) -> (String, String) {
        let info = self.peer().peer_info();
        let name = info.as_ref().and_then(|info| {
            let own = info.server_info.as_ref()?;
            Some(format!("{} {}", own.name, own.version))
        });
        let version = info.map(|info| info.protocol_version.to_string());
        (name.unwrap_or_default(), version.unwrap_or_default())
    }

    /// Whether it has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.peer().is_transport_closed() || self.service.is_closed()
    }

    /// The tools it offers now: asked for again when it has said that they have changed, and after a minute.
    pub(super) async fn offered(&self, within: Duration) -> Result<Arc<Vec<Definition>>, CallEnd> {
        let mut listed = self.listed.lock().await;
        let changed = self.calls.changed.swap(false, Ordering::AcqRel);
        if let Some((at, tools)) = &*listed
            && !changed
            && at.elapsed() < BELIEVED
        {
            return Ok(Arc::clone(tools));
        }
        let asked = tokio::time::timeout(within, self.list()).await;
        let tools = match asked {
            Ok(Ok(tools)) => Arc::new(tools),
            Ok(Err(error)) => return Err(self.end(error).await),
            Err(_) => return Err(CallEnd::TooLong),
        };
        *listed = Some((Instant::now(), Arc::clone(&tools)));
        Ok(tools)
    }

    async fn list(&self) -> Result<Vec<Definition>, ServiceError> {
        self.peer().clear_response_cache().await;
        let mut tools = Vec::new();
        let mut cursor = None;
        loop {
            let page = PaginatedRequestParams::default().with_cursor(cursor.take());
            let page = self.peer().list_tools(Some(page)).await?;
            tools.extend(page.tools.iter().map(Definition::from));
            match page.next_cursor {
                Some(next) if tools.len() < MOST_TOOLS => cursor = Some(next),
                _ => break,
            }
        }
        tools.truncate(MOST_TOOLS);
        Ok(tools)
    }

    /// Calls a tool; when what is returned is dropped, the server is told that its answer is not wanted.
    pub(super) async fn call(
        &self,
        params: CallToolRequestParams,
        context: &Context,
        config: &ServerConfig,
    ) -> Result<CallToolResponse, CallEnd> {
        let under = self.calls.begin(context, config.ask());
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let sent = self
            .peer()
            .send_cancellable_request(request, PeerRequestOptions::no_options())
            .await;
        let handle = match sent {
            Ok(handle) => handle,
            Err(error) => return Err(self.end(error).await),
        };
        under.known_as(handle.id.clone(), handle.progress_token.clone());
        let mut abandon = Abandon {
            peer: self.peer().clone(),
            request: Some(handle.id.clone()),
        };
        let ended = tokio::select! {
            ended = handle.await_response() => Some(ended),
            () = under.runs_out(config.time()) => None,
            () = context.cancelled() => None,
        };
        let Some(ended) = ended else {
            abandon.tell().await;
            return Err(CallEnd::TooLong);
        };
        abandon.request = None;
        match ended {
            Ok(ServerResult::CallToolResult(result)) => Ok(CallToolResponse::Complete(result)),
            Ok(ServerResult::InputRequiredResult(result)) => {
                Ok(CallToolResponse::InputRequired(result))
            }
            Ok(ServerResult::EmptyResult(_)) => {
                Ok(CallToolResponse::Complete(CallToolResult::default()))
            }
            Ok(_) => Err(CallEnd::Refused(
                "the server's answer is not that of a tool".to_owned(),
            )),
            Err(error) => Err(self.end(error).await),
        }
    }

    /// What an error of the protocol means for a call.
    pub(super) async fn end(&self, error: ServiceError) -> CallEnd {
        if error.is_authorization_required() || error.auth_challenge().is_some() {
            return CallEnd::Login(error.auth_challenge().and_then(scope));
        }
        match error {
            ServiceError::McpError(error) => CallEnd::Refused(error.message.to_string()),
            ServiceError::UnexpectedResponse => {
                CallEnd::Refused("the server's answer is not of the right kind".to_owned())
            }
            ServiceError::Timeout { .. } => CallEnd::TooLong,
            error => {
                let words = match &self.process {
                    Some(process) => process.last_words().await,
                    None => format!(": {}", chain(&error)),
                };
                CallEnd::Gone(format!("has gone{words}"))
            }
        }
    }
}

/// Cancels a request whose answer nobody waits for any more.
struct Abandon {
    peer: Peer<RoleClient>,
    request: Option<RequestId>,
}

impl Abandon {
    /// Tells the server now.
    async fn tell(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let reason = Some("no longer wanted".to_owned());
        let param = CancelledNotificationParam::new(Some(request), reason);
        let notification = CancelledNotification::new(param);
        // A server that has gone needs not be told.
        let _ = self
            .peer
            .send_notification(ClientNotification::CancelledNotification(notification))
            .await;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        let (Some(request), Ok(runtime)) =
            (self.request.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let mut other = Abandon {
            peer: self.peer.clone(),
            request: Some(request),
        };
        runtime.spawn(async move { other.tell().await });
    }
}

/// What a server says when it is called without a key, if it wants one.
pub(super) async fn challenge(config: &ServerConfig, name: &str) -> Option<String> {
    let url = config.url.as_deref()?;
    offline(url, name).ok()?;
    let handler = Handler {
        server: name.to_owned(),
        protocol: ProtocolVersion::V_2025_11_25,
        calls: Arc::default(),
    };
    let settings = http_settings(name, config, url).ok()?;
    let transport = StreamableHttpClientTransport::from_config(settings);
    let opened = handler.serve_with_lifecycle(transport, lifecycle(config.protocol.as_deref()));
    match tokio::time::timeout(config.start(), opened).await {
        Ok(Err(error)) => error.auth_challenge().map(str::to_owned),
        Ok(Ok(_)) | Err(_) => None,
    }
}

/// The newer version first, by asking the server; a fixed one where the user says so.
fn lifecycle(protocol: Option<&str>) -> ClientLifecycleMode {
    match protocol.and_then(version_of) {
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

fn version_of(version: &str) -> Option<ProtocolVersion> {
    let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
    known.find(|known| known.as_str() == version).cloned()
}

type Opened = std::result::Result<RunningService<RoleClient, Handler>, (String, Option<String>)>;

async fn over_http(
    name: &str,
    config: &ServerConfig,
    url: &str,
    keys: &Keys,
    handler: Handler,
    lifecycle: ClientLifecycleMode,
) -> Opened {
    let told = |error: Error| (error.to_string(), None);
    let settings = http_settings(name, config, url).map_err(told)?;
    let authorized = keys.client(name, config, url).await;
    let served = match authorized.map_err(|error| (error.to_string(), None))? {
        Some(client) => {
            let transport = StreamableHttpClientTransport::with_client(client, settings);
            let transport = Numbered::new(transport);
            handler.serve_with_lifecycle(transport, lifecycle).await
        }
        None => {
            let transport = StreamableHttpClientTransport::from_config(settings);
            let transport = Numbered::new(transport);
            handler.serve_with_lifecycle(transport, lifecycle).await
        }
    };
    served.map_err(|error| (failed(&error), login_scope(&error)))
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

/// Opens within the time that is allowed.
async fn within(
    name: &str,
    config: &ServerConfig,
    opened: impl Future<Output = Opened>,
) -> Result<RunningService<RoleClient, Handler>> {
    let unreachable = |message: String| Error::Unreachable {
        server: name.to_owned(),
        message,
        hint: match &config.url {
            Some(_) => format!("check the url of [mcp.{name}] in plumb.toml"),
            None => format!("check the command of [mcp.{name}] in plumb.toml"),
        },
    };
    if let Some(url) = &config.url {
        offline(url, name)?;
    }
    match tokio::time::timeout(config.start(), opened).await {
        Ok(Ok(service)) => Ok(service),
        Ok(Err((_, Some(scope)))) => Err(Error::Login {
            server: name.to_owned(),
            scope,
        }),
        Ok(Err((message, None))) => Err(unreachable(message)),
        Err(_) => Err(unreachable(format!(
            "did not answer within {} s",
            config.start_s
        ))),
    }
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

fn failed(error: &ClientInitializeError) -> String {
    format!("did not start: {}", chain(error))
}

/// Whether a login is wanted: an option of `plumb mcp login` for the scope, or nothing.
fn login_scope(error: &ClientInitializeError) -> Option<String> {
    let wanted = error.is_authorization_required() || error.auth_challenge().is_some();
    let scope = error.auth_challenge().and_then(scope);
    wanted.then(|| {
        scope
            .map(|scope| format!(" --scope '{scope}'"))
            .unwrap_or_default()
    })
}

/// The scope that a server asks for.
fn scope(challenge: &str) -> Option<String> {
    let (_, rest) = challenge.split_once("scope=\"")?;
    let (scope, _) = rest.split_once('"')?;
    let fits = |c: char| c.is_ascii_graphic() && !"'\\".contains(c) || c == ' ';
    (!scope.is_empty() && scope.chars().all(fits)).then(|| scope.to_owned())
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
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
