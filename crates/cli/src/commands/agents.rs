//! Agents from files: how they are put together, and one run of them. What `plumb run`, `plumb chat`,
//! `plumb resume`, `plumb fork` and `plumb replay` share.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use agent::act::{Acted, Acting, End, Progress};
use agent::chat::{Chat, Ended, Event};
use agent::code::Interpreter;
use agent::memory::{Learner, Lessons};
use agent::{Agent, Input, Kind, Kit, Lazy, OpenModel, Pinned, Way};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, Outcome, Run, RunRecord};
use model::{Model, Models};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tool::mcp::Servers;

use crate::commands::chat::markdown::{self, Look};
use crate::commands::{asking, memory, models, people, research};
use crate::project::{Project, write_whole};
use crate::view;

/// The hidden command that runs one program of the pattern `code`, for another process of this one.
pub const PYTHON_WORKER: &str = "python-worker";

/// What agents are put together from.
#[derive(Clone)]
pub struct Workshop {
    project: Project,
    models: Models,
    opened: Arc<Mutex<HashMap<String, Arc<Lazy>>>>,
    servers: Servers,
    as_of_ms: Option<i64>,
}

impl Workshop {
    pub fn new(project: &Project, models: Models) -> Workshop {
        Workshop {
            project: project.clone(),
            models,
            opened: Arc::default(),
            servers: project.servers(),
            as_of_ms: None,
        }
    }

    /// The same for a run: in a fork, memories are seen as they were at the fork point.
    pub async fn within(&self, journal: &Journal, run: &Run) -> Result<Workshop> {
        let record = journal.run(run.id().as_str()).await?;
        Ok(Workshop {
            as_of_ms: forked_at_ms(journal, &record).await?,
            ..self.clone()
        })
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        self.project.root()
    }

    /// The project's MCP servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The model of a name, which is opened when it is first asked, and only once.
    pub fn model(&self, name: &str) -> Arc<Lazy> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let lazy = || {
            let models = self.models.clone();
            let open: OpenModel = Arc::new(move |name: &str| models.open(name));
            Arc::new(Lazy::new(name, open))
        };
        Arc::clone(opened.entry(name.to_owned()).or_insert_with(lazy))
    }

    /// The model that an agent runs on: the one asked for, else its own, else this machine's.
    pub fn model_name(&self, asked: Option<String>, pinned: &Pinned) -> Result<String> {
        let own = pinned.definition()?.models.join(",");
        match asked {
            Some(name) => Ok(name),
            None if own.is_empty() => Ok(self.models.default_name()?),
            None => Ok(own),
        }
    }

    /// Whether there is a model of this name, on this machine or elsewhere. None is opened and nobody asked.
    pub fn knows(&self, name: &str) -> Result<()> {
        match name.split_once(':') {
            Some(("local", path)) if path.contains(".gguf") => Ok(()),
            // Which adapters lie beside a model is seen where it is opened.
            Some(("local", _)) => {
                let base = name.split_once('+').map_or(name, |(base, _)| base);
                Ok(model::catalogue::find(base).map(drop)?)
            }
            Some((provider, model)) if !model.is_empty() => {
                let providers = self.models.providers();
                if providers.iter().any(|known| known.name == provider) {
                    return Ok(());
                }
                let names = providers.iter().map(|known| known.name.as_str());
                let names: Vec<&str> = names.collect();
                bail!(
                    "there is no provider `{provider}`\nhint: there are local, {}",
                    names.join(", ")
                )
            }
            _ => bail!("`{name}` is no model\nhint: write PROVIDER:NAME; plumb models lists them"),
        }
    }

    pub fn kit(&self, folder: &Path) -> Kit {
        let (project, remembers) = (self.project.clone(), self.project.clone());
        Kit {
            folder: folder.to_owned(),
            user: None,
            as_of_ms: self.as_of_ms,
            model: {
                let workshop = self.clone();
                Arc::new(move |name| workshop.model(name))
            },
            memory: Arc::new(move || {
                let memory = remembers.memory(models::embedding_files());
                memory.map_err(|error| format!("{error:#}"))
            }),
            library: Arc::new(move || {
                let library = project.library(models::embedding_files());
                library.map_err(|error| format!("{error:#}"))
            }),
            interpreter: interpreter(),
            servers: self.servers.clone(),
            pinned: tool::mcp::Pinned::new(),
        }
    }

    /// The agent that a run has pinned. Its secrets are kept out of the journal.
    pub fn agent(&self, journal: &Journal, pinned: &Pinned, input: &Input) -> Result<Agent> {
        let kit = self.kit_for(input);
        let mut agent = Agent::of(pinned, self.model(&input.model), &kit)?;
        if let Way::Plan(plans) = &mut agent.way {
            plans.asks |= input.review_plan;
        }
        keep_out(journal, &agent)?;
        Ok(agent)
    }
}

