//! Embeddings: texts as vectors whose cosine says how near their meanings are.
//!
//! [`Embeddings`] runs a sentence embedding model (all-MiniLM-L6-v2 in int8, or one of its kind) on the
//! processor with [`rten`]. It embeds some tens of passages a second, which decides the shape of all else:
//! nobody waits for a corpus to be embedded. [`quantised`] is the form in which vectors are kept.
//!
//! What it does not do: fetch models, decide what is embedded when.

pub(crate) mod quantised;
#[cfg(test)]
pub(crate) mod tests;
mod wordpiece;

use std::path::PathBuf;
use std::sync::Arc;

use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use wordpiece::WordPiece;

use crate::error::{Error, Result};
use crate::index::words::words;

/// The files of an embedding model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingFiles {
    /// The network, in ONNX format.
    pub model: PathBuf,
    /// Its tokenizer, a `tokenizer.json`.
    pub tokenizer: PathBuf,
}

/// Tokens of a text that are read; the rest is cut off. What all-MiniLM-L6-v2 was trained with.
const MOST_TOKENS: usize = 256;

/// Tokens of a query that are embedded; the rest is left out.
const MOST_QUERY_TOKENS: usize = 2048;

/// Tokens that a window of a long query has in common with the one before.
const OVERLAP: usize = 50;

/// Texts that are run through the network together.
const BATCH: usize = 8;

/// A loaded embedding model; it can be used by several threads at once.
pub struct Embeddings {
    files: EmbeddingFiles,
    model: rten::Model,
    inputs: [Option<rten::NodeId>; 3],
    output: rten::NodeId,
    tokenizer: WordPiece,
    threads: Arc<rten::ThreadPool>,
    hash: String,
}

