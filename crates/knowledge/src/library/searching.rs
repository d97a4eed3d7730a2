//! Finding passages.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Library, sources};
use crate::document::Passage;
use crate::embed::{Embeddings, quantised};
use crate::error::{Error, Result};
use crate::index::fusion::{Ranking, fuse};
use crate::index::keywords::Weights;
use crate::store::Located;

/// What ranks the passages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchMode {
    /// Keywords and vectors, fused; keywords alone where there is no embedding model.
    #[default]
    Fused,
    /// BM25 alone.
    Keywords,
    /// Vectors alone.
    Vectors,
}

/// How to search.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// Most hits to return.
    pub limit: usize,
    /// Only passages of files at or below these paths; empty means all.
    pub under: Vec<PathBuf>,
    /// What ranks the passages.
    pub mode: SearchMode,
    /// How long a search may take to embed candidates that have no vector yet; candidates beyond that are
    /// ranked after the others. What it embeds is kept.
    pub embed_within: Duration,
    /// How the rankings are fused.
    pub fusion: Fusion,
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        SearchOptions {
            limit: 10,
            under: Vec::new(),
            mode: SearchMode::Fused,
            embed_within: Duration::from_secs(2),
            fusion: Fusion::default(),
        }
    }
}

/// How the ranking by keywords and the one by vectors become one.
///
/// The defaults and what was measured are in `docs/concepts/search.md`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fusion {
    /// The constant of reciprocal rank fusion: how much the first ranks count beside the later ones; less
    /// means more.
    pub k: f32,
    /// How much the ranking by keywords counts.
    pub keywords: f32,
    /// How much the ranking by vectors counts.
    pub vectors: f32,
    /// Candidates that are ranked by the embedding model where not every passage has a vector yet.
    pub candidates: usize,
}

impl Default for Fusion {
    fn default() -> Fusion {
        Fusion {
            k: 10.0,
            keywords: 1.0,
            vectors: 1.0,
            candidates: 100,
        }
    }
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The passage.
    pub passage: Passage,
    /// What it was ranked by; comparable within one search only.
    pub score: f32,
    /// Its rank by keywords alone, from 1.
    pub keyword_rank: Option<u32>,
    /// Its rank by vectors alone, from 1.
    pub vector_rank: Option<u32>,
}

/// The part of the library that a search is restricted to.
pub(super) struct Scope {
    generation: u64,
    under: Vec<String>,
    /// `None` when it is the whole library.
    documents: Option<Arc<HashSet<u64>>>,
    /// The contents of these documents, when they are first needed.
    contents: OnceLock<Vec<u64>>,
}

/// How many passages each index proposes.
pub(super) const DEPTH: usize = 100;

impl Library {
    /// The passages that answer `query` best, best first.
    ///
    /// By default the ranking by keywords and the one by vectors are fused. As long as not every passage
    /// has a vector, the best candidates that lack one are embedded on the spot, for at most
    /// [`SearchOptions::embed_within`].
    ///
    /// # Errors
    /// When the library cannot be read; [`Error::NoEmbeddingModel`] when vectors alone are asked for and
    /// there is no embedding model.
    pub fn search(&self, query: &str, options: &SearchOptions) -> Result<Vec<Hit>> {
        self.refresh()?;
        let scope = self.scope(&options.under)?;
        let embeddings = match options.mode {
            SearchMode::Keywords => None,
            SearchMode::Fused => self.embeddings()?,
            SearchMode::Vectors => Some(self.embeddings()?.ok_or(Error::NoEmbeddingModel)?),
        };
        let by_keywords = self.by_keywords(query, options.limit.max(DEPTH), &scope)?;
        let by_vectors = match embeddings {
            None => Vec::new(),
            Some(embeddings) => {
                let vector = embeddings.embed_query(query)?;
                let lists = std::slice::from_ref(&by_keywords);
                let orders = self.by_vectors(&[vector], lists, embeddings, &scope, options)?;
                orders.into_iter().next().unwrap_or_default()
            }
        };
        let fusion = &options.fusion;
        let fused = match (options.mode, embeddings) {
            (SearchMode::Vectors, _) => rank(&[(&by_vectors, 1.0)], fusion.k),
            (SearchMode::Keywords, _) | (SearchMode::Fused, None) => {
                rank(&[(&by_keywords, 1.0)], fusion.k)
            }
            (SearchMode::Fused, Some(_)) => rank(
                &[
                    (&by_keywords, fusion.keywords),
                    (&by_vectors, fusion.vectors),
                ],
                fusion.k,
            ),
        };
        self.hits(&fused, &by_keywords, &by_vectors, options.limit)
    }

