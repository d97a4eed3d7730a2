//! The HTTP server: the API of OpenAI for local models, and as a gateway for those of every provider.
//!
//! Start at [`Server`]. [`serve`] answers until it is told to stop; [`router`] is the same as a value,
//! for tests and for programs that have a server of their own. Requests are read and answers written in
//! `openai`; this crate decides nothing else.

mod error;
pub mod mcp;
mod openai;
mod pool;
mod token;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use model::Embed;
use tokio::net::TcpListener;

pub use pool::{Open, Pool};
pub use token::Token;

/// The longest request, in bytes; pictures and documents come in base64.
const LONGEST_REQUEST: usize = 64 << 20;

/// What a server answers with.
pub struct Server {
    /// Its models.
    pub pool: Pool,
    /// Its embedding models; the first answers where a caller names none.
    pub embedders: Vec<Arc<dyn Embed>>,
    /// What callers have to show; `None` lets everybody in.
    pub token: Option<Token>,
}

/// The routes of a server.
pub fn router(server: Server) -> Router {
    let server = Arc::new(server);
    Router::new()
        .route("/v1/models", get(openai::models::list))
        .route("/v1/models/{*name}", get(openai::models::show))
        .route("/v1/chat/completions", post(openai::chat::complete))
        .route(
            "/v1/responses",
            post(openai::responses::respond).get(openai::responses::socket::open),
        )
        .route(
            "/v1/responses/compact",
            post(openai::responses::compact::compact),
        )
        .route("/v1/embeddings", post(openai::embeddings::embed))
        .fallback(error::no_such_path)
        .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&server),
            token::check,
        ))
        .with_state(server)
}

/// Answers on `listener` until `stop`, and ends what is under way then.
///
/// # Errors
/// What the socket says.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    // Small pieces of an answer go out at once.
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        let _ = socket.set_nodelay(true);
    });
    let serving = axum::serve(listener, router(server)).into_future();
    tokio::select! {
        served = serving => served,
        () = stop => Ok(()),
    }
}

/// Whether only programs on this machine can reach an address.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}
