//! One sub-question: search, judge the passages, take notes; rephrase and go on if nothing answers.

use std::collections::BTreeSet;

use journal::Run;
use knowledge::Passage;
use knowledge::sentences::sentences;
use model::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::note::{Note, unsupported_words};
use super::options::Settings;
use super::{Input, Progress, Tools, library};
use crate::{Definition, Result, call};

/// The belief that a quote answers, 0..1, above which it counts as a note.
const ANSWERS: f32 = 0.5;
/// A note this sure ends the search.
const SURE: f32 = 0.8;
/// The most sentences of a quote.
const QUOTE_SENTENCES: usize = 3;

/// What a branch brings home.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The sub-question.
    pub question: String,
    /// The notes, the best first.
    pub notes: Vec<Note>,
    /// Passages that were read and did not answer, the nearest first.
    pub nearest: Vec<Passage>,
}

/// Works on `question` until a note is sure, the rounds are used up, or time is.
pub(super) async fn research(
    run: Run,
    index: usize,
    tools: &Tools,
    input: &Input,
    settings: &Settings,
    question: &str,
) -> Result<Found> {
    let mut found = Found {
        question: question.to_owned(),
        notes: Vec::new(),
        nearest: Vec::new(),
    };
    let mut read: BTreeSet<String> = BTreeSet::new();
    for round in 0..settings.rounds {
        let run = run.scope("round", round);
        if round > 0 && is_late(&run, settings).await? {
            break;
        }
        let queries = queries(&run, tools, question, round).await?;
        let mut passages = Vec::new();
        for query in &queries {
            (tools.progress)(Progress::Searching {
                branch: index,
                query: query.clone(),
            });
            passages.push(library::search(&run, tools, input, query, settings.passages * 2).await?);
        }
        if round > 0 {
            passages.push(library::around(&run, tools, &found.nearest).await?);
        }
        let fresh = interleave(passages, &mut read, settings.passages);
        let places = fresh.iter().map(place).collect();
        (tools.progress)(Progress::Reading {
            branch: index,
            places,
        });
        let candidates = take_notes(&run, tools, question, fresh).await?;
        let (notes, rest) = weigh(&run, tools, question, candidates).await?;
        found.notes.extend(notes);
        found
            .nearest
            .extend(rest.into_iter().map(|note| note.passage));
        if found.notes.iter().any(|note| note.confidence >= SURE) {
            break;
        }
    }
    found
        .notes
        .sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    (tools.progress)(Progress::Noted {
        branch: index,
        notes: found.notes.len(),
    });
    Ok(found)
}

async fn is_late(run: &Run, settings: &Settings) -> Result<bool> {
    match settings.deadline_ms {
        None => Ok(false),
        Some(deadline_ms) => Ok(run.now_ms().await? >= deadline_ms),
    }
}

/// The question itself in the first round, then other words for it.
async fn queries(run: &Run, tools: &Tools, question: &str, round: usize) -> Result<Vec<String>> {
    if round == 0 {
        return Ok(vec![question.to_owned()]);
    }
    #[derive(Deserialize)]
    struct Queries {
        queries: Vec<String>,
    }
    let schema = json!({
        "type": "object",
        "properties": {"queries": {"type": "array", "minItems": 2, "maxItems": 2,
            "items": {"type": "string", "minLength": 3, "maxLength": 80}}},
        "required": ["queries"], "additionalProperties": false,
    });
    let mut definition = tools.agents.load("research/rephrase")?;
    // A later round must not repeat the words of the round before it.
    definition.temperature = if round > 1 {
        0.7
    } else {
        definition.temperature
    };
    let request = call::request(&definition, &[format!("Question: {question}")], schema);
    let answer: Queries =
        call::ask_json(run, "rephrase", &*tools.model, &request, question).await?;
    Ok(answer.queries)
}

/// Takes from the lists in turn what was not read yet, at most `most`.
fn interleave(lists: Vec<Vec<Passage>>, read: &mut BTreeSet<String>, most: usize) -> Vec<Passage> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut fresh = Vec::new();
    for position in 0..longest {
        for passage in lists.iter().filter_map(|list| list.get(position)) {
            // The same words in two files (HTML and PDF of one manual) are read once.
            let words: String = passage
                .text
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            if fresh.len() < most && read.insert(words) {
                fresh.push(passage.clone());
            }
        }
    }
    fresh
}

fn place(passage: &Passage) -> String {
    match passage.headings.last() {
        Some(heading) if *heading != passage.title => format!("{} › {heading}", passage.title),
        _ => passage.title.clone(),
    }
}

