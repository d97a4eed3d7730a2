//! One search in several wordings: what each finds, ranked together by words, by meaning, and by the sentence of a
//! passage that comes nearest.

use std::collections::HashSet;

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
    ) -> Result<Vec<Passage>> {
        self.refresh()?;
        let scope = self.scope(&options.under)?;
        let mut lists = Vec::with_capacity(queries.len() + 1);
        for query in queries {
            lists.push(self.by_keywords(query, options.limit.max(DEPTH), &scope)?);
        }
        lists.push(also.iter().filter_map(|id| number(id)).collect());
        if let Some(embeddings) = self.embeddings()? {
            let vectors: Vec<Vec<f32>> = (queries.iter())
                .map(|query| embeddings.embed_query(query))
                .collect::<Result<_>>()?;
            let nearest = self.by_vectors(&vectors, &lists, embeddings, &scope, options)?;
            lists.extend(nearest);
            let best = self.passages_of(&fused(&lists), COMPARED)?;
            lists.extend(by_sentences(embeddings, &vectors, &best)?);
        }
        let mut passages = self.passages_of(&fused(&lists), options.limit.saturating_mul(2))?;
        // The same words in two files (HTML and PDF of one manual) count once.
        let mut seen = HashSet::new();
        passages.retain(|passage| seen.insert(marks::without(&passage.text)));
        passages.truncate(options.limit);
        Ok(passages)
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

/// For each query, the passages of `pool` ordered by their nearest sentence.
fn by_sentences(
    embeddings: &Embeddings,
    queries: &[Vec<f32>],
    pool: &[Passage],
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
    let ids: Vec<Option<u64>> = pool.iter().map(|passage| number(&passage.id)).collect();
    let order = |query: &Vec<f32>| {
        let mut nearest = vec![f32::NEG_INFINITY; pool.len()];
        for (owner, vector) in owners.iter().zip(&vectors) {
            if let Some(best) = nearest.get_mut(*owner) {
                *best = best.max(product(query, vector));
            }
        }
        let mut order: Vec<(f32, Option<u64>)> = nearest.into_iter().zip(ids.clone()).collect();
        order.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        order.into_iter().filter_map(|(_, id)| id).collect()
    };
    Ok(queries.iter().map(order).collect())
}

/// The sentences of a passage below its heading, short ones together with the next.
fn pieces(passage: &Passage) -> Vec<String> {
    let heading = passage.headings.last().unwrap_or(&passage.title);
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for range in sentences(&passage.text) {
        let text = passage.text.get(range).unwrap_or_default();
        for word in marks::plain(text).split_whitespace() {
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
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
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
            "The office opens at nine, and letters are sorted by hand. Whoever has forgotten the password asks the \
             janitor for a new one. Lunch is served at noon in the hall upstairs.",
        );
        let orders = by_sentences(&embeddings, &[query], &[about_keys, about_the_office]).unwrap();
        assert_eq!(orders, [[2, 1]]);
    }

    #[test]
    fn short_sentences_stay_together_below_their_heading() {
        let text = "Short. Also short.\n\nThis sentence is so long that it stands for itself in the comparison. Last.";
        assert_eq!(
            pieces(&passage(0, text)),
            [
                "Limits: Short. Also short. This sentence is so long that it stands for itself in the comparison.",
                "Limits: Last."
            ]
        );
    }
}
