//! Questions that ask for an explanation: how something works or is done, and why.
//!
//! No few words of a passage answer them: asked for such, a small model finds that none do, and of several passages side
//! by side it quotes the one that it read last. What it does well is to pick the sentences of one passage. So the
//! passages are put in order by how likely the model finds the question after each, of each of the best it is asked by
//! itself whether it explains and with which sentences, and these sentences are the answer.

use std::ops::Range;

use futures::future::try_join_all;
use journal::Run;
use knowledge::Passage;
use serde::Deserialize;
use serde_json::json;

use super::Tools;
use super::asking::{Asking, Said};
use super::belief::{belief, log_odds, probability};
use super::note::Note;
use super::plausibility::{asked, tokens};
use super::quoting::Source;
use super::reading::{agree, place, shown, without_bullet};
use crate::{Result, call};

/// Passages that are asked for sentences.
pub(super) const ASKED: usize = 5;
/// Passages whose sentences are the explanation, at most.
const EXPLAINING: usize = 3;
/// Quotes of a passage, at most.
const QUOTES: usize = 2;
/// Sentences of a quote, at most.
const SENTENCES: usize = 3;
/// The belief from which on a passage explains: another one stands beside the best only with it, and no other search
/// follows.
pub(super) const EXPLAINS: f32 = 0.4;
/// By how much less the logarithm of its odds a passage is left out beside the best one.
const APART: f32 = 1.0;

// The odds of an explanation are set by hand from thirteen questions, five of which the documents do not answer. Of
// these five one is believed with them, and the others are not, where the names of a question count, too.

/// The logarithm of the odds of an explanation that the rest says nothing about.
const BASE: f32 = -2.2;
/// What counts each unit by which the question is likelier after the passage and after its quotes, on average.
const GAIN: f32 = 2.0;
/// What counts the logarithm of the odds that the passage states it.
const STATED: f32 = 1.0;
/// How much likelier the question usually is, for models that do not tell.
const USUAL_GAIN: f32 = 1.1;

/// Whether an English question asks how something works or is done, or why; "how many" and the like ask for a fact.
pub(super) fn asks_for_explanation(question: &str) -> bool {
    const AFTER_HOW: &[&str] = &[
        "do", "does", "did", "can", "could", "should", "would", "must", "may", "will", "is", "are",
        "was", "were", "to", "come",
    ];
    const BEGINNINGS: &[&str] = &["explain", "describe"];
    let asked = asked(question);
    // What is said before it ("I run the server, how can I ...?") does not matter.
    let mut parts = asked.split([',', ';', ':', '.', '?']).map(tokens);
    parts.any(|mut words| {
        let (first, second) = (words.next(), words.next());
        let (first, second) = (first.as_deref(), second.as_deref());
        match first {
            Some("how") => second.is_some_and(|word| AFTER_HOW.contains(&word)),
            Some("why") => true,
            Some("what") => match second {
                Some("happens" | "becomes") => true,
                Some("does" | "do") => words.last().as_deref() == Some("do"),
                _ => false,
            },
            Some(first) => BEGINNINGS.contains(&first),
            None => false,
        }
    })
}

/// What the model picks from a passage.
#[derive(Deserialize)]
struct Picked {
    quotes: Vec<String>,
}

/// A passage and how much likelier the model finds the question after it, where it tells.
pub(super) type Ranked = (Passage, Option<f32>);

/// What a passage says that explains.
struct Explaining<'a> {
    source: Source<'a>,
    /// The units of the quotes.
    quotes: Vec<Range<usize>>,
    /// How much likelier the model finds the question after the passage, where it tells.
    gain: Option<f32>,
    /// The logarithm of the odds that it explains what is asked for: first what the model says, then with how much
    /// likelier the question is.
    odds: f32,
}

impl Explaining<'_> {
    /// The quotes on one line.
    fn text(&self) -> String {
        let quotes = self.quotes.iter().map(|quote| self.source.text(quote));
        quotes.collect::<Vec<_>>().join(" ")
    }
}

/// The sentences that explain what is asked for, of the best of the `ranked` passages; each with how sure it is that
/// its passage explains.
pub(super) async fn explain(
    run: &Run,
    tools: &Tools,
    question: &str,
    asking: &Asking<'_>,
    ranked: &[Ranked],
) -> Result<Vec<Note>> {
    let calls = ranked.iter().enumerate().map(|(index, ranked)| {
        let run = run.scope("explain", index);
        async move { pick(&run, tools, question, ranked).await }
    });
    let picked: Vec<Option<Explaining<'_>>> = try_join_all(calls).await?;
    let mut picked: Vec<Explaining<'_>> = picked.into_iter().flatten().collect();
    let numbered = picked.iter().enumerate();
    let said: Vec<Said<'_>> = numbered
        .map(|(index, picked)| Said {
            index,
            passage: picked.source.passage,
            text: picked.text(),
        })
        .collect();
    let gains = asking.gains(run, "quotes", &said).await?;
    for (picked, quoted) in picked.iter_mut().zip(gains) {
        let gains = picked.gain.zip(quoted);
        let gain = gains.map_or(USUAL_GAIN, |(passage, quoted)| (passage + quoted) / 2.0);
        picked.odds = BASE + GAIN * gain + STATED * picked.odds;
    }
    Ok(notes(question, picked))
}

