//! One sub-question: search, read, take notes and weigh them; rephrase and go on if nothing answers.

use std::collections::{BTreeMap, BTreeSet};

use journal::Run;
use knowledge::{Candidate, Passage};
use serde::Deserialize;
use serde_json::json;

use super::affirming::{affirm, look};
use super::asking::Asking;
use super::explaining::{ASKED, EXPLAINS, Ranked, explain, keep_best};
use super::judging::{Judged, can_answer, judge};
use super::note::Note;
use super::options::Settings;
use super::ranking::rank;
use super::reading::{LIKELY, place, take_notes};
use super::repeats::without_repeats;
use super::weighing::weigh;
use super::{Input, Progress, Tools, library};
use crate::{Result, call};

/// A note this sure ends the search.
const SURE: f32 = 0.5;
/// A note from the first few passages that is this sure ends the search before others are looked at. Of 24 recorded
/// searches that a note from those ended, 17 of the 19 with one this sure were right, and 1 of the others.
const SURE_OF_FEW: f32 = 0.7;

/// Whether one of `notes` is so sure.
fn are_sure(notes: &[Note], least: f32) -> bool {
    notes.iter().any(|note| note.confidence >= least)
}

/// What a branch brings home.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The sub-question.
    pub question: String,
    /// The notes, the best first; those of an explanation in their order.
    pub notes: Vec<Note>,
    /// Whether they are an explanation.
    pub explains: bool,
    /// Passages that were read and did not answer, the nearest first.
    pub nearest: Vec<Passage>,
}

impl Found {
    /// Puts the best notes first, and leaves out of the nearest passages those that are cited.
    fn put_in_order(&mut self) {
        if self.explains {
            // A second search may bring what explains much better.
            keep_best(&mut self.notes);
        } else {
            let notes = &mut self.notes;
            notes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        }
        let cited = self.notes.iter().map(|note| note.passage.id.clone());
        let mut seen: BTreeSet<String> = cited.collect();
        self.nearest
            .retain(|passage| seen.insert(passage.id.clone()));
    }
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
        explains: false,
        nearest: Vec::new(),
    };
    let mut read: BTreeSet<String> = BTreeSet::new();
    let mut gains: BTreeMap<String, f32> = BTreeMap::new();
    let asking = Asking::begin(&run, tools, question).await?;
    found.explains = asking.for_explanation();
    for round in 0..settings.rounds {
        let run = run.scope("round", round);
        if round > 0 && is_late(&run, settings).await? {
            break;
        }
        let searching = Searching {
            index,
            tools,
            input,
            question,
            round,
        };
        let mut fresh = searching.search(&run, &found.nearest).await?;
        fresh.retain(|candidate| !read.contains(&candidate.passage.id));
        fresh = without_repeats(question, fresh);
        // What cannot answer takes no place from what can.
        fresh.sort_by_cached_key(|candidate| !can_answer(question, &candidate.passage));
        let gains = &mut gains;
        let taken = match found.explains {
            true => {
                searching
                    .explain(&run, &asking, settings, fresh, gains)
                    .await?
            }
            false => {
                searching
                    .read(&run, &asking, settings, fresh, gains)
                    .await?
            }
        };
        read.extend(taken.read.iter().map(|passage| passage.id.clone()));
        found.notes.extend(taken.notes);
        let doubtful = taken.rest.into_iter().map(|note| note.passage);
        found.nearest.extend(doubtful.chain(taken.read));
        let sure = if found.explains { EXPLAINS } else { SURE };
        if are_sure(&found.notes, sure) {
            break;
        }
    }
    found.put_in_order();
    (tools.progress)(Progress::Noted {
        branch: index,
        notes: found.notes.len(),
    });
    Ok(found)
}

/// What was taken from the passages of a round.
struct Taken {
    /// What answers, the best first.
    notes: Vec<Note>,
    /// What does not, or is not believed.
    rest: Vec<Note>,
    /// The passages that were judged, the most promising first.
    read: Vec<Passage>,
}

/// A round's search.
struct Searching<'a> {
    index: usize,
    tools: &'a Tools,
    input: &'a Input,
    question: &'a str,
    round: usize,
}

