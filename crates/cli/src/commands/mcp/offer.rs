//! What `plumb mcp` serves: agents, each a tool whose call is a run, and the library.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent::act::{Acted, Progress as Acting};
use agent::{Input, Kind, Pinned};
use anyhow::{Result, bail};
use futures::future::BoxFuture;
use journal::{Journal, NewRun, Outcome, Run};
use knowledge::Library;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Asks, Context, Effect, Error, Function, Limits, Progress, Spec, Told, Tool, Wanted};

use crate::commands::agents::{self, Workshop};

/// How long a run may take for which a client waits; an agent's own limits come before.
const LONGEST_RUN: Duration = Duration::from_secs(3_600);

/// The longest answer of an agent, in bytes.
const ANSWER_BYTES: usize = 200_000;

/// Passages that are read around the one that is asked for, at most.
const MOST_AROUND: u32 = 5;

/// The files of agents below these paths: files as they are named, and those of folders that end in `.md`.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            // A folder may hold other things; what begins with front matter is meant to be an agent.
            let is_agent = file.extension().is_some_and(|ending| ending == "md")
                && std::fs::read_to_string(&file).is_ok_and(|text| text.starts_with("---"));
            if is_agent {
                found.push(file);
            }
        }
        if found.is_empty() {
            bail!(
                "there is no agent in {}\nhint: plumb new agent NAME begins one",
                path.display()
            );
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// An agent as a tool. Each call is a run.
pub struct AgentTool {
    workshop: Workshop,
    journal: Journal,
    pinned: Pinned,
    name: String,
    input: Input,
    spec: Spec,
}

/// What an agent is asked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Task {
    /// What the agent is to work on, with all it has to know: it sees nothing else. Where it is not given, the
    /// agent does what it is there for.
    #[serde(default = "begin")]
    input: String,
}

fn begin() -> String {
    "Begin.".to_owned()
}

/// A run that waits for answers.
#[derive(Serialize, Deserialize)]
struct Waits {
    run: String,
}

/// The worst effect of an agent's tools and of the agents that it calls.
fn worst(agent: &agent::Agent) -> Effect {
    let own = agent.acting.tools.iter().map(|tool| tool.spec().effect);
    let others = agent.acting.team.iter().map(|member| worst(&member.agent));
    own.chain(others).fold(Effect::Read, worse)
}

impl AgentTool {
    /// Reads an agent's file, and checks that it can be run.
    pub fn new(
        workshop: &Workshop,
        journal: &Journal,
        file: &std::path::Path,
        model: Option<String>,
    ) -> Result<AgentTool> {
        let pinned = Pinned::read_in(file, Some(workshop.root()))?;
        let pinned = pinned.with_servers(workshop.servers())?;
        let definition = pinned.definition()?;
        let input = Input {
            kind: Kind::Run,
            text: String::new(),
            user: None,
            review_plan: false,
            attachments: Vec::new(),
            model: workshop.model_name(model, &pinned)?,
            folder: agents::folder_of(file)?,
        };
        let agent = workshop.agent(journal, &pinned, &input)?;
        let about = definition.description.clone();
        let about = about.unwrap_or_else(|| format!("The agent {}.", definition.name));
        let spec = Spec {
            // An agent does to the world what the worst of its tools does.
            effect: worst(&agent),
            limits: Limits {
                time: LONGEST_RUN,
                answer_bytes: ANSWER_BYTES,
            },
            ..Spec::of::<Task>(&definition.name, &about)
        };
        Ok(AgentTool {
            workshop: workshop.clone(),
            journal: journal.clone(),
            name: definition.name,
            pinned,
            input,
            spec,
        })
    }

    /// A new run, or one that waited and has been answered.
    async fn begin(&self, arguments: Value, told: Option<&Told>) -> tool::Result<Run> {
        let Some(told) = told else {
            let task: Task = serde_json::from_value(arguments)?;
            let input = Input {
                text: task.input,
                ..self.input.clone()
            };
            let mut new = NewRun::new(&self.name, serde_json::to_value(&input)?);
            new.definition = self.pinned.to_text();
            new.budget = self.pinned.definition()?.budget;
            return Ok(self.journal.start(new).await?);
        };
        let waits = Waits::deserialize(&told.state)?;
        for (path, answer) in &told.answers {
            let by = "an MCP client";
            self.journal
                .answer(&waits.run, path, answer.clone(), by)
                .await?;
        }
        Ok(self.journal.resume(&waits.run).await?)
    }

    async fn work(&self, run: Run, context: &Context) -> tool::Result<Value> {
        let id = run.id().to_string();
        let pinned = Pinned::from_text(run.definition())?;
        let input = Input::of(&id, run.input())?;
        let failed = |error: anyhow::Error| Error::Failed(format!("run {id}: {error:#}"));
        let mut agent = self
            .workshop
            .agent(&self.journal, &pinned, &input)
            .map_err(failed)?;
        agent.acting.watch = told_to(context);
        let mut abandoned = Abandoned {
            journal: self.journal.clone(),
            run: Some(id.clone()),
        };
        let outcome = run
            .execute(|run| async move { agent.workflow(run).await })
            .await;
        abandoned.run = None;
        match outcome? {
            Outcome::Finished(output) => {
                let acted = Acted::deserialize(&output)?;
                Ok(acted.text.into())
            }
            Outcome::Parked(reason) => Err(self.waits(&id, &reason).await?),
            Outcome::Failed(reason) | Outcome::Cancelled(reason) => {
                Err(Error::Failed(format!("run {id} failed: {reason}")))
            }
        }
    }

