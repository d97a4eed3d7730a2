//! Which answers can be believed, and how much.

use std::collections::BTreeSet;

use journal::Run;
use knowledge::Passage;

use super::Tools;
use super::asking::{Asking, Said};
use super::belief::{log_odds, probability};
use super::judging::states;
use super::note::Note;
use super::plausibility::plausibility;
use super::quoting::Source;
use crate::Result;

// The belief in an answer is a logistic regression over 173 answers to 53 questions about documentation that
// Debian packages ship, three of which it does not answer. Of the 38 searches that brought right and wrong
// answers it puts a right one first for 35.

/// The logarithm of the odds of an answer that the rest says nothing about.
const BASE: f32 = -3.40;
/// What the logarithm of the odds counts that the model gives to its being stated.
const STATED: f32 = 0.61;
/// What counts each unit by which the question is likelier after the words around the answer.
const GAIN: f32 = 0.95;
/// What counts that both readings gave it.
const AGREED: f32 = 1.52;
/// What counts that a passage gave by itself what a reading gave.
const BORNE_OUT: f32 = 1.19;
/// What counts that a passage gave it by itself and no reading of all of them: they were read together with
/// it and said something else, or nothing.
const BY_ITSELF: f32 = -1.00;

/// How much likelier the question usually is, for models that do not tell.
const USUAL_GAIN: f32 = 1.1;

/// The belief in an answer, 0..1, from which on it counts as a note.
const ANSWERS: f32 = 0.25;

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
    let explains = asking.for_explanation();
    // What answers yes or no and what explains bring their belief along.
    if !explains && !asking.for_yes_or_no() {
        let beliefs = verify(run, tools, question, &notes).await?;
        let said: Vec<Said<'_>> = notes.iter().enumerate().map(around).collect();
        let gains = asking.gains(run, "answer", &said).await?;
        for ((note, stated), gain) in notes.iter_mut().zip(beliefs).zip(gains) {
            note.confidence = believed(note, stated, gain);
        }
    }
    for note in &mut notes {
        note.confidence *= plausibility(question, asking.uncommon(), note, (found, read));
    }
    if !explains {
        hear_each_other(&mut notes);
    }
    let (mut notes, doubtful): (Vec<Note>, Vec<Note>) = notes
        .into_iter()
        .partition(|note| note.confidence >= ANSWERS);
    rest.extend(doubtful);
    let by_confidence = |a: &Note, b: &Note| b.confidence.total_cmp(&a.confidence);
    rest.sort_by(by_confidence);
    // What explains keeps its order.
    if !explains {
        notes.sort_by(by_confidence);
    }
    Ok((notes, rest))
}

/// The belief in an answer, 0..1, that is stated with this probability and makes the question so much likelier.
fn believed(note: &Note, stated: f32, gain: Option<f32>) -> f32 {
    let readings = match note.readings {
        0 => BY_ITSELF,
        1 => 0.0,
        _ => AGREED,
    };
    let borne_out = if note.borne_out { BORNE_OUT } else { 0.0 };
    // Odds are kept finite.
    let stated = STATED * log_odds(stated.clamp(0.01, 0.99));
    probability(BASE + stated + GAIN * gain.unwrap_or(USUAL_GAIN) + readings + borne_out)
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

/// How much the model believes of each answer that its passage states it, 0..1; all in one batch.
async fn verify(run: &Run, tools: &Tools, question: &str, notes: &[Note]) -> Result<Vec<f32>> {
    let calls = notes.iter().enumerate().map(|(index, note)| {
        let run = run.scope("verify", index);
        async move { states(&run, tools, question, &note.passage, &note.answer).await }
    });
    futures::future::try_join_all(calls).await
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    #[test]
    fn belief_rises_with_all_that_speaks_for_an_answer() {
        let note = |readings, borne_out| Note {
            question: String::new(),
            quote: String::new(),
            answer: String::new(),
            passage: passage(""),
            grounded: true,
            readings,
            borne_out,
            confidence: 0.0,
        };
        let read = note(1, true);
        let usual = believed(&read, 0.8, Some(1.0));
        assert!((ANSWERS..0.7).contains(&usual), "{usual}");
        for more in [
            believed(&read, 0.95, Some(1.0)),
            believed(&read, 0.8, Some(2.0)),
            believed(&note(2, true), 0.8, Some(1.0)),
        ] {
            assert!(more > usual);
        }
        let alone = believed(&note(1, false), 0.8, Some(1.0));
        assert!(alone < usual && believed(&note(0, false), 0.8, Some(1.0)) < alone);
        assert!(believed(&note(2, true), 1.0, None) < 1.0);
        assert!(believed(&note(0, false), 0.0, None) > 0.0);
    }
}
