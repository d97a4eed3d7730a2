//! Computing the embeddings that are missing.

use std::sync::atomic::AtomicBool;

use super::Library;
use crate::error::Result;

impl Library {
    /// Computes the vectors that are missing.
    ///
    /// # Errors
    /// When the library or the model fails.
    pub fn fill_vectors(
        &self,
        _cancel: &AtomicBool,
        _progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<()> {
        Ok(())
    }
}
