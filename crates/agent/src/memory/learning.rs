//! What is learned after a run: facts, an episode, and proposals for instructions.
//!
//! A run of its own, after the other one has ended, so that nobody waits for it:
//!
//! ```text
//! read the run ─► episode ─► model: facts and instructions, in a form
//!                            each fact ─► what is known of it ─► model: same, instead of it, or another ─► save
//! ```
//! Every arrow is a step. What has the same subject and attribute is superseded by rule; whether something is meant by
//! another name is for the model to say, and its answer is a step that can be looked at.

use journal::{Effect, Journal, Run, RunId, StepKind, StepRecord, WorkflowError};
use knowledge::memory::{Entry, Filter, MemoryKind, NewEntry, Outcome, Said, Saved, Source, View};
use model::{Message, Output};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::grounds::Grounds;
use super::{Remembering, blocking, now_ms};
use crate::act::{Acting, Conversation, act};
use crate::{Definition, Input, Kind, Result};

/// The agent that learns, as a file.
pub(crate) const AGENT: &str = include_str!("../../../../agents/memory.md");

/// Characters of what was said that the model is shown, from the end.
const TRANSCRIPT_CHARACTERS: usize = 4_000;
/// Characters of a tool's answer in it.
const TOOL_CHARACTERS: usize = 400;
/// Characters of the task and of the answer in an episode.
const EPISODE_CHARACTERS: usize = 300;

/// Learns from a run.
#[derive(Clone)]
pub struct Learner {
    /// Where to.
    pub remembering: Remembering,
    /// With which model.
    pub acting: Acting,
    /// The journal of the run that is learned from.
    pub journal: Journal,
}

/// What was said in a run, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    said_by: Said,
    text: String,
    /// The address of the step.
    step: String,
}

/// What the model has learned.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Learned {
    /// What the user said about themselves or their world, in a sentence; nothing where they only asked.
    #[schemars(length(max = 200))]
    #[expect(
        dead_code,
        reason = "a small model finds facts better once it has said this"
    )]
    said: String,
    /// What to know about the user or the world in later conversations; none where nothing is worth it.
    #[schemars(length(max = 5))]
    facts: Vec<Fact>,
    /// What the user wants to be done otherwise from now on; none where they said nothing of that kind.
    #[schemars(length(max = 2))]
    instructions: Vec<Instruction>,
}

/// A fact.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fact {
    /// Who or what it is about: user, or a name.
    #[schemars(length(max = 60))]
    subject: String,
    /// Which property, in a few words.
    #[schemars(length(max = 60))]
    attribute: String,
    /// What is so, in the words that were used.
    #[schemars(length(max = 200))]
    value: String,
}

/// An instruction.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Instruction {
    /// What it is about, in a few words.
    #[schemars(length(max = 60))]
    topic: String,
    /// What to do.
    #[schemars(length(max = 200))]
    instruction: String,
}

/// How something new stands to something known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Relation {
    /// They say the same.
    Same,
    /// Both are about the same property, and only the new one is true now.
    Replaces,
    /// They are about different things; both are true.
    Other,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Decision {
    relation: Relation,
}

/// What became of one thing that was learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesson {
    /// What it is.
    pub kind: MemoryKind,
    /// It, in a sentence.
    pub text: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The entry.
    pub id: String,
}

/// What a run of the learner comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lessons {
    /// All of it.
    pub lessons: Vec<Lesson>,
}

impl Learner {
    /// The agent that learns: its instructions, examples and limits.
    ///
    /// # Errors
    /// None in practice: the file is part of the binary.
    pub fn definition() -> Result<Definition> {
        Definition::parse("agents/memory.md", AGENT)
    }

    /// The code of the run. Its input's text is the id of the run that is learned from.
    ///
    /// # Errors
    /// As [`act`], in the form that the journal goes by.
    pub async fn workflow(&self, run: Run) -> std::result::Result<Value, WorkflowError> {
        let learned = async {
            let input = Input::of(run.id().as_str(), run.input())?;
            self.learn(&run, &input.text).await
        };
        match learned.await {
            Ok(lessons) => Ok(serde_json::to_value(lessons)?),
            Err(error) => Err(error.for_the_journal()),
        }
    }

    async fn learn(&self, run: &Run, of: &str) -> Result<Lessons> {
        let lines = self.read(run, of).await?;
        let mut lessons = Vec::new();
        if let Some(episode) = self.episode(of, &lines) {
            lessons.push(self.save(run, episode).await?);
        }
        let kinds = &self.remembering.kinds;
        let wants = |kind: MemoryKind| kinds.contains(&kind);
        if wants(MemoryKind::Semantic) || wants(MemoryKind::Procedural) {
            let by = |who: Said| {
                let lines = lines.iter().filter(move |line| line.said_by == who);
                lines.map(|line| line.text.as_str())
            };
            let grounds = Grounds::new(by(Said::User), by(Said::Tool));
            let learned = self.ask(run, &lines).await?;
            for (place, fact) in learned.facts.into_iter().enumerate() {
                let new = self.fact(of, &grounds, &lines, fact);
                // What the model made up, or said itself, is no fact.
                if wants(MemoryKind::Semantic) && new.source.said_by != Said::Agent {
                    let scope = run.scope("fact", place);
                    lessons.extend(self.settle(&scope, new).await?);
                }
            }
            for instruction in learned.instructions {
                if wants(MemoryKind::Procedural) {
                    let Instruction { topic, instruction } = instruction;
                    let new = self.entry(
                        of,
                        MemoryKind::Procedural,
                        "instructions",
                        &topic,
                        &instruction,
                    );
                    lessons.push(self.save(run, new).await?);
                }
            }
        }
        Ok(Lessons { lessons })
    }

