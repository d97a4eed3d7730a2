//! One HTTP request to a provider, and what its refusal means.

use std::time::Duration;

use reqwest::{Client, Response as HttpResponse};
use serde_json::Value;

use crate::providers::Key;
use crate::refusal::Refusal;
use crate::{Error, Result};

/// The longest silence of a connection before it counts as dead.
const SILENCE: Duration = Duration::from_secs(600);
/// The most that is read of a refusal, in bytes.
const LONGEST_REFUSAL: usize = 1 << 16;

/// A model's place at a provider.
pub(crate) struct Http {
    /// The provider's name, for messages.
    pub provider: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// The address, with a slash at its end.
    base: reqwest::Url,
    /// The address without what a user may have put in for authentication.
    shown_url: String,
    key: Option<Key>,
    client: Client,
}

/// Why a request failed.
pub(crate) struct Failure {
    pub error: Error,
    /// The parameter that the server blames.
    pub parameter: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            error,
            parameter: None,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

impl Http {
    /// # Errors
    /// [`Error::Setting`] when the address is none, or not on this machine where calls are forbidden.
    pub(crate) fn new(
        provider: &str,
        model: &str,
        base_url: &str,
        key: Option<Key>,
    ) -> Result<Http> {
        let base_url = base_url.trim_end_matches('/').to_owned();
        crate::offline::check(&base_url)?;
        let Ok(base) = reqwest::Url::parse(&format!("{base_url}/")) else {
            return Err(Error::Setting {
                message: format!("the address of {provider} is none"),
                hint: "write it like http://127.0.0.1:8080/v1".to_owned(),
            });
        };
        let mut shown = base.clone();
        // These fail for addresses that cannot have them.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        let shown_url = shown.as_str().trim_end_matches('/').to_owned();
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE)
            .tcp_nodelay(true)
            // A key is not carried to another address.
            .redirect(reqwest::redirect::Policy::none());
        let client = client.build().map_err(|error| Error::Unreachable {
            provider: shown_url.clone(),
            message: error.without_url().to_string(),
        })?;
        Ok(Http {
            provider: provider.to_owned(),
            model: model.to_owned(),
            base,
            shown_url,
            key,
            client,
        })
    }

    /// Posts `body`, or gets where there is none.
    pub(crate) async fn send(
        &self,
        body: Option<&Value>,
        path: &str,
    ) -> std::result::Result<HttpResponse, Failure> {
        let Ok(url) = self.base.join(path) else {
            return Err(self.unreachable(format!("it has no {path}")).into());
        };
        let request = match body {
            Some(body) => self.client.post(url).json(body),
            None => self.client.get(url),
        };
        let request = match &self.key {
            Some(key) => request.bearer_auth(&key.value),
            None => request,
        };
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => Err(self.refused(response).await),
            Err(error) => Err(self.broken(&error).into()),
        }
    }

    async fn refused(&self, mut response: HttpResponse) -> Failure {
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > LONGEST_REFUSAL {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body);
        let said: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        let parameter = said.pointer("/error/param").and_then(Value::as_str);
        Failure {
            error: self
                .refusal(response.status().as_u16(), response.headers(), &body)
                .error(),
            parameter: parameter.map(str::to_owned),
        }
    }

    /// A refusal of this model's.
    pub(crate) fn refusal<'a>(
        &'a self,
        status: u16,
        headers: &'a reqwest::header::HeaderMap,
        body: &'a str,
    ) -> Refusal<'a> {
        Refusal {
            provider: &self.provider,
            model: &self.model,
            status,
            headers,
            body,
            key: self.key.as_ref(),
        }
    }

    /// A connection that failed.
    pub(crate) fn broken(&self, error: &reqwest::Error) -> Error {
        let mut message = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            message = error.to_string();
            cause = error.source();
        }
        if error.is_connect() {
            message = format!("it cannot be reached: {message}");
        }
        self.unreachable(message)
    }

    /// A server that does not do what it should.
    pub(crate) fn unreachable(&self, message: String) -> Error {
        Error::Unreachable {
            provider: format!("{} at {}", self.provider, self.shown_url),
            message,
        }
    }

    /// What the model does not take.
    pub(crate) fn unsupported(&self, what: &str) -> Error {
        Error::Unsupported {
            provider: self.provider.clone(),
            what: what.to_owned(),
        }
    }
}
