//! The pattern `act`: a model and tools in a loop, until the model answers.
//!
//! ```text
//! conversation ─► model ─► calls of tools, in parallel ─┐
//!                  ▲  │                                 │
//!                  │  └─► answer                        │
//!                  └────── what they answered ──────────┘
//! ```
//! Each call of the model is a step `model[n]`, each call of a tool a step with the tool's name and effect,
//! so that a run that was killed goes on where it was and nothing is done twice. A call that is wrong goes
//! back to the model with the reason. Every loop ends: see [`End`]. `guarding` has what every call goes through
//! before it is made.

mod asking;
mod calls;
mod conversation;
pub mod guarding;
mod thinking;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use journal::Run;
use model::{Delta, Message, Model, Output, Part, Response, Role, Stop, ToolCall, ToolChoice};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tool::{Answer, Secrets, Spec, Toolbox};

pub(crate) use calls::carry_out;
pub use calls::{call_tool, call_tool_watched};
pub use conversation::Conversation;
pub use guarding::{Called, Guarding, call};
pub(crate) use thinking::think;

use crate::remarks::Remarks;
use crate::team::Member;
use crate::{Error, Result, Way};

/// What the loop works with.
#[derive(Clone)]
pub struct Acting {
    /// The model.
    pub model: Arc<dyn Model>,
    /// What the model was asked for as, where that is not its name: names with commas between them, of
    /// which some could not be opened. It is recorded, so that a resume elsewhere takes the same way.
    pub model_name: String,
    /// What the model may call.
    pub tools: Toolbox,
    /// Agents that it may call as well.
    pub team: Vec<Member>,
    /// Who may go on with the conversation in its place: calling one of these ends the loop. See
    /// [`crate::team::hand_off`].
    pub hand_offs: Vec<Spec>,
    /// Whether it has to call a tool before it answers: small models forget to, where they could look
    /// something up.
    pub calls_first: bool,
    /// What the tools need.
    pub secrets: Secrets,
    /// Where it ends.
    pub limits: Limits,
    /// The most tokens of an answer.
    pub max_tokens: u32,
    /// 0 takes the likeliest token each time.
    pub temperature: f32,
    /// The form of the last answer.
    pub output: Output,
    /// Is told what goes on, for a person who watches.
    pub watch: Watch,
    /// Stops the answer: what has come of it stands, and the conversation can go on.
    pub stop: CancellationToken,
    /// What becomes of the run when the model cannot be reached.
    pub down: Down,
    /// What the user has said while it works; see [`crate::remarks`].
    pub remarks: Option<Remarks>,
    /// What it may do: the policy, and the checks.
    pub guard: Guarding,
}

/// Is told what goes on.
pub type Watch = Arc<dyn Fn(Progress) + Send + Sync>;

/// What becomes of the run when the model cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// It parks, and asks again when it is resumed.
    Parks,
    /// The step fails for good, and whoever is there may say it again.
    Fails,
}

/// Where a loop ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Answers of the model that may call tools; after the last, it has to answer from what it knows. 12.
    pub rounds: u32,
    /// Answers one after the other with a wrong call, each of which goes back with the reason. 2.
    pub wrong_calls: u32,
    /// How often the same call gets the same answer before the model has to answer. 2.
    pub repeats: u32,
    /// Calls of one answer that are carried out. 8.
    pub calls: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rounds: 12,
            wrong_calls: 2,
            repeats: 2,
            calls: 8,
        }
    }
}

/// How a loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The model answered.
    Answered,
    /// The answer reached the most tokens and is cut off.
    CutOff,
    /// The provider held the answer back.
    Withheld,
    /// Somebody stopped the answer.
    Stopped,
    /// The rounds were used up; the answer is from what was known then.
    Rounds,
    /// The same call got the same answer again and again; the answer is from what was known then.
    Loop,
    /// The model kept on calling wrongly; the answer is from what was known then.
    WrongCalls,
}

/// What came of a loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// The answer's text; JSON when that was asked for.
    pub text: String,
    /// How it ended.
    pub end: End,
    /// Answers of the model.
    pub rounds: u32,
    /// Calls of tools that were carried out.
    pub calls: u32,
    /// Sentences of the answer that say something was done which no call did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept: Vec<String>,
}

/// What goes on, for a person who watches. What the journal answers is told as well, but for pieces.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A piece of an answer, as it arrives.
    Piece(Delta),
    /// The model has answered: with calls, or at last.
    Answered {
        /// Its text; may be empty where it calls tools.
        text: String,
    },
    /// A tool is called.
    Calling {
        /// The tool.
        tool: String,
        /// With what.
        arguments: Value,
    },
    /// A tool says how far it has come, in its own words.
    Working {
        /// The tool.
        tool: String,
        /// What it says.
        said: String,
    },
    /// A tool has answered.
    Called {
        /// The tool.
        tool: String,
        /// What it answered.
        answer: Answer,
    },
}

