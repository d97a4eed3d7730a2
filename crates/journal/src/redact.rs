//! Secrets: values that must not reach the disk, replaced before anything is written.

use std::sync::{PoisonError, RwLock};

use serde_json::{Map, Number, Value};

use crate::{Error, Result};

/// Shorter values are refused: replacing them would mutilate ordinary text.
const LEAST_CHARACTERS: usize = 6;
/// What stands in a secret's place.
const REPLACEMENT: &str = "[secret]";

/// The secrets registered so far.
#[derive(Default)]
pub(crate) struct Secrets {
    values: RwLock<Vec<String>>,
}

impl Secrets {
    /// Registers a value, for everything that is written from now on.
    pub(crate) fn add(&self, value: &str) -> Result<()> {
        if value.chars().count() < LEAST_CHARACTERS {
            return Err(Error::Secret {
                least: LEAST_CHARACTERS,
            });
        }
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        if !values.iter().any(|known| known == value) {
            values.push(value.to_string());
            // Longest first: a secret that contains another one is replaced as a whole.
            values.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
        Ok(())
    }

    /// The text without secrets.
    pub(crate) fn text(&self, text: &str) -> String {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_string();
        redact(&mut text, &values);
        text
    }

    /// The value as the journal will give it back: without secrets, and with every float as JSON
    /// keeps it. Whoever gets this value live sees the same as whoever gets it on a resume.
    pub(crate) fn value(&self, mut value: Value) -> Value {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        settle(&mut value, &values);
        value
    }
}

fn redact(text: &mut String, secrets: &[String]) {
    for secret in secrets {
        if text.contains(secret.as_str()) {
            *text = text.replace(secret.as_str(), REPLACEMENT);
        }
    }
}

fn settle(value: &mut Value, secrets: &[String]) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            // A JSON reader may give back a neighbour of the float that was written.
            let reread = || serde_json::from_str::<Number>(&number.to_string()).ok();
            if let Some(reread) = number.is_f64().then(reread).flatten() {
                *number = reread;
            }
        }
        Value::String(text) => redact(text, secrets),
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, secrets)),
        Value::Object(fields) => {
            if fields
                .keys()
                .any(|key| secrets.iter().any(|secret| key.contains(secret.as_str())))
            {
                let renamed = std::mem::take(fields).into_iter().map(|(mut key, field)| {
                    redact(&mut key, secrets);
                    (key, field)
                });
                *fields = renamed.collect::<Map<String, Value>>();
            }
            fields.values_mut().for_each(|field| settle(field, secrets));
        }
    }
}
