//! What earlier processes recorded of a run and its code has not asked for yet.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::payload;
use crate::records::RunId;
use crate::store::{Outcome, Reader, Recorded, Store};

/// Steps read ahead at once.
const AHEAD_STEPS: usize = 512;
/// Reading ahead stops after about so many bytes.
const AHEAD_BYTES: usize = 1024 * 1024;

/// The recorded steps, by address and in the order in which they were first begun. A step leaves
/// when it is asked for; an address is asked for once.
pub(super) struct Recall {
    steps: HashMap<String, Recorded>,
    order: Vec<String>,
    /// The places of the steps whose results are being read ahead, or have been.
    coming: Range<usize>,
}

/// A [`Recall`] that the code of a run and a reading ahead of it share.
#[derive(Clone)]
pub(super) struct Recalled {
    recall: Arc<Mutex<Recall>>,
    /// Held while results are read ahead in the background.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Recalled {
    pub(super) fn new(recorded: Vec<(String, Recorded)>) -> Recalled {
        Recalled {
            recall: Arc::new(Mutex::new(Recall::new(recorded))),
            reading: Arc::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Recall> {
        self.recall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is recorded for a step, with its result where that has been read ahead. Reads on in the
    /// background, so that code that asks for one step after the other need not wait.
    pub(super) async fn take(&self, path: &str, store: &Store, run: &RunId) -> Option<Recorded> {
        if self.lock().is_coming(path) {
            drop(self.reading.lock().await);
        }
        let (recorded, read_on) = {
            let mut recall = self.lock();
            let recorded = recall.take(path)?;
            let read_on = recall.is_half_way(&recorded);
            (recorded, read_on)
        };
        if read_on
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Ok(reading) = Arc::clone(&self.reading).try_lock_owned()
        {
            let ahead = self.lock().next_ahead();
            runtime.spawn(
                self.clone()
                    .read(ahead, store.clone(), run.clone(), reading),
            );
        }
        Some(recorded)
    }

    async fn read(
        self,
        ahead: Vec<(String, String)>,
        store: Store,
        run: RunId,
        reading: OwnedMutexGuard<()>,
    ) {
        let read = store
            .read(move |reader| Ok(read(reader, &run, ahead)))
            .await;
        // Whoever asks for one of these steps reads it, and reports what is wrong.
        self.lock().know(read.unwrap_or_default());
        drop(reading);
    }
}

/// The outputs in these bodies, as far as they can be read and are not too much.
pub(super) fn read(
    reader: &Reader<'_>,
    run: &RunId,
    ahead: Vec<(String, String)>,
) -> Vec<(String, Value)> {
    let mut read = Vec::new();
    let mut weight = 0;
    for (path, body) in ahead {
        if weight > AHEAD_BYTES {
            break;
        }
        // Damage there is reported to whoever asks for that step.
        if let Ok(Some(value)) = reader.field(run, &path, &body, "output") {
            weight += self::weight(&value);
            read.push((path, value));
        }
    }
    read
}

impl Recall {
    pub(super) fn new(recorded: Vec<(String, Recorded)>) -> Recall {
        let order = recorded.iter().map(|(path, _)| path.clone()).collect();
        Recall {
            steps: recorded.into_iter().collect(),
            order,
            coming: 0..0,
        }
    }

    fn is_coming(&self, path: &str) -> bool {
        // Where every result is in its event, nothing ever is.
        let step = (!self.coming.is_empty()).then(|| self.steps.get(path));
        step.flatten().is_some_and(|step| {
            self.coming.contains(&step.place) && matches!(step.outcome, Outcome::Finished(_))
        })
    }

    /// Whether the code has come half-way through what has been read, and there is more.
    fn is_half_way(&self, recorded: &Recorded) -> bool {
        matches!(recorded.outcome, Outcome::Known(_))
            && recorded.place + AHEAD_STEPS / 2 >= self.coming.end
            && self.coming.end < self.order.len()
    }

    /// What to read next.
    fn next_ahead(&mut self) -> Vec<(String, String)> {
        let from = self.coming.end;
        self.coming = from..from + AHEAD_STEPS;
        self.unread(self.order.iter().skip(from).take(AHEAD_STEPS))
    }

    fn take(&mut self, path: &str) -> Option<Recorded> {
        self.steps.remove(path)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.steps.contains_key(path)
    }

    /// Whether there are steps of a scope that nobody has asked for yet: the run had come further there.
    pub(super) fn is_behind(&self, scope: &str) -> bool {
        self.steps.keys().any(|path| path.starts_with(scope))
    }

    /// The addresses that nobody has asked for, in the order in which they were begun.
    pub(super) fn not_asked(&self) -> Vec<String> {
        let left = self.order.iter().filter(|path| self.has(path));
        left.cloned().collect()
    }

    /// The steps begun after this place, and then those begun before it, whose results are in
    /// payloads, with their bodies. (Before it, because many branches side by side may be polled in
    /// another order than the last time.)
    pub(super) fn ahead(&mut self, place: usize) -> Vec<(String, String)> {
        self.coming = place..place + 1 + AHEAD_STEPS;
        let following = self.order.iter().skip(place + 1).take(AHEAD_STEPS);
        let preceding = self.order.iter().take(place).rev().take(AHEAD_STEPS);
        self.unread(following.chain(preceding))
    }

    /// Those of the steps whose results are in payloads and have not been read, with their bodies.
    fn unread<'a>(&self, paths: impl Iterator<Item = &'a String>) -> Vec<(String, String)> {
        paths
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
fn weight(value: &Value) -> usize {
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
