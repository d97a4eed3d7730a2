//! Which answers can be believed, and how much.

use std::collections::BTreeSet;

use journal::Run;
use knowledge::Passage;

use super::Tools;
use super::asking::{Said, likelihoods};
use super::belief::stated;
use super::note::Note;
use super::plausibility::plausibility;
use super::quoting::Source;
use crate::Result;

/// By how much the odds of an answer rise when another reading gives it too. Of 42 answers to 34
/// questions, 23 of the 25 that both readings gave were right, whatever the model said of them when
/// it was asked, and 9 of the 17 that one gave.
const AGREEMENT: f32 = 6.0;

/// By how much they rise when a third reading gives it: less, because the readings share passages.
const ONE_MORE: f32 = 2.0;

/// What becomes of the odds of an answer that a passage gives by itself and no reading of all of them:
/// they were read together with it and said something else, or nothing.
const BY_ITSELF: f32 = 0.5;

/// The belief below which agreement does not help: where the documents do not answer, the two readings
/// often agree on the same sentence beside the point.
const DENIED: f32 = 0.12;

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
    let likely = ask_back(run, tools, question, &notes).await?;
    for ((note, belief), likely) in notes.iter_mut().zip(beliefs).zip(likely) {
        let agreed = agreed(belief, note.readings, likely);
        note.confidence = agreed * plausibility(question, note, read);
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

/// The belief in an answer that came of so many readings, from a passage after which the question is so
/// much less `likely` than after the one of them where it is likeliest, as a factor.
fn agreed(belief: f32, readings: u32, likely: f32) -> f32 {
    if belief < DENIED {
        return belief;
    }
    // Never quite 1, so that the odds are finite.
    let belief = belief.min(0.999);
    let more = match readings {
        0 => BY_ITSELF,
        1 => 1.0,
        2 => AGREEMENT,
        _ => AGREEMENT * ONE_MORE,
    };
    let odds = belief / (1.0 - belief) * more * likely;
    odds / (1.0 + odds)
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

/// How likely the question is after the words of each note, beside the note after which it is
/// likeliest, 0..1 per token; 1 for all where the model does not tell.
async fn ask_back(run: &Run, tools: &Tools, question: &str, notes: &[Note]) -> Result<Vec<f32>> {
    let said: Vec<Said<'_>> = notes
        .iter()
        .map(|note| Said {
            passage: &note.passage,
            text: Source::of(&note.passage).around(&note.quote),
        })
        .collect();
    let likelihoods = likelihoods(run, tools, question, "ask_note", &said).await?;
    let known = likelihoods.iter().flatten().copied();
    let most = known.fold(f32::NEG_INFINITY, f32::max);
    let beside = |likelihood: Option<f32>| likelihood.map_or(1.0, |one| (one - most).exp());
    Ok(likelihoods.into_iter().map(beside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_two_readings_is_believed_more() {
        let near = |a: f32, b: f32| assert!((a - b).abs() < 0.01, "{a} is not {b}");
        near(agreed(0.5, 1, 1.0), 0.5);
        near(agreed(0.5, 2, 1.0), 6.0 / 7.0);
        near(agreed(0.2, 2, 1.0), 0.6);
        assert_eq!(agreed(0.1, 2, 1.0), 0.1);
        assert!(agreed(1.0, 2, 1.0) < 1.0);
    }

    #[test]
    fn an_answer_is_believed_less_where_the_question_is_less_likely() {
        assert!(agreed(0.5, 2, 0.5) < agreed(0.5, 2, 1.0));
        assert!(agreed(0.5, 1, 0.5) > 0.3);
    }
}