    /// What was said in the run, as the step `read`.
    async fn read(&self, run: &Run, of: &str) -> Result<Vec<Line>> {
        let (journal, id) = (self.journal.clone(), of.to_owned());
        let lines = run.step("read", Effect::Read, of, |_| async move {
            let failed = |error: journal::Error| journal::StepError::Failed(error.to_string());
            let record = journal.run(&id).await.map_err(failed)?;
            let steps = journal.steps(&record.id).await.map_err(failed)?;
            Ok(lines(&record.input, record.output.as_ref(), &steps))
        });
        Ok(lines.await?)
    }

    async fn ask(&self, run: &Run, lines: &[Line]) -> Result<Learned> {
        let definition = Learner::definition()?;
        let mut conversation = Conversation::new(run);
        conversation.push(Message::system(&definition.instructions))?;
        for example in &definition.examples {
            conversation.push(Message::user(example.user.trim()))?;
            conversation.push(Message::assistant(example.assistant.trim()))?;
        }
        conversation.push(Message::user(transcript(lines)))?;
        let with = Acting {
            output: Output::of::<Learned>(),
            max_tokens: definition.max_tokens,
            ..self.acting.clone()
        };
        act(run, &with, &mut conversation).await?.json()
    }

    /// Saves a fact, unless the model says that it is known by another name.
    async fn settle(&self, run: &Run, mut new: NewEntry) -> Result<Option<Lesson>> {
        if let Some(known) = self.known(run, &new).await? {
            let decision = self.decide(run, &known, &new).await?;
            match decision {
                Relation::Same => {
                    return Ok(Some(Lesson {
                        kind: known.kind,
                        text: known.sentence(),
                        outcome: Outcome::Known,
                        id: known.id,
                    }));
                }
                Relation::Replaces => {
                    (new.subject, new.attribute) = (known.subject, known.attribute)
                }
                Relation::Other => {}
            }
        }
        Ok(Some(self.save(run, new).await?))
    }

    /// What is known that a new fact may be about, under another name; as the step `known`. What has the same subject
    /// and attribute is left to the rule.
    async fn known(&self, run: &Run, new: &NewEntry) -> Result<Option<Entry>> {
        let (with, new) = (self.remembering.clone(), new.clone());
        let about = format!("{} {} {}", new.subject, new.attribute, new.text);
        let known = run.step("known", Effect::Read, &about.clone(), |_| async move {
            blocking(move || {
                let filter = Filter {
                    scope: Some(with.scope.clone()),
                    kinds: vec![MemoryKind::Semantic],
                    view: None,
                };
                let view: View = with.memory.now(now_ms())?;
                let found = with.memory.search(&about, 3, &filter, &view)?;
                let same = |a: &str, b: &str| a.trim().eq_ignore_ascii_case(b.trim());
                let by_rule = found.iter().any(|entry| {
                    same(&entry.subject, &new.subject) && same(&entry.attribute, &new.attribute)
                });
                let mut others = found
                    .into_iter()
                    .filter(|entry| same(&entry.subject, &new.subject));
                Ok(if by_rule { None } else { others.next() })
            })
            .await
        });
        Ok(known.await?)
    }

    async fn decide(&self, run: &Run, known: &Entry, new: &NewEntry) -> Result<Relation> {
        let mut conversation = Conversation::new(run);
        let question = format!(
            "Known: {}\nNew: {}, {}: {}\nDoes the new one say the same (same), does it take the place of the known \
             one because both cannot be true now (replaces), or is it about something else (other)?",
            known.sentence(),
            new.subject,
            new.attribute,
            new.text
        );
        conversation.push(Message::user(question))?;
        let with = Acting {
            output: Output::of::<Decision>(),
            max_tokens: 32,
            ..self.acting.clone()
        };
        let decision: Decision = act(run, &with, &mut conversation).await?.json()?;
        Ok(decision.relation)
    }

    /// Writes an entry, as the step `save` with its key: however often it is tried, it is done once.
    async fn save(&self, run: &Run, new: NewEntry) -> Result<Lesson> {
        let memory = self.remembering.memory.clone();
        let (kind, text) = (new.kind, new.text.clone());
        let sentence = match kind {
            MemoryKind::Semantic => format!("{}, {}: {text}", new.subject, new.attribute),
            MemoryKind::Episodic | MemoryKind::Procedural => text,
        };
        let saved: Saved = run
            .step(
                "save",
                Effect::Idempotent,
                &sentence,
                |context| async move {
                    let new = NewEntry {
                        key: Some(context.key().to_owned()),
                        ..new
                    };
                    blocking(move || memory.save(&new, now_ms())).await
                },
            )
            .await?;
        Ok(Lesson {
            kind,
            text: sentence,
            outcome: saved.outcome,
            id: saved.id,
        })
    }