impl Workshop {
    /// What the tools of a run stand on.
    fn kit_for(&self, input: &Input) -> Kit {
        Kit {
            user: input.user.clone(),
            ..self.kit(&input.folder)
        }
    }

    /// What learns from the run `of`.
    pub fn learner(&self, journal: &Journal, of: &RunRecord, input: &Input) -> Result<Learner> {
        let pinned = Pinned::from_text(&of.definition)?;
        let kit = self.kit_for(input);
        let Some(remembering) = kit.remembering(&pinned.definition()?)? else {
            bail!(
                "the agent of run {} has no memory\nhint: memory: [semantic] in its file gives it one",
                of.id
            );
        };
        Ok(Learner {
            remembering,
            acting: Acting::new(self.model(&input.model)),
            journal: journal.clone(),
        })
    }
}

/// The time of a fork's point, as of which it sees the memory; none where the run is no fork.
async fn forked_at_ms(journal: &Journal, record: &RunRecord) -> Result<Option<i64>> {
    let mut record = record.clone();
    let mut at_ms = None;
    // A fork of a fork sees no more than the first one did.
    while let Some(from) = record.forked_from {
        let source = journal.run(from.run.as_str()).await?;
        let steps = journal.outline(&source.id).await?;
        let step = steps
            .iter()
            .find(|step| Some(&step.path) == from.at.as_ref());
        at_ms = Some(step.map_or(source.created_ms, |step| step.started_ms));
        record = source;
    }
    Ok(at_ms)
}

/// Keeps the secrets of an agent, and of those that it calls, out of the journal.
fn keep_out(journal: &Journal, agent: &Agent) -> Result<()> {
    for secret in agent.acting.secrets.values() {
        journal.add_secret(secret).context("a secret of a tool")?;
    }
    let mut members = agent.acting.team.iter();
    members.try_for_each(|member| keep_out(journal, &member.agent))
}

/// Runs one program that comes on the standard input; what it says goes to the standard output.
pub fn python_worker() -> ExitCode {
    let input = std::io::BufReader::new(std::io::stdin());
    match agent::code::serve_program(input, std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => view::failed(&error.into()),
    }
}

/// What runs programs: this command in a process of its own, whose memory is bounded.
fn interpreter() -> Interpreter {
    match std::env::current_exe() {
        Ok(program) => Interpreter::Worker {
            program,
            arguments: vec![PYTHON_WORKER.to_owned()],
        },
        Err(_) => Interpreter::Here,
    }
}

/// The folder that paths in an agent's file are relative to, which a resume elsewhere finds as well.
pub fn folder_of(agent: &Path) -> Result<PathBuf> {
    let folder = match agent.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    folder
        .canonicalize()
        .with_context(|| format!("cannot read {}", folder.display()))
}

/// The input of a run of an agent; none where the run is of something else.
pub fn input_of(record: &RunRecord) -> Option<Input> {
    Input::of(record.id.as_str(), &record.input).ok()
}

/// How a run of an agent is shown.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub json: bool,
    pub out: &'a [PathBuf],
}

