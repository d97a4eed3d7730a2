//! One call with an eye on its stream: whether anything of it was passed on, and how long it is silent.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc::unbounded_channel;

use crate::{DeltaSink, Error, Model, Request, Response, Result};

/// The longest silence of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patience {
    /// Before the first piece of an answer. A model that thinks unseen is silent for minutes.
    #[serde(rename = "first_token_s", deserialize_with = "seconds")]
    pub first: Duration,
    /// Between two pieces.
    #[serde(rename = "between_tokens_s", deserialize_with = "seconds")]
    pub between: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            first: Duration::from_secs(300),
            between: Duration::from_secs(120),
        }
    }
}

/// A number of seconds, also with a fraction.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
}

/// The error of a model that was silent for so long.
pub(crate) fn timed_out(name: &str, started: bool, silence: Duration) -> Error {
    Error::TimedOut {
        provider: name.to_owned(),
        started,
        after_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Calls `model`; passes pieces of its answer on to `sink` and sets `seen` at the first one.
///
/// # Errors
/// Those of the model, and [`Error::TimedOut`].
pub(crate) async fn call(
    model: &dyn Model,
    request: &Request,
    sink: Option<&DeltaSink>,
    patience: Option<Patience>,
    seen: &mut bool,
) -> Result<Response> {
    let (inner, mut pieces) = unbounded_channel();
    let mut call = model.generate(request, Some(inner));
    let mut started = false;
    let mut pass = |piece| {
        if let Some(sink) = sink {
            *seen = true;
            // Whoever reads the stream may have gone; the answer still comes whole.
            let _ = sink.send(piece);
        }
    };
    loop {
        let silence = patience.map(|patience| match started {
            true => patience.between,
            false => patience.first,
        });
        let timer = async {
            match silence {
                Some(silence) => tokio::time::sleep(silence).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            // First, so that what it says is heard in the same moment and not at the next waking.
            answer = &mut call => {
                while let Ok(piece) = pieces.try_recv() {
                    pass(piece);
                }
                return answer;
            }
            Some(piece) = pieces.recv() => {
                started = true;
                pass(piece);
            }
            () = timer => {
                return Err(timed_out(model.name(), started, silence.unwrap_or_default()));
            }
        }
    }
}
