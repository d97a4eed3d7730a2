//! Finding entries: keywords and embeddings, fused, as in the library.
//!
//! A memory is small (thousands of short entries), and each view of it is another collection. So nothing is kept
//! beside it but vectors: BM25 is computed over what the view sees, with the words, their weights and the fusion of
//! the library's index. A search of 1,000 entries takes some 20 ms.

use std::collections::HashMap;

use super::entry::{Entry, Filter, View};
use super::{Memory, store};
use crate::embed::quantised;
use crate::error::Result;
use crate::index::fusion::{Ranking, fuse};
use crate::index::keywords::{Weights, query_terms};
use crate::index::words::words;
use crate::library::{Fusion, hash64};

/// The constants of BM25, as in the library's index.
const K1: f32 = 1.2;
const B: f32 = 0.75;
/// A cosine below this says nothing.
const NEAR: f32 = 0.3;
/// Entries without a vector that one search embeds; at some 15 a second.
const MOST_EMBEDDED: usize = 32;

impl Memory {
    /// The entries of a view that fit the query best, best first. What has no word in common with it and no near
    /// meaning is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or the embedding model fails.
    pub fn search(
        &self,
        query: &str,
        limit: usize,
        filter: &Filter,
        view: &View,
    ) -> Result<Vec<Entry>> {
        let filter = Filter {
            view: Some(view.clone()),
            ..filter.clone()
        };
        let entries = self.list(&filter)?;
        let texts: Vec<String> = entries.iter().map(searched).collect();
        let by_keywords = bm25(query, &texts);
        let by_vectors = self.by_vectors(query, &entries)?;
        let fusion = Fusion::default();
        let rankings = [
            Ranking {
                items: &by_keywords,
                weight: fusion.keywords,
            },
            Ranking {
                items: &by_vectors,
                weight: fusion.vectors,
            },
        ];
        let best = fuse(&rankings, fusion.k).into_iter().take(limit);
        let places = best.filter_map(|(place, _)| usize::try_from(place).ok());
        Ok(places
            .filter_map(|place| entries.get(place).cloned())
            .collect())
    }

    /// Places of the entries, nearest first; none without an embedding model.
    fn by_vectors(&self, query: &str, entries: &[Entry]) -> Result<Vec<u64>> {
        let Some(embeddings) = self.embeddings()? else {
            return Ok(Vec::new());
        };
        let _one = self
            .0
            .embedding_now
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut vectors = self.kept_vectors()?;
        // The newest first: they are what is asked for most.
        let missing = entries.iter().rev();
        let missing = missing.filter(|entry| !vectors.contains_key(&content(entry)));
        let missing: Vec<&Entry> = missing.take(MOST_EMBEDDED).collect();
        if !missing.is_empty() {
            let texts: Vec<String> = missing.iter().copied().map(searched).collect();
            let (embedded, _) = embeddings.vectors(&texts)?;
            let packed = embedded.iter().map(|vector| quantised::pack(vector));
            let new: Vec<(u64, Vec<u8>)> = missing
                .iter()
                .map(|entry| content(entry))
                .zip(packed)
                .collect();
            self.keep_vectors(&new)?;
            vectors.extend(new);
        }
        let query = embeddings.embed_query(query)?;
        let mut near: Vec<(f32, u64)> = Vec::new();
        for (place, entry) in (0..).zip(entries) {
            let packed = vectors.get(&content(entry));
            let vector = packed.and_then(|packed| quantised::unpack(packed));
            let product = vector.map_or(0.0, |vector| quantised::product(&query, &vector));
            if product >= NEAR {
                near.push((product, place));
            }
        }
        near.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(other.cmp(one)));
        Ok(near.into_iter().map(|(_, place)| place).collect())
    }

    fn kept_vectors(&self) -> Result<HashMap<u64, Vec<u8>>> {
        self.0.store.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT content, vector FROM vectors")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Keeps vectors of texts that are still there: one that was forgotten meanwhile leaves nothing behind.
    fn keep_vectors(&self, vectors: &[(u64, Vec<u8>)]) -> Result<()> {
        self.0.store.write(|connection| {
            let there = store::all(connection, &Filter::default())?;
            let there: std::collections::HashSet<u64> = there
                .iter()
                .map(|version| content(&version.entry))
                .collect();
            for (content, vector) in vectors
                .iter()
                .filter(|(content, _)| there.contains(content))
            {
                connection.execute(
                    "INSERT OR REPLACE INTO vectors VALUES (?1, ?2)",
                    (content.cast_signed(), vector),
                )?;
            }
            Ok(())
        })
    }
}

/// What of an entry is searched.
fn searched(entry: &Entry) -> String {
    format!("{} {} {}", entry.subject, entry.attribute, entry.text)
}

/// Names what is embedded.
pub(super) fn content(entry: &Entry) -> u64 {
    hash64([
        entry.subject.as_bytes(),
        entry.attribute.as_bytes(),
        entry.text.as_bytes(),
    ])
}

/// Places of the texts that have a word of the query, best first.
fn bm25(query: &str, texts: &[String]) -> Vec<u64> {
    let counts: Vec<HashMap<String, f32>> = texts.iter().map(|text| counted(text)).collect();
    let lengths: Vec<f32> = counts.iter().map(|words| words.values().sum()).collect();
    let all = texts.len().max(1) as f32;
    let mean = (lengths.iter().sum::<f32>() / all).max(1.0);
    let mut scores = vec![0.0_f32; texts.len()];
    for (word, weight) in query_terms(query, &Weights::default()) {
        let with = counts
            .iter()
            .filter(|words| words.contains_key(&word))
            .count() as f32;
        let rare = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
        for ((score, words), length) in scores.iter_mut().zip(&counts).zip(&lengths) {
            if let Some(times) = words.get(&word) {
                let spread = K1 * (1.0 - B + B * length / mean);
                *score += weight * rare * times * (K1 + 1.0) / (times + spread);
            }
        }
    }
    let mut ranked: Vec<(f32, u64)> = scores.into_iter().zip(0..).collect();
    ranked.retain(|(score, _)| *score > 0.0);
    // Of equals, the newer one.
    ranked.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(other.cmp(one)));
    ranked.into_iter().map(|(_, place)| place).collect()
}

fn counted(text: &str) -> HashMap<String, f32> {
    let mut counts = HashMap::new();
    for word in words(text) {
        *counts.entry(word.text).or_default() += 1.0;
    }
    counts
}