    fn hits(
        &self,
        fused: &[(u64, f32)],
        by_keywords: &[u64],
        by_vectors: &[u64],
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let fused = fused.get(..limit.saturating_mul(3)).unwrap_or(fused);
        let ids: Vec<u64> = fused.iter().map(|(id, _)| *id).collect();
        let scores: HashMap<u64, f32> = fused.iter().copied().collect();
        let rank_in = |ranking: &[u64], id: u64| {
            let place = ranking.iter().position(|other| *other == id)?;
            u32::try_from(place + 1).ok()
        };
        let mut hits = Vec::with_capacity(ids.len());
        for passage in self.0.store.passages(&ids)? {
            let Some(id) = super::number(&passage.id) else {
                continue;
            };
            hits.push(Hit {
                score: scores.get(&id).copied().unwrap_or(0.0),
                keyword_rank: rank_in(by_keywords, id),
                vector_rank: rank_in(by_vectors, id),
                passage,
            });
        }
        let mut hits = spread(hits);
        hits.truncate(limit);
        Ok(hits)
    }

    /// Ranks by keywords; an index that fails is made anew, once.
    pub(super) fn by_keywords(&self, query: &str, limit: usize, scope: &Scope) -> Result<Vec<u64>> {
        let weights = Weights::default();
        let search = || {
            self.0
                .keywords
                .search(query, limit, scope.documents.clone(), &weights)
        };
        let hits = match search() {
            Ok(hits) => hits,
            Err(error) => {
                tracing::warn!(%error, "the keyword index failed; making it anew");
                self.rebuild_keywords()?;
                search()?
            }
        };
        Ok(hits.into_iter().map(|(id, _)| id).collect())
    }

    /// For each query, ranks by cosine what the vector index proposes and what is in `lists`, which are best
    /// first.
    pub(super) fn by_vectors(
        &self,
        queries: &[Vec<f32>],
        lists: &[Vec<u64>],
        embeddings: &Embeddings,
        scope: &Scope,
        options: &SearchOptions,
    ) -> Result<Vec<Vec<u64>>> {
        let started = Instant::now();
        self.refresh_vectors(embeddings)?;
        let near = self.near(queries, scope, options.limit.max(DEPTH))?;
        // Where few passages have a vector, those that have one are near only by accident.
        let coverage = self.coverage()?;
        let rankings: Vec<(&[u64], f32)> = (lists.iter().map(|list| (list.as_slice(), 1.0)))
            .chain(near.iter().map(|list| (list.as_slice(), coverage)))
            .collect();
        let proposed = rank(&rankings, options.fusion.k);
        let ids: Vec<u64> = proposed.into_iter().map(|(id, _)| id).collect();
        let candidates = self.0.store.locate(&ids)?;
        let mut vectors = self
            .0
            .store
            .vectors(candidates.iter().map(|place| place.content))?;
        let missing: Vec<&Located> = candidates
            .iter()
            .take(options.fusion.candidates)
            .filter(|place| !vectors.contains_key(&place.content))
            .collect();
        let deadline = started + options.embed_within;
        vectors.extend(self.embed_missing(embeddings, &missing, deadline)?);
        let placed = |place: &Located| {
            let packed = vectors.get(&place.content)?;
            Some((place.id, quantised::unpack(packed)?))
        };
        let placed: Vec<(u64, Vec<f32>)> = candidates.iter().filter_map(placed).collect();
        let order = |query: &Vec<f32>| {
            let near = |(id, vector): &(u64, Vec<f32>)| (quantised::product(query, vector), *id);
            let mut order: Vec<(f32, u64)> = placed.iter().map(near).collect();
            order.sort_by(|(a, one), (b, other)| b.total_cmp(a).then(one.cmp(other)));
            order.into_iter().map(|(_, id)| id).collect()
        };
        Ok(queries.iter().map(order).collect())
    }

    /// For each query, the passages of the scope that the vector index proposes, the nearest first.
    fn near(&self, queries: &[Vec<f32>], scope: &Scope, limit: usize) -> Result<Vec<Vec<u64>>> {
        let allowed = match &scope.documents {
            None => None,
            Some(documents) => Some(self.contents(scope, documents)?),
        };
        let mut near = Vec::with_capacity(queries.len());
        for query in queries {
            let found = self.0.vectors.search(query, limit, allowed);
            let inside = |place: &Located| {
                scope
                    .documents
                    .as_ref()
                    .is_none_or(|all| all.contains(&place.document))
            };
            let places = self.0.store.passages_with(&found)?;
            near.push(
                places
                    .into_iter()
                    .filter(inside)
                    .map(|place| place.id)
                    .collect(),
            );
        }
        Ok(near)
    }