impl Searching<'_> {
    /// What the searches of the round bring, in one order, best first; after the first round also what
    /// stands around the passages that came `nearest` so far.
    async fn search(&self, run: &Run, nearest: &[Passage]) -> Result<Vec<Candidate>> {
        // What is found is always held against the question itself.
        let mut queries = vec![self.question.to_owned()];
        queries.extend(other_words(run, self.tools, self.question, self.round).await?);
        for query in &queries {
            (self.tools.progress)(Progress::Searching {
                branch: self.index,
                query: query.clone(),
            });
        }
        let mut around = Vec::new();
        if self.round > 0 {
            around = library::around(run, self.tools, nearest).await?;
        }
        let (tools, input) = (self.tools, self.input);
        library::search(run, tools, input, self.question, queries, &around).await
    }

    /// Takes notes from the first passages that the search found; unless one of them is sure, ranks the others,
    /// judges the best, and takes notes from the best of all.
    async fn read(
        &self,
        run: &Run,
        asking: &Asking<'_>,
        settings: &Settings,
        mut found: Vec<Candidate>,
        gains: &mut BTreeMap<String, f32>,
    ) -> Result<Taken> {
        let most = match asking.tells() {
            true => settings.passages,
            false => settings.unranked,
        };
        // What is not asked back is hardly ever sure; and what a second search brings first was not good enough
        // for the first one.
        let first = match self.round > 0 || !asking.tells() {
            true => 0,
            false => settings.first,
        };
        let others = found.split_off(found.len().min(first));
        let mut judged = self.judge(run, asking, passages(found), 0).await?;
        if judged.iter().any(|judged| judged.belief >= LIKELY) {
            let unread = others.iter().map(|candidate| candidate.passage.clone());
            let taken = self
                .note(run, asking, &mut judged, unread.collect())
                .await?;
            if others.is_empty() || are_sure(&taken.notes, SURE_OF_FEW) {
                return Ok(taken);
            }
        }
        let first = judged.len();
        // Where all are judged, their order does not matter.
        let mut others = if others.len() > most - first {
            let places = first..settings.ranked;
            (self.tools.progress)(Progress::Ranking {
                branch: self.index,
                passages: others.len().min(places.len()),
            });
            rank(run, asking, others, places, gains).await?
        } else {
            passages(others)
        };
        let unread = others.split_off(others.len().min(most - first));
        judged.extend(self.judge(run, asking, others, first).await?);
        self.note(run, asking, &mut judged, unread).await
    }

    /// Explains from the passages after which the model would ask the question.
    async fn explain(
        &self,
        run: &Run,
        asking: &Asking<'_>,
        settings: &Settings,
        found: Vec<Candidate>,
        gains: &mut BTreeMap<String, f32>,
    ) -> Result<Taken> {
        let (tools, question) = (self.tools, self.question);
        let places = 0..settings.explained;
        if asking.tells() {
            (tools.progress)(Progress::Ranking {
                branch: self.index,
                passages: found.len().min(places.len()),
            });
        }
        let found = rank(run, asking, found, places, gains).await?;
        let ranked: Vec<Ranked> = found
            .iter()
            .take(ASKED)
            .map(|passage| (passage.clone(), gains.get(&passage.id).copied()))
            .collect();
        (tools.progress)(Progress::Reading {
            branch: self.index,
            places: found.iter().take(ASKED).map(place).collect(),
        });
        let quoted = explain(run, tools, question, asking, &ranked).await?;
        let shown = (found.as_slice(), settings.explained.min(found.len()));
        let (notes, rest) = weigh(run, tools, question, asking, quoted, shown).await?;
        Ok(Taken {
            notes,
            rest,
            read: found.into_iter().take(settings.explained).collect(),
        })
    }

    /// Takes notes from the best of `judged`, which are put in order, and weighs them.
    async fn note(
        &self,
        run: &Run,
        asking: &Asking<'_>,
        judged: &mut [Judged],
        unread: Vec<Passage>,
    ) -> Result<Taken> {
        // Of equals the one that was judged first stays first.
        judged.sort_by(|a, b| b.promise().total_cmp(&a.promise()));
        let (tools, question) = (self.tools, self.question);
        let candidates = match asking.for_yes_or_no() {
            true => affirm(run, tools, question, judged).await?,
            false => take_notes(run, tools, question, judged).await?,
        };
        let mut found: Vec<Passage> = judged.iter().map(|one| one.passage.clone()).collect();
        found.extend(unread);
        let shown = (found.as_slice(), judged.len());
        let (notes, rest) = weigh(run, tools, question, asking, candidates, shown).await?;
        found.truncate(judged.len());
        Ok(Taken {
            notes,
            rest,
            read: found,
        })
    }

    /// Judges `passages`; `before` were judged before them.
    async fn judge(
        &self,
        run: &Run,
        asking: &Asking<'_>,
        passages: Vec<Passage>,
        before: usize,
    ) -> Result<Vec<Judged>> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        (self.tools.progress)(Progress::Reading {
            branch: self.index,
            places: passages.iter().map(place).collect(),
        });
        let (tools, question) = (self.tools, self.question);
        match asking.for_yes_or_no() {
            true => look(run, question, asking, passages, before).await,
            false => judge(run, tools, question, asking, passages, before).await,
        }
    }
}

