//! Which quotes answer a question, and how sure that is.

use journal::Run;
use model::Response;
use serde_json::{Value, json};

use super::Tools;
use super::note::Note;
use super::reading::{headings, place};
use crate::{Result, call};

/// The belief that a quote answers, 0..1, above which it counts as a note.
const ANSWERS: f32 = 0.5;
/// The same when the question names something that no passage mentions: then the documents are likely
/// about something else, and small models answer from that.
const ANSWERS_UNMENTIONED: f32 = 0.8;

/// Splits candidates into notes that answer the question, each with how sure that is, and the rest.
///
/// The model first picks among all quotes, because it compares better than it judges; then what it
/// picked, and the candidate of the best-ranked passage, are verified alone.
pub(super) async fn weigh(
    run: &Run,
    tools: &Tools,
    question: &str,
    candidates: Vec<Note>,
) -> Result<(Vec<Note>, Vec<Note>)> {
    let (candidates, mut rest): (Vec<Note>, Vec<Note>) =
        candidates.into_iter().partition(|note| note.grounded);
    if candidates.is_empty() {
        return Ok((Vec::new(), rest));
    }
    let picked = choose(run, tools, question, &candidates).await?;
    let beliefs = verify(run, tools, question, &candidates).await?;
    let least = if mentions_all(question, &candidates) {
        ANSWERS
    } else {
        ANSWERS_UNMENTIONED
    };
    let mut notes = Vec::new();
    for ((mut note, picked), belief) in candidates.into_iter().zip(picked).zip(beliefs) {
        // The geometric mean: a note must be credible alone and beside the others.
        note.confidence = (picked * belief).sqrt();
        if note.confidence >= least {
            notes.push(note)
        } else {
            rest.push(note)
        }
    }
    rest.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then(a.rank.cmp(&b.rank))
    });
    Ok((notes, rest))
}

/// How much of the model's choice among the quotes falls on each, 0..1: 1 for the one it picks when it
/// is certain, a share of what it left for the others.
async fn choose(run: &Run, tools: &Tools, question: &str, candidates: &[Note]) -> Result<Vec<f32>> {
    let numbers: Vec<usize> = (0..=candidates.len()).collect();
    let schema = json!({"type": "object", "properties": {"best": {"enum": numbers}},
        "required": ["best"], "additionalProperties": false});
    let mut shown = format!("Question: {question}\n\n[0] none of these");
    for (index, note) in candidates.iter().enumerate() {
        shown.push_str(&format!(
            "\n[{}] ({}) {}",
            index + 1,
            headings(&note.passage),
            note.quote
        ));
    }
    let definition = tools.agents.load("research/choose")?;
    let request = call::request(&definition, &[shown], schema);
    let response = call::ask(
        run,
        "choose",
        &*tools.model,
        &request,
        "the best of the quotes",
    )
    .await?;
    let best = response
        .json::<Value>()
        .ok()
        .and_then(|value| value["best"].as_u64())
        .unwrap_or(0);
    let sure = response
        .choices
        .first()
        .map_or(0.9, |choice| choice.probability);
    let others = candidates.len().max(1) as f32;
    let share = |index: usize| {
        if index as u64 + 1 == best {
            sure
        } else {
            (1.0 - sure) / others
        }
    };
    Ok((0..candidates.len()).map(share).collect())
}

/// How much the model believes of each quote alone that it answers, 0..1; all in one batch.
async fn verify(run: &Run, tools: &Tools, question: &str, candidates: &[Note]) -> Result<Vec<f32>> {
    let definition = tools.agents.load("research/verify")?;
    let schema = json!({"type": "object", "properties": {"answers": {"enum": ["yes", "no"]}},
        "required": ["answers"], "additionalProperties": false});
    let calls = candidates.iter().enumerate().map(|(index, note)| {
        let quote = format!(
            "Question: {question}\n\nQuote ({}): {}",
            headings(&note.passage),
            note.quote
        );
        let request = call::request(&definition, &[quote], schema.clone());
        let run = run.scope("verify", index);
        async move {
            let response = call::ask(
                &run,
                "model",
                &*tools.model,
                &request,
                &place(&note.passage),
            )
            .await?;
            Ok(belief(&response))
        }
    });
    futures::future::try_join_all(calls).await
}

/// The probability that the model gives "yes".
fn belief(response: &Response) -> f32 {
    match response
        .choices
        .iter()
        .find(|choice| choice.pointer == "/answers")
    {
        Some(choice) if choice.value == "yes" => choice.probability,
        Some(choice) => 1.0 - choice.probability,
        None => match response.json::<Value>() {
            Ok(value) if value["answers"] == "yes" => 0.9,
            _ => 0.1,
        },
    }
}

/// Whether every name in the question occurs somewhere in what was read, by its first letters.
fn mentions_all(question: &str, candidates: &[Note]) -> bool {
    const LETTERS: usize = 5;
    let read: String = candidates
        .iter()
        .map(|note| {
            format!(
                "{} {} {}\n",
                note.passage.file,
                headings(&note.passage),
                note.passage.text
            )
        })
        .collect::<String>()
        .to_lowercase();
    let words = question
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| word.len() > 2);
    words
        .enumerate()
        .filter(|(index, word)| {
            let inner = word.chars().skip(1).any(char::is_uppercase);
            inner || (*index > 0 && word.starts_with(char::is_uppercase))
        })
        .all(|(_, name)| {
            read.contains(
                &name
                    .to_lowercase()
                    .chars()
                    .take(LETTERS)
                    .collect::<String>(),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_not_read_are_noticed() {
        let text = "PostgreSQL keeps sessions.";
        let passage = knowledge::Passage {
            id: "0".to_owned(),
            file: "a.md".to_owned(),
            title: "Server".to_owned(),
            headings: Vec::new(),
            text: text.to_owned(),
            range: 0..text.len(),
            places: Vec::new(),
            ordinal: 0,
        };
        let (question, quote, answer) = (String::new(), String::new(), String::new());
        let note = Note {
            question,
            quote,
            answer,
            passage,
            grounded: true,
            confidence: 0.0,
            rank: 0,
        };
        let mentions = |question| mentions_all(question, std::slice::from_ref(&note));
        assert!(mentions("Where does Postgres keep its sessions?"));
        assert!(!mentions("How do I set the pool of PgBouncer?"));
    }
}