    /// Which part of the library has vectors, 0..1.
    fn coverage(&self) -> Result<f32> {
        let passages = self.0.keywords.len().max(1);
        Ok((self.0.vectors.len() as f32 / passages as f32).min(1.0))
    }

    /// Embeds passages until the deadline, most promising first, and keeps their vectors.
    fn embed_missing(
        &self,
        embeddings: &Embeddings,
        missing: &[&Located],
        deadline: Instant,
    ) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut embedded = Vec::new();
        // A slice is embedded as a whole, so its size is how far past the deadline it can go.
        for some in missing.chunks(8) {
            if Instant::now() >= deadline {
                break;
            }
            let ids: Vec<u64> = some.iter().map(|place| place.id).collect();
            embedded.extend(self.embed_passages(embeddings, &ids)?);
        }
        if !embedded.is_empty() {
            self.keep_vectors(&embedded)?;
        }
        Ok(embedded)
    }

    fn contents<'a>(&self, scope: &'a Scope, documents: &HashSet<u64>) -> Result<&'a [u64]> {
        if let Some(contents) = scope.contents.get() {
            return Ok(contents);
        }
        let contents = self.0.store.contents_of(documents.iter().copied())?;
        Ok(scope.contents.get_or_init(|| contents))
    }

    /// Whether a document, by its name as in [`Passage::file`], lies below one of the paths; always where there are none.
    pub fn is_under(&self, file: &str, paths: &[PathBuf]) -> bool {
        let name = |path: &PathBuf| sources::name(&self.0.root, &sources::absolute(path));
        paths.is_empty()
            || paths
                .iter()
                .any(|path| sources::is_under(file, &name(path)))
    }

    /// The documents below the paths; kept from one search to the next.
    pub(super) fn scope(&self, under: &[PathBuf]) -> Result<Arc<Scope>> {
        let generation = self.0.store.generation()?;
        let under: Vec<String> = under
            .iter()
            .map(|path| sources::name(&self.0.root, &sources::absolute(path)))
            .collect();
        let mut kept = self.0.scope.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scope) = kept.as_ref()
            && scope.generation == generation
            && scope.under == under
        {
            return Ok(Arc::clone(scope));
        }
        let documents = if under.is_empty() {
            None
        } else {
            let all = self.0.store.documents()?;
            let inside = |file: &str| under.iter().any(|folder| sources::is_under(file, folder));
            let inside = all.iter().filter(|(file, _)| inside(file));
            let documents: HashSet<u64> = inside.map(|(_, id)| *id).collect();
            (documents.len() < all.len()).then(|| Arc::new(documents))
        };
        let scope = Arc::new(Scope {
            generation,
            under,
            documents,
            contents: OnceLock::new(),
        });
        *kept = Some(Arc::clone(&scope));
        Ok(scope)
    }
}

/// Takes the best hit again and again, where each earlier hit of the same document, or of the same
/// chapter of it, lessens a score: so that one long page does not fill the list.
fn spread(mut hits: Vec<Hit>) -> Vec<Hit> {
    const LESS: f32 = 0.9;
    let mut spread = Vec::with_capacity(hits.len());
    let mut taken: HashMap<(String, Option<String>), i32> = HashMap::new();
    let part = |hit: &Hit| {
        (
            hit.passage.file.clone(),
            hit.passage.headings.first().cloned(),
        )
    };
    while !hits.is_empty() {
        let worth = |hit: &Hit| {
            let earlier = taken.get(&part(hit)).copied().unwrap_or(0);
            hit.score * LESS.powi(earlier)
        };
        // `max_by` takes the last of equals; the first is the better ranked.
        let places = hits.iter().enumerate().rev();
        let best = places.max_by(|(_, a), (_, b)| worth(a).total_cmp(&worth(b)));
        let best = best.map_or(0, |(place, _)| place);
        let hit = hits.remove(best);
        *taken.entry(part(&hit)).or_default() += 1;
        spread.push(hit);
    }
    spread
}

/// Fuses rankings, each with its weight.
pub(super) fn rank(rankings: &[(&[u64], f32)], k: f32) -> Vec<(u64, f32)> {
    let rankings: Vec<Ranking<'_>> = rankings
        .iter()
        .map(|(items, weight)| Ranking {
            items,
            weight: *weight,
        })
        .collect();
    fuse(&rankings, k)
}
