//! An agent: a model with instructions and tools, made from a file or in Rust.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use guard::Heard;
use journal::{Run, WorkflowError};
use model::{Message, Model, Output, Part, Role};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::Tool;

use crate::act::{Acted, Acting, Conversation, End, Guarding, act};
use crate::plan::{Planning, plan_knowing};
use crate::reflect::{Critic, ModelCritic, Reflecting, reflect};
use crate::team::Member;
use crate::{Definition, Error, Example, Kit, Pattern, Pinned, Result};

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
}

/// Whether a run is one answer or a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// One answer.
    Run,
    /// A conversation.
    Chat,
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
    Plan,
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
}

impl Agent {
    /// A model without instructions and tools.
    pub fn new(model: Arc<dyn Model>) -> Agent {
        Agent {
            instructions: String::new(),
            examples: Vec::new(),
            way: Way::Act,
            acting: Acting::new(model),
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
        acting.guard.policy = Arc::new(pinned.policy()?);
        if let Some(schema) = &pinned.output {
            acting.output = Output::Json(schema.clone());
        }
        let way = match (definition.pattern, pinned.critic()?, &definition.reflect) {
            (Pattern::Reflect, Some(critic), Some(reflect)) => {
                let mut judging = self::acting(&critic, model, kit)?;
                judging.guard.policy = Arc::clone(&acting.guard.policy);
                let judge = ModelCritic {
                    acting: judging,
                    criteria: critic.instructions,
                };
                Way::Reflect(Arc::new(judge), reflect.drafts)
            }
            (Pattern::Plan, ..) => Way::Plan,
            (Pattern::Act | Pattern::Reflect, ..) => Way::Act,
        };
        Ok(Agent {
            instructions: definition.instructions,
            examples: definition.examples,
            way,
            acting,
        })
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
    pub(crate) async fn task(&self, run: &Run, task: &str, heard: &mut Heard) -> Result<Acted> {
        let mut conversation = self.begin(run)?;
        conversation.heard_mut().join(heard);
        conversation.made(Message::user(task))?;
        let acted = self
            .respond(run, &self.acting, &mut conversation, task)
            .await;
        heard.join(conversation.heard());
        acted
    }

    async fn answer(&self, run: &Run, said: Message) -> Result<Acted> {
        let mut conversation = self.begin(run)?;
        let task = said.text().into_owned();
        conversation.push(said)?;
        self.respond(run, &self.acting, &mut conversation, &task)
            .await
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
            Way::Plan => {
                let with = Planning {
                    instructions: self.instructions.clone(),
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
    pub(crate) fn begin(&self, run: &Run) -> Result<Conversation> {
        let mut conversation = Conversation::new(run);
        if !self.instructions.is_empty() {
            conversation.push(Message::system(&self.instructions))?;
        }
        for example in &self.examples {
            // Nobody has said what an example says: a call must not take its order's number from there.
            conversation.made(Message::user(example.user.trim()))?;
            conversation.made(Message::assistant(example.assistant.trim()))?;
        }
        Ok(conversation)
    }
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
