//! A call of an operation: from arguments to a request, and from an answer to words.

use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::document::{Argument, Place, Plan, Style};
use super::{Auth, AuthPlace};
use crate::builtin::net::{Failure, Net, Received, Sent};
use crate::{Context, Effect, Error, Result};

/// The most characters of a server's error that are shown.
const ERROR_CHARACTERS: usize = 2_000;
/// The header by which servers know that twice is once.
const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// One operation, ready to be called.
pub(super) struct Call {
    /// The method and the path, for messages.
    pub(super) what: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) base: Url,
    pub(super) plan: Plan,
    pub(super) effect: Effect,
    pub(super) auth: Option<Auth>,
    pub(super) net: Net,
}

impl Call {
    pub(super) async fn make(&self, arguments: &Value, context: &Context) -> Result<Value> {
        let secret = match &self.auth {
            Some(auth) => Some(context.secret(&auth.secret)?),
            None => None,
        };
        let request = self.request(arguments, secret, context.key())?;
        let answered = match self.net.send(request).await {
            Ok(received) => self.answer(&received),
            Err(failure) => Err(self.failed(failure)),
        };
        // A server may say what it was allowed with.
        let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
            return answered;
        };
        match answered {
            Ok(mut value) => {
                hide(&mut value, secret);
                Ok(value)
            }
            Err(Error::Failed(said)) => Err(Error::Failed(said.replace(secret, "[secret]"))),
            Err(other) => Err(other),
        }
    }

    fn request(&self, arguments: &Value, secret: Option<&str>, key: &str) -> Result<Sent> {
        let mut headers = HeaderMap::from_iter([(
            ACCEPT,
            HeaderValue::from_static("application/json, text/*;q=0.9"),
        )]);
        if !matches!(self.effect, Effect::Pure | Effect::Read) && !key.is_empty() {
            headers.insert(KEY_HEADER, HeaderValue::from_str(key)?);
        }
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}{}",
            url.path().trim_end_matches('/'),
            self.filled_path(arguments)?
        ));
        let mut body = None;
        for argument in &self.plan.arguments {
            let Some(value) = arguments
                .get(&argument.shown)
                .filter(|value| !value.is_null())
            else {
                continue;
            };
            match argument.place {
                Place::Path => {}
                Place::Query(style) => in_query(&mut url, &argument.name, value, style),
                Place::Header => {
                    let name = HeaderName::from_bytes(argument.name.as_bytes())?;
                    let value = HeaderValue::from_str(&joined(value, ",")).map_err(|_| {
                        format!("{} has signs that no header may have", argument.name)
                    })?;
                    headers.insert(name, value);
                }
                Place::JsonBody => {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    body = Some(value.to_string().into_bytes());
                }
                Place::FormBody => {
                    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                    headers.insert(CONTENT_TYPE, kind);
                    body = Some(form(value).into_bytes());
                }
            }
        }
        if let (Some(auth), Some(secret)) = (&self.auth, secret) {
            allow(auth, secret, &mut url, &mut headers)?;
        }
        Ok(Sent {
            method: self.method.clone(),
            url,
            headers,
            body,
        })
    }

    /// The path with its parameters. None of them can lead to another path.
    fn filled_path(&self, arguments: &Value) -> Result<String> {
        let mut path = self.path.clone();
        let in_path = |argument: &&Argument| argument.place == Place::Path;
        for argument in self.plan.arguments.iter().filter(in_path) {
            let value = arguments.get(&argument.shown).unwrap_or(&Value::Null);
            let value = joined(value, ",");
            if value.is_empty() {
                return Err(format!("{} is missing", argument.shown).into());
            }
            path = path.replace(&format!("{{{}}}", argument.name), &encoded(&value));
        }
        let leads_away = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        };
        match path.split('/').any(leads_away) {
            true => Err(format!("{path} is no path").into()),
            false => Ok(path),
        }
    }

    fn answer(&self, received: &Received) -> Result<Value> {
        let status = received.status;
        let text = String::from_utf8_lossy(&received.body);
        if !status.is_success() {
            let said: String = text.trim().chars().take(ERROR_CHARACTERS).collect();
            let retry = received
                .headers
                .get("retry-after")
                .and_then(|value| value.to_str().ok());
            let retry = retry
                .map(|after| format!("; it asks to wait: {after}"))
                .unwrap_or_default();
            let said = if said.is_empty() {
                String::new()
            } else {
                format!(": {said}")
            };
            return Err(format!("{} answered {status}{retry}{said}", self.what).into());
        }
        let kind = received
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default();
        if received.body.is_empty() {
            return Ok(format!("Done ({status}).").into());
        }
        if received.is_cut {
            let most = received.body.len();
            return Ok(format!(
                "{text}\n[the answer is longer than {most} bytes; the rest was not read]"
            )
            .into());
        }
        match serde_json::from_slice(&received.body) {
            Ok(value) => Ok(value),
            Err(_) if std::str::from_utf8(&received.body).is_ok() => Ok(text.into_owned().into()),
            Err(_) => Ok(format!("[{} bytes of {kind}]", received.body.len()).into()),
        }
    }

    /// Of a call that writes and was sent, nobody knows what became of it: its step is tried again with its key, or
    /// in doubt.
    fn failed(&self, failure: Failure) -> Error {
        match (failure, self.effect) {
            (Failure::NotSent(said), _) => Error::Failed(said),
            (Failure::Lost(said), Effect::Pure | Effect::Read) => Error::Failed(said),
            (Failure::Lost(said), Effect::Idempotent | Effect::Irreversible) => {
                Error::Unavailable(said)
            }
        }
    }
}

