//! The tools with which an agent writes and searches its memory while it works.

use std::sync::Arc;

use knowledge::memory::{Filter, Memory, MemoryKind, NewEntry, Outcome, Saved, Source, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::{Context, Effect, Function, Tool};

use super::grounds::Grounds;
use super::{Remembering, dates, now_ms, said};

/// What is to be remembered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Save {
    /// Who or what it is about: user, or a name.
    subject: String,
    /// Which property, in a few words, such as favourite colour. The same property replaces what was known of it.
    attribute: String,
    /// What is so, such as green.
    value: String,
    /// Only where the user names a day: from which on it is so, as YYYY-MM-DD.
    since: Option<String>,
    /// Only where the user names a day: until which it is so, as YYYY-MM-DD.
    until: Option<String>,
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// What is wanted, in a few words.
    question: String,
}

/// An instruction for later runs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Propose {
    /// What it is about, in a few words, such as refunds.
    topic: String,
    /// The instruction, in a sentence.
    instruction: String,
}

/// An entry as a model reads it.
#[derive(Serialize)]
struct Found {
    about: String,
    text: String,
    /// Who said so.
    said: &'static str,
    since: String,
}

/// What the tools of one turn know.
#[derive(Clone)]
struct Desk {
    with: Remembering,
    run: String,
    view: View,
    grounds: Arc<Grounds>,
    /// What the user has said, for the days in it.
    said: guard::grounds::Grounds,
}

impl Remembering {
    /// The tools of a turn: what they read is read from `view`, and `said` is what the user has said.
    pub(crate) fn tools(&self, run: &str, view: &View, said: &[String]) -> Vec<Arc<dyn Tool>> {
        let mut spoken = guard::grounds::Grounds::default();
        said.iter().for_each(|text| spoken.add(text));
        let desk = Desk {
            with: self.clone(),
            run: run.to_owned(),
            view: view.clone(),
            said: spoken,
            grounds: Arc::new(Grounds::new(said.iter().map(String::as_str), [])),
        };
        let mut tools: Vec<Arc<dyn Tool>> = Vec::new();
        if self.kinds.contains(&MemoryKind::Semantic) {
            tools.push(desk.clone().save());
        }
        if self.kinds.contains(&MemoryKind::Procedural) {
            tools.push(desk.clone().propose());
        }
        if !tools.is_empty() || self.kinds.contains(&MemoryKind::Episodic) {
            tools.push(desk.search());
        }
        tools
    }
}

impl Desk {
    fn save(self) -> Arc<dyn Tool> {
        let save = Function::new(
            "memory.save",
            "Remembers a fact for later conversations, such as what the user likes or where they live.",
            move |save: Save, context: Context| {
                let desk = self.clone();
                async move {
                    let (subject, attribute) = (&save.subject, &save.attribute);
                    let new = NewEntry {
                        valid_from_ms: desk.day(save.since.as_deref()),
                        valid_to_ms: desk.day(save.until.as_deref()),
                        ..desk.entry(MemoryKind::Semantic, subject, attribute, &save.value)
                    };
                    let days = [
                        (&save.since, new.valid_from_ms),
                        (&save.until, new.valid_to_ms),
                    ];
                    let left_out = days.map(|(said, kept)| left_out(said.as_deref(), kept));
                    let told = desk.write(new, &context).await?;
                    Ok(told + &left_out.concat())
                }
            },
        );
        let mut save = stays_here(save);
        save.spec.judges = vec!["since".to_owned(), "until".to_owned()];
        Arc::new(save)
    }

    fn propose(self) -> Arc<dyn Tool> {
        let propose = Function::new(
            "memory.propose",
            "Proposes an instruction for later conversations. It counts once a person has accepted it.",
            move |propose: Propose, context: Context| {
                let desk = self.clone();
                async move {
                    let Propose { topic, instruction } = propose;
                    let new =
                        desk.entry(MemoryKind::Procedural, "instructions", &topic, &instruction);
                    desk.write(new, &context).await
                }
            },
        );
        Arc::new(stays_here(propose))
    }

