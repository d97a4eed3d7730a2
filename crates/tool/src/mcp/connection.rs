//! One server at work: what it offers, and one call of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResponse, CallToolResult,
    CancelledNotification, CancelledNotificationParam, ClientNotification, ClientRequest,
    ErrorData, PaginatedRequestParams, RequestId, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RunningService, ServiceError};

use super::handler::{Calls, Handler};
use super::opening::{Reached, chain, scope};
use super::process::Process;
use super::{Definition, Keys, Result, ServerConfig};
use crate::Context;

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
    Refused(Box<ErrorData>),
    /// The server has gone, with what is known about it.
    Gone(String),
    /// It took too long and was cancelled.
    TooLong,
    /// The server wants a login, and has done nothing. The scope it asks for, if it says.
    Login(Option<String>),
}

impl CallEnd {
    /// An answer that is none, in our own words.
    pub(super) fn refused(said: &'static str) -> CallEnd {
        CallEnd::Refused(Box::new(ErrorData::internal_error(said, None)))
    }
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
        let reached = Reached {
            name,
            config,
            calls: Arc::clone(&calls),
        };
        let (service, process) = reached.open(project, keys).await?;
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
        let has_ended = |process: &Process| process.has_ended().is_some();
        self.peer().is_transport_closed()
            || self.service.is_closed()
            || self.process.as_ref().is_some_and(has_ended)
    }

    /// Waits until its process has ended, where it is one.
    async fn process_ended(&self) {
        match &self.process {
            Some(process) => process.ended().await,
            None => std::future::pending().await,
        }
    }

    /// What a process that has ended means for a call.
    async fn gone(&self) -> CallEnd {
        let words = match &self.process {
            Some(process) => process.last_words().await,
            None => String::new(),
        };
        CallEnd::Gone(format!("has gone{words}"))
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
        let asked = tokio::select! {
            biased;
            asked = tokio::time::timeout(within, self.list()) => asked,
            () = self.process_ended() => return Err(self.gone().await),
        };
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
            biased;
            ended = handle.await_response() => Some(ended),
            () = self.process_ended() => {
                abandon.request = None;
                return Err(self.gone().await);
            }
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
            Ok(_) => Err(CallEnd::refused(
                "the server's answer is not that of a tool",
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
            ServiceError::McpError(error) => CallEnd::Refused(Box::new(error)),
            ServiceError::UnexpectedResponse => {
                CallEnd::refused("the server's answer is not of the right kind")
            }
            ServiceError::Timeout { .. } => CallEnd::TooLong,
            _ if self.process.is_some() => self.gone().await,
            error => CallEnd::Gone(format!("has gone: {}", chain(&error))),
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
