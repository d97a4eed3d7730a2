//! What a provider understands of its own protocol, found out once: it is asked for all, and where it refuses
//! something, without that, from then on.

use std::result::Result as StdResult;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::http::Failure;
use crate::{Response, Result};

/// The way in which a provider is asked, which becomes simpler with what it refuses.
pub(crate) struct Learned<W>(Mutex<W>);

impl<W: Clone> Learned<W> {
    /// One begins with this way.
    pub(crate) fn new(way: W) -> Learned<W> {
        Learned(Mutex::new(way))
    }

    /// Asks, and again in a simpler way while there is one. What is simpler than the way that was refused is told
    /// by `simpler`; another request may have found out more meanwhile.
    ///
    /// # Errors
    /// What was refused in the simplest way, and whatever else went wrong.
    pub(crate) async fn ask<F>(
        &self,
        once: impl Fn(W) -> F,
        simpler: impl Fn(&W, &Failure) -> Option<W>,
    ) -> Result<Response>
    where
        F: Future<Output = StdResult<Response, Failure>>,
    {
        loop {
            let way = self.lock().clone();
            let failure = match once(way.clone()).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            match simpler(&way, &failure) {
                Some(simpler) => *self.lock() = simpler,
                None => return Err(failure.error),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, W> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use crate::Error;

    /// What wants more than nothing is refused, after both have been asked.
    async fn once(wanted: u32) -> StdResult<Response, Failure> {
        tokio::task::yield_now().await;
        let message = wanted.to_string();
        match wanted {
            0 => Ok(Response::default()),
            _ => Err(Error::Malformed { message }.into()),
        }
    }

    #[tokio::test]
    async fn two_that_are_refused_at_once_both_ask_for_less() {
        let learned = Learned::new(2);
        let less = |wanted: &u32, _: &Failure| wanted.checked_sub(1);
        let (one, other) = tokio::join!(learned.ask(once, less), learned.ask(once, less));
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(*learned.lock(), 0, "what was found out is kept");
    }

    #[tokio::test]
    async fn what_cannot_be_left_out_is_an_error() {
        let learned = Learned::new(2);
        let less = |wanted: &u32, _: &Failure| (*wanted == 2).then_some(1);
        let error = learned.ask(once, less).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { message } if message == "1"));
    }
}