    fn search(self) -> Arc<dyn Tool> {
        let search = Function::new(
            "memory.search",
            "Searches what is remembered from earlier conversations.",
            move |search: Search, _: Context| {
                let desk = self.clone();
                async move { on_the_side(move || desk.find(&search.question)).await }
            },
        );
        Arc::new(search.effect(Effect::Read))
    }

    fn entry(&self, kind: MemoryKind, subject: &str, attribute: &str, text: &str) -> NewEntry {
        NewEntry {
            scope: self.with.scope.clone(),
            kind,
            subject: subject.to_owned(),
            attribute: attribute.to_owned(),
            text: text.to_owned(),
            source: Source {
                said_by: self.grounds.who(text),
                run: Some(self.run.clone()),
                step: None,
            },
            valid_from_ms: None,
            valid_to_ms: None,
            key: None,
        }
    }

    /// From or until when a fact holds. A day that the user has not said is left out: small models make one up, and the
    /// fact is worth more than its day.
    fn day(&self, text: Option<&str>) -> Option<i64> {
        let text = text?.trim();
        let begins = dates::begin_ms(text)?;
        let is_said = |text: &str| self.said.invented(&text.into(), &Value::Null).is_empty();
        // Who says "since 2019" may be understood as the first of January.
        let year = text.strip_suffix("-01-01");
        let is_today = text == dates::day(now_ms());
        (is_today || is_said(text) || year.is_some_and(is_said)).then_some(begins)
    }

    /// Writes with the step's key: tried again, it is done once.
    async fn write(self, new: NewEntry, context: &Context) -> tool::Result<String> {
        let mut new = NewEntry {
            key: Some(context.key().to_owned()),
            ..new
        };
        new.source.step = context.step().map(str::to_owned);
        let memory: Memory = self.with.memory;
        let saved = on_the_side(move || memory.save(&new, now_ms())).await?;
        Ok(told(&saved))
    }

    fn find(&self, question: &str) -> knowledge::Result<Vec<Found>> {
        let filter = Filter {
            scope: Some(self.with.scope.clone()),
            kinds: self.with.kinds.clone(),
            view: None,
        };
        let found = self
            .with
            .memory
            .search(question, super::FACTS, &filter, &self.view)?;
        let found = found.iter().map(|entry| Found {
            about: format!("{}, {}", entry.subject, entry.attribute),
            text: entry.text.clone(),
            said: said(entry),
            since: dates::day(entry.valid_from_ms),
        });
        Ok(found.collect())
    }
}

/// It writes to this machine alone, and answers in words of its own.
fn stays_here(tool: Function) -> Function {
    let tool = tool.effect(Effect::Idempotent).sends_out(false);
    tool.source(tool::Source::Computed)
}

/// What became of it, for a model.
fn told(saved: &Saved) -> String {
    match (saved.outcome, saved.supersedes.is_empty()) {
        (Outcome::Saved, true) => "It is remembered.",
        (Outcome::Saved, false) => "It is remembered in place of what was known before.",
        (Outcome::Known, _) => "That was known already.",
        (Outcome::Refused, _) => "A person has refused that before.",
        (Outcome::Proposed, _) => "A person will be asked whether that is to count.",
    }
    .to_owned()
}

/// What a model is told of a day that was not kept.
fn left_out(said: Option<&str>, kept: Option<i64>) -> String {
    match said.map(str::trim).filter(|said| !said.is_empty()) {
        Some(said) if kept.is_none() => {
            format!(" The day `{said}` was left out: the user has not named it.")
        }
        Some(_) | None => String::new(),
    }
}

/// What the caller got wrong is for the model to know; a memory out of reach is no answer.
async fn on_the_side<T: Send + 'static>(
    work: impl FnOnce() -> knowledge::Result<T> + Send + 'static,
) -> tool::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(knowledge::Error::Memory { message, .. })) => Err(tool::Error::Failed(message)),
        Ok(Err(error)) => Err(tool::Error::Unavailable(error.to_string())),
        Err(error) => Err(tool::Error::Unavailable(error.to_string())),
    }
}
