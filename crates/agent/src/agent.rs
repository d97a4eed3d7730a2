//! An agent: a model with instructions and tools, made from a file or in Rust.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use guard::{Heard, Label};
use journal::{Question, Run, WorkflowError};
use model::{Message, Model, Output, Part, Role};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::Tool;

use crate::act::{Acted, Acting, Conversation, End, Guarding, act};
use crate::code::{self, Coding, Interpreter};
use crate::memory::{Recalled, Remembering};
use crate::plan::{Planning, Plans, plan_knowing};
use crate::reflect::{Critic, ModelCritic, Person, Reflecting, SchemaCritic, reflect};
use crate::remarks::Remarks;
use crate::team::{self, Member};
use crate::{
    Called, Definition, Error, Example, Kit, Pattern, Pinned, Python, Result, TeamWay, ToolEntry,
    skills,
};

/// What a run of an agent starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Whether it is one answer or a conversation.
    pub kind: Kind,
    /// What the user says; nothing where it is a conversation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Pictures and the like that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Part>,
    /// The model, or several with commas between them.
    pub model: String,
    /// The folder that paths in the agent's file are relative to.
    pub folder: PathBuf,
    /// Who uses it, for a memory that is the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether a person sees each plan of an agent that plans, whatever its file says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub review_plan: bool,
}

/// Whether a run is one answer or a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One answer.
    Run,
    /// A conversation.
    Chat,
    /// Learning from another run, whose id is the text.
    Learn,
}

impl Input {
    /// The input of a run.
    ///
    /// # Errors
    /// [`Error::Input`] when it is that of something else.
    pub fn of(run: &str, input: &Value) -> Result<Input> {
        Input::deserialize(input).map_err(|error| Error::Input {
            run: run.to_owned(),
            message: error.to_string(),
        })
    }
}

/// How an agent goes about its work.
#[derive(Clone)]
pub enum Way {
    /// The model and tools in a loop, see [`act`].
    Act,
    /// Drafts that this critic judges, so many at most, see [`reflect`].
    Reflect(Arc<dyn Critic>, u32),
    /// A plan and its steps, see [`plan`](crate::plan::plan). It works on one task, and knows nothing of a conversation.
    Plan(Plans),
    /// Programs, see [`code`].
    Code(Interpreter, code::Limits),
    /// With its members, see [`team`].
    Team(team::Way),
    /// No model at all: a person is asked, and their words are the answer.
    Person,
}

/// An agent: a model with instructions and tools.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use journal::{Journal, NewRun};
/// use plumb_agent::Agent;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Capital {
///     city: String,
/// }
///
/// # let model = model::Scripted::new("scripted:doc", |_| Ok(r#"{"city": "Bern"}"#.to_owned()));
/// // let model = model::Models::new(Default::default()).open("local:qwen2.5-coder-1.5b")?;
/// let agent = Agent::new(Arc::new(model))
///     .instructions("You know the capitals of the world.")
///     .output::<Capital>();
/// let journal = Journal::in_memory()?;
/// let run = journal.start(NewRun::new("capitals", "Switzerland".into())).await?;
/// assert_eq!(agent.run(&run, "Switzerland").await?.city, "Bern");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Agent {
    /// The system message; none where it is empty.
    pub instructions: String,
    /// Exchanges shown to the model before the real question.
    pub examples: Vec<Example>,
    /// How it goes about its work.
    pub way: Way,
    /// What its loop works with.
    pub acting: Acting,
    /// What it remembers from one run to the next.
    pub memory: Option<Remembering>,
    /// Whether the user may say something while it works on an answer: see [`crate::remarks`].
    pub listens: bool,
}

impl Agent {
    /// A model without instructions and tools.
    pub fn new(model: Arc<dyn Model>) -> Agent {
        Agent {
            instructions: String::new(),
            examples: Vec::new(),
            way: Way::Act,
            acting: Acting::new(model),
            memory: None,
            listens: false,
        }
    }

