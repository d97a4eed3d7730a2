//! Forks: new runs that share the first steps of another one and are live from there.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Journal, start_row};
use crate::budget::Budget;
use crate::records::RunId;
use crate::run::is_about_limit;
use crate::run::{ForkTerms, Run};
use crate::store::{Begin, Outcome, Reader, Recorded};
use crate::{Error, Result};

/// What a fork changes.
#[derive(Clone, Debug, Default)]
pub struct Fork {
    /// The fork's id, when the caller wants to choose it.
    pub id: Option<String>,
    /// The step from which on the fork is live. What had ended before this step began is shared. None:
    /// nothing is shared.
    pub at: Option<String>,
    /// Fields of the input to be replaced, by their name; a dot goes into an object: `search.limit`.
    pub set: Map<String, Value>,
    /// Steps whose result is to be another one, by their address.
    pub answers: Map<String, Value>,
    /// Another definition.
    pub definition: Option<String>,
    /// Whether steps that read, after the fork point, are answered from the recording when they ask
    /// the same as was asked then.
    pub reuse: bool,
    /// Whether steps that write with a key are done for real. Irreversible ones never are.
    pub live: bool,
    /// Limits of the fork.
    pub budget: Budget,
}

impl Fork {
    /// Changes an input as the fork will.
    pub fn apply_to(&self, input: &mut Value) {
        for (name, value) in &self.set {
            set(input, name, value.clone());
        }
    }
}

impl Journal {
    /// Makes a fork of a run and takes it up: its first steps are those of the other run, without a
    /// copy, and from the step [`Fork::at`] on it is live.
    ///
    /// In a fork, steps that write to the world are not done: they are answered with what was recorded
    /// for them (marked `reused`, or `drift` when the code now asks something else), or else the fork
    /// parks until somebody says what to take for their result ([`Journal::settle`]).
    ///
    /// Errors: as [`Journal::resume`], [`Error::NoStep`], [`Error::Exists`], [`Error::Question`] for an
    /// answer to the question about a limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), journal::Error> {
    /// use journal::{Effect, Fork, Journal, NewRun, Run};
    ///
    /// async fn greet(run: &Run) -> Result<String, journal::Error> {
    ///     let name: String =
    ///         run.step("look up", Effect::Read, &7, |_| async { Ok("Ada".to_string()) }).await?;
    ///     let polite = run.input()["polite"] == true;
    ///     run.step("write", Effect::Read, &(name, polite), |_| async move {
    ///         Ok(if polite { "Good day, Ada" } else { "Hi, Ada" }.to_string())
    ///     })
    ///     .await
    /// }
    ///
    /// let journal = Journal::in_memory()?;
    /// let run = journal.start(NewRun::new("greeter", serde_json::json!({"polite": false}))).await?;
    /// assert_eq!(greet(&run).await?, "Hi, Ada");
    /// let mut changes = Fork { at: Some("write[0]".to_string()), ..Fork::default() };
    /// changes.set.insert("polite".to_string(), true.into());
    /// let fork = journal.fork(run.id().as_str(), changes).await?;
    /// assert_eq!(greet(&fork).await?, "Good day, Ada");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn fork(&self, id: &str, fork: Fork) -> Result<Run> {
        if let Some(path) = fork.answers.keys().find(|path| is_about_limit(path)) {
            return Err(Error::Question {
                path: path.clone(),
                message: "a fork has limits of its own, which are set when it is made".to_string(),
            });
        }
        let chosen = fork.id.as_deref().map(RunId::parse).transpose()?;
        let (asked, at) = (id.to_string(), fork.at.clone());
        let (source, forked, given) = self
            .store
            .read(move |reader| {
                let (key, id) = reader.find(&asked)?;
                let forked = match &at {
                    None => (key, reader.started_seq(key)?),
                    Some(path) => reader
                        .beginning_of(key, path)?
                        .ok_or_else(|| Error::NoStep {
                            run: id.to_string(),
                            path: path.clone(),
                        })?,
                };
                Ok((
                    reader.run(key)?,
                    forked,
                    given_before(reader, key, &id, forked)?,
                ))
            })
            .await?;
        let mut input = source.input;
        fork.apply_to(&mut input);
        let definition = fork.definition.unwrap_or(source.definition);
        let mut body = Map::new();
        body.insert("agent".to_string(), source.agent.as_str().into());
        let definition = self.secrets.text(&definition);
        body.insert("definition".to_string(), definition.into());
        body.insert("input".to_string(), self.secrets.value(input));
        let mut terms = Map::new();
        terms.insert("run".to_string(), source.id.as_str().into());
        terms.insert("at".to_string(), fork.at.into());
        terms.insert("reuse".to_string(), fork.reuse.into());
        terms.insert("live".to_string(), fork.live.into());
        let mut answers = given;
        answers.extend(fork.answers);
        let answers = self.secrets.value(answers.into());
        terms.insert("answers".to_string(), answers);
        body.insert("fork".to_string(), terms.into());
        if !fork.budget.is_unlimited() {
            let budget = serde_json::to_value(fork.budget).unwrap_or_default();
            body.insert("budget".to_string(), budget);
        }
        let (event, nodes) = start_row(&body)?;
        let id = chosen.unwrap_or_else(|| RunId::generate(self.store.clock().now_ms()));
        let begin = Begin {
            id: id.clone(),
            agent: source.agent,
            token: None,
            event,
            nodes: Default::default(),
            budget: fork.budget,
            parent: None,
            forked: Some((forked.0, forked.1, source.id)),
        };
        self.store.begin(begin, nodes).await?;
        self.resume(id.as_str()).await
    }
}

