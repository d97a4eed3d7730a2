//! `plumb chat`: a conversation in the terminal, or line by line without one.
//!
//! Between turns the run is parked in the journal; each turn answers its question and goes on with it. So
//! nothing is lost when the process is killed at any moment, and nothing is kept here.

mod attach;
mod input;
pub mod markdown;
mod screen;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use agent::chat::{Chat, Said};
use agent::{Input, Kind, Pinned};
use anyhow::{Context as _, Result, bail};
use journal::{Journal, NewRun, OpenQuestion, Outcome, Run};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::input::{Line, Prompt};
use self::screen::Screen;
use crate::arguments;
use crate::commands::agents::{self, Workshop};
use crate::commands::{asking, models, people};
use crate::project::Project;
use crate::view;

/// The agent of a conversation with a model alone.
const PLAIN: &str = include_str!("../../../../../agents/chat.md");

/// Talks with a model or an agent.
pub async fn run(project: &Project, arguments: arguments::Chat) -> Result<ExitCode> {
    let workshop = Workshop::new(project, models::open(&arguments.provider)?);
    let journal = project.journal()?;
    let run = match &arguments.resume {
        Some(id) => again(&journal, id).await?,
        None => start(project, &workshop, &journal, &arguments).await?,
    };
    let pinned = Pinned::from_text(run.definition())?;
    let input = Input::of(run.id().as_str(), run.input())?;
    // A model that is named when a conversation is taken up is said with the next turn.
    let asked = arguments.resume.and(arguments.model);
    let workshop = workshop.within(&journal, &run).await?;
    let agent = workshop.agent(&journal, &pinned, &input)?;
    let mut talk = Talk {
        id: run.id().to_string(),
        screen: Arc::new(Screen::new(arguments.json)),
        prompt: Prompt::new(&journal).await,
        model: asked.clone(),
        current: asked.unwrap_or_else(|| input.model.clone()),
        attachments: Vec::new(),
        chat: Chat {
            agent,
            model: {
                let workshop = workshop.clone();
                Arc::new(move |name| workshop.model(name))
            },
            events: Arc::new(|_, _| ()),
            stop: CancellationToken::new(),
        },
        workshop,
        journal,
    };
    let screen = Arc::clone(&talk.screen);
    talk.chat.events = Arc::new(move |turn, event| screen.show(turn, event));
    talk.hold(run).await
}

/// Begins a conversation.
async fn start(
    project: &Project,
    workshop: &Workshop,
    journal: &Journal,
    arguments: &arguments::Chat,
) -> Result<Run> {
    let with = arguments.with.as_deref();
    // What has a colon is a model.
    let (pinned, folder, model) = match with.filter(|with| !with.contains(':')) {
        Some(called) => {
            let file = found(called, project)?;
            let pinned = Pinned::read_in(&file, Some(project.root()))?;
            let pinned = pinned.with_servers(workshop.servers())?;
            let model = workshop.model_name(arguments.model.clone(), &pinned)?;
            (pinned, agents::folder_of(&file)?, model)
        }
        None => {
            let pinned = Pinned {
                file: "chat.md".to_owned(),
                text: PLAIN.to_owned(),
                output: None,
                critic: None,
                notes: None,
                skills: Vec::new(),
                agents: Vec::new(),
                members: Vec::new(),
                servers: tool::mcp::Pinned::new(),
                policy: None,
            };
            let asked = arguments.model.clone().or_else(|| with.map(str::to_owned));
            let model = workshop.model_name(asked, &pinned)?;
            (pinned, agents::folder_of(Path::new("chat.md"))?, model)
        }
    };
    let definition = pinned.definition()?;
    if definition.pattern == agent::Pattern::Plan {
        bail!(
            "{} plans one task, and does not talk\nhint: plumb run {}",
            pinned.file,
            pinned.file
        );
    }
    if pinned.output.is_some() {
        bail!(
            "{} answers in a form, not in words\nhint: plumb run {}",
            pinned.file,
            pinned.file
        );
    }
    let input = Input {
        kind: Kind::Chat,
        text: String::new(),
        attachments: Vec::new(),
        model,
        review_plan: false,
        folder,
        user: arguments.user.clone(),
    };
    // Before the run exists, so that a missing model leaves no run behind.
    agents::opened(workshop, &input.model).await?;
    workshop.agent(journal, &pinned, &input)?;
    let mut new = NewRun::new(&definition.name, serde_json::to_value(&input)?);
    new.definition = pinned.to_text();
    new.budget = definition.budget;
    Ok(journal.start(new).await?)
}