/// Asks whether a passage explains, and with which sentences; `None` where it has none.
async fn pick<'a>(
    run: &Run,
    tools: &Tools,
    question: &str,
    (passage, gain): &'a Ranked,
) -> Result<Option<Explaining<'a>>> {
    let source = Source::of(passage);
    if source.units.is_empty() {
        return Ok(None);
    }
    let quote = json!({"type": "string", "x-quote-from": source.runs(), "x-quote-max": SENTENCES});
    let schema = json!({
        "type": "object",
        "properties": {
            "stated": {"enum": ["yes", "no"]},
            "quotes": {"type": "array", "minItems": 1, "maxItems": QUOTES, "items": quote},
        },
        "required": ["stated", "quotes"], "additionalProperties": false,
    });
    let asked = format!("Passage {}\n\nQuestion: {question}", shown(passage));
    let definition = tools.agents.load("research/explain")?;
    let request = call::request(&definition, &[asked], schema);
    let response = call::ask(run, "model", &*tools.model, &request, &place(passage)).await?;
    // One that was cut off at its length limit is no JSON.
    let Ok(Picked { quotes }) = response.json() else {
        return Ok(None);
    };
    let quotes = quotes.iter().filter_map(|quote| source.understood(quote));
    let quotes: Vec<Range<usize>> = quotes.collect();
    Ok((!quotes.is_empty()).then_some(Explaining {
        source,
        quotes,
        gain: *gain,
        odds: log_odds(belief(&response)),
    }))
}

/// The sentences of the passages that explain best: those of one file together and in its order, the file of the best
/// one first.
fn notes(question: &str, mut explaining: Vec<Explaining<'_>>) -> Vec<Note> {
    explaining.sort_by(|one, other| other.odds.total_cmp(&one.odds));
    let best = explaining.first().map_or(0.0, |best| best.odds);
    explaining.retain(|one| one.odds > log_odds(EXPLAINS).max(best - APART) || one.odds >= best);
    explaining.truncate(EXPLAINING);
    let files: Vec<&str> = explaining
        .iter()
        .map(|one| &*one.source.passage.file)
        .collect();
    let nth = |one: &Explaining<'_>| {
        files
            .iter()
            .position(|file| *file == one.source.passage.file)
    };
    let mut explaining: Vec<(Option<usize>, Explaining<'_>)> =
        explaining.into_iter().map(|one| (nth(&one), one)).collect();
    explaining.sort_by_key(|(file, one)| (*file, one.source.passage.range.start));
    let mut notes: Vec<Note> = Vec::new();
    for (_, one) in explaining {
        for span in one.source.widened(&one.quotes) {
            let note = Note {
                question: question.to_owned(),
                answer: without_bullet(&one.source.laid_out(&span)).to_owned(),
                quote: one.source.text(&span),
                passage: one.source.passage.clone(),
                grounded: true,
                readings: 1,
                borne_out: false,
                confidence: probability(one.odds),
            };
            if notes.iter().all(|other| !agree(other, &note)) {
                notes.push(note);
            }
        }
    }
    notes
}

/// Keeps those notes that are as sure as the best one, or nearly.
pub(super) fn keep_best(notes: &mut Vec<Note>) {
    let odds = notes.iter().map(|note| log_odds(note.confidence));
    let best = odds.fold(f32::MIN, f32::max);
    notes.retain(|note| best - log_odds(note.confidence) < APART);
}

#[cfg(test)]
mod tests {
    use super::super::testing::passage;
    use super::*;

    #[test]
    fn how_and_why_ask_for_an_explanation() {
        for question in [
            "How do I keep sessions?",
            "how does the server choose a plugin?",
            "Why is a session lost?",
            "What happens to sessions when the server stops?",
            "I run two servers, how can I keep sessions the same?",
            "What does the janitor do?",
            "Explain the log format.",
        ] {
            assert!(asks_for_explanation(question), "{question}");
        }
        for question in [
            "How many sessions can a user have?",
            "How long is a session kept?",
            "Which setting says how to keep sessions?",
            "What do I call a session?",
            "Is it known why sessions are lost?",
        ] {
            assert!(!asks_for_explanation(question), "{question}");
        }
    }

    #[test]
    fn the_passages_that_explain_best_are_quoted_file_by_file() {
        let in_file = |text: &str, file: &str, start: usize| Passage {
            file: file.to_owned(),
            range: start..start + 1,
            ..passage(text)
        };
        let passages = [
            (in_file("Last.", "a", 9), 2.0),
            (in_file("Aside.", "b", 1), 1.6),
            (in_file("First.", "a", 2), 1.4),
            (in_file("Too much.", "c", 1), 1.2),
            (in_file("Unlikely.", "a", 1), -1.0),
        ];
        let explaining = passages.iter().map(|(passage, odds)| Explaining {
            source: Source::of(passage),
            quotes: vec![0..1, 0..1],
            gain: None,
            odds: *odds,
        });
        let notes = notes("How is it done?", explaining.collect());
        let said: Vec<&str> = notes.iter().map(|note| &*note.answer).collect();
        assert_eq!(said, ["First.", "Last.", "Aside."]);
        assert!(notes.iter().all(|note| note.confidence > 0.75));
    }
}
