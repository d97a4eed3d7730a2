//! Models that are opened once and shared by all callers of a thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Error, Model};
use tokio::sync::OnceCell;

/// Opens a model by its `provider:name`. May take seconds and block; each thread of a server opens its own.
pub type Open = dyn Fn(&str) -> Result<Arc<dyn Model>, Error> + Send + Sync;

type Slot = Arc<OnceCell<Arc<dyn Model>>>;

/// The models of a server.
pub struct Pool {
    open: Arc<Open>,
    /// The names that are listed; the first answers where a caller names none.
    names: Vec<String>,
    /// Whether models are opened that are not listed.
    any: bool,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Pool {
    /// A pool that lists `names` and opens models with `open`; with `any`, also others.
    pub fn new(
        names: Vec<String>,
        any: bool,
        open: impl Fn(&str) -> Result<Arc<dyn Model>, Error> + Send + Sync + 'static,
    ) -> Pool {
        Pool {
            open: Arc::new(open),
            names,
            any,
            slots: Mutex::default(),
        }
    }

    /// The same pool with nothing opened.
    pub(crate) fn anew(&self) -> Pool {
        Pool {
            open: Arc::clone(&self.open),
            names: self.names.clone(),
            any: self.any,
            slots: Mutex::default(),
        }
    }

    /// The names that are listed.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The model of that name, opened when it is asked for the first time; callers that come meanwhile
    /// wait for the same opening. The provider may be left out where one listed name ends so.
    ///
    /// # Errors
    /// [`Error::Unknown`] where it is not served, and what opening it says.
    pub async fn get(&self, name: &str) -> Result<Arc<dyn Model>, Error> {
        let name = self.full_name(name)?;
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(name.clone()).or_default())
        };
        let open = Arc::clone(&self.open);
        let opened = slot.get_or_try_init(|| async move {
            let opening = tokio::task::spawn_blocking(move || open(&name));
            opening.await.map_err(|error| Error::Engine {
                message: error.to_string(),
            })?
        });
        opened.await.cloned()
    }

    /// The name in full; see [`Pool::get`].
    pub(crate) fn full_name(&self, name: &str) -> Result<String, Error> {
        if name.is_empty()
            && let Some(first) = self.names.first()
        {
            return Ok(first.clone());
        }
        let ends_so = |full: &&String| {
            *full == name || full.split_once(':').is_some_and(|(_, rest)| rest == name)
        };
        let mut found = self.names.iter().filter(ends_so);
        match (found.next(), found.next()) {
            (Some(full), None) => Ok(full.clone()),
            _ if self.any && name.contains(':') => Ok(name.to_owned()),
            (Some(_), Some(_)) | (None, _) => Err(Error::Unknown {
                name: name.to_owned(),
                hint: format!("this server has {}", self.names.join(", ")),
            }),
        }
    }
}