    /// The agent of a file, with the tools it names.
    ///
    /// # Errors
    /// As [`Kit::toolbox`] and [`Definition::parse`], and [`Error::Setup`] when a secret is not there.
    pub fn of(pinned: &Pinned, model: Arc<dyn Model>, kit: &Kit) -> Result<Agent> {
        let definition = pinned.definition()?;
        let kit = &Kit {
            pinned: pinned.servers.clone(),
            ..kit.clone()
        };
        let mut acting = acting(&definition, Arc::clone(&model), kit)?;
        let asks = definition.tools.contains(&ToolEntry::Ask);
        let mut team = Vec::from_iter(asks.then(|| asking(&model)));
        for called in &pinned.agents {
            team.push(member(called, &model, kit)?);
        }
        for member in team {
            member.fits(&acting)?;
            acting.team.push(member);
        }
        acting.guard.policy = Arc::new(pinned.policy()?);
        if let Some(schema) = &pinned.output {
            acting.output = Output::Json(schema.clone());
        }
        let notes = pinned.notes.as_deref();
        let notes = notes.map(|notes| format!("\n\nNotes of the project (AGENTS.md):\n{notes}"));
        let skills = &pinned.skills;
        if !skills.is_empty() {
            acting.tools.add(skills::tool(skills)?)?;
        }
        let memory = kit.remembering(&definition)?;
        let (notes, skills) = (notes.unwrap_or_default(), skills::listed(skills));
        let mut agent = Agent {
            way: Agent::way(pinned, &definition, &model, kit, &acting.guard.policy)?,
            instructions: definition.instructions + &notes + &skills,
            examples: definition.examples,
            acting,
            memory,
            listens: definition.listens,
        };
        let files = definition.team.iter().flat_map(|team| &team.members);
        for (member, file) in pinned.members.iter().zip(files) {
            let about = member.definition()?;
            let description = about.description.unwrap_or_default();
            let folder = kit.folder.join(file);
            let kit = Kit {
                folder: folder.parent().unwrap_or(&kit.folder).to_owned(),
                ..kit.clone()
            };
            let mut own = Agent::of(member, Arc::clone(&model), &kit)?;
            if member.policy.is_none() {
                own.acting.guard.policy = Arc::clone(&agent.acting.guard.policy);
            }
            agent = agent.member(Member::new(&about.name, &description, own))?;
        }
        Ok(agent)
    }

    /// How the agent of a file goes about its work.
    fn way(
        pinned: &Pinned,
        definition: &Definition,
        model: &Arc<dyn Model>,
        kit: &Kit,
        policy: &Arc<guard::Policy>,
    ) -> Result<Way> {
        let critic = |named: &str| -> Result<Arc<dyn Critic>> {
            Ok(match (named, pinned.critic()?, &pinned.output) {
                ("person", ..) => Arc::new(Person),
                ("schema", _, Some(schema)) => Arc::new(SchemaCritic {
                    schema: schema.clone(),
                }),
                (_, Some(critic), _) => {
                    let mut judging = self::acting(&critic, Arc::clone(model), kit)?;
                    judging.guard.policy = Arc::clone(policy);
                    Arc::new(ModelCritic {
                        acting: judging,
                        criteria: critic.instructions,
                    })
                }
                (_, None, _) => {
                    let hint = "name the file of an agent, person, or schema";
                    let message = format!("there is no critic {named}");
                    return Err(definition.wrong(&pinned.file, "critic:", message, hint));
                }
            })
        };
        Ok(
            match (definition.pattern, &definition.reflect, &definition.team) {
                (Pattern::Reflect, Some(reflect), _) => {
                    Way::Reflect(critic(&reflect.critic)?, reflect.drafts)
                }
                (Pattern::Plan, ..) => Way::Plan(Plans {
                    most: definition.plan.plans,
                    steps: definition.plan.steps,
                    asks: definition.plan.review,
                }),
                (Pattern::Code, ..) => {
                    let interpreter = match definition.code.python {
                        Python::Monty => kit.interpreter.clone(),
                        Python::CPython => Interpreter::CPython,
                    };
                    Way::Code(interpreter, definition.code.limits())
                }
                (Pattern::Team, _, Some(team)) => match (team.way, &team.critic) {
                    (TeamWay::Tools, _) => Way::Act,
                    (TeamWay::Supervisor, _) => Way::Team(team::Way::Supervisor(team.turns)),
                    (TeamWay::Sequence, _) => Way::Team(team::Way::Sequence),
                    (TeamWay::HandOff, _) => Way::Team(team::Way::HandOff(team.turns)),
                    (TeamWay::Mixture, _) => Way::Team(team::Way::Mixture),
                    (TeamWay::BestOf, named) => {
                        let critic = critic(named.as_deref().unwrap_or_default())?;
                        let drafts = usize::try_from(team.drafts).unwrap_or(usize::MAX);
                        Way::Team(team::Way::BestOf(drafts, critic))
                    }
                },
                (Pattern::Act | Pattern::Reflect | Pattern::Team, ..) => Way::Act,
            },
        )
    }

