//! How much the model believes that a passage states something.

use journal::Run;
use knowledge::Passage;
use model::Response;
use serde_json::{Value, json};

use super::Tools;
use super::reading::{place, shown};
use crate::{Result, call};

/// The probability that counts for what a model says that does not tell one. With it an answer that one passage
/// alone gives is just believed, and one that a reading and a passage give is sure.
const SAID: f32 = 0.98;

/// Asks the agent `agent`, as the step `name`, whether `passage` states what `asked` is about; returns
/// the probability of its "yes", 0..1.
///
/// The probability tells right from wrong better than the word that is said.
pub(super) async fn stated(
    run: &Run,
    tools: &Tools,
    (agent, name): (&str, &str),
    passage: &Passage,
    asked: &str,
) -> Result<f32> {
    let definition = tools.agents.load(agent)?;
    let schema = json!({"type": "object", "properties": {"stated": {"enum": ["yes", "no"]}},
        "required": ["stated"], "additionalProperties": false});
    let asked = format!("Passage {}\n\n{asked}", shown(passage));
    let request = call::request(&definition, &[asked], schema);
    let response = call::ask(run, name, &*tools.model, &request, &place(passage)).await?;
    Ok(belief(&response))
}

/// The probability that the model gives "yes" for being stated.
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

/// The logarithm of the odds; certainty stays finite.
pub(super) fn log_odds(probability: f32) -> f32 {
    let probability = probability.clamp(0.001, 0.999);
    (probability / (1.0 - probability)).ln()
}