/// Works on a run until it has answered or waits, and prints its answer. Whoever sits at the terminal is asked
/// at once whether a call may be made.
pub async fn work(
    workshop: &Workshop,
    journal: &Journal,
    mut run: Run,
    shown: Shown<'_>,
) -> Result<ExitCode> {
    let id = run.id().to_string();
    let record = journal.run(&id).await?;
    let Some(input) = input_of(&record) else {
        bail!("run {id} is not of an agent");
    };
    if input.kind == Kind::Learn {
        return match memory::work(workshop, journal, &run).await? {
            Outcome::Finished(output) => memory::told(&serde_json::from_value(output)?, shown.json),
            other => bail!("run {id} has not ended: {other:?}\nhint: plumb resume {id}"),
        };
    }
    let pinned = Pinned::from_text(run.definition())?;
    loop {
        let working = work_once(workshop, journal, &pinned, &input, &run);
        let outcome = asking::watched(journal, &id, working).await?;
        drop(run);
        match outcome {
            Outcome::Finished(output) => {
                let code = deliver(&id, &pinned, &output, shown)?;
                let memory = pinned.definition()?.memory;
                if memory.is_some_and(|memory| memory.learn.after()) {
                    learned(workshop, journal, &id).await;
                }
                return Ok(code);
            }
            Outcome::Parked(_)
                if people::approve(journal, &id).await?
                    || asking::ask_open(journal, &id).await? =>
            {
                run = journal.resume(&id).await?;
            }
            Outcome::Parked(reason) => return waits(journal, &id, input.kind, &reason).await,
            Outcome::Failed(reason) | Outcome::Cancelled(reason) => {
                bail!("run {id} failed: {reason}")
            }
        }
    }
}

/// Works on a run until it has ended or only waits.
async fn work_once(
    workshop: &Workshop,
    journal: &Journal,
    pinned: &Pinned,
    input: &Input,
    run: &Run,
) -> Result<Outcome> {
    let workshop = &workshop.within(journal, run).await?;
    let mut agent = workshop.agent(journal, pinned, input)?;
    let interrupted = tokio::spawn(research::cancel_on_interrupt(run.clone()));
    let outcome = match input.kind {
        Kind::Run => {
            agent.acting.watch = Arc::new(|progress| say(&progress));
            run.execute(|run| async move { agent.workflow(run).await })
                .await
        }
        Kind::Chat | Kind::Learn => {
            let chat = conversation(workshop, agent);
            run.execute(|run| async move { chat.workflow(run).await })
                .await
        }
    };
    interrupted.abort();
    Ok(outcome?)
}

/// Says what a run waits for, and how to go on.
async fn waits(journal: &Journal, id: &str, kind: Kind, reason: &str) -> Result<ExitCode> {
    let questions = journal.questions(Some(id)).await?;
    if questions.is_empty() {
        view::say(reason);
    }
    for question in questions {
        view::say(people::shown(&question).trim_end());
    }
    view::say(&match kind {
        Kind::Run | Kind::Learn => format!("parked; go on with: plumb resume {id}"),
        Kind::Chat => format!("go on talking with: plumb chat --resume {id}"),
    });
    Ok(ExitCode::from(u8::from(kind == Kind::Run)))
}

/// Learns from a run that has been answered. What goes wrong there is said, and takes nothing from the answer.
pub async fn learned(workshop: &Workshop, journal: &Journal, id: &str) {
    let learned = async {
        let record = journal.run(id).await?;
        memory::learn(workshop, journal, &record, None).await
    };
    match learned.await {
        Ok(lessons) => drop(memory::told(&lessons, false)),
        Err(error) => {
            view::say(&format!(
                "note: nothing was learned from it (plumb memory learn {id})"
            ));
            view::failed(&error);
        }
    }
}

/// A conversation of which nobody watches more than the last answer.
fn conversation(workshop: &Workshop, agent: Agent) -> Chat {
    let models = workshop.clone();
    Chat {
        agent,
        model: Arc::new(move |name| models.model(name)),
        events: Arc::new(|_, event| match event {
            Event::Progress(progress) => say(&progress),
            Event::Said(_) | Event::Answered(_) => {}
            Event::Failed(error) => view::say(&format!("error: {error}")),
        }),
        stop: tokio_util::sync::CancellationToken::new(),
    }
}

/// Says which tools are called, and what they answer.
fn say(progress: &Progress) {
    if let Some(line) = line(progress) {
        view::say(&line);
    }
}

/// The most characters of arguments or of an answer in a line.
const LINE_CHARACTERS: usize = 100;

