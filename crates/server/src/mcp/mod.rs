//! The MCP server: a toolbox as tools of the Model Context Protocol, and other servers passed on, over standard input
//! and output or over HTTP, in the version 2026-07-28 and those before it that begin with a handshake.
//!
//! Start at [`Offer`]. [`over_stdio`] serves one client, [`over_http`] all who show the token. `handler` has what a
//! client asks, `asking` how a tool's questions become questions of the protocol, `passing` whose resources and
//! prompts are asked for, `log` what a client may read of what goes on. What a tool is and does is not decided here.

mod asking;
mod handler;
mod log;
mod passing;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::Response;
use rmcp::ServiceExt as _;
use rmcp::model::{RequestStateCodec, ServerCapabilities};
use rmcp::transport::stdio;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tool::mcp::Passed;
use tool::{Secrets, Toolbox};

use self::handler::{Form, Handler, Offered};
use crate::{Token, token};

/// The path that clients call.
pub const PATH: &str = "/mcp";

/// The longest request, in bytes.
const LONGEST_REQUEST: usize = 4 << 20;

/// What is offered.
pub struct Offer {
    /// The tools.
    pub tools: Toolbox,
    /// Servers whose tools, resources and prompts are passed on.
    pub passed: Vec<Passed>,
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
    let handler = handler(offer).await?;
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
    let handler = handler(offer).await.map_err(std::io::Error::other)?;
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
    let service = move || {
        // Each session has a log of its own.
        Ok(Handler {
            log: Arc::default(),
            ..handler.clone()
        })
    };
    let service = StreamableHttpService::new(service, sessions, config);
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

async fn handler(offer: Offer) -> Result<Handler, String> {
    let codec = RequestStateCodec::try_new(offer.seal.to_vec());
    let capabilities = capabilities(&offer.passed).await?;
    Ok(Handler {
        tools: offered(&offer)?.into(),
        passed: offer.passed.into(),
        capabilities,
        secrets: offer.secrets,
        instructions: offer.instructions.into(),
        codec: Arc::new(codec.map_err(|error| error.to_string())?),
        log: Arc::default(),
    })
}

/// All tools, each name once.
fn offered(offer: &Offer) -> Result<Vec<Offered>, String> {
    let own = offer.tools.iter().map(|tool| Offered {
        tool: Arc::clone(tool),
        name: tool.spec().shown_name(),
        form: Form::Value,
    });
    let mut all: Vec<Offered> = own.collect();
    for server in &offer.passed {
        for tool in server.tools() {
            let name = tool.spec().name.clone();
            if all.iter().any(|other| other.name == name) {
                return Err(format!(
                    "two tools are called {name}, one of them of the MCP server {}",
                    server.name()
                ));
            }
            all.push(Offered {
                tool: Arc::clone(tool),
                name,
                form: Form::Whole,
            });
        }
    }
    Ok(all)
}

/// Tools and a log; and what one of the servers can do that are passed on.
async fn capabilities(passed: &[Passed]) -> Result<ServerCapabilities, String> {
    let mut all = ServerCapabilities::builder().enable_tools().build();
    log::offer(&mut all);
    for server in passed {
        let own = server.capabilities().await;
        let own = own.map_err(|error| error.message.to_string())?;
        // That a list has changed, or a resource, is not passed on.
        if own.resources.is_some() {
            all.resources = Some(Default::default());
        }
        if own.prompts.is_some() {
            all.prompts = Some(Default::default());
        }
        if own.completions.is_some() {
            all.completions = own.completions;
        }
    }
    Ok(all)
}