impl Acting {
    /// A model without tools, with the usual limits, that nobody watches.
    pub fn new(model: Arc<dyn Model>) -> Acting {
        Acting {
            model_name: model.name().to_owned(),
            model,
            tools: Toolbox::new(),
            team: Vec::new(),
            hand_offs: Vec::new(),
            calls_first: false,
            secrets: Secrets::default(),
            limits: Limits::default(),
            max_tokens: 1024,
            temperature: 0.0,
            output: Output::Text,
            watch: Arc::new(|_| ()),
            stop: CancellationToken::new(),
            down: Down::Parks,
            remarks: None,
            guard: Guarding::default(),
        }
    }

    /// The names under which it may ask a person.
    fn people(&self) -> Vec<&str> {
        let team = self.team.iter();
        let people = team.filter(|member| matches!(member.agent.way, Way::Person));
        people.map(|member| member.spec.name.as_str()).collect()
    }
}

/// The longest question that is said once more, in bytes.
const AGAIN_BYTES: usize = 500;

/// What is said to a model that has called enough: small ones go on calling otherwise, in words, or say what a tool has
/// answered in place of what it means for the question. What `people` have answered meanwhile belongs to the question.
fn answer_now(conversation: &Conversation, output: &Output, people: &[&str]) -> Message {
    let form = match output {
        Output::Text | Output::Given(_) => "in words",
        Output::Json(_) => "in the form of the JSON schema",
    };
    let messages = conversation.messages();
    let asked = messages
        .iter()
        .rposition(|message| message.role == Role::User);
    let asked = asked.and_then(|place| messages.get(place..)).map(|since| {
        let parts = since.iter().flat_map(Message::parts);
        let of_people = parts.filter_map(|part| match part {
            Part::ToolResult(told) if people.contains(&told.name.as_str()) => Some(told),
            _ => None,
        });
        let asked = since
            .first()
            .map(|message| message.text().trim().to_owned());
        let mut said = vec![asked.unwrap_or_default()];
        for told in of_people.filter(|told| !told.is_error) {
            let answer = told.content.trim().to_owned();
            // What was asked twice has one answer.
            if !said.contains(&answer) {
                said.push(answer);
            }
        }
        said.join("\n")
    });
    Message::user(match asked.filter(|asked| asked.len() <= AGAIN_BYTES) {
        Some(asked) if !asked.is_empty() => format!("Answer now, {form}: {asked}"),
        _ => format!("Answer now, {form}."),
    })
}

/// Lets the model answer `conversation`, with tools. What is said is added to the conversation.
///
/// Two loops side by side in one run want a scope each.
///
/// # Errors
/// [`Error::Journal`] when the run has to stop, the model or a tool is out of reach (the run can be
/// resumed), or the model cannot answer at all; [`Error::Model`] when a tool's schema is none.
pub async fn act(run: &Run, with: &Acting, conversation: &mut Conversation) -> Result<Acted> {
    let (acted, _) = act_or_hand_off(run, with, conversation).await?;
    Ok(acted)
}

/// The same; where the model hands the conversation over, gives what it called for that.
pub(crate) async fn act_or_hand_off(
    run: &Run,
    with: &Acting,
    conversation: &mut Conversation,
) -> Result<(Acted, Option<String>)> {
    let mut state = State::default();
    let mut acted = loop {
        with.hear(run, conversation).await?;
        let (choice, form) = match state.closing {
            Some(_) => {
                conversation.made(answer_now(conversation, &with.output, &with.people()))?;
                (ToolChoice::None, with.output.clone())
            }
            None if with.must_call() && state.rounds == 0 => (ToolChoice::Required, with.form()),
            None => (ToolChoice::Auto, with.form()),
        };
        let answered = thinking::think(run, with, conversation, choice, form).await?;
        state.rounds += 1;
        let mut response = answered.response;
        let last = answered.stopped || state.closing.is_some();
        if last {
            // Nobody answers them.
            response.tool_calls.clear();
        }
        if answered.stopped && is_empty(&response) {
            // Many providers take no empty messages.
            conversation.push(Message::assistant("(stopped)"))?;
            break state.acted(response, true);
        }
        if !last && state.calls > 0 && is_empty(&response) {
            // Small models forget to answer once they have what they wanted to know.
            state.closing = Some(End::Answered);
            continue;
        }
        conversation.push(response.message())?;
        if last || response.tool_calls.is_empty() {
            let unkept = with
                .guard
                .unkept(&response.text, conversation.heard(), &with.tools);
            if !last && !state.reminded && !unkept.is_empty() {
                state.reminded = true;
                conversation.made(Message::user(guarding::reminder(&unkept)))?;
                continue;
            }
            let mut acted = state.acted(response, answered.stopped);
            acted.unkept = unkept;
            break acted;
        }
        let (heard, calls) = (conversation.heard(), &response.tool_calls);
        let done = calls::carry_out(run, with, heard, calls, state.calls).await?;
        conversation.results(done.results, &done.called)?;
        state.calls += done.carried_out;
        if let Some(name) = with.handed(&response.tool_calls) {
            return Ok((state.acted(response, false), Some(name)));
        }
        state.judge(&with.limits, &response, &done.answers, done.any_wrong);
    };
    if let Output::Json(_) = &with.output
        && with.may_call()
        && state.closing.is_none()
        && acted.end != End::Stopped
    {
        acted.text = in_form(run, with, conversation).await?;
    }
    Ok((acted, None))
}