/// The answers that a run, itself a fork, was given to steps before the fork point, when that lies in
/// what it shares: then they are not among the events that its own fork shares.
fn given_before(
    reader: &Reader<'_>,
    key: i64,
    id: &RunId,
    (begun_in, seq): (i64, i64),
) -> Result<Map<String, Value>> {
    if begun_in == key {
        return Ok(Map::new());
    }
    let Some(Value::Object(mut terms)) = reader.start_field(key, id, "fork")? else {
        return Ok(Map::new());
    };
    let Some(Value::Object(answers)) = terms.remove("answers") else {
        return Ok(Map::new());
    };
    let mut before = Map::new();
    for (path, answer) in answers {
        let begun = reader.beginning_of(begun_in, &path)?;
        if begun.is_some_and(|(run, at)| run != begun_in || at < seq) {
            before.insert(path, answer);
        }
    }
    Ok(before)
}

/// Replaces a field, going into objects at dots.
fn set(value: &mut Value, name: &str, new: Value) {
    if !value.is_object() {
        *value = Map::new().into();
    }
    let Value::Object(fields) = value else {
        return;
    };
    match name.split_once('.') {
        None => {
            fields.insert(name.to_string(), new);
        }
        Some((first, rest)) => set(fields.entry(first).or_insert(Value::Null), rest, new),
    }
}

/// What a run that is a fork was started with, and what its source recorded beyond what is shared.
pub(super) fn terms(
    reader: &Reader<'_>,
    key: i64,
    id: &RunId,
    recorded: &[(String, Recorded)],
) -> Result<Option<ForkTerms>> {
    let Some(Value::Object(mut body)) = reader.start_field(key, id, "fork")? else {
        return Ok(None);
    };
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let mut terms = ForkTerms {
        at: text(body.remove("at")),
        reuse: body.get("reuse") == Some(&Value::Bool(true)),
        live: body.get("live") == Some(&Value::Bool(true)),
        ..ForkTerms::default()
    };
    if let Some(Value::Object(answers)) = body.remove("answers") {
        terms.given = answers;
    }
    let Some(source) = text(body.remove("run")) else {
        return Ok(Some(terms));
    };
    let source = RunId::parse(&source)?;
    // When it has been deleted since, there is nothing to reuse.
    if let Some(key) = reader.key_of(&source)? {
        let ended = |step: &Recorded| !matches!(step.outcome, Outcome::Open);
        let known = recorded.iter().filter(|(_, step)| ended(step));
        let known: HashSet<&String> = known.map(|(path, _)| path).collect();
        let beyond = reader.recorded(key, &source)?.steps;
        terms.beyond = beyond
            .into_iter()
            .filter(|(path, _)| !known.contains(path))
            .collect();
        terms.source = Some(source);
    }
    Ok(Some(terms))
}