    /// What is asked of a person; where it is something else, it is said.
    async fn waits(&self, id: &str, reason: &str) -> tool::Result<Error> {
        let open = self.journal.questions(Some(id)).await?;
        if open.is_empty() {
            return Ok(Error::Failed(format!(
                "run {id} waits: {reason}; plumb resume {id} goes on with it"
            )));
        }
        let questions = open.into_iter().map(|question| {
            let wanted = Wanted {
                text: question.text,
                schema: question.schema,
            };
            (question.path, wanted)
        });
        Ok(Error::Asks(Box::new(Asks {
            questions: questions.collect(),
            state: json!(Waits { run: id.to_owned() }),
            at: String::new(),
        })))
    }
}

impl Tool for AgentTool {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn call(&self, arguments: Value, context: Context) -> BoxFuture<'_, tool::Result<Value>> {
        Box::pin(async move {
            let run = self.begin(arguments, context.told()).await?;
            self.work(run, &context).await
        })
    }
}

/// Cancels a run whose client no longer waits for it.
struct Abandoned {
    journal: Journal,
    run: Option<String>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let (Some(run), Ok(runtime)) = (self.run.take(), tokio::runtime::Handle::try_current()) {
            let journal = self.journal.clone();
            runtime.spawn(async move {
                let cancelled = journal.cancel(&run, "cancelled by the MCP client").await;
                if let Err(error) = cancelled {
                    tracing::warn!(run, %error, "the run cannot be cancelled");
                }
            });
        }
    }
}

/// Tells a client which tools an agent calls, and that its model has answered.
fn told_to(context: &Context) -> agent::act::Watch {
    let (context, count) = (context.clone(), AtomicU32::new(0));
    Arc::new(move |progress| {
        let line = match &progress {
            Acting::Answered { .. } => Some("the model has answered".to_owned()),
            other => agents::line(other),
        };
        if let Some(line) = line {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            context.progress(Progress::said(f64::from(number), &line));
        }
    })
}

fn worse(one: Effect, other: Effect) -> Effect {
    let rank = |effect| match effect {
        Effect::Pure => 0,
        Effect::Read => 1,
        Effect::Idempotent => 2,
        Effect::Irreversible => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// Which passage.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The passage's id, as the search gives it.
    id: String,
    /// How many passages before and after it as well, 5 at most.
    #[serde(default)]
    around: u32,
}

/// What to look for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// The whole question, in the words of who asks it.
    question: String,
    /// How many passages, 20 at most; 5 where it is not given.
    #[serde(default = "five")]
    limit: u32,
}

fn five() -> u32 {
    5
}

#[derive(Serialize)]
struct Found {
    id: String,
    file: String,
    title: String,
    headings: Vec<String>,
    text: String,
}

impl From<knowledge::Passage> for Found {
    fn from(passage: knowledge::Passage) -> Found {
        Found {
            id: passage.id,
            file: passage.file,
            title: passage.title,
            headings: passage.headings,
            text: knowledge::marks::plain(&passage.text),
        }
    }
}

/// The tools of the library: search, and read a passage in its surroundings.
pub fn library(library: &Library) -> [Arc<dyn Tool>; 2] {
    let own = library.clone();
    let search = Function::new(
        "library.search",
        "Searches the documents and gives the passages that fit best, each with its id and its file.",
        move |search: Search, _| {
            blocking(own.clone(), move |library| {
                let options = knowledge::SearchOptions {
                    limit: search.limit.clamp(1, 20) as usize,
                    ..knowledge::SearchOptions::default()
                };
                let hits = library.search(&search.question, &options)?;
                Ok(hits
                    .into_iter()
                    .map(|hit| Found::from(hit.passage))
                    .collect::<Vec<_>>())
            })
        },
    );
    let own = library.clone();
    let read = Function::new(
        "library.read",
        "Reads a passage of the documents by its id, with those around it.",
        move |which: Which, _| {
            blocking(own.clone(), move |library| {
                let around = which.around.min(MOST_AROUND);
                let passages = library.around(&which.id, around, around)?;
                Ok(passages.into_iter().map(Found::from).collect::<Vec<_>>())
            })
        },
    );
    [
        Arc::new(search.effect(Effect::Read)),
        Arc::new(read.effect(Effect::Read)),
    ]
}

async fn blocking<T: Send + 'static>(
    library: Library,
    work: impl FnOnce(&Library) -> knowledge::Result<T> + Send + 'static,
) -> tool::Result<T> {
    let done = tokio::task::spawn_blocking(move || work(&library)).await?;
    Ok(done?)
}
