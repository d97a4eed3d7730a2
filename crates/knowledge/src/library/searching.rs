//! Finding passages.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Library, sources};
use crate::document::Passage;
use crate::error::Result;
use crate::index::keywords::Weights;

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
    /// How long a search may take to embed candidates that have no vector yet. What it embeds is kept.
    pub embed_within: Duration,
}

impl Default for SearchOptions {
    fn default() -> SearchOptions {
        SearchOptions {
            limit: 10,
            under: Vec::new(),
            mode: SearchMode::Fused,
            embed_within: Duration::from_secs(2),
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
}

/// How many passages each index proposes.
const DEPTH: usize = 100;

impl Library {
    /// The passages that answer `query` best, best first.
    ///
    /// # Errors
    /// When the library cannot be read; [`crate::Error::NoEmbeddingModel`] when vectors alone are asked for
    /// and there is no embedding model.
    pub fn search(&self, query: &str, options: &SearchOptions) -> Result<Vec<Hit>> {
        self.refresh()?;
        let scope = self.scope(&options.under)?;
        let keywords = self.keyword_hits(query, options.limit.max(DEPTH), &scope)?;
        let ids: Vec<u64> = keywords
            .iter()
            .take(options.limit)
            .map(|(id, _)| *id)
            .collect();
        let passages = self.0.store.passages(&ids)?;
        let hits = passages.into_iter().zip(&keywords).zip(1..);
        Ok(hits
            .map(|((passage, (_, score)), rank)| Hit {
                passage,
                score: *score,
                keyword_rank: Some(rank),
                vector_rank: None,
            })
            .collect())
    }

    /// Searches the keyword index; one that fails is made anew, once.
    fn keyword_hits(&self, query: &str, limit: usize, scope: &Scope) -> Result<Vec<(u64, f32)>> {
        let weights = Weights::default();
        match self
            .0
            .keywords
            .search(query, limit, scope.documents.clone(), &weights)
        {
            Ok(hits) => Ok(hits),
            Err(error) => {
                tracing::warn!(%error, "the keyword index failed; making it anew");
                self.rebuild_keywords()?;
                Ok(self
                    .0
                    .keywords
                    .search(query, limit, scope.documents.clone(), &weights)?)
            }
        }
    }

    /// The documents below the paths; kept from one search to the next.
    fn scope(&self, under: &[PathBuf]) -> Result<Arc<Scope>> {
        let generation = self.0.store.generation()?;
        let under: Vec<String> = under
            .iter()
            .map(|path| sources::name(&self.0.root, &sources::absolute(path)))
            .collect();
        let mut kept = self
            .0
            .scope
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
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
            let documents: HashSet<u64> = all
                .iter()
                .filter(|(file, _)| inside(file))
                .map(|(_, id)| *id)
                .collect();
            (documents.len() < all.len()).then(|| Arc::new(documents))
        };
        let scope = Arc::new(Scope {
            generation,
            under,
            documents,
        });
        *kept = Some(Arc::clone(&scope));
        Ok(scope)
    }
}
