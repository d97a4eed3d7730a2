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

/// The share of the model's belief above which a passage counts as one that answers.
const ANSWERS: f32 = 0.5;
/// A note this sure ends the search.
const SURE: f32 = 0.9;
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

/// A passage with the model's belief that it answers the question.
struct Judged {
    passage: Passage,
    confidence: f32,
    rank: usize,
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
    let mut found = Found { question: question.to_owned(), notes: Vec::new(), nearest: Vec::new() };
    let mut read: BTreeSet<String> = BTreeSet::new();
    for round in 0..settings.rounds {
        let run = run.scope("round", round);
        if round > 0 && is_late(&run, settings).await? {
            break;
        }
        let queries = queries(&run, tools, question, round).await?;
        let mut passages = Vec::new();
        for query in &queries {
            (tools.progress)(Progress::Searching { branch: index, query: query.clone() });
            passages.push(library::search(&run, tools, input, query, settings.passages * 2).await?);
        }
        if round > 0 {
            passages.push(library::around(&run, tools, &found.nearest).await?);
        }
        let fresh = interleave(passages, &mut read, settings.passages);
        let places = fresh.iter().map(place).collect();
        (tools.progress)(Progress::Reading { branch: index, places });
        let mut judged = judge(&run, tools, question, fresh).await?;
        judged.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.rank.cmp(&b.rank)));
        let (yes, no): (Vec<_>, Vec<_>) = judged.into_iter().partition(|j| j.confidence >= ANSWERS);
        let (chosen, spare) = split_at_most(yes, settings.notes);
        found.nearest.extend(spare.into_iter().chain(no).map(|judged| judged.passage));
        found.notes.extend(take_notes(&run, tools, question, chosen).await?);
        if found.notes.iter().any(|note| note.confidence >= SURE) {
            break;
        }
    }
    found.notes = best_first(&run, tools, question, found.notes).await?;
    (tools.progress)(Progress::Noted { branch: index, notes: found.notes.len() });
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
    definition.temperature = if round > 1 { 0.7 } else { definition.temperature };
    let request = call::request(&definition, &[format!("Question: {question}")], schema);
    let answer: Queries = call::ask_json(run, "rephrase", &*tools.model, &request, question).await?;
    Ok(answer.queries)
}

/// Takes from the lists in turn what was not read yet, at most `most`.
fn interleave(lists: Vec<Vec<Passage>>, read: &mut BTreeSet<String>, most: usize) -> Vec<Passage> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut fresh = Vec::new();
    for position in 0..longest {
        for passage in lists.iter().filter_map(|list| list.get(position)) {
            // The same words in two files (HTML and PDF of one manual) are read once.
            let words: String = passage.text.split_whitespace().collect::<Vec<_>>().join(" ");
            if fresh.len() < most && read.insert(words) {
                fresh.push(passage.clone());
            }
        }
    }
    fresh
}

fn split_at_most<T>(mut items: Vec<T>, most: usize) -> (Vec<T>, Vec<T>) {
    let rest = items.split_off(items.len().min(most));
    (items, rest)
}

fn place(passage: &Passage) -> String {
    match passage.headings.last() {
        Some(heading) if *heading != passage.title => format!("{} › {heading}", passage.title),
        _ => passage.title.clone(),
    }
}

/// What the model is shown: the question first, so that all passages of a question share a prefix.
fn shown(question: &str, passage: &Passage) -> String {
    let mut path: Vec<&str> = vec![&passage.title];
    path.extend(passage.headings.iter().map(String::as_str).filter(|h| *h != passage.title));
    format!("Question: {question}\n\nPassage ({}):\n{}", path.join(" > "), passage.text)
}

/// Asks the model of each passage alone, all in one batch, whether it answers the question.
async fn judge(run: &Run, tools: &Tools, question: &str, passages: Vec<Passage>) -> Result<Vec<Judged>> {
    let definition = tools.agents.load("research/judge")?;
    let schema = json!({"type": "object", "properties": {"answered": {"enum": ["yes", "no"]}},
        "required": ["answered"], "additionalProperties": false});
    let calls = passages.into_iter().enumerate().map(|(rank, passage)| {
        let request = call::request(&definition, &[shown(question, &passage)], schema.clone());
        let run = run.scope("judge", rank);
        async move {
            let title = place(&passage);
            let response = call::ask(&run, "model", &*tools.model, &request, &title).await?;
            Ok(Judged { confidence: belief(&response), passage, rank })
        }
    });
    futures::future::try_join_all(calls).await
}

/// The probability that the model gives "yes".
fn belief(response: &Response) -> f32 {
    match response.choices.iter().find(|choice| choice.pointer == "/answered") {
        Some(choice) if choice.value == "yes" => choice.probability,
        Some(choice) => 1.0 - choice.probability,
        None => match response.json::<Value>() {
            Ok(value) if value["answered"] == "yes" => 0.9,
            _ => 0.1,
        },
    }
}

/// Quotes and answers from each of the passages, all in one batch.
async fn take_notes(run: &Run, tools: &Tools, question: &str, chosen: Vec<Judged>) -> Result<Vec<Note>> {
    let definition = tools.agents.load("research/note")?;
    let calls = chosen.into_iter().map(|judged| {
        let run = run.scope("note", judged.rank);
        let definition = &definition;
        async move { take_note(&run, tools, definition, question, judged).await }
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
    judged: Judged,
) -> Result<Option<Note>> {
    let Judged { passage, confidence, rank } = judged;
    let schema = note_schema(&passage);
    let mut conversation = vec![shown(question, &passage)];
    let title = place(&passage);
    let request = call::request(definition, &conversation, schema.clone());
    let response = call::ask(run, "model", &*tools.model, &request, &title).await?;
    let Ok(mut noted) = response.json::<Noted>() else { return Ok(None) };
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
    Ok(Some(Note { question, quote: noted.quote, answer: noted.answer, passage, confidence, rank }))
}

fn note_schema(passage: &Passage) -> Value {
    let units: Vec<String> = sentences(&passage.text)
        .into_iter()
        .filter_map(|range| passage.text.get(range))
        .map(|sentence| sentence.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    json!({
        "type": "object",
        "properties": {
            "quote": {"type": "string", "x-quote-from": [units], "x-quote-max": QUOTE_SENTENCES},
            "answer": {"type": "string", "minLength": 1, "maxLength": 400},
        },
        "required": ["quote", "answer"], "additionalProperties": false,
    })
}

/// Puts the note first that the model picks among several.
async fn best_first(run: &Run, tools: &Tools, question: &str, mut notes: Vec<Note>) -> Result<Vec<Note>> {
    notes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    if notes.len() < 2 {
        return Ok(notes);
    }
    let numbers: Vec<usize> = (1..=notes.len()).collect();
    let schema = json!({"type": "object", "properties": {"best": {"enum": numbers}},
        "required": ["best"], "additionalProperties": false});
    let listed = notes.iter().enumerate().map(|(index, note)| format!("[{}] {}", index + 1, note.quote));
    let shown = format!("Question: {question}\n\n{}", listed.collect::<Vec<_>>().join("\n"));
    let definition = tools.agents.load("research/choose")?;
    let request = call::request(&definition, &[shown], schema);
    let answer: Value = call::ask_json(run, "choose", &*tools.model, &request, "the best of the notes").await?;
    let best = answer["best"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    if best >= 1 && best <= notes.len() {
        let note = notes.remove(best - 1);
        notes.insert(0, note);
    }
    Ok(notes)
}
