//! What earlier processes recorded of a run and its code has not asked for yet.

use std::collections::HashMap;

use serde_json::Value;

use crate::payload;
use crate::store::{Outcome, Recorded};

/// Steps read ahead at once.
const AHEAD_STEPS: usize = 512;
/// Reading ahead stops after about so many bytes.
pub(super) const AHEAD_BYTES: usize = 1024 * 1024;

/// The recorded steps, by address and in the order in which they were first begun. A step leaves
/// when it is asked for; an address is asked for once.
pub(super) struct Recall {
    steps: HashMap<String, Recorded>,
    order: Vec<String>,
}

impl Recall {
    pub(super) fn new(recorded: Vec<(String, Recorded)>) -> Recall {
        let order = recorded.iter().map(|(path, _)| path.clone()).collect();
        Recall {
            steps: recorded.into_iter().collect(),
            order,
        }
    }

    pub(super) fn take(&mut self, path: &str) -> Option<Recorded> {
        self.steps.remove(path)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.steps.contains_key(path)
    }

    /// Whether there are steps that nobody has asked for yet: the run had come further than this.
    pub(super) fn is_behind(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The addresses that nobody has asked for, in the order in which they were begun.
    pub(super) fn not_asked(&self) -> Vec<String> {
        let left = self.order.iter().filter(|path| self.has(path));
        left.cloned().collect()
    }

    /// The steps begun after this place, and then those begun before it, whose results are in
    /// payloads, with their bodies. (Before it, because many branches side by side may be polled in
    /// another order than the last time.)
    pub(super) fn ahead(&self, place: usize) -> Vec<(String, String)> {
        let following = self.order.iter().skip(place + 1).take(AHEAD_STEPS);
        let preceding = self.order.iter().take(place).rev().take(AHEAD_STEPS);
        following
            .chain(preceding)
            .filter_map(|path| match &self.steps.get(path)?.outcome {
                Outcome::Finished(body) if payload::has_references(body) => {
                    Some((path.clone(), body.clone()))
                }
                Outcome::Finished(_) | Outcome::Failed(_) | Outcome::Open | Outcome::Known(_) => {
                    None
                }
            })
            .take(AHEAD_STEPS)
            .collect()
    }

    /// Keeps results that have been read ahead, of steps that nobody has asked for meanwhile.
    pub(super) fn know(&mut self, read: Vec<(String, Value)>) {
        for (path, value) in read {
            if let Some(step) = self.steps.get_mut(&path) {
                step.outcome = Outcome::Known(value);
            }
        }
    }
}

/// About how many bytes a value takes.
pub(super) fn weight(value: &Value) -> usize {
    const EACH: usize = 32;
    EACH + match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| key.len() + weight(field))
            .sum(),
    }
}