fn passages(found: Vec<Candidate>) -> Vec<Passage> {
    let passages = found.into_iter().map(|candidate| candidate.passage);
    passages.collect()
}

async fn is_late(run: &Run, settings: &Settings) -> Result<bool> {
    match settings.deadline_ms {
        None => Ok(false),
        Some(deadline_ms) => Ok(run.now_ms().await? >= deadline_ms),
    }
}

/// What to search for beside the question: in the first round the question with a guess at the answer or what
/// a manual may call things, and these alone; then other words for the question.
async fn other_words(
    run: &Run,
    tools: &Tools,
    question: &str,
    round: usize,
) -> Result<Vec<String>> {
    if round == 0 {
        let guessing = guess(run, tools, question);
        let (guess, terms) = futures::future::join(guessing, terms(run, tools, question)).await;
        // Where both fail it is always the same one that is told.
        let (guess, terms) = (guess?, terms?);
        return Ok(vec![
            format!("{question} {guess}"),
            format!("{question} {terms}"),
            guess,
            terms,
        ]);
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

/// What a manual might say, to search with: it is near to the answer in words even where it is wrong in
/// fact (Gao et al. 2022, "Precise zero-shot dense retrieval without relevance labels"). It is never
/// shown to anyone, nor to the model.
async fn guess(run: &Run, tools: &Tools, question: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Guess {
        text: String,
    }
    let schema = json!({"type": "object", "properties":
        {"text": {"type": "string", "minLength": 10, "maxLength": 360}},
        "required": ["text"], "additionalProperties": false});
    let definition = tools.agents.load("research/guess")?;
    let request = call::request(&definition, &[format!("Question: {question}")], schema);
    let response = call::ask(run, "guess", &*tools.model, &request, question).await?;
    // One that was cut off at its length limit is no JSON, but its words are good to search with.
    let guess = response.json::<Guess>().map(|guess| guess.text);
    Ok(guess.unwrap_or(response.text))
}

/// What a manual may call the things in the question: a question in everyday words ("machines", "a blank")
/// shares too few with the page that answers it ("servers", "a space", `ignorespace`).
async fn terms(run: &Run, tools: &Tools, question: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Terms {
        terms: Vec<String>,
    }
    let schema = json!({"type": "object", "properties":
        {"terms": {"type": "array", "minItems": 4, "maxItems": 8,
            "items": {"type": "string", "minLength": 2, "maxLength": 40}}},
        "required": ["terms"], "additionalProperties": false});
    let definition = tools.agents.load("research/terms")?;
    let request = call::request(&definition, &[format!("Question: {question}")], schema);
    let response = call::ask(run, "terms", &*tools.model, &request, question).await?;
    let Ok(Terms { terms }) = response.json::<Terms>() else {
        return Ok(response.text);
    };
    // A small model repeats itself when it runs out of them.
    let mut seen = BTreeSet::new();
    let new = |term: &String| seen.insert(term.to_lowercase());
    Ok(terms.into_iter().filter(new).collect::<Vec<_>>().join(" "))
}