/// The file of an agent; who named none may have meant a model.
fn found(called: &str, project: &Project) -> Result<PathBuf> {
    let found = agent::directory::find(Path::new(called), project.root());
    found.map_err(|error| {
        anyhow::anyhow!("{error}; a model is called provider:name, and plumb models lists them")
    })
}

/// Takes a conversation up again.
async fn again(journal: &Journal, id: &str) -> Result<Run> {
    let record = journal.run(id).await?;
    match agents::input_of(&record) {
        Some(input) if input.kind == Kind::Chat => {}
        _ => bail!(
            "run {} is no conversation\nhint: plumb resume {}",
            record.id,
            record.id
        ),
    }
    Ok(journal.resume(record.id.as_str()).await?)
}

/// A conversation that is being held.
struct Talk {
    id: String,
    workshop: Workshop,
    journal: Journal,
    chat: Chat,
    screen: Arc<Screen>,
    prompt: Prompt,
    /// The model that is to answer from the next turn on.
    model: Option<String>,
    /// The model that answers now.
    current: String,
    attachments: Vec<model::Part>,
}

impl Talk {
    async fn hold(mut self, mut run: Run) -> Result<ExitCode> {
        loop {
            let outcome = self.turn(&run).await?;
            drop(run);
            match outcome {
                Outcome::Parked(_) if people::approve(&self.journal, &self.id).await? => {
                    run = self.journal.resume(&self.id).await?;
                }
                Outcome::Parked(reason) => {
                    let Some(question) = self.question().await? else {
                        if asking::ask_open(&self.journal, &self.id).await? {
                            run = self.journal.resume(&self.id).await?;
                            continue;
                        }
                        return self.waits(&reason).await;
                    };
                    if let Some(model) = self.screen.model().filter(|_| self.model.is_none()) {
                        self.current = model;
                    }
                    self.screen.ready(&self.id, &self.current);
                    let Some(said) = self.said().await? else {
                        return self.leave(&question).await;
                    };
                    self.journal
                        .answer(
                            &self.id,
                            &question.path,
                            serde_json::to_value(&said)?,
                            "you",
                        )
                        .await?;
                    run = self.journal.resume(&self.id).await?;
                }
                Outcome::Failed(reason) | Outcome::Cancelled(reason) => {
                    bail!("the conversation {} has ended: {reason}", self.id)
                }
                Outcome::Finished(_) => {
                    view::say(&format!("the conversation {} has ended", self.id));
                    self.learn().await;
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }

    /// Goes on until the agent waits for the person. Ctrl-C stops the answer, a second one the program.
    async fn turn(&mut self, run: &Run) -> Result<Outcome> {
        self.chat.stop = CancellationToken::new();
        let stop = self.chat.stop.clone();
        let interrupted = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
        let chat = self.chat.clone();
        let working = async {
            let work = run.execute(|run| async move { chat.workflow(run).await });
            Ok(work.await?)
        };
        // A tool may ask in the middle of a call.
        let outcome = asking::watched(&self.journal, &self.id, working).await;
        interrupted.abort();
        outcome
    }

    /// The question that asks for the next turn.
    async fn question(&self) -> Result<Option<OpenQuestion>> {
        let open = self.journal.questions(Some(&self.id)).await?;
        Ok(open.into_iter().find(asking::is_turn))
    }

    /// The run waits for something else: a limit, or a step in doubt.
    async fn waits(&self, reason: &str) -> Result<ExitCode> {
        view::say(reason);
        for question in self.journal.questions(Some(&self.id)).await? {
            view::say(people::shown(&question).trim_end());
        }
        view::say(&format!(
            "parked; then go on with: plumb chat --resume {}",
            self.id
        ));
        Ok(ExitCode::from(1))
    }

    async fn leave(&self, question: &OpenQuestion) -> Result<ExitCode> {
        if question.path.starts_with("turn[0]/") {
            // A conversation in which nothing was said is not worth keeping.
            self.journal.cancel(&self.id, "nothing was said").await?;
        } else {
            view::say(&format!("go on with: plumb chat --resume {}", self.id));
            self.learn().await;
        }
        // A person has seen it; a program goes by the status.
        match self.screen.has_failed() && !std::io::stdin().is_terminal() {
            true => Ok(ExitCode::from(1)),
            false => Ok(ExitCode::SUCCESS),
        }
    }

    /// Learns from what was said so far, where the agent does that. It may never be taken up again.
    async fn learn(&self) {
        let memory = self.chat.agent.memory.as_ref();
        if memory.is_some_and(|memory| memory.learn.after()) {
            agents::learned(&self.workshop, &self.journal, &self.id).await;
        }
    }

    /// What the person says next; none when they leave.
    async fn said(&mut self) -> Result<Option<Said>> {
        loop {
            let line = match self.prompt.next().await? {
                Line::Text(text) => text,
                Line::Cleared => {
                    view::say("/exit leaves");
                    continue;
                }
                Line::End => return Ok(None),
            };
            if line.trim().is_empty() {
                continue;
            }
            let Some(command) = line.trim().strip_prefix('/') else {
                let model = self.model.take();
                return Ok(Some(Said {
                    text: line,
                    attachments: std::mem::take(&mut self.attachments),
                    model,
                    end: false,
                }));
            };
            let (word, rest) = command
                .split_once(char::is_whitespace)
                .unwrap_or((command, ""));
            match (word, rest.trim()) {
                ("exit" | "quit", _) => return Ok(None),
                ("end", _) => {
                    return Ok(Some(Said {
                        end: true,
                        ..Said::default()
                    }));
                }
                (word, rest) => {
                    if let Err(error) = self.command(word, rest).await {
                        view::failed(&error);
                    }
                }
            }
        }
    }

    async fn command(&mut self, word: &str, rest: &str) -> Result<()> {
        match (word, rest) {
            ("help", _) => view::say(HELP),
            ("model", "") => view::say(&format!(
                "{} answers; /model PROVIDER:NAME switches",
                self.current
            )),
            ("model", name) => {
                agents::opened(&self.workshop, name).await?;
                view::say(&format!("{name} answers from now on"));
                self.current = name.to_owned();
                self.model = Some(name.to_owned());
            }
            ("attach", "") => bail!("which file?\nhint: /attach FILE"),
            ("attach", file) => {
                let part = attach::attach(Path::new(file), &self.current)
                    .context("nothing is attached")?;
                self.attachments.push(part);
                view::say(&format!("{file} goes with what you say next"));
            }
            (word, _) => bail!("there is no command /{word}\nhint: /help lists them"),
        }
        Ok(())
    }
}

const HELP: &str = "\
/model              which model answers
/model NAME         another model answers from now on, PROVIDER:NAME
/attach FILE        a picture, PDF or text goes with what you say next
/exit               leave (also Ctrl-D); the conversation can be taken up again
/end                end the conversation for good
/help               this
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer.";

/// A turn as a line of JSON.
fn turn_json(turn: usize, said: &str, answer: &Value, calls: &[Value]) -> Value {
    json!({"turn": turn, "user": said, "answer": answer["text"], "end": answer["end"], "calls": calls})
}