impl Embeddings {
    /// Loads a model; `threads` 0 means as many as there are processors.
    ///
    /// # Errors
    /// [`Error::Embedding`] or [`Error::Io`] when a file is not what it should be.
    pub fn load(files: &EmbeddingFiles, threads: usize) -> Result<Embeddings> {
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |reason: String| Error::Embedding { path, reason }
        };
        let bytes = std::fs::read(&files.model).map_err(Error::io(&files.model))?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let mut options = rten::ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options
            .load(bytes)
            .map_err(|error| failed(&files.model)(error.to_string()))?;
        let json = std::fs::read(&files.tokenizer).map_err(Error::io(&files.tokenizer))?;
        let tokenizer = WordPiece::from_json(&json).map_err(failed(&files.tokenizer))?;
        let inputs =
            ["input_ids", "attention_mask", "token_type_ids"].map(|name| model.find_node(name));
        let output = model.output_ids().first().copied();
        let output = output.ok_or_else(|| failed(&files.model)("it has no output".to_owned()))?;
        if inputs[0].is_none() {
            return Err(failed(&files.model)(
                "it has no input named input_ids".to_owned(),
            ));
        }
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let threads = Arc::new(rten::ThreadPool::with_num_threads(threads));
        Ok(Embeddings {
            files: files.clone(),
            model,
            inputs,
            output,
            tokenizer,
            threads,
            hash,
        })
    }

    /// Whether an English word in lower case is common: it, one with its stem, or what it is made of (`rewrite`,
    /// `unlock`) is in the vocabulary as a whole.
    pub(crate) fn is_common(&self, word: &str) -> bool {
        let made_of = ["re", "un"]
            .iter()
            .find_map(|before| word.strip_prefix(before));
        self.has_stem_of(word)
            || made_of.is_some_and(|rest| rest.len() > 3 && self.has_stem_of(rest))
    }

    fn has_stem_of(&self, word: &str) -> bool {
        // What has the same stem begins alike.
        let start: String = word.chars().take(3).collect();
        let known: Vec<&str> = self.tokenizer.beginning_with(&start).collect();
        let stems = |text: &str| words(text).into_iter().map(|word| word.text);
        stems(word).any(|stem| stems(&known.join(" ")).any(|known| known == stem))
    }

    /// Names the model by its content.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The vector of a query, of length 1. A query longer than the model reads at once is read in windows,
    /// whose vectors are averaged; so all of a long description counts, not only its beginning.
    pub(crate) fn embed_query(&self, query: &str) -> Result<Vec<f32>> {
        let mut sum: Vec<f32> = Vec::new();
        for window in self.windows(query) {
            for vector in self.run(&[&window])? {
                sum.resize(vector.len(), 0.0);
                sum.iter_mut()
                    .zip(vector)
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        normalise(&mut sum);
        Ok(sum)
    }

    /// The tokens of a query, cut into what the model reads at once; each window begins with the end of
    /// the one before, so that no sentence is only seen in halves.
    fn windows(&self, query: &str) -> Vec<Vec<u32>> {
        let tokens = self.tokenizer.tokens(query, MOST_QUERY_TOKENS);
        let size = MOST_TOKENS - 2;
        let starts = (0..tokens.len()).step_by(size - OVERLAP);
        let windows = starts.take_while(|start| *start == 0 || start + OVERLAP < tokens.len());
        windows
            .filter_map(|start| tokens.get(start..tokens.len().min(start + size)))
            .map(|window| self.tokenizer.framed(window))
            .collect()
    }

    /// The vectors of texts, each of length 1 and with the position of its text; in batches of similar
    /// length, because a longer text slows the shorter ones of its batch down.
    pub(crate) fn embed(&self, texts: &[String]) -> Result<Vec<(usize, Vec<f32>)>> {
        let mut tokens = Vec::with_capacity(texts.len());
        for (position, text) in texts.iter().enumerate() {
            tokens.push((position, self.tokens(text)));
        }
        tokens.sort_by_key(|(position, tokens)| (tokens.len(), *position));
        let mut embedded = Vec::with_capacity(texts.len());
        for batch in tokens.chunks(BATCH) {
            let tokens: Vec<&[u32]> = batch.iter().map(|(_, tokens)| tokens.as_slice()).collect();
            let positions = batch.iter().map(|(position, _)| *position);
            embedded.extend(positions.zip(self.run(&tokens)?));
        }
        Ok(embedded)
    }

    /// A vector of length 1 for each text, in their order, and how many tokens they have together. What
    /// is longer than the model reads at once (256 tokens) is cut off.
    ///
    /// # Errors
    /// [`Error::Embedding`] when the network fails.
    pub fn vectors(&self, texts: &[String]) -> Result<(Vec<Vec<f32>>, u64)> {
        let tokens: usize = texts.iter().map(|text| self.tokens(text).len()).sum();
        let mut embedded = self.embed(texts)?;
        embedded.sort_by_key(|(position, _)| *position);
        let vectors = embedded.into_iter().map(|(_, vector)| vector).collect();
        Ok((vectors, u64::try_from(tokens).unwrap_or(u64::MAX)))
    }

    fn tokens(&self, text: &str) -> Vec<u32> {
        self.tokenizer
            .framed(&self.tokenizer.tokens(text, MOST_TOKENS - 2))
    }

    /// Runs a batch through the network and takes the mean over each text's tokens.
    fn run(&self, batch: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let longest = batch.iter().map(|tokens| tokens.len()).max().unwrap_or(0);
        let mut ids = NdTensor::<i32, 2>::zeros([batch.len(), longest]);
        let mut mask = NdTensor::<i32, 2>::zeros([batch.len(), longest]);
        for (row, tokens) in batch.iter().enumerate() {
            for (column, token) in tokens.iter().enumerate() {
                ids[[row, column]] = token.cast_signed();
                mask[[row, column]] = 1;
            }
        }
        let types = NdTensor::<i32, 2>::zeros([batch.len(), longest]);
        let mut inputs: Vec<(rten::NodeId, rten::ValueOrView<'_>)> = Vec::with_capacity(3);
        for (node, tensor) in self.inputs.iter().zip([&ids, &mask, &types]) {
            inputs.extend(node.map(|node| (node, tensor.view().into())));
        }
        let options = rten::RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads)));
        let outputs = self.model.run(inputs, &[self.output], Some(options));
        let output = outputs
            .map_err(|error| self.failed(&error.to_string()))?
            .pop();
        let states: NdTensor<f32, 3> = output
            .and_then(|output| output.try_into().ok())
            .ok_or_else(|| self.failed("its output is not one vector for each token"))?;
        Ok(batch
            .iter()
            .enumerate()
            .map(|(row, tokens)| mean(states.slice(row), tokens.len()))
            .collect())
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Embedding {
            path: self.files.model.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// The mean of the first `tokens` rows, brought to length 1.
fn mean(states: NdTensorView<'_, f32, 2>, tokens: usize) -> Vec<f32> {
    let mut sum = vec![0.0; states.size(1)];
    for token in 0..tokens.min(states.size(0)) {
        for (sum, value) in sum.iter_mut().zip(states.slice(token).iter()) {
            *sum += value;
        }
    }
    normalise(&mut sum);
    sum
}

/// Brings a vector to length 1; one without direction stays zero.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > f32::MIN_POSITIVE {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}
