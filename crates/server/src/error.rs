//! Errors as clients of OpenAI's API expect them.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use model::Error;
use serde_json::{Value, json};

/// An error on its way to the caller.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// OpenAI's name for the kind.
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    /// The parameter that is wrong.
    parameter: Option<String>,
    /// Seconds after which it may be tried again.
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            kind,
            code: None,
            message: message.into(),
            parameter: None,
            retry_after: None,
        }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A parameter of the request is wrong.
    pub(crate) fn parameter(parameter: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError {
            parameter: Some(parameter.into()),
            ..ApiError::invalid(message)
        }
    }

    /// The response that was to be gone on with is not here.
    pub(crate) fn no_such_response(id: &str) -> ApiError {
        ApiError {
            code: Some("previous_response_not_found"),
            ..ApiError::parameter(
                "previous_response_id",
                format!(
                    "there is no response {id}: none is kept but the last one of a WebSocket; send the conversation in input"
                ),
            )
        }
    }

    /// The caller has not shown the token.
    pub(crate) fn unauthorized(message: &str) -> ApiError {
        ApiError {
            code: Some("invalid_api_key"),
            ..ApiError::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message)
        }
    }

    /// The error as JSON.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.parameter,
            "code": self.code,
        }})
    }

    /// The error as a message of a WebSocket.
    pub(crate) fn frame(&self) -> Value {
        let mut frame = self.body();
        frame["type"] = "error".into();
        frame["status"] = self.status.as_u16().into();
        frame["error"]["code"] = self.code().into();
        frame
    }

    /// OpenAI's name for what went wrong, for the events of a stream.
    pub(crate) fn code(&self) -> &str {
        self.code.unwrap_or(self.kind)
    }

    /// What went wrong, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        // What a person at the server's terminal could do is no help to a caller; nearest names are.
        let message = match &error {
            Error::Unknown { name, hint } => format!("there is no model `{name}`: {hint}"),
            other => other.without_hint(),
        };
        let invalid = |code, parameter: Option<&str>| ApiError {
            code: Some(code),
            parameter: parameter.map(str::to_owned),
            ..ApiError::invalid(message.clone())
        };
        match error {
            Error::Unknown { .. } | Error::Missing { .. } => ApiError {
                status: StatusCode::NOT_FOUND,
                ..invalid("model_not_found", Some("model"))
            },
            Error::TooLong { .. } | Error::Overflow { .. } => {
                invalid("context_length_exceeded", Some("messages"))
            }
            Error::Unsupported { .. } => invalid("unsupported_value", None),
            Error::Withheld { .. } => invalid("content_filter", None),
            Error::Busy { wait_ms, .. } => ApiError {
                code: Some("rate_limit_exceeded"),
                retry_after: wait_ms.map(|wait_ms| wait_ms.div_ceil(1000)),
                ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
            },
            Error::Resting { wait_ms, .. } => ApiError {
                retry_after: Some(wait_ms.div_ceil(1000)),
                ..ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_error", message)
            },
            Error::TimedOut { .. } => {
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, "upstream_error", message)
            }
            Error::Schema { .. } => invalid("invalid_json_schema", Some("response_format")),
            Error::Refused { status, .. } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                ApiError::new(status, "upstream_error", message)
            }
            // The key that a provider refuses is the server's, not the caller's.
            Error::Denied { .. } | Error::Unreachable { .. } => {
                ApiError::new(StatusCode::BAD_GATEWAY, "upstream_error", message)
            }
            Error::Malformed { .. } => {
                ApiError::new(StatusCode::BAD_GATEWAY, "malformed_answer", message)
            }
            _ => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message),
        }
    }
}

/// For paths that there are not.
pub(crate) async fn no_such_path(uri: axum::http::Uri) -> ApiError {
    ApiError {
        code: Some("unknown_url"),
        ..ApiError::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            format!(
                "there is no {}: this server has /v1/models, /v1/chat/completions, /v1/responses, /v1/responses/compact and /v1/embeddings",
                uri.path()
            ),
        )
    }
}

/// For methods that a path does not have.
pub(crate) async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> ApiError {
    ApiError {
        code: Some("method_not_allowed"),
        ..ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            format!("{} does not take {method}", uri.path()),
        )
    }
}
