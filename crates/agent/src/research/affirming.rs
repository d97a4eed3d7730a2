//! Questions that are answered with yes or no.
//!
//! Read side by side, passages make a small model agree with whatever it is asked, or find nothing stated:
//! "no" seldom stands in a text. What it does tell is which of two answers a sentence bears out better: among
//! the sentences of a few passages the one that answers stands out. So each passage gives its vote, the
//! sentences that stand out most on either side give theirs, and the one that speaks most for the outcome is quoted.

use std::cmp::Reverse;

use journal::Run;
use knowledge::Passage;

use super::Tools;
use super::belief::{log_odds, stated};
use super::judging::Judged;
use super::note::Note;
use super::quoting::{Source, words};
use super::reading::{LIKELY, without_bullet};
use crate::Result;

/// The agent that is asked.
const AFFIRM: &str = "research/affirm";

/// Passages that have a vote, each as much as it is believed to state the answer.
const VOTERS: usize = 3;
/// What counts by how much a sentence stands out, beside the votes of the passages. Of 26 questions over
/// manuals, half of them to be denied, the votes alone are right for 22, and with it 25.
const STANDING_OUT: f32 = 1.5;
/// Sentences of a passage that are held against both answers.
const SENTENCES: usize = 8;

/// What the best of `judged`, which come first, answer to a question for yes or no; `None` where none of
/// them can be asked or quoted.
pub(super) async fn affirm(
    run: &Run,
    tools: &Tools,
    question: &str,
    judged: &[Judged],
) -> Result<Option<Note>> {
    let voters = judged.iter().take(VOTERS);
    let voters: Vec<&Judged> = voters.filter(|judged| judged.belief > 0.0).collect();
    let sentences = voters
        .iter()
        .flat_map(|voter| sentences(question, &voter.passage));
    let calls = sentences.enumerate().map(|(index, sentence)| {
        let run = run.scope("affirm", index);
        async move {
            let asked = |answer| format!("Question: {question}\nProposed answer: {answer}.");
            let (yes, no) = futures::future::try_join(
                stated(&run, tools, (AFFIRM, "yes"), &sentence, &asked("Yes")),
                stated(&run, tools, (AFFIRM, "no"), &sentence, &asked("No")),
            )
            .await?;
            Ok::<_, crate::Error>((sentence, log_odds(yes) - log_odds(no)))
        }
    });
    let held = futures::future::try_join_all(calls).await?;
    let votes = voters
        .iter()
        .map(|voter| voter.belief * log_odds(voter.affirmed));
    let affirms: Vec<f32> = held.iter().map(|(_, affirms)| *affirms).collect();
    let leaning = votes.sum::<f32>() + STANDING_OUT * skew(affirms);
    let speaking = |(_, affirms): &(Passage, f32)| affirms * leaning.signum();
    let best = held
        .into_iter()
        .max_by(|a, b| speaking(a).total_cmp(&speaking(b)));
    let Some((sentence, _)) = best else {
        return Ok(None);
    };
    let whole = voters.iter().find(|voter| voter.passage.id == sentence.id);
    let answer = if leaning > 0.0 { "Yes" } else { "No" };
    Ok(whole.map(|voter| Note {
        question: question.to_owned(),
        answer: format!("{answer}. {}", without_bullet(&sentence.text)),
        quote: sentence.text,
        passage: voter.passage.clone(),
        grounded: true,
        readings: 1,
        borne_out: voter.belief >= LIKELY,
        confidence: 0.0,
    }))
}

/// By how much more the greatest of `values` stands out from their middle than the least does.
fn skew(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(middle), Some(greatest)) => (greatest - middle) - (middle - least),
        _ => 0.0,
    }
}

/// The sentences of a passage that have most words of the question, each as a passage of its own.
fn sentences(question: &str, passage: &Passage) -> Vec<Passage> {
    let asked = words(question);
    let mut units = Source::of(passage).units;
    units.sort_by_key(|unit| Reverse(words(unit).intersection(&asked).count()));
    units.truncate(SENTENCES);
    let alone = |text| Passage {
        text,
        ..passage.clone()
    };
    units.into_iter().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    #[test]
    fn what_stands_out_on_one_side_is_skew() {
        assert_eq!(skew(vec![]), 0.0);
        assert_eq!(skew(vec![1.0, -5.0, 2.0, 1.5]), -6.0);
        assert!(skew(vec![0.0, 0.1, 4.0]) > 0.0);
    }

    #[test]
    fn the_sentences_nearest_to_the_question_are_held_against_it() {
        let text: String = (0..20)
            .map(|n| format!("The server has the door number {n}. "))
            .collect();
        let text = format!("{text}It does not create tables. It is blue.");
        let passage = Passage {
            id: "0".to_owned(),
            file: "a.md".to_owned(),
            title: "Server".to_owned(),
            ..passage(&text)
        };
        let sentences = sentences("Does it create any tables?", &passage);
        assert_eq!(sentences.len(), SENTENCES);
        assert_eq!(
            sentences.first().map(|first| &*first.text),
            Some("It does not create tables.")
        );
    }
}