    /// With these instructions.
    pub fn instructions(mut self, instructions: &str) -> Agent {
        self.instructions = instructions.to_owned();
        self
    }

    /// With one tool more.
    ///
    /// # Errors
    /// [`Error::Setup`] when its name or its schema will not do, or another one has its name.
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Result<Agent> {
        self.acting.tools.add(tool)?;
        Ok(self)
    }

    /// With this policy in place of the default one: which calls of tools are allowed, denied, or asked about.
    pub fn policy(mut self, policy: guard::Policy) -> Agent {
        self.acting.guard.policy = Arc::new(policy);
        self
    }

    /// With one agent more that it may call.
    ///
    /// # Errors
    /// [`Error::Setup`] when its name will not do, or a tool or another member has its name.
    pub fn member(mut self, member: Member) -> Result<Agent> {
        member.fits(&self.acting)?;
        self.acting.team.push(member);
        Ok(self)
    }

    /// With answers that are a `T`.
    pub fn output<T: JsonSchema + DeserializeOwned>(mut self) -> Typed<T> {
        self.acting.output = Output::of::<T>();
        Typed {
            agent: self,
            of: PhantomData,
        }
    }

    /// Answers what the user says.
    ///
    /// # Errors
    /// As [`act`].
    pub async fn run(&self, run: &Run, text: &str) -> Result<Acted> {
        self.answer(run, Message::user(text)).await
    }

    /// The code of a run whose input is an [`Input`]: gives what came of it as its output.
    ///
    /// # Errors
    /// As [`act`], in the form that the journal goes by.
    pub async fn workflow(&self, run: Run) -> std::result::Result<Value, WorkflowError> {
        let answered = async {
            let input = Input::of(run.id().as_str(), run.input())?;
            self.answer(&run, said(&input.text, input.attachments))
                .await
        };
        match answered.await {
            Ok(acted) => Ok(serde_json::to_value(acted)?),
            Err(error) => Err(error.for_the_journal()),
        }
    }

    /// Works on a task that another agent has written, which had heard `heard`; what this one hears is added.
    ///
    /// # Errors
    /// As [`act`].
    pub async fn task(&self, run: &Run, task: &str, heard: &mut Heard) -> Result<Acted> {
        let recalled = self.recall(run, task).await?;
        let mut conversation = self.begin(run, recalled.as_ref())?;
        conversation.heard_mut().join(heard);
        let message = Message::user(task);
        // The user has said nothing of it.
        let (with, message) = self.reminded(
            run,
            &self.acting,
            &mut conversation,
            message,
            (recalled, &[]),
        )?;
        conversation.made(message)?;
        let acted = self.respond(run, &with, &mut conversation, task).await;
        heard.join(conversation.heard());
        acted
    }

    async fn answer(&self, run: &Run, said: Message) -> Result<Acted> {
        let task = said.text().into_owned();
        let recalled = self.recall(run, &task).await?;
        let mut conversation = self.begin(run, recalled.as_ref())?;
        let with = self.hear(run, &self.acting, &mut conversation, said, recalled)?;
        if !self.listens {
            let responding = self.respond(run, &with, &mut conversation, &task);
            return responding.await;
        }
        let remarks = Remarks::default();
        let with = Acting {
            remarks: Some(remarks.clone()),
            ..with
        };
        let responding = self.respond(run, &with, &mut conversation, &task);
        remarks.while_working(run, responding).await
    }

