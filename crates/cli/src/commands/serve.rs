//! `plumb serve`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use futures::future::BoxFuture;
use knowledge::Embeddings;
use model::catalogue::Kind;
use model::{Embed, Embedded};
use server::{Pool, Server, Token, is_loopback};
use tokio::net::TcpListener;

use super::models;
use crate::arguments::Serve;
use crate::project::Project;
use crate::view;

/// Answers until Ctrl-C.
pub async fn run(_project: &Project, arguments: Serve) -> Result<ExitCode> {
    if arguments.no_token && !is_loopback(&arguments.listen) {
        bail!(
            "without a token, {} would let everybody in who can reach it\nhint: leave out --no-token, or listen at 127.0.0.1",
            arguments.listen
        );
    }
    let models = models::open_keeping(&arguments.provider, arguments.keep_answers)?;
    let embedders = embedders(&models, &arguments.embeddings).await?;
    let names = match arguments.model.is_empty() {
        true => local_names(&models)?,
        false => arguments.model,
    };
    let pool = Pool::new(names, arguments.any, move |name| models.open(name));
    for name in pool.names() {
        // What cannot be opened is said now, not to the first caller.
        view::say(&format!("loading {name}"));
        pool.get(name)
            .await
            .with_context(|| format!("cannot serve {name}"))?;
    }
    let (token, shown) = token(arguments.token, arguments.no_token)?;
    let listener = TcpListener::bind(arguments.listen).await.with_context(|| {
        format!(
            "cannot listen at {}\nhint: another program may be listening there; choose another --listen",
            arguments.listen
        )
    })?;
    let address = listener.local_addr()?;
    view::say(&format!(
        "serving {} at http://{address}/v1; Ctrl-C ends it",
        pool.names().join(", ")
    ));
    if let Some(shown) = shown {
        view::say(&format!("the token is {shown}"));
    }
    let server = Server {
        pool,
        embedders,
        token,
    };
    server::serve(listener, server, stopped()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The local chat models that are on this machine, the default one first.
fn local_names(models: &model::Models) -> Result<Vec<String>> {
    let mut listed = models.list()?;
    listed.retain(|entry| entry.present && matches!(entry.kind, Kind::Chat));
    listed.sort_by_key(|entry| !entry.default);
    // Two at once may not fit into memory; a caller who wants another one names it with --model.
    match listed.into_iter().next() {
        Some(entry) => Ok(vec![entry.name]),
        None => bail!(
            "there is no local model on this machine\nhint: plumb models pull, or name one with --model"
        ),
    }
}

/// What callers have to show, and what is to be printed of it.
pub fn token(given: Option<String>, without: bool) -> Result<(Option<Token>, Option<String>)> {
    if without {
        return Ok((None, None));
    }
    match given {
        Some(token) if token.trim().is_empty() => {
            bail!("the token is empty\nhint: set PLUMB_TOKEN, or leave it out")
        }
        Some(token) => Ok((Some(Token::new(token.trim())), None)),
        None => {
            let fresh = Token::fresh();
            Ok((Some(Token::new(&fresh)), Some(fresh)))
        }
    }
}

/// Ends at Ctrl-C.
pub async fn stopped() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The embedding models of these names, then the local one when it is on this machine.
async fn embedders(models: &model::Models, names: &[String]) -> Result<Vec<Arc<dyn Embed>>> {
    let mut embedders = Vec::new();
    for name in names.iter().filter(|name| *name != LOCAL_EMBEDDER) {
        let opened = models.open_embedder(name);
        embedders.push(opened.with_context(|| format!("cannot serve {name}"))?);
    }
    let Some(files) = models::embedding_files() else {
        return Ok(embedders);
    };
    let loading = tokio::task::spawn_blocking(move || Embeddings::load(&files, 0));
    let embeddings = Arc::new(loading.await??);
    embedders.push(Arc::new(LocalEmbedder { embeddings }));
    Ok(embedders)
}

/// The name of the local embedding model.
const LOCAL_EMBEDDER: &str = "local:all-minilm-l6-v2";

struct LocalEmbedder {
    embeddings: Arc<Embeddings>,
}

impl Embed for LocalEmbedder {
    fn name(&self) -> &str {
        LOCAL_EMBEDDER
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, model::Result<Embedded>> {
        let embeddings = Arc::clone(&self.embeddings);
        Box::pin(async move {
            let failed = |message: String| model::Error::Engine { message };
            let work = tokio::task::spawn_blocking(move || embeddings.vectors(&texts)).await;
            let work = work.map_err(|error| failed(error.to_string()))?;
            let (vectors, tokens) = work.map_err(|error| failed(error.to_string()))?;
            Ok(Embedded {
                vectors,
                tokens: u32::try_from(tokens).ok(),
                cost_micros: Some(0),
            })
        })
    }
}
