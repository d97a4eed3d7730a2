//! One search in several wordings: what each finds, ranked together by words, by meaning, and by the sentence of a
//! passage that comes nearest.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::searching::{DEPTH, SearchOptions, rank};
use super::{Library, number};
use crate::document::Passage;
use crate::embed::Embeddings;
use crate::embed::quantised::product;
use crate::error::Result;
use crate::marks;
use crate::sentences::sentences;

/// The constant of the fusion: more even than within one search, because the rankings are many.
const K: f32 = 20.0;
/// Passages whose sentences are compared, the best first.
const COMPARED: usize = 40;
/// A shorter sentence is taken together with the next one.
const SHORT: usize = 60;
/// Pieces of a passage that are compared; a passage has a handful.
const MOST_PIECES: usize = 16;

/// A passage that a search in several wordings found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// It.
    pub passage: Passage,
    /// Where in its text, in bytes, the sentence stands that comes nearest to the first of the wordings; empty
    /// where the sentences were not compared.
    pub nearest: Range<usize>,
}

impl Library {
    /// The passages that several wordings of one question find together, each once, best first.
    ///
    /// What any wording finds by its words is ranked by its words and its meaning for each of them; then the best
    /// also by the sentence that comes nearest, because the vector of a whole passage says what it is about,
    /// and the answer to a question is often one sentence of it that is about something else. The rankings
    /// are fused. `also` names passages that are ranked beside those, the most promising first.
    /// `docs/concepts/research.md` says what that brought.
    ///
    /// Passages that have no vector yet are embedded, as in [`Library::search`].
    ///
    /// # Errors
    /// As for [`Library::search`].
    pub fn search_together(
        &self,
        queries: &[String],
        also: &[String],
        options: &SearchOptions,
    ) -> Result<Vec<Candidate>> {
        self.refresh()?;
        let scope = self.scope(&options.under)?;
        let mut lists = Vec::with_capacity(queries.len() + 1);
        for query in queries {
            lists.push(self.by_keywords(query, options.limit.max(DEPTH), &scope)?);
        }
        lists.push(also.iter().filter_map(|id| number(id)).collect());
        let mut sentences = HashMap::new();
        if let Some(embeddings) = self.embeddings()? {
            let vectors: Vec<Vec<f32>> = (queries.iter())
                .map(|query| embeddings.embed_query(query))
                .collect::<Result<_>>()?;
            let nearest = self.by_vectors(&vectors, &lists, embeddings, &scope, options)?;
            lists.extend(nearest);
            let best = self.passages_of(&fused(&lists), COMPARED)?;
            let compared = by_sentences(embeddings, &vectors, &best)?;
            lists.extend(compared.iter().map(|ranking| in_order(ranking, &best)));
            if let Some(first) = compared.into_iter().next() {
                let ids = best.into_iter().map(|passage| passage.id);
                sentences = ids.zip(first.into_iter().map(|near| near.at)).collect();
            }
        }
        let mut passages = self.passages_of(&fused(&lists), options.limit.saturating_mul(2))?;
        // The same words in two files (HTML and PDF of one manual) count once.
        let mut seen = HashSet::new();
        passages.retain(|passage| seen.insert(marks::without(&passage.text)));
        passages.truncate(options.limit);
        let candidates = passages.into_iter().map(|passage| Candidate {
            nearest: sentences.remove(&passage.id).unwrap_or_default(),
            passage,
        });
        Ok(candidates.collect())
    }

    /// The first so many of these passages.
    fn passages_of(&self, ids: &[u64], limit: usize) -> Result<Vec<Passage>> {
        self.0.store.passages(ids.get(..limit).unwrap_or(ids))
    }
}

fn fused(lists: &[Vec<u64>]) -> Vec<u64> {
    let weighted: Vec<(&[u64], f32)> = lists.iter().map(|one| (one.as_slice(), 1.0)).collect();
    let order = rank(&weighted, K);
    order.into_iter().map(|(id, _)| id).collect()
}

/// The sentence of a passage that comes nearest to a query.
#[derive(Clone, Debug)]
struct Nearest {
    similarity: f32,
    /// Where it stands in the passage's text, in bytes.
    at: Range<usize>,
}