    /// What comes to its mind about something; none where it has no memory.
    pub(crate) async fn recall(&self, run: &Run, about: &str) -> Result<Option<Recalled>> {
        match &self.memory {
            Some(memory) => Ok(Some(memory.recall(run, about).await?)),
            None => Ok(None),
        }
    }

    /// Adds what the user says to the conversation, with what came to mind before it. Gives what to work with, which
    /// has the tools of the memory.
    pub(crate) fn hear(
        &self,
        run: &Run,
        with: &Acting,
        conversation: &mut Conversation,
        said: Message,
        recalled: Option<Recalled>,
    ) -> Result<Acting> {
        let texts = self.texts(conversation, &said);
        conversation.hear(&said, &Label::User.into());
        let (with, message) = self.reminded(run, with, conversation, said, (recalled, &texts))?;
        conversation.made(message)?;
        Ok(with)
    }

    /// A message with what came to mind before it, of which the conversation hears from whom it is; and what to work
    /// with. `texts` is what the user has said.
    fn reminded(
        &self,
        run: &Run,
        with: &Acting,
        conversation: &mut Conversation,
        message: Message,
        (recalled, texts): (Option<Recalled>, &[String]),
    ) -> Result<(Acting, Message)> {
        let mut with = with.clone();
        let (Some(memory), Some(recalled)) = (&self.memory, recalled) else {
            return Ok((with, message));
        };
        if memory.learn.during() {
            for tool in memory.tools(run.id().as_str(), &recalled.view, texts) {
                with.tools.add(tool)?;
            }
        }
        recalled.tell(conversation.heard_mut());
        let notes = recalled.notes();
        // What was noted already in this conversation is not said again.
        let is_new = |notes: &String| {
            let mut messages = conversation.messages().iter();
            !messages.any(|message| message.text().starts_with(notes.as_str()))
        };
        let Some(text) = notes.filter(is_new) else {
            return Ok((with, message));
        };
        let mut parts = vec![Part::Text { text }];
        parts.extend(message.parts());
        Ok((with, Message::of(Role::User, parts)))
    }

    /// What the user has said in a conversation, without the examples and the notes beside it.
    fn texts(&self, conversation: &Conversation, said: &Message) -> Vec<String> {
        let beginning = 1 + 2 * self.examples.len();
        let messages = conversation.messages().iter().skip(beginning);
        let messages = messages.filter(|message| message.role == Role::User);
        let last_text = |message: &Message| {
            let parts = message.parts();
            parts.into_iter().rev().find_map(|part| match part {
                Part::Text { text } => Some(text),
                _ => None,
            })
        };
        messages.chain([said]).filter_map(last_text).collect()
    }

    /// Responds to what was said last, by its pattern.
    pub(crate) async fn respond(
        &self,
        run: &Run,
        with: &Acting,
        conversation: &mut Conversation,
        task: &str,
    ) -> Result<Acted> {
        match &self.way {
            Way::Act => act(run, with, conversation).await,
            Way::Reflect(critic, drafts) => {
                let with = Reflecting {
                    writer: with.clone(),
                    critic: Arc::clone(critic),
                    drafts: *drafts,
                };
                let reflected = reflect(run, &with, conversation, task).await?;
                Ok(Acted {
                    text: reflected.text,
                    end: reflected.end,
                    rounds: reflected.drafts,
                    calls: 0,
                    unkept: reflected.unkept,
                })
            }
            Way::Person => {
                let question = Question::new(task, serde_json::json!({"type": "string"}));
                let text: String = run.ask("person", &question).await?;
                conversation.heard_mut().text(&text, &Label::User.into());
                Ok(Acted {
                    text,
                    end: End::Answered,
                    rounds: 0,
                    calls: 0,
                    unkept: Vec::new(),
                })
            }
            Way::Code(interpreter, limits) => {
                let with = Coding {
                    acting: with.clone(),
                    interpreter: interpreter.clone(),
                    limits: *limits,
                };
                code::code(run, &with, conversation).await
            }
            Way::Team(way) => team::respond(run, way, with, conversation, task).await,
            Way::Plan(plans) => {
                let with = Planning {
                    instructions: self.instructions.clone(),
                    plans: plans.most,
                    steps: plans.steps,
                    asks: plans.asks,
                    ..Planning::new(with.clone())
                };
                let planned = plan_knowing(run, &with, task, conversation.heard_mut()).await?;
                let plans = u32::try_from(planned.plans).unwrap_or(u32::MAX);
                Ok(Acted {
                    text: planned.text,
                    end: planned.trouble.map_or(End::Answered, |_| End::Rounds),
                    rounds: plans,
                    calls: 0,
                    unkept: planned.unkept,
                })
            }
        }
    }

