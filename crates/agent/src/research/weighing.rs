//! Which answers can be believed, and how much.

use std::collections::BTreeSet;

use journal::Run;
use knowledge::Passage;

use super::Tools;
use super::belief::stated;
use super::note::Note;
use super::plausibility::plausibility;
use crate::Result;

/// The agent that is asked.
const VERIFY: &str = "research/verify";

/// The belief in an answer, 0..1, from which on it counts as a note.
const ANSWERS: f32 = 0.2;

/// Splits candidates into notes that answer the question, each with how sure that is, and the rest;
/// `read` is what they were taken from.
pub(super) async fn weigh(
    run: &Run,
    tools: &Tools,
    question: &str,
    candidates: Vec<Note>,
    read: &[Passage],
) -> Result<(Vec<Note>, Vec<Note>)> {
    let (mut notes, mut rest): (Vec<Note>, Vec<Note>) =
        candidates.into_iter().partition(|note| note.grounded);
    let beliefs = verify(run, tools, question, &notes).await?;
    for (note, belief) in notes.iter_mut().zip(beliefs) {
        let believed = 1.0 - (1.0 - belief).powf(note.readings as f32);
        note.confidence = believed * plausibility(question, note, read);
    }
    hear_each_other(&mut notes);
    let (mut notes, doubtful): (Vec<Note>, Vec<Note>) = notes
        .into_iter()
        .partition(|note| note.confidence >= ANSWERS);
    rest.extend(doubtful);
    for list in [&mut notes, &mut rest] {
        list.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    }
    Ok((notes, rest))
}

/// Two answers with the same numbers from different passages bear each other out.
fn hear_each_other(notes: &mut [Note]) {
    let numbers: Vec<BTreeSet<String>> = notes.iter().map(|note| numbers(&note.answer)).collect();
    let alone: Vec<f32> = notes.iter().map(|note| note.confidence).collect();
    for (index, note) in notes.iter_mut().enumerate() {
        for (other, _) in alone
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
        {
            let same = numbers.get(index) == numbers.get(other);
            if same
                && numbers
                    .get(index)
                    .is_some_and(|numbers| !numbers.is_empty())
            {
                let doubt = 1.0 - alone.get(other).copied().unwrap_or(0.0);
                note.confidence = 1.0 - (1.0 - note.confidence) * doubt;
            }
        }
    }
}

fn numbers(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|number| !number.is_empty())
        .map(str::to_owned)
        .collect()
}

/// How much the model believes of each answer that it is stated, 0..1; all in one batch.
///
/// It is asked twice, of the whole passage and of the quote alone: the first forgives a quote that needs
/// its surroundings, the second is not led astray by them. The geometric mean told right from wrong
/// answers better than either.
async fn verify(run: &Run, tools: &Tools, question: &str, notes: &[Note]) -> Result<Vec<f32>> {
    let calls = notes.iter().enumerate().map(|(index, note)| {
        let run = run.scope("verify", index);
        async move {
            let quote = Passage {
                text: note.quote.clone(),
                ..note.passage.clone()
            };
            let asked = format!("Question: {question}\nProposed answer: {}", note.answer);
            let (passage, quote) = futures::future::try_join(
                stated(&run, tools, (VERIFY, "passage"), &note.passage, &asked),
                stated(&run, tools, (VERIFY, "quote"), &quote, &asked),
            )
            .await?;
            Ok((passage * quote).sqrt())
        }
    });
    futures::future::try_join_all(calls).await
}
