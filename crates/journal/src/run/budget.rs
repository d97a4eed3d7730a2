//! An exhausted budget: the run asks whether to raise it, and waits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Run;
use super::perform::Asked;
use super::question::{Question, Raises};
use crate::records::{Effect, StepKind};
use crate::{Dimension, Error, Result, fingerprint};

impl Run {
    /// Whether the run or one of its ancestors has a limit of this kind. For a step's work that cannot
    /// say what it costs: it had better not begin then.
    ///
    /// A limit is never taken away from a run, but a fork has limits of its own; so ask in the work of
    /// a step, and let nothing that is recorded depend on it.
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Budget, Dimension, Journal, NewRun};
    ///
    /// # let journal = Journal::in_memory()?;
    /// let mut new = NewRun::new("writer", ().into());
    /// new.budget = Budget { tokens: Some(1_000), ..Budget::default() };
    /// let run = journal.start(new).await?;
    /// assert!(run.is_limited(Dimension::Tokens).await?);
    /// assert!(!run.is_limited(Dimension::Money).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn is_limited(&self, dimension: Dimension) -> Result<bool> {
        let id = self.id().to_string();
        self.shared
            .store
            .read(move |reader| {
                let (key, _) = reader.find(&id)?;
                for ledger in reader.ledgers(key)? {
                    let spending = reader.spending(ledger)?;
                    if spending.iter().any(|row| row.dimension == dimension) {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
            .await
    }

    /// What is left of each limit of the run and its ancestors, the least of each kind. It is another one at
    /// another time, so ask in the work of a step.
    pub async fn left(&self) -> Result<BTreeMap<Dimension, u64>> {
        let id = self.id().to_string();
        self.shared
            .store
            .read(move |reader| {
                let (key, _) = reader.find(&id)?;
                let mut left = BTreeMap::new();
                for ledger in reader.ledgers(key)? {
                    for row in reader.spending(ledger)? {
                        let here = row.most.saturating_sub(row.spent + row.reserved);
                        let least = left.entry(row.dimension).or_insert(here);
                        *least = here.min(*least);
                    }
                }
                Ok(left)
            })
            .await
    }

    /// Asks for a higher limit. Comes back when it has been raised, with an error when somebody said
    /// that it is not to be.
    ///
    /// The address says which limit was reached, `budget/tokens[1000]`, so branches that run into the
    /// same limit side by side ask one question, and the next limit asks another.
    pub(super) async fn ask_to_raise(
        &self,
        owner: &str,
        dimension: Dimension,
        [most, used, asked]: [u64; 3],
    ) -> Result<()> {
        let least = used.saturating_add(asked);
        let unit = dimension.unit();
        let question = Question {
            text: format!(
                "The budget is exhausted: {used} of {most} {unit} are used or set aside, and the \
                 step needs {asked} more. Raise the limit to how many {unit}? (null: stop here)"
            ),
            // The least amount is said in the text only: it may be another one on a resume.
            schema: json!({"type": ["integer", "null"], "exclusiveMinimum": most}),
            default: None,
            expires_after_ms: None,
            raises: Some(Raises {
                run: owner.to_string(),
                dimension,
            }),
        };
        // The step that asks is not at work meanwhile.
        let _idle = self.shared.activity.idle();
        // One branch asks; the others wait for it and then try again.
        let mut answers = self.shared.raises.lock().await;
        if self.has_room(owner, dimension, least).await? {
            return Ok(());
        }
        let path = if owner == self.id().as_str() {
            format!("budget/{dimension}[{most}]")
        } else {
            format!("budget/{owner}/{dimension}[{most}]")
        };
        let input = serde_json::to_value(&question).unwrap_or_default();
        // Numbers in the text may differ on a resume, the question is the same.
        let fingerprint = fingerprint::fingerprint(&json!([owner, dimension, most]), &[]);
        let asked_question = Asked {
            fingerprint: fingerprint.map_err(|error| Error::Serialise {
                path: path.clone(),
                what: "input",
                message: error.to_string(),
            })?,
            path,
            kind: StepKind::Question,
            effect: Effect::Read,
            input: input.into(),
            lists: Vec::new(),
        };
        let path = asked_question.path.clone();
        let answer = match answers.get(&path) {
            Some(answer) => answer.clone(),
            None => self.ask_at(&asked_question, &question).await?,
        };
        answers.insert(path, answer.clone());
        match answer {
            Value::Null => Err(Error::OverBudget {
                run: owner.to_string(),
                dimension,
                most,
                used,
                asked,
            }),
            _ => Ok(()),
        }
    }

    /// Whether a limit has been raised meanwhile so far that this much fits.
    async fn has_room(&self, owner: &str, dimension: Dimension, least: u64) -> Result<bool> {
        let owner = owner.to_string();
        self.shared
            .store
            .read(move |reader| {
                let (key, _) = reader.find(&owner)?;
                let spending = reader.spending(key)?;
                let mut of = spending.iter().filter(|row| row.dimension == dimension);
                Ok(of.all(|row| row.most >= least))
            })
            .await
    }
}

/// Whether an address is that of a question about a limit.
pub(crate) fn is_about_limit(path: &str) -> bool {
    path.starts_with("budget/")
}
