//! What a provider's refusal means: who must act, and when to ask again.
//!
//! Codes and statuses decide. The one exception is a prompt that is too long: Anthropic, Gemini and
//! Ollama report it as any bad request, so that only their words tell it from one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::Error;
use crate::providers::Key;

/// The most of a provider's words that is repeated, in characters.
const LONGEST_MESSAGE: usize = 300;

/// A provider's refusal.
pub(crate) struct Refusal<'a> {
    /// The provider, as users know it.
    pub provider: &'a str,
    /// The model that was asked, as the provider calls it; empty where none was.
    pub model: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// The headers of the answer.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a str,
    /// The key, which must not be repeated.
    pub key: Option<&'a Key>,
}

impl Refusal<'_> {
    /// The error that it is.
    pub(crate) fn error(&self) -> Error {
        let said: Value = serde_json::from_str(self.body).unwrap_or(Value::Null);
        let message = self.message(&said);
        let provider = self.provider.to_owned();
        let code = code(&said);
        if code == Some("context_length_exceeded") || (self.is_bad() && names_overflow(&message)) {
            let over = overflow(&message);
            return Error::Overflow {
                provider,
                over,
                message,
            };
        }
        match (self.status, code) {
            (_, Some("content_filter" | "content_policy_violation")) => {
                Error::Withheld { provider, message }
            }
            (401 | 403, _) => Error::Denied {
                provider,
                variable: self.key.and_then(|key| key.variable.clone()),
                status: self.status,
                message,
            },
            _ if self.means_the_model(code, &message) => Error::Unknown {
                name: format!("{provider}:{}", self.model),
                hint: format!("the provider says: {message}"),
            },
            // No money left: waiting does not help.
            (429, Some("insufficient_quota")) => self.refused(message),
            (429 | 503 | 529, _) => Error::Busy {
                provider,
                status: self.status,
                wait_ms: wait(self.headers, SystemTime::now())
                    .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
                message,
            },
            // Not a fault of the request: 501 says that it never works.
            (408 | 500 | 502 | 504..=599, _) => Error::Unreachable {
                provider,
                message: format!("{message} ({})", self.status),
            },
            _ => self.refused(message),
        }
    }

    fn refused(&self, message: String) -> Error {
        Error::Refused {
            provider: self.provider.to_owned(),
            status: self.status,
            message,
        }
    }

    /// Whether it has no such model; a wrong address gives the same status.
    fn means_the_model(&self, code: Option<&str>, message: &str) -> bool {
        let named = !self.model.is_empty() && message.contains(self.model);
        code == Some("model_not_found") || (self.status == 404 && named)
    }

    fn is_bad(&self) -> bool {
        matches!(self.status, 400 | 413 | 422 | 500)
    }

    /// What it says, without the key, which some servers repeat.
    fn message(&self, said: &Value) -> String {
        let inner = ["/error/message", "/message", "/0/error/message", "/error"];
        let text = inner
            .iter()
            .find_map(|pointer| said.pointer(pointer)?.as_str());
        let text = text.map_or_else(|| without_tags(self.body), str::to_owned);
        let text = match self.key {
            Some(key) => key.hidden_in(&text),
            None => text,
        };
        match text.trim() {
            "" => "it says no more".to_owned(),
            text => text.chars().take(LONGEST_MESSAGE).collect(),
        }
    }
}

/// The words of a page, which what stands before a provider answers with; other text as it is.
fn without_tags(body: &str) -> String {
    let body = body.trim();
    if !body.starts_with('<') {
        return body.to_owned();
    }
    let texts = body.split('<').filter_map(|part| part.split_once('>'));
    let words: Vec<&str> = texts
        .flat_map(|(_, text)| text.split_whitespace())
        .collect();
    words.join(" ")
}

/// The code that a provider gives to an error.
fn code(said: &Value) -> Option<&str> {
    ["/error/code", "/error/type", "/code"]
        .iter()
        .find_map(|pointer| said.pointer(pointer)?.as_str())
}

fn names_overflow(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "prompt is too long",
        "maximum context length",
        "input token count",
        "exceeds the context window",
        "exceeds the available context size",
        "input is too long",
        "too many tokens",
    ]
    .iter()
    .any(|words| message.contains(words))
}

/// By how much a prompt is too long, where the message has exactly two counts of tokens.
fn overflow(message: &str) -> Option<u32> {
    let mut counts: Vec<u32> = message
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .filter(|count| *count >= 256)
        .collect();
    counts.truncate(2);
    match counts.as_slice() {
        [one, other] if one != other => Some(one.abs_diff(*other)),
        _ => None,
    }
}

/// How long the provider asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date.
pub(crate) fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = header("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let text = header(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = UNIX_EPOCH + Duration::from_secs(http_date(text)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, the form that
/// senders must write).
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.strip_suffix(" GMT")?.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    // Days from the civil calendar, in years that begin in March (Howard Hinnant's algorithm).
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests;
