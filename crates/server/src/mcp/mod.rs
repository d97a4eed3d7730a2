//! The MCP server: a toolbox as tools of the Model Context Protocol, over standard input and output or over HTTP,
//! in the version 2026-07-28 and those before it that begin with a handshake.
//!
//! Start at [`Offer`]. [`over_stdio`] serves one client, [`over_http`] all who show the token. `handler` has what a
//! client asks, `asking` how a tool's questions become questions of the protocol. What a tool is and does is not
//! decided here.

mod asking;
mod handler;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::Response;
use rmcp::ServiceExt as _;
use rmcp::model::RequestStateCodec;
use rmcp::transport::stdio;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tool::{Secrets, Toolbox};

use self::handler::Handler;
use crate::{Token, token};

/// The path that clients call.
pub const PATH: &str = "/mcp";

/// The longest request, in bytes.
const LONGEST_REQUEST: usize = 4 << 20;

/// What is offered.
pub struct Offer {
    /// The tools.
    pub tools: Toolbox,
    /// What they need.
    pub secrets: Secrets,
    /// What it is all for, for the client's model.
    pub instructions: String,
    /// What the state that clients carry is sealed with: 32 bytes that stay the same when it starts anew.
    pub seal: [u8; 32],
}

/// Serves the client at the other end of standard input and output, until it goes or `stop`.
///
/// # Errors
/// What the client did not say right when it began.
pub async fn over_stdio(offer: Offer, stop: impl Future<Output = ()> + Send) -> Result<(), String> {
    let handler = handler(offer)?;
    tokio::select! {
        served = async {
            let service = handler.serve(stdio()).await.map_err(|error| error.to_string())?;
            service.waiting().await.map(drop).map_err(|error| error.to_string())
        } => served,
        () = stop => Ok(()),
    }
}

/// Serves clients over HTTP at [`PATH`] until `stop`; those that show the token, where there is one.
///
/// # Errors
/// What the socket says.
pub async fn over_http(
    listener: TcpListener,
    offer: Offer,
    token: Option<Token>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let is_local = crate::is_loopback(&listener.local_addr()?);
    let ends = CancellationToken::new();
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        let _ = socket.set_nodelay(true);
    });
    let handler = handler(offer).map_err(std::io::Error::other)?;
    let router = router(handler, token, is_local, ends.clone());
    let serving = axum::serve(listener, router).into_future();
    let served = tokio::select! {
        served = serving => served,
        () = stop => Ok(()),
    };
    ends.cancel();
    served
}

fn router(
    handler: Handler,
    token: Option<Token>,
    is_local: bool,
    ends: CancellationToken,
) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_cancellation_token(ends)
        .with_max_request_body_bytes(LONGEST_REQUEST)
        .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"])
        .enforce_origin_validation();
    // A page in a browser could reach this machine under a name of its own; where others may call, the
    // token keeps it out.
    let config = match is_local {
        true => config,
        false => config.disable_allowed_hosts(),
    };
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(handler.clone()), sessions, config);
    Router::new()
        .route_service(PATH, service)
        .layer(middleware::from_fn_with_state(Arc::new(token), check))
}

async fn check(
    State(wanted): State<Arc<Option<Token>>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    match token::refused(wanted.as_ref().as_ref(), request.headers()) {
        None => next.run(request).await,
        Some(refusal) => refusal,
    }
}

fn handler(offer: Offer) -> Result<Handler, String> {
    let codec = RequestStateCodec::try_new(offer.seal.to_vec());
    Ok(Handler {
        tools: Arc::new(offer.tools),
        secrets: offer.secrets,
        instructions: offer.instructions.into(),
        codec: Arc::new(codec.map_err(|error| error.to_string())?),
    })
}