/// Whether the model said nothing at all.
fn is_empty(response: &Response) -> bool {
    response.text.trim().is_empty() && response.tool_calls.is_empty() && response.stop == Stop::End
}

/// Asks for the answer in its form. A model that may call tools is not held to a form: some providers and
/// the local engine could not call any then.
async fn in_form(run: &Run, with: &Acting, conversation: &mut Conversation) -> Result<String> {
    let wish = "Give this answer again in the form of the JSON schema.";
    conversation.made(Message::user(wish))?;
    let form = with.output.clone();
    let answered = thinking::think(run, with, conversation, ToolChoice::None, form).await?;
    conversation.push(answered.response.message())?;
    Ok(answered.response.text)
}

impl Acting {
    fn must_call(&self) -> bool {
        self.calls_first && self.may_call()
    }

    /// Whether there is anything to call.
    fn may_call(&self) -> bool {
        !self.tools.is_empty() || !self.team.is_empty() || !self.hand_offs.is_empty()
    }

    /// The first of the calls that hands the conversation over.
    fn handed(&self, calls: &[ToolCall]) -> Option<String> {
        let is_hand_off = |call: &&ToolCall| self.hand_offs.iter().any(|to| to.name == call.name);
        calls.iter().find(is_hand_off).map(|call| call.name.clone())
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.team.iter().find(|member| member.name() == name)
    }

    /// Everything that it may call, as models are shown it.
    pub(crate) fn shown(&self) -> Vec<model::Tool> {
        let tools = self.tools.iter().map(|tool| tool.spec());
        let team = self.team.iter().map(|member| &member.spec);
        let hand_offs = self.hand_offs.iter();
        tools
            .chain(team)
            .chain(hand_offs)
            .map(thinking::shown)
            .collect()
    }

    /// Adds to the conversation what the user has said meanwhile.
    pub(crate) async fn hear(&self, run: &Run, conversation: &mut Conversation) -> Result<()> {
        if let Some(remarks) = &self.remarks {
            for remark in remarks.take(run).await? {
                conversation.push(Message::user(format!("Meanwhile the user says: {remark}")))?;
            }
        }
        Ok(())
    }

    /// The form that answers have while tools may be called.
    fn form(&self) -> Output {
        match self.may_call() {
            true => Output::Text,
            false => self.output.clone(),
        }
    }
}

/// What tells an answer from others, in few bytes.
fn mark(answer: &Answer) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    answer.text().hash(&mut hasher);
    hasher.finish()
}

/// How far a loop has come.
#[derive(Default)]
struct State {
    rounds: u32,
    calls: u32,
    /// Answers one after the other with a wrong call.
    wrong: u32,
    /// How often a call got an answer.
    seen: HashMap<String, u32>,
    /// Why the next answer is the last.
    closing: Option<End>,
    /// Whether it was told that it has not kept a promise.
    reminded: bool,
}

impl State {
    /// Sees whether there has been enough.
    fn judge(&mut self, limits: &Limits, response: &Response, answers: &[Answer], wrong: bool) {
        self.wrong = if wrong { self.wrong + 1 } else { 0 };
        let mut repeats = 0;
        let made = response.tool_calls.iter().zip(answers);
        let made =
            made.map(|(call, answer)| format!("{} {} {}", call.name, call.arguments, mark(answer)));
        // What is said several times in one answer counts once.
        for what in made.collect::<BTreeSet<String>>() {
            let times = self.seen.entry(what).or_default();
            *times += 1;
            repeats = repeats.max(*times);
        }
        self.closing = if self.wrong > limits.wrong_calls {
            Some(End::WrongCalls)
        } else if repeats >= limits.repeats {
            Some(End::Loop)
        } else if self.rounds >= limits.rounds {
            Some(End::Rounds)
        } else {
            None
        };
    }

    fn acted(&self, response: Response, stopped: bool) -> Acted {
        let end = match (self.closing, response.stop) {
            _ if stopped => End::Stopped,
            (Some(end), _) => end,
            (None, Stop::End | Stop::ToolCalls) => End::Answered,
            (None, Stop::Length) => End::CutOff,
            (None, Stop::Refused) => End::Withheld,
        };
        Acted {
            text: response.text,
            end,
            rounds: self.rounds,
            calls: self.calls,
            unkept: Vec::new(),
        }
    }
}

impl Acted {
    /// The answer as a value.
    ///
    /// # Errors
    /// [`Error::Model`] when it is not of that form, as when it was cut off.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.text).map_err(|error| Error::Model {
            step: "the answer".to_owned(),
            message: error.to_string(),
        })
    }
}
