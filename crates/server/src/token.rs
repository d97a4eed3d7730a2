//! Who may call: those who show the token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::Server;
use crate::error::ApiError;

/// A bearer token. Neither shown nor logged.
#[derive(Clone)]
pub struct Token(blake3::Hash);

impl Token {
    /// The token with these letters.
    pub fn new(token: &str) -> Token {
        Token(blake3::hash(token.as_bytes()))
    }

    /// The letters of a new one: 32 random bytes as 64 hexadecimal digits.
    pub fn fresh() -> String {
        let bytes: [u8; 32] = rand::random();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Compares hashes, and those in constant time, so that the time taken tells nothing.
    fn is(&self, shown: &str) -> bool {
        self.0 == blake3::hash(shown.as_bytes())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(..)")
    }
}

/// Lets those through who show the token.
pub(crate) async fn check(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    match refused(server.token.as_ref(), request.headers()) {
        None => next.run(request).await,
        Some(refusal) => refusal,
    }
}

/// What somebody is told who does not show the token; none where it is shown, or none is wanted.
pub(crate) fn refused(token: Option<&Token>, headers: &HeaderMap) -> Option<Response> {
    let token = token?;
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, shown)| shown.trim());
    let said = match shown {
        Some(shown) if token.is(shown) => return None,
        Some(_) => "the token is not right",
        None => "no token: send `Authorization: Bearer TOKEN`",
    };
    Some(ApiError::unauthorized(said).into_response())
}
