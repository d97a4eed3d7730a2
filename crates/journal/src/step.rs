//! What a step's work gets and how it can end without a result.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::budget::Cost;

/// Handed to a step's work: who it is, and where it notes things about itself.
#[derive(Clone, Debug)]
pub struct StepContext {
    path: Arc<str>,
    key: Arc<str>,
    attributes: Arc<Mutex<Map<String, Value>>>,
    cost: Arc<Mutex<Option<Cost>>>,
    reserved: Cost,
}

impl StepContext {
    pub(crate) fn new(path: &str, key: String, reserved: Cost) -> StepContext {
        StepContext {
            path: path.into(),
            key: key.into(),
            attributes: Arc::default(),
            cost: Arc::default(),
            reserved,
        }
    }

    /// Says what the step has cost; what is said several times adds up. A step that says nothing has
    /// cost what was set aside for it, and one that ended with a fault nothing.
    pub fn spent(&self, cost: Cost) {
        let mut slot = self.cost.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(slot.unwrap_or_default().plus(cost));
    }

    /// What was set aside.
    pub(crate) fn reserved(&self) -> Cost {
        self.reserved
    }

    /// What the work said that it has cost.
    pub(crate) fn said_cost(&self) -> Option<Cost> {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something about the step that is not its result: the model, tokens used, a title. Kept
    /// with the step's end. The last value for a key counts.
    pub fn attribute(&self, key: &str, value: impl Into<Value>) {
        let mut attributes = self
            .attributes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        attributes.insert(key.to_string(), value.into());
    }

    /// The idempotency key: the same for every attempt at this step, different for every other step
    /// of every run. 64 hexadecimal digits, BLAKE3 of run and path.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The step's address, such as `research/search[3]/model[1]`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What has been noted so far.
    pub(crate) fn take_attributes(&self) -> Map<String, Value> {
        std::mem::take(
            &mut *self
                .attributes
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// How work can end without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepError {
    /// It failed, and that is its result: recorded, and returned again on a resume.
    Failed(String),
    /// The outside was down, which is not a result: the step stays unfinished and a resume tries it
    /// again. An irreversible step that ends so is in doubt, as after a crash.
    Fault(String),
}
