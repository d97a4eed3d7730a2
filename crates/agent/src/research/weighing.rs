//! Which answers can be believed, and how much.

use std::collections::BTreeSet;

use journal::Run;
use knowledge::Passage;

use super::Tools;
use super::asking::{Asking, Said};
use super::belief::{log_odds, stated};
use super::note::Note;
use super::plausibility::plausibility;
use super::quoting::Source;
use crate::Result;

// The belief in an answer is a logistic regression over 118 answers to 47 development questions about
// documentation that Debian packages ship; what was believed of a passage by itself was known for 39 of them.
// It puts a right answer first for 33; of the 25 first answers that it believes most 22 are right, of the
// other 22 half.

/// The logarithm of the odds of an answer that the rest says nothing about.
const BASE: f32 = -1.71;
/// What the logarithm of the odds counts that the model gives to its being stated.
const STATED: f32 = 0.42;
/// What counts each unit by which the question is likelier after the words around the answer.
const GAIN: f32 = 0.84;
/// What counts that both readings gave it.
const AGREED: f32 = 1.49;
/// What counts that a passage gave it by itself and no reading of all of them: they were read together with
/// it and said something else, or nothing.
const BY_ITSELF: f32 = -0.54;
/// What the logarithm of the odds counts that the model gave to it when it took it from a passage by itself.
const JUDGED: f32 = 0.17;

/// How much likelier the question usually is, for models that do not tell.
const USUAL_GAIN: f32 = 1.1;

/// The probability of "stated" below which agreement does not help: where the documents do not answer, the
/// two readings often agree on the same sentence beside the point.
const DENIED: f32 = 0.17;

/// The agent that is asked.
const VERIFY: &str = "research/verify";

/// The belief in an answer, 0..1, from which on it counts as a note.
const ANSWERS: f32 = 0.22;

/// Splits candidates into notes that answer the question, each with how sure that is, and the rest;
/// `found` is what the search brought, the first `read` of it what they were taken from.
pub(super) async fn weigh(
    run: &Run,
    tools: &Tools,
    question: &str,
    asking: &Asking<'_>,
    candidates: Vec<Note>,
    (found, read): (&[Passage], usize),
) -> Result<(Vec<Note>, Vec<Note>)> {
    let (mut notes, mut rest): (Vec<Note>, Vec<Note>) =
        candidates.into_iter().partition(|note| note.grounded);
    let beliefs = verify(run, tools, question, &notes).await?;
    let said: Vec<Said<'_>> = notes.iter().enumerate().map(around).collect();
    let gains = asking.gains(run, "answer", &said).await?;
    for ((note, stated), gain) in notes.iter_mut().zip(beliefs).zip(gains) {
        let believed = believed(stated, note.readings, note.judged, gain);
        note.confidence = believed * plausibility(question, note, found, read);
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

/// The belief in an answer, 0..1, that is stated with this probability, came of so many readings, was so much
/// believed of a passage by itself, and makes the question so much likelier.
fn believed(stated: f32, readings: u32, judged: f32, gain: Option<f32>) -> f32 {
    let readings = match readings {
        0 => BY_ITSELF,
        1 => 0.0,
        _ if stated < DENIED => 0.0,
        _ => AGREED,
    };
    // Odds are kept finite; that no passage gave it by itself is little against an answer.
    let stated = STATED * log_odds(stated.clamp(0.01, 0.99));
    let judged = JUDGED * log_odds(judged.clamp(0.1, 0.95));
    let odds = BASE + stated + judged + GAIN * gain.unwrap_or(USUAL_GAIN) + readings;
    1.0 / (1.0 + (-odds).exp())
}

/// The words around the quote of a note.
fn around((index, note): (usize, &Note)) -> Said<'_> {
    Said {
        index,
        passage: &note.passage,
        text: Source::of(&note.passage).around(&note.quote),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn belief_rises_with_all_that_speaks_for_an_answer() {
        let usual = believed(0.6, 1, 0.5, Some(1.0));
        assert!((0.2..0.7).contains(&usual), "{usual}");
        assert!(
            believed(0.9, 1, 0.5, Some(1.0)) > usual && believed(0.6, 2, 0.5, Some(1.0)) > usual
        );
        assert!(
            believed(0.6, 1, 0.9, Some(1.0)) > usual && believed(0.6, 1, 0.5, Some(2.0)) > usual
        );
        assert!(believed(0.6, 0, 0.5, Some(1.0)) < usual);
        // Two readings that agree on what the model denies are no more than one.
        let denied = |readings| believed(0.1, readings, 0.5, Some(1.0));
        assert_eq!(denied(2), denied(1));
        assert!(believed(1.0, 2, 1.0, None) < 1.0 && believed(0.0, 0, 0.0, None) > 0.0);
    }
}
