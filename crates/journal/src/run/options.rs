//! What can be said of a step beyond its name, effect and input.

use std::future::Future;
use std::pin::Pin;

use serde_json::Value;

use crate::budget::Cost;
use crate::step::{StepContext, StepError};

type Reconcile = Box<
    dyn FnOnce(StepContext) -> Pin<Box<dyn Future<Output = Result<Reconciled, StepError>> + Send>>
        + Send,
>;

/// What can be said of a step beyond its name, effect and input.
#[derive(Default)]
pub struct StepOptions {
    pub(super) reserve: Cost,
    pub(super) reconcile: Option<Reconcile>,
}

impl StepOptions {
    /// Set this aside in the budgets of the run and its ancestors before the work begins.
    pub fn reserve(cost: Cost) -> StepOptions {
        StepOptions {
            reserve: cost,
            reconcile: None,
        }
    }

    /// How to find out what became of an irreversible step that was cut off: ask the other side, with
    /// the step's key. Called before the run would park in doubt.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Effect, Journal, NewRun, Reconciled, StepOptions};
    ///
    /// # let journal = Journal::in_memory()?;
    /// # let run = journal.start(NewRun::new("mailer", ().into())).await?;
    /// let options = StepOptions::default().reconcile(|context| async move {
    ///     // Here: ask the mail server whether it has a message with this key.
    ///     let found = context.key().is_empty();
    ///     Ok(if found { Reconciled::Done("sent".into()) } else { Reconciled::NotDone })
    /// });
    /// let sent: String = run
    ///     .step_with("mail", Effect::Irreversible, "Dear Ada", options, |_| async {
    ///         Ok("sent".to_string())
    ///     })
    ///     .await?;
    /// # assert_eq!(sent, "sent");
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconcile<F, Fut>(mut self, reconcile: F) -> StepOptions
    where
        F: FnOnce(StepContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Reconciled, StepError>> + Send + 'static,
    {
        self.reconcile = Some(Box::new(|context| Box::pin(reconcile(context))));
        self
    }
}

impl std::fmt::Debug for StepOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StepOptions")
            .field("reserve", &self.reserve)
            .field("reconcile", &self.reconcile.is_some())
            .finish()
    }
}

/// What became of a step that was cut off.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled {
    /// It has happened, and this is its result.
    Done(Value),
    /// It has not happened and may be done now.
    NotDone,
    /// Nobody knows: a person has to say.
    Unknown,
}
