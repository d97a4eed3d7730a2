//! How much the model believes that a passage states something.

use model::Response;
use serde_json::Value;

/// The probability that counts for what a model says that does not tell one. With it an answer that one passage
/// alone gives is just believed, and one that a reading and a passage give is sure.
const SAID: f32 = 0.98;

/// The probability that the model gives "yes" for being stated; it tells right from wrong better than the word
/// that is said.
pub(super) fn belief(response: &Response) -> f32 {
    yes(response, "stated")
}

/// The probability that the model gives "yes" where an answer has the property `name`.
pub(super) fn yes(response: &Response, name: &str) -> f32 {
    let choice = response
        .choices
        .iter()
        .find(|choice| choice.pointer.strip_prefix('/') == Some(name));
    match choice {
        Some(choice) if choice.value == "yes" => choice.probability,
        Some(choice) => 1.0 - choice.probability,
        None => match response.json::<Value>() {
            Ok(value) if value[name] == "yes" => SAID,
            _ => 1.0 - SAID,
        },
    }
}

/// The probability that has this logarithm of its odds; see [`log_odds`].
pub(super) fn probability(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The logarithm of the odds; certainty stays finite.
pub(super) fn log_odds(probability: f32) -> f32 {
    let probability = probability.clamp(0.001, 0.999);
    (probability / (1.0 - probability)).ln()
}