/// What the model is shown: the question first, so that all passages of a question share a prefix.
fn shown(question: &str, passage: &Passage) -> String {
    format!(
        "Question: {question}\n\nPassage ({}):\n{}",
        headings(passage),
        passage.text
    )
}

/// The title and the headings of a passage.
fn headings(passage: &Passage) -> String {
    let mut path: Vec<&str> = vec![&passage.title];
    path.extend(
        passage
            .headings
            .iter()
            .map(String::as_str)
            .filter(|h| *h != passage.title),
    );
    path.join(" > ")
}

/// Quotes and answers from each of the passages, all in one batch.
async fn take_notes(
    run: &Run,
    tools: &Tools,
    question: &str,
    passages: Vec<Passage>,
) -> Result<Vec<Note>> {
    let definition = tools.agents.load("research/note")?;
    let calls = passages.into_iter().enumerate().map(|(rank, passage)| {
        let run = run.scope("note", rank);
        let definition = &definition;
        async move { take_note(&run, tools, definition, question, passage, rank).await }
    });
    let notes = futures::future::try_join_all(calls).await?;
    Ok(notes.into_iter().flatten().collect())
}

#[derive(Deserialize)]
struct Noted {
    quote: String,
    answer: String,
}

async fn take_note(
    run: &Run,
    tools: &Tools,
    definition: &Definition,
    question: &str,
    passage: Passage,
    rank: usize,
) -> Result<Option<Note>> {
    let Some(schema) = note_schema(&passage) else {
        return Ok(None);
    };
    let mut conversation = vec![shown(question, &passage)];
    let title = place(&passage);
    let request = call::request(definition, &conversation, schema.clone());
    let response = call::ask(run, "model", &*tools.model, &request, &title).await?;
    let Ok(mut noted) = response.json::<Noted>() else {
        return Ok(None);
    };
    let strange = unsupported_words(&noted.answer, &noted.quote, question, &passage);
    if !strange.is_empty() {
        conversation.push(response.text.clone());
        conversation.push(format!(
            "Your quote does not say: {}. Quote the sentences that do, or answer with the words of your quote alone.",
            strange.join(", ")
        ));
        let request = call::request(definition, &conversation, schema);
        let again = call::ask(run, "model", &*tools.model, &request, &title).await?;
        noted = again.json::<Noted>().unwrap_or(noted);
        if !unsupported_words(&noted.answer, &noted.quote, question, &passage).is_empty() {
            // The quote itself is always supported.
            noted.answer = noted.quote.clone();
        }
    }
    let question = question.to_owned();
    Ok(Some(Note {
        question,
        quote: noted.quote,
        answer: noted.answer,
        passage,
        confidence: 0.0,
        rank,
    }))
}

/// The schema of a note on `passage`; `None` when nothing in it can be quoted.
fn note_schema(passage: &Passage) -> Option<Value> {
    let folded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let units: Vec<String> = sentences(&passage.text)
        .into_iter()
        .filter_map(|range| passage.text.get(range))
        .map(folded)
        // A heading names what is said and says nothing itself.
        .filter(|unit| {
            !passage
                .headings
                .iter()
                .any(|heading| unit.trim_start_matches(['#', ' ']) == heading)
        })
        .collect();
    if units.is_empty() {
        return None;
    }
    Some(json!({
        "type": "object",
        "properties": {
            "quote": {"type": "string", "x-quote-from": [units], "x-quote-max": QUOTE_SENTENCES},
            "answer": {"type": "string", "minLength": 1, "maxLength": 400},
        },
        "required": ["quote", "answer"], "additionalProperties": false,
    }))
}

/// Splits candidates into notes that answer the question, each with how sure that is, and the rest.
///
/// The model first picks among all quotes, because it compares better than it judges; then what it
/// picked, and the candidate of the best-ranked passage, are verified alone.
async fn weigh(
    run: &Run,
    tools: &Tools,
    question: &str,
    candidates: Vec<Note>,
) -> Result<(Vec<Note>, Vec<Note>)> {
    if candidates.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let picked = choose(run, tools, question, &candidates).await?;
    let beliefs = verify(run, tools, question, &candidates).await?;
    let (mut notes, mut rest) = (Vec::new(), Vec::new());
    for ((mut note, picked), belief) in candidates.into_iter().zip(picked).zip(beliefs) {
        // The geometric mean: a note must be credible alone and beside the others.
        note.confidence = (picked * belief).sqrt();
        if note.confidence >= ANSWERS {
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
