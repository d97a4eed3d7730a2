//! One order out of several searches: what was found, ranked again by its nearest sentence.

use std::collections::{HashMap, HashSet};

use super::Library;
use super::searching::rank;
use crate::document::Passage;
use crate::embed::Embeddings;
use crate::embed::quantised::product;
use crate::error::Result;
use crate::sentences::sentences;

/// The constant of the fusion: more even than within one search, because the rankings are many.
const K: f32 = 20.0;
/// A shorter sentence is taken together with the next one.
const SHORT: usize = 60;
/// Pieces of a passage that are compared; a passage has a handful.
const MOST_PIECES: usize = 16;

impl Library {
    /// The passages of all `lists`, each once, best first: the lists, which are best first themselves, are
    /// fused with a ranking for each of `queries` by the sentence of a passage that comes nearest to it.
    ///
    /// The vector of a whole passage says what it is about; the answer to a question is often one sentence
    /// of it that is about something else. `docs/concepts/research.md` says what that brought.
    ///
    /// # Errors
    /// When the embedding model fails; without one the lists alone are fused.
    pub fn rerank(&self, queries: &[String], lists: &[Vec<Passage>]) -> Result<Vec<Passage>> {
        let mut pool: Vec<&Passage> = Vec::new();
        let mut place: HashMap<&str, u64> = HashMap::new();
        let mut rankings: Vec<Vec<u64>> = Vec::new();
        for list in lists {
            let mut ranking = Vec::with_capacity(list.len());
            for passage in list {
                let number = *place.entry(&passage.id).or_insert_with(|| {
                    pool.push(passage);
                    pool.len() as u64 - 1
                });
                ranking.push(number);
            }
            rankings.push(ranking);
        }
        if let Some(embeddings) = self.embeddings()? {
            rankings.extend(by_sentences(embeddings, queries, &pool)?);
        }
        let weighted: Vec<(&[u64], f32)> =
            rankings.iter().map(|one| (one.as_slice(), 1.0)).collect();
        let order = rank(&weighted, K);
        let places = order.iter().filter_map(|(at, _)| usize::try_from(*at).ok());
        let passages = places.filter_map(|at| pool.get(at).copied());
        // The same words in two files (HTML and PDF of one manual) count once.
        let mut seen = HashSet::new();
        let fresh = passages.filter(|passage| {
            let words: Vec<&str> = passage.text.split_whitespace().collect();
            seen.insert(words.join(" "))
        });
        Ok(fresh.cloned().collect())
    }
}

/// For each query, the positions of `pool` ordered by their nearest sentence.
fn by_sentences(
    embeddings: &Embeddings,
    queries: &[String],
    pool: &[&Passage],
) -> Result<Vec<Vec<u64>>> {
    let mut texts: Vec<String> = Vec::new();
    let mut owners: Vec<usize> = Vec::new();
    for (owner, passage) in pool.iter().enumerate() {
        for piece in pieces(passage) {
            texts.push(piece);
            owners.push(owner);
        }
    }
    let (vectors, _) = embeddings.vectors(&texts)?;
    let mut rankings = Vec::with_capacity(queries.len());
    for query in queries {
        let query = embeddings.embed_query(query)?;
        let mut nearest = vec![f32::NEG_INFINITY; pool.len()];
        for (owner, vector) in owners.iter().zip(&vectors) {
            if let Some(best) = nearest.get_mut(*owner) {
                *best = best.max(product(&query, vector));
            }
        }
        let mut order: Vec<usize> = (0..pool.len()).collect();
        let near = |at: &usize| nearest.get(*at).copied().unwrap_or(f32::NEG_INFINITY);
        order.sort_by(|a, b| near(b).total_cmp(&near(a)));
        rankings.push(order.into_iter().map(|at| at as u64).collect());
    }
    Ok(rankings)
}

/// The sentences of a passage below its heading, short ones together with the next.
fn pieces(passage: &Passage) -> Vec<String> {
    let heading = passage.headings.last().unwrap_or(&passage.title);
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for range in sentences(&passage.text) {
        let text = passage.text.get(range).unwrap_or_default();
        for word in text.split_whitespace() {
            piece.push(' ');
            piece.push_str(word);
        }
        if piece.len() > SHORT {
            pieces.push(format!("{heading}:{}", std::mem::take(&mut piece)));
        }
    }
    if !piece.is_empty() {
        pieces.push(format!("{heading}:{piece}"));
    }
    pieces.truncate(MOST_PIECES);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sentences_stay_together_below_their_heading() {
        let text = "Short. Also short.\n\nThis sentence is so long that it stands for itself in the comparison. Last.";
        let passage = Passage {
            id: "0".to_owned(),
            file: "a.md".to_owned(),
            title: "Manual".to_owned(),
            headings: vec!["Manual".to_owned(), "Limits".to_owned()],
            text: text.to_owned(),
            range: 0..text.len(),
            places: Vec::new(),
            ordinal: 0,
        };
        assert_eq!(
            pieces(&passage),
            [
                "Limits: Short. Also short. This sentence is so long that it stands for itself in the comparison.",
                "Limits: Last."
            ]
        );
    }
}
