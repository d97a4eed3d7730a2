//! What a fork makes of the run that it comes from.
//!
//! Before the fork point, steps are shared: they are answered by their address. After it the fork is
//! live, but for what may be answered from the recording, and for what must never be done live.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

use super::Run;
use super::perform::Asked;
use crate::Result;
use crate::records::{Effect, RunId};
use crate::store::{Outcome, Recorded};

/// What a fork was started with, and what there is to reuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForkTerms {
    /// The run that it comes from.
    pub(crate) source: Option<RunId>,
    /// The step from which on it is live, whatever is recorded for it.
    pub(crate) at: Option<String>,
    /// Whether steps that read are answered from the recording where their input is the same.
    pub(crate) reuse: bool,
    /// Whether steps that write with a key may be done live.
    pub(crate) live: bool,
    /// Answers to be taken instead of those recorded, by address.
    pub(crate) given: Map<String, Value>,
    /// What the source recorded, by address, of steps that are not shared.
    pub(crate) beyond: HashMap<String, Recorded>,
}

/// See [`ForkTerms`]; what has been used up is taken out.
pub(super) struct Fork(Mutex<ForkTerms>);

impl Fork {
    pub(super) fn new(terms: ForkTerms) -> Fork {
        Fork(Mutex::new(terms))
    }

    pub(super) fn terms(&self) -> MutexGuard<'_, ForkTerms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Whether a step must not be done for real, because this is a fork and it writes to the world.
    pub(super) fn may_not_be_live(&self, effect: Effect) -> bool {
        let Some(fork) = &self.shared.fork else {
            return false;
        };
        match effect {
            Effect::Pure | Effect::Read => false,
            Effect::Idempotent => !fork.terms().live,
            Effect::Irreversible => true,
        }
    }

    /// Whether a step was given an answer when the fork was made, and has not come to it yet.
    pub(super) fn is_given(&self, path: &str) -> bool {
        let fork = self.shared.fork.as_ref();
        fork.is_some_and(|fork| fork.terms().given.contains_key(path))
    }

    /// The answer that a step was given when the fork was made.
    pub(super) async fn given(&self, asked: &Asked) -> Result<Option<Value>> {
        let Some(fork) = &self.shared.fork else {
            return Ok(None);
        };
        let Some(value) = fork.terms().given.remove(&asked.path) else {
            return Ok(None);
        };
        let value = self.shared.secrets.value(value);
        self.write_found(asked, &value, "given").await?;
        Ok(Some(value))
    }

    /// The answer that the source recorded to a step after the fork point, if it may be taken.
    pub(super) async fn beyond(&self, asked: &Asked) -> Result<Option<Value>> {
        let Some(fork) = &self.shared.fork else {
            return Ok(None);
        };
        let (found, source, reuse, at) = {
            let mut terms = fork.terms();
            (
                terms.beyond.remove(&asked.path),
                terms.source.clone(),
                terms.reuse,
                terms.at.as_deref() == Some(asked.path.as_str()),
            )
        };
        let (Some(found), Some(source)) = (found, source) else {
            return Ok(None);
        };
        let same = asked.is_as_in(&found.fingerprint);
        let takes = match asked.effect {
            Effect::Pure => same && !at,
            Effect::Read => same && reuse && !at,
            // Never live: what was answered then has to do, whatever the code asks now.
            Effect::Idempotent | Effect::Irreversible => self.may_not_be_live(asked.effect),
        };
        if !takes {
            return Ok(None);
        }
        let body = match found.outcome {
            Outcome::Finished(body) => body,
            Outcome::Failed(_) | Outcome::Open | Outcome::Known(_) => return Ok(None),
        };
        let place = asked.path.clone();
        let value = self
            .shared
            .store
            .read(move |reader| reader.field(&source, &place, &body, "output"))
            .await?
            .unwrap_or_default();
        let mark = if same { "reused" } else { "drift" };
        self.write_found(asked, &value, mark).await?;
        Ok(Some(value))
    }
}
