//! The API of OpenAI: requests read into those of `model`, answers written as its clients expect them.
//!
//! A parameter that this server cannot honour is refused and never ignored in silence; one that only
//! says what happens anyway is accepted.

pub(crate) mod chat;
pub(crate) mod content;
pub(crate) mod embeddings;
mod gather;
pub(crate) mod models;
pub(crate) mod options;
pub(crate) mod responses;
pub(crate) mod stream;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use serde_json::Value;

use crate::error::ApiError;

/// The most that is said of what is wrong with a body, in characters.
const LONGEST_REASON: usize = 300;

/// A body of JSON, refused with an error in this API's form.
pub(crate) struct Body(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body, ApiError> {
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Body(value))
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> ApiError {
        // Where the body goes wrong deep within itself, the way there is as long as the body.
        let text = rejection.body_text();
        let said: String = text.chars().take(LONGEST_REASON).collect();
        ApiError::invalid(match said.len() == text.len() {
            true => said,
            false => format!("{said}..."),
        })
    }
}

/// An identifier that begins so and is not given out twice.
pub(crate) fn new_id(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = since.unwrap_or_default().as_nanos();
    let seed = format!("{nanoseconds} {number} {}", std::process::id());
    let hash = blake3::hash(seed.as_bytes()).to_hex();
    format!("{prefix}{}", &hash[..24])
}

/// Seconds since 1970 (UTC).
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