    /// A conversation that has its instructions and examples, and nothing else yet.
    pub(crate) fn begin(&self, run: &Run, recalled: Option<&Recalled>) -> Result<Conversation> {
        let mut conversation = Conversation::new(run);
        let learned = recalled.map(Recalled::instructions).unwrap_or_default();
        let instructions = format!("{}{learned}", self.instructions);
        if !instructions.is_empty() {
            conversation.push(Message::system(instructions.trim_start()))?;
        }
        for example in &self.examples {
            // Nobody has said what an example says: a call must not take its order's number from there.
            conversation.made(Message::user(example.user.trim()))?;
            conversation.made(Message::assistant(example.assistant.trim()))?;
        }
        Ok(conversation)
    }
}

/// An agent that another one may call, on its own model or, where it names none, on that of the caller.
fn member(called: &Called, model: &Arc<dyn Model>, kit: &Kit) -> Result<Member> {
    let definition = called.agent.definition()?;
    let model = match definition.models.as_slice() {
        [] => Arc::clone(model),
        models => (kit.model)(&models.join(",")),
    };
    let kit = Kit {
        folder: called.folder.clone(),
        ..kit.clone()
    };
    let agent = Agent::of(&called.agent, model, &kit)?;
    let about = definition.description.unwrap_or(definition.name);
    Ok(Member::new(&called.name, &about, agent))
}

/// The person, as somebody whom an agent may call. The model is not asked.
fn asking(model: &Arc<dyn Model>) -> Member {
    let person = Agent {
        way: Way::Person,
        ..Agent::new(Arc::clone(model))
    };
    let about = "Asks the user one question, which is the task, and gives their answer.";
    Member::new("ask", about, person)
}

/// What the loop of an agent's file works with.
fn acting(definition: &Definition, model: Arc<dyn Model>, kit: &Kit) -> Result<Acting> {
    let tools = kit.toolbox(&definition.tools)?;
    Ok(Acting {
        secrets: tool::Secrets::from_environment(&tools)?,
        tools,
        calls_first: definition.calls_first,
        limits: definition.limits,
        max_tokens: definition.max_tokens,
        temperature: definition.temperature,
        guard: Guarding {
            agent: definition.name.clone(),
            grounded: definition.checks.grounded,
            promises: definition.checks.promises,
            ..Guarding::default()
        },
        ..Acting::new(model)
    })
}

/// What a user says, with what goes with it.
pub(crate) fn said(text: &str, attachments: Vec<Part>) -> Message {
    if attachments.is_empty() {
        return Message::user(text);
    }
    let mut parts = attachments;
    let text = text.to_owned();
    parts.push(Part::Text { text });
    Message::of(Role::User, parts)
}

/// An agent whose answers are a `T`.
pub struct Typed<T> {
    /// The agent.
    pub agent: Agent,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Typed<T> {
    /// Answers what the user says.
    ///
    /// # Errors
    /// As [`act`], and [`Error::Model`] when the answer is no `T`, as when it was cut off.
    pub async fn run(&self, run: &Run, text: &str) -> Result<T> {
        self.agent.run(run, text).await?.json()
    }
}