/// What goes on with tools, in a line.
pub fn line(progress: &Progress) -> Option<String> {
    let short = |text: &str| {
        let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = flat
            .chars()
            .filter(|c| !c.is_control())
            .take(LINE_CHARACTERS)
            .collect();
        if short.len() < flat.len() {
            format!("{short}…")
        } else {
            short
        }
    };
    match progress {
        Progress::Calling { tool, arguments } => {
            Some(format!("→ {tool} {}", short(&arguments.to_string())))
        }
        Progress::Called { tool, answer } => {
            let wrong = if answer.is_error() { "error: " } else { "" };
            Some(format!("← {tool} {wrong}{}", short(&answer.text())))
        }
        Progress::Working { tool, said } => Some(format!("… {tool} {}", short(said))),
        Progress::Piece(_) | Progress::Answered { .. } => None,
    }
}

/// Why an answer is not what it might be; none where the model simply answered.
pub fn remark(end: End) -> Option<&'static str> {
    match end {
        End::Answered => None,
        End::CutOff => Some("the answer reached its token limit (max_tokens)"),
        End::Withheld => Some("the provider held the answer back"),
        End::Stopped => Some("stopped"),
        End::Rounds => Some("the agent used up its rounds (limits: rounds)"),
        End::Loop => {
            Some("the agent went round: the same call got the same answer again and again")
        }
        End::WrongCalls => Some("the agent kept on calling its tools wrongly"),
    }
}

/// Prints what came of a run.
pub fn deliver(id: &str, pinned: &Pinned, output: &Value, shown: Shown<'_>) -> Result<ExitCode> {
    if let Ok(Ended { turns }) = Ended::deserialize(output) {
        view::say(&format!(
            "the conversation {id} has ended after {turns} turns"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    if let Ok(lessons) = Lessons::deserialize(output) {
        return memory::told(&lessons, shown.json);
    }
    let acted: Acted = serde_json::from_value(output.clone())
        .with_context(|| format!("run {id}: its output is not that of an agent"))?;
    if let Some(remark) = remark(acted.end) {
        view::say(&format!("note: {remark}"));
    }
    for sentence in &acted.unkept {
        view::say(&format!("note: no call did what is said here: {sentence}"));
    }
    for path in shown.out {
        write_whole(path, &acted.text)?;
        view::say(&format!("wrote {}", path.display()));
    }
    if shown.json {
        let mut value = json!({"run": id, "answer": acted.text, "end": acted.end,
            "rounds": acted.rounds, "calls": acted.calls});
        if pinned.output.is_some() {
            // What is not JSON, as after a cut, stays text.
            let parsed = serde_json::from_str(&acted.text);
            value["answer"] = parsed.unwrap_or_else(|_| Value::from(acted.text));
        }
        if !acted.unkept.is_empty() {
            value["unkept"] = json!(acted.unkept);
        }
        view::print_json(&value)?;
    } else {
        let is_terminal = std::io::stdout().is_terminal() && pinned.output.is_none();
        view::print(&match is_terminal {
            true => markdown::render(&acted.text, Look::of_terminal()),
            false => acted.text,
        })?;
        view::say(&format!("run {id}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks a run's code against its journal: no model is opened.
pub async fn replay(
    workshop: &Workshop,
    journal: &Journal,
    record: &RunRecord,
    input: &Input,
) -> journal::Result<Result<journal::Replay>> {
    let pinned = Pinned::from_text(&record.definition);
    let agent = pinned
        .map_err(anyhow::Error::from)
        .and_then(|pinned| workshop.agent(journal, &pinned, input));
    let agent = match agent {
        Ok(agent) => agent,
        Err(error) => return Ok(Err(error)),
    };
    let id = record.id.as_str();
    let replay = match input.kind {
        Kind::Run => {
            journal
                .replay(id, |run| async move { agent.workflow(run).await })
                .await
        }
        Kind::Learn => {
            let from = journal.run(&input.text).await?;
            let learner = match workshop.learner(journal, &from, input) {
                Ok(learner) => learner,
                Err(error) => return Ok(Err(error)),
            };
            journal
                .replay(id, |run| async move { learner.workflow(run).await })
                .await
        }
        Kind::Chat => {
            let mut chat = conversation(workshop, agent);
            chat.events = Arc::new(|_, _| ());
            journal
                .replay(id, |run| async move { chat.workflow(run).await })
                .await
        }
    };
    replay.map(Ok)
}

/// Opens a model at once, so that a missing one leaves no run behind.
pub async fn opened(workshop: &Workshop, name: &str) -> Result<Arc<dyn Model>> {
    Ok(Arc::clone(workshop.model(name).opened().await?))
}
