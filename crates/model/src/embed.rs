//! Texts as vectors.

use futures::future::BoxFuture;

use crate::Result;

/// A model that turns texts into vectors.
pub trait Embed: Send + Sync {
    /// Its name, `provider:name`.
    fn name(&self) -> &str;

    /// A vector for each text, in their order.
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded>>;
}

/// Texts as vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedded {
    /// One for each text, all of the same length.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of the texts together; `None` where the provider does not say.
    pub tokens: Option<u32>,
    /// What it cost, in millionths of a US dollar; `None` where the price is not known.
    pub cost_micros: Option<u64>,
}