    fn fact(&self, of: &str, grounds: &Grounds, lines: &[Line], fact: Fact) -> NewEntry {
        let who = grounds.who(&fact.value);
        let has = |line: &&Line| {
            let text = line.text.to_lowercase();
            line.said_by == who && text.contains(&fact.value.to_lowercase())
        };
        let step = lines.iter().rev().find(has).map(|line| line.step.clone());
        let mut new = self.entry(
            of,
            MemoryKind::Semantic,
            &fact.subject,
            &fact.attribute,
            &fact.value,
        );
        new.source.said_by = who;
        new.source.step = step;
        new
    }

    /// What was asked in a run that has answered, and what it answered.
    fn episode(&self, of: &str, lines: &[Line]) -> Option<NewEntry> {
        let wanted = self.remembering.kinds.contains(&MemoryKind::Episodic);
        let task = lines.iter().find(|line| line.said_by == Said::User)?;
        let answer = lines
            .iter()
            .rev()
            .find(|line| line.said_by == Said::Agent)?;
        let text = format!(
            "Asked: {} Answered: {}",
            begin(&task.text, EPISODE_CHARACTERS),
            begin(&answer.text, EPISODE_CHARACTERS)
        );
        let mut new = self.entry(of, MemoryKind::Episodic, "run", of, &text);
        new.source.step = Some(answer.step.clone());
        wanted.then_some(new)
    }

    fn entry(
        &self,
        of: &str,
        kind: MemoryKind,
        subject: &str,
        attribute: &str,
        text: &str,
    ) -> NewEntry {
        NewEntry {
            scope: self.remembering.scope.clone(),
            kind,
            subject: subject.to_owned(),
            attribute: attribute.to_owned(),
            text: text.to_owned(),
            source: Source {
                said_by: Said::Agent,
                run: Some(of.to_owned()),
                step: None,
            },
            valid_from_ms: None,
            valid_to_ms: None,
            key: None,
        }
    }
}

/// What was said in a run: of one answer its input and output, of a conversation each turn.
fn lines(input: &Value, output: Option<&Value>, steps: &[StepRecord]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |said_by, text: &Value, step: &str| {
        if let Some(text) = text.as_str().filter(|text| !text.trim().is_empty()) {
            let (text, step) = (text.to_owned(), step.to_owned());
            lines.push(Line {
                said_by,
                text,
                step,
            });
        }
    };
    say(Said::User, &input["text"], "");
    for step in steps {
        let name = step.path.rsplit('/').next().unwrap_or_default();
        let name = name.split('[').next().unwrap_or_default();
        let Some(answer) = &step.output else { continue };
        match (step.kind, name) {
            (StepKind::Question, crate::chat::STEP) => say(Said::User, &answer["text"], &step.path),
            (StepKind::Call, "model") => say(Said::Agent, &answer["text"], &step.path),
            (StepKind::Call, "memory" | "memory.save" | "memory.search" | "memory.propose") => {}
            (StepKind::Call, _) => {
                let text = tool::Answer::from(answer.clone()).text();
                say(
                    Said::Tool,
                    &begin(&text, TOOL_CHARACTERS).into(),
                    &step.path,
                );
            }
            (StepKind::Question | StepKind::Timer | StepKind::Child | StepKind::Version, _) => {}
        }
    }
    if let Some(output) = output {
        let last = lines.iter().rev().find(|line| line.said_by == Said::Agent);
        let is_new = last.is_none_or(|line| Some(line.text.as_str()) != output["text"].as_str());
        if is_new && let Some(text) = output["text"].as_str() {
            lines.push(Line {
                said_by: Said::Agent,
                text: text.to_owned(),
                step: String::new(),
            });
        }
    }
    lines
}

/// As the model reads it: the end of it, where it is long.
fn transcript(lines: &[Line]) -> String {
    let mut shown = Vec::new();
    let mut length = 0;
    for line in lines.iter().rev() {
        let text = format!("{}: {}", line.said_by.as_str(), line.text.trim());
        length += text.chars().count();
        if length > TRANSCRIPT_CHARACTERS && !shown.is_empty() {
            break;
        }
        shown.push(begin(&text, TRANSCRIPT_CHARACTERS));
    }
    shown.reverse();
    shown.join("\n")
}

fn begin(text: &str, characters: usize) -> String {
    let mut begin: String = text.trim().chars().take(characters).collect();
    if begin.len() < text.trim().len() {
        begin.push('…');
    }
    begin
}

impl Input {
    /// The input of a run that learns from another one.
    pub fn to_learn(from: &RunId, of: &Input, model: &str) -> Input {
        Input {
            kind: Kind::Learn,
            text: from.to_string(),
            attachments: Vec::new(),
            model: model.to_owned(),
            folder: of.folder.clone(),
            user: of.user.clone(),
            review_plan: false,
        }
    }
}
