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
use tokio_util::sync::CancellationToken;

pub use pool::{Open, Pool};
pub use token::Token;

/// The longest request, in bytes; pictures and documents come in base64.
const LONGEST_REQUEST: usize = 64 << 20;

/// The most threads that answer; each has connections of its own to every provider.
const MOST_THREADS: usize = 8;

/// What a server answers with.
pub struct Server {
    /// Its models.
    pub pool: Pool,
    /// Its embedding models; the first answers where a caller names none.
    pub embedders: Vec<Arc<dyn Embed>>,
    /// What callers have to show; `None` lets everybody in.
    pub token: Option<Token>,
}

impl Server {
    /// The same server for another thread.
    fn anew(&self) -> Server {
        Server {
            pool: self.pool.anew(),
            embedders: self.embedders.clone(),
            token: self.token.clone(),
        }
    }
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
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::max(LONGEST_REQUEST))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&server),
            token::check,
        ))
        .with_state(server)
}

/// Answers on `listener` until `stop`, with a thread for each of the first processors. What is under way then ends.
///
/// A connection stays on the thread that took it, and so do those to the providers that are called for it: an
/// answer on its way through wakes no second thread, which would cost more than all the rest.
///
/// # Errors
/// What the socket says.
pub async fn serve(
    listener: TcpListener,
    server: Server,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = listener.into_std()?;
    let ends = CancellationToken::new();
    // When the caller goes away, so does the server.
    let _ends = ends.clone().drop_guard();
    let mut threads = tokio::task::JoinSet::new();
    for _ in 0..std::thread::available_parallelism()?
        .get()
        .min(MOST_THREADS)
    {
        let (listener, server, ends) = (listener.try_clone()?, server.anew(), ends.clone());
        threads.spawn_blocking(move || thread(listener, server, &ends));
    }
    tokio::select! {
        Some(ended) = threads.join_next() => ended?,
        () = stop => Ok(()),
    }
}

/// One of the threads that answer.
fn thread(
    listener: std::net::TcpListener,
    server: Server,
    ends: &CancellationToken,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for name in server.pool.names() {
            // Whoever asks for it hears of what goes wrong.
            let _ = server.pool.get(name).await;
        }
        // Small pieces of an answer go out at once.
        let listener =
            axum::serve::ListenerExt::tap_io(TcpListener::from_std(listener)?, |socket| {
                drop(socket.set_nodelay(true))
            });
        tokio::select! {
            served = axum::serve(listener, router(server)).into_future() => served,
            () = ends.cancelled() => Ok(()),
        }
    })
}

/// Whether only programs on this machine can reach an address.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}