fn allow(auth: &Auth, secret: &str, url: &mut Url, headers: &mut HeaderMap) -> Result<()> {
    use base64::Engine as _;
    let (name, value) = match &auth.place {
        AuthPlace::Query(name) => {
            url.query_pairs_mut().append_pair(name, secret);
            return Ok(());
        }
        AuthPlace::Bearer => (AUTHORIZATION, format!("Bearer {secret}")),
        AuthPlace::Basic => {
            let coded = base64::engine::general_purpose::STANDARD.encode(secret);
            (AUTHORIZATION, format!("Basic {coded}"))
        }
        AuthPlace::Header(name) => (HeaderName::from_bytes(name.as_bytes())?, secret.to_owned()),
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| {
        Error::Unavailable(format!(
            "the secret {} has signs that no header may have",
            auth.secret
        ))
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

fn in_query(url: &mut Url, name: &str, value: &Value, style: Style) {
    let mut pairs = url.query_pairs_mut();
    match (value, style) {
        (Value::Array(items), Style::Exploded | Style::Deep) => {
            for item in items {
                pairs.append_pair(name, &joined(item, ","));
            }
        }
        (Value::Object(fields), Style::Deep) => {
            for (field, value) in fields {
                pairs.append_pair(&format!("{name}[{field}]"), &joined(value, ","));
            }
        }
        (Value::Object(fields), Style::Exploded) => {
            for (field, value) in fields {
                pairs.append_pair(field, &joined(value, ","));
            }
        }
        (value, Style::Between(between)) => {
            pairs.append_pair(name, &joined(value, between));
        }
        (value, Style::Exploded | Style::Deep) => {
            pairs.append_pair(name, &joined(value, ","));
        }
    }
}

/// A value as text: lists and objects with something between their parts.
fn joined(value: &Value, between: &str) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| joined(item, between)).collect();
            items.join(between)
        }
        Value::Object(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .flat_map(|(name, value)| [name.clone(), joined(value, between)])
                .collect();
            parts.join(between)
        }
    }
}

fn form(value: &Value) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Array(items) => {
                for item in items {
                    form.append_pair(name, &joined(item, ","));
                }
            }
            other => {
                form.append_pair(name, &joined(other, ","));
            }
        }
    }
    form.finish()
}

/// With everything but unreserved signs as `%XX`.
fn encoded(text: &str) -> String {
    let mut coded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                coded.push(char::from(byte))
            }
            other => coded.push_str(&format!("%{other:02X}")),
        }
    }
    coded
}

fn hide(value: &mut Value, secret: &str) {
    match value {
        Value::String(text) if text.contains(secret) => *text = text.replace(secret, "[secret]"),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secret)),
        Value::Object(fields) => fields.values_mut().for_each(|field| hide(field, secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
