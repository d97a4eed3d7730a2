//! A model that is opened when it is first asked: a run whose answers stand in the journal needs none.

use std::sync::Arc;

use futures::future::BoxFuture;
use model::{DeltaSink, Model, Request, Response};
use tokio::sync::OnceCell;

/// Opens a model by its name.
pub type OpenModel = Arc<dyn Fn(&str) -> model::Result<Arc<dyn Model>> + Send + Sync>;

/// Bytes of a token, as a rule of thumb for a model that has not been opened.
const TOKEN_BYTES: usize = 4;

/// A model that is opened when it is first asked.
pub struct Lazy {
    name: String,
    open: OpenModel,
    opened: OnceCell<Arc<dyn Model>>,
}

impl Lazy {
    /// The model `name`; nothing happens yet.
    pub fn new(name: &str, open: OpenModel) -> Lazy {
        Lazy {
            name: name.to_owned(),
            open,
            opened: OnceCell::new(),
        }
    }

    /// Opens it now.
    ///
    /// # Errors
    /// What opening it says.
    pub async fn opened(&self) -> model::Result<&Arc<dyn Model>> {
        let open = || async {
            let (open, name) = (Arc::clone(&self.open), self.name.clone());
            // To load a local model takes seconds.
            let opened = tokio::task::spawn_blocking(move || open(&name)).await;
            opened.map_err(|error| model::Error::Engine {
                message: error.to_string(),
            })?
        };
        self.opened.get_or_try_init(open).await
    }
}

impl Model for Lazy {
    fn name(&self) -> &str {
        &self.name
    }

    fn context_tokens(&self) -> Option<u32> {
        self.opened.get().and_then(|model| model.context_tokens())
    }

    fn count_tokens(&self, text: &str) -> usize {
        match self.opened.get() {
            Some(model) => model.count_tokens(text),
            None => text.len().div_ceil(TOKEN_BYTES),
        }
    }

    fn generate<'a>(
        &'a self,
        request: &'a Request,
        sink: Option<DeltaSink>,
    ) -> BoxFuture<'a, model::Result<Response>> {
        Box::pin(async move { self.opened().await?.generate(request, sink).await })
    }
}
