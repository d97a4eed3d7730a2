//! What a call is told beyond its arguments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Error, People, Progress, Result, SetupError, Told, Toolbox, Wanted};

type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// What a call is told beyond its arguments. Cheap to clone.
#[derive(Clone, Default)]
pub struct Context {
    key: Arc<str>,
    step: Option<Arc<str>>,
    cancel: CancellationToken,
    secrets: Secrets,
    told: Option<Arc<Told>>,
    people: Option<Arc<dyn People>>,
    watch: Option<Watch>,
}

impl Context {
    /// The context of a call with this idempotency key. In a test, any key will do.
    pub fn new(key: &str, secrets: &Secrets) -> Context {
        Context {
            key: key.into(),
            step: None,
            cancel: CancellationToken::new(),
            secrets: secrets.clone(),
            ..Context::default()
        }
    }

    /// With what people have answered to the same call before.
    pub fn with_told(mut self, told: Option<Told>) -> Context {
        self.told = told.map(Arc::new);
        self
    }

    /// With people that can be asked.
    pub fn with_people(mut self, people: Arc<dyn People>) -> Context {
        self.people = Some(people);
        self
    }

    /// With somebody who is told how far the call has come.
    pub fn with_watch(mut self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Context {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// What people have answered to what this call [asked](Error::Asks) before.
    pub fn told(&self) -> Option<&Told> {
        self.told.as_deref()
    }

    /// Asks a person and waits so long at most, with the call under way. `None` where nobody has answered, or
    /// nobody can be asked.
    pub async fn ask(&self, wanted: Wanted, within: Duration) -> Option<Value> {
        match &self.people {
            Some(people) => people.ask(wanted, within).await,
            None => None,
        }
    }

    /// Says how far the call has come.
    pub fn progress(&self, progress: Progress) {
        if let Some(watch) = &self.watch {
            watch(progress);
        }
    }

    /// The same, of the step with this address.
    pub fn in_step(mut self, path: &str) -> Context {
        self.step = Some(path.into());
        self
    }

    /// The address of the step that calls, where it is one.
    pub fn step(&self) -> Option<&str> {
        self.step.as_deref()
    }

    /// The idempotency key: the same for every attempt at this call, and for no other call. A tool that
    /// writes hands it to whom it writes to, so that twice is once.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the answer is no longer wanted.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Waits until the answer is no longer wanted.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// A secret that the tool has declared that it needs.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is none of this name.
    pub fn secret(&self, name: &str) -> Result<&str> {
        self.secrets
            .get(name)
            .ok_or_else(|| Error::Unavailable(format!("the secret {name} is not set")))
    }

    /// Told when what is returned is dropped.
    pub(crate) fn cancel_on_drop(&self) -> impl Drop + Send + use<> {
        self.cancel.clone().drop_guard()
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("key", &self.key)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// Secrets by name. Their values are shown nowhere, not even to somebody who debugs.
#[derive(Clone, Default)]
pub struct Secrets(Arc<BTreeMap<String, String>>);

impl Secrets {
    /// These secrets.
    pub fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Secrets {
        Secrets(Arc::new(secrets.into_iter().collect()))
    }

    /// What the tools of `toolbox` need, from the environment variables of those names.
    ///
    /// # Errors
    /// [`SetupError::Secret`] for the first that is not set.
    pub fn from_environment(toolbox: &Toolbox) -> std::result::Result<Secrets, SetupError> {
        let mut found = BTreeMap::new();
        for tool in toolbox.iter() {
            for secret in &tool.spec().secrets {
                let value = std::env::var(secret).map_err(|_| SetupError::Secret {
                    tool: tool.spec().name.clone(),
                    secret: secret.clone(),
                })?;
                found.insert(secret.clone(), value);
            }
        }
        Ok(Secrets(Arc::new(found)))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All values, to be kept out of a journal.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