/// For each query, the nearest sentence of each passage of `pool`.
fn by_sentences(
    embeddings: &Embeddings,
    queries: &[Vec<f32>],
    pool: &[Passage],
) -> Result<Vec<Vec<Nearest>>> {
    let mut texts: Vec<String> = Vec::new();
    let mut owners: Vec<(usize, Range<usize>)> = Vec::new();
    for (owner, passage) in pool.iter().enumerate() {
        for (at, piece) in pieces(passage) {
            texts.push(piece);
            owners.push((owner, at));
        }
    }
    let (vectors, _) = embeddings.vectors(&texts)?;
    let nearest = |query: &Vec<f32>| {
        let nothing = Nearest {
            similarity: f32::NEG_INFINITY,
            at: 0..0,
        };
        let mut nearest = vec![nothing; pool.len()];
        for ((owner, at), vector) in owners.iter().zip(&vectors) {
            let similarity = product(query, vector);
            if let Some(best) = nearest.get_mut(*owner)
                && similarity > best.similarity
            {
                let at = at.clone();
                *best = Nearest { similarity, at };
            }
        }
        nearest
    };
    Ok(queries.iter().map(nearest).collect())
}

/// The passages of `pool` ordered by their nearest sentences.
fn in_order(nearest: &[Nearest], pool: &[Passage]) -> Vec<u64> {
    let mut order: Vec<(&Nearest, &Passage)> = nearest.iter().zip(pool).collect();
    order.sort_by(|(a, _), (b, _)| b.similarity.total_cmp(&a.similarity));
    let ids = order.into_iter();
    ids.filter_map(|(_, passage)| number(&passage.id)).collect()
}

/// The sentences of a passage, short ones together with the next, each below the heading; with where they stand
/// in its text.
fn pieces(passage: &Passage) -> Vec<(Range<usize>, String)> {
    let heading = passage.headings.last().unwrap_or(&passage.title);
    let mut pieces: Vec<(Range<usize>, String)> = Vec::new();
    let mut is_short = false;
    for range in sentences(&passage.text) {
        let text = marks::plain(passage.text.get(range.clone()).unwrap_or_default());
        match pieces.last_mut() {
            Some((whole, _)) if is_short => whole.end = range.end,
            _ => pieces.push((range, format!("{heading}:"))),
        }
        if let Some((_, piece)) = pieces.last_mut() {
            for word in text.split_whitespace() {
                piece.push(' ');
                piece.push_str(word);
            }
            is_short = piece.len() <= heading.len() + 1 + SHORT;
        }
    }
    pieces.truncate(MOST_PIECES);
    pieces
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]
mod tests {
    use super::*;
    use crate::embed::tests::model_files;

    fn passage(number: u64, text: &str) -> Passage {
        Passage {
            id: format!("{number:016x}"),
            file: "a.md".to_owned(),
            title: "Manual".to_owned(),
            headings: vec!["Manual".to_owned(), "Limits".to_owned()],
            text: text.to_owned(),
            range: 0..text.len(),
            places: Vec::new(),
            ordinal: 0,
        }
    }

    #[test]
    fn a_passage_is_as_near_as_its_nearest_sentence() {
        let Some(files) = model_files() else { return };
        let embeddings = Embeddings::load(&files, 1).unwrap();
        let query = embeddings
            .embed_query("Whom do I ask for a new password?")
            .unwrap();
        let about_keys = passage(
            1,
            "Keys are kept in a box at the gate. Each key has a number, and one that is lost is paid for by \
             whoever has lost it.",
        );
        let about_the_office = passage(
            2,
            "The office opens at nine in the morning, and letters are sorted by hand. Whoever has forgotten the password asks the \
             janitor for a new one. Lunch is served at noon in the hall upstairs.",
        );
        let pool = [about_keys, about_the_office];
        let nearest = by_sentences(&embeddings, &[query], &pool).unwrap();
        assert_eq!(in_order(&nearest[0], &pool), [2, 1]);
        let sentence = &pool[1].text[nearest[0][1].at.clone()];
        assert_eq!(
            sentence,
            "Whoever has forgotten the password asks the janitor for a new one."
        );
    }

    #[test]
    fn short_sentences_stay_together_below_their_heading() {
        let text = "Short. Also short.\n\nThis sentence is so long that it stands for itself in the comparison. Last.";
        let passage = passage(0, text);
        let pieces = pieces(&passage);
        let (at, texts): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        assert_eq!(at, [0..89, 90..95]);
        assert_eq!(
            texts,
            [
                "Limits: Short. Also short. This sentence is so long that it stands for itself in the comparison.",
                "Limits: Last."
            ]
        );
    }
}
