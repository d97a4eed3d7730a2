//! The pattern `code`: the model writes a program in Python, and what it may call are the program's functions.
//!
//! ```text
//! task ─► program ─► interpreter ──── lookup(order="A-17") ───► a step, as in `act`
//!            ▲           │    ▲                                      │
//!            │           │    └────────── its answer ────────────────┘
//!            │           ▼
//!            └── what it printed and came to, or the line where it failed
//!                        │
//!                        └─► answer
//! ```
//! One program does what takes many rounds of `act`: a loop over a hundred orders is one answer of the model. The
//! n-th program and the steps of its calls are in the scope `program[n]`; what came of it is the step
//! `program[n]/end[0]`. Every call goes the way of `act`'s calls, so that it is held against its schema, allowed or
//! not, and asked about in the same way. A run that was parked or killed in the middle of a program runs it again
//! from the top, and the calls that were made are answered from the journal; for that a program has no clock, no
//! files and no chance, but for what its functions give it. Where it runs and within which bounds is said by
//! [`Interpreter`] and [`Limits`].

mod interpreter;
mod manual;
mod monty;

use std::time::Duration;

use journal::{Effect, Run};
use model::{Message, Output, Part, Stop, ToolCall, ToolChoice};
use serde::Deserialize;
use serde_json::{Value, json};
use tool::{Answer, Toolbox};

pub use interpreter::{Interpreter, Missing, serve_program};

use self::interpreter::{Bounds, Call, Ended, Program, Reply, Told, Trouble};
use crate::act::{Acted, Acting, Conversation, End, Progress, carry_out, think};
use crate::{Error, Result};

/// What a program is called where calls are told to whoever watches.
const NAME: &str = "python";

/// How many of its last calls a model is shown of a program that failed, and how many bytes of each answer.
const SHOWN_CALLS: usize = 8;
const SHOWN_BYTES: usize = 300;

/// What the pattern works with.
#[derive(Clone)]
pub struct Coding {
    /// The model, and what its programs may call.
    pub acting: Acting,
    /// What runs the programs.
    pub interpreter: Interpreter,
    /// Where it ends.
    pub limits: Limits,
}

/// Where programs, and the writing of them, end at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Programs; after the last, the model has to answer from what it knows. 6.
    pub programs: u32,
    /// Programs one after the other that fail. 3.
    pub failures: u32,
    /// Calls of functions in one program. 50.
    pub calls: u32,
    /// How long one may work, without the time of its calls. 10 s.
    pub time: Duration,
    /// How much memory one may take, where it runs in a process of its own. 256 MB.
    pub memory_bytes: u64,
    /// How deep functions may call each other. 200.
    pub recursion: u32,
    /// How many bytes of what it printed, and of what it came to, the model is shown. 4000 each.
    pub shown_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            programs: 6,
            failures: 3,
            calls: 50,
            time: Duration::from_secs(10),
            memory_bytes: 256 * 1024 * 1024,
            recursion: 200,
            shown_bytes: 4_000,
        }
    }
}

impl Coding {
    /// A model and what it may call, with the usual limits. Programs run in this process, without a limit to
    /// their memory: see [`Interpreter`].
    pub fn new(acting: Acting) -> Coding {
        Coding {
            acting,
            interpreter: Interpreter::Here,
            limits: Limits::default(),
        }
    }
}

/// What the model wants next.
#[derive(Deserialize)]
#[serde(tag = "next", rename_all = "lowercase")]
enum Next {
    Program { program: Text },
    Answer { answer: Value },
}

/// A program as it is written: in lines, since small models write whole ones on one line otherwise.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Lines(Vec<String>),
    Whole(String),
}

impl Text {
    fn joined(self) -> String {
        match self {
            Text::Lines(lines) => lines.join("\n"),
            Text::Whole(text) => text,
        }
    }
}

/// Lets the model answer `conversation` by programs. Only the answer is added to the conversation.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # let journal = journal::Journal::in_memory()?;
/// # let run = journal.start(journal::NewRun::new("example", ().into())).await?;
/// # let model = Arc::new(model::Scripted::new("scripted:doc", |request| Ok(match request.messages.last() {
/// #     Some(asked) if asked.text().contains("one and three") =>
/// #         r#"{"next": "program", "program": "sum(length(word=word) for word in ['one', 'three'])"}"#.to_owned(),
/// #     _ => r#"{"next": "answer", "answer": "8 letters"}"#.to_owned(),
/// # })));
/// use plumb_agent::act::{Acting, Conversation};
/// use plumb_agent::code::{Coding, code};
///
/// /// The length of a word.
/// #[tool::tool(effect = "pure")]
/// async fn length(word: String) -> usize {
///     word.len()
/// }
///
/// let mut acting = Acting::new(model);
/// acting.tools.add(length::tool())?;
/// let mut conversation = Conversation::new(&run);
/// conversation.push(model::Message::user("How many letters are in one and three?"))?;
/// let acted = code(&run, &Coding::new(acting), &mut conversation).await?;
/// assert_eq!((acted.text.as_str(), acted.calls), ("8 letters", 2));
/// assert_eq!(journal.steps(run.id()).await?[1].path, "program[0]/length[0]");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`act`](crate::act::act), and [`Error::Interpreter`] where programs cannot be run at all.
pub async fn code(run: &Run, with: &Coding, conversation: &mut Conversation) -> Result<Acted> {
    let mut work = Work::begin(run, with, conversation)?;
    let acted = loop {
        work.asker.hear(run, &mut work.said).await?;
        let form = Output::Json(work.form());
        let answered = think(run, &work.asker, &mut work.said, ToolChoice::None, form).await?;
        let response = answered.response;
        let end = match response.stop {
            _ if answered.stopped => Some(End::Stopped),
            Stop::Refused => Some(End::Withheld),
            Stop::Length if work.closing.is_some() => Some(End::CutOff),
            Stop::End | Stop::ToolCalls | Stop::Length => None,
        };
        if let Some(end) = end {
            break work.acted(response.text, end);
        }
        work.said.push(response.message())?;
        match serde_json::from_str(&response.text) {
            Ok(Next::Answer { answer }) => {
                let text = match answer {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                break work.acted(text, work.closing.unwrap_or(End::Answered));
            }
            Ok(Next::Program { program }) => work.carry_out(run, &program.joined()).await?,
            Err(_) => work.was_cut_off()?,
        }
    };
    *conversation.heard_mut() = work.said.heard().clone();
    conversation.push(Message::assistant(&acted.text))?;
    Ok(acted)
}

/// How far it has come.
struct Work<'a> {
    with: &'a Coding,
    /// The same without tools: programs call them.
    asker: Acting,
    said: Conversation,
    rounds: u32,
    calls: u32,
    /// Programs one after the other that failed.
    failures: u32,
    /// The last program, and what came of it.
    last: Option<(String, Ended)>,
    /// Why the next answer is the last.
    closing: Option<End>,
}

impl<'a> Work<'a> {
    fn begin(run: &Run, with: &'a Coding, conversation: &Conversation) -> Result<Work<'a>> {
        let said = taught(run, with, conversation)?;
        let asker = Acting {
            tools: Toolbox::new(),
            team: Vec::new(),
            ..with.acting.clone()
        };
        Ok(Work {
            with,
            asker,
            said,
            rounds: 0,
            calls: 0,
            failures: 0,
            last: None,
            closing: None,
        })
    }

    /// The form of what comes next: first a program, in the end an answer, between them either.
    fn form(&self) -> Value {
        let answer = self.with.acting.output.schema();
        let answer = branch("answer", answer);
        let lines = json!({"type": "array", "items": {"type": "string"}, "minItems": 1});
        let program = branch("program", lines.clone());
        match (&self.last, self.closing) {
            (_, Some(_)) => answer,
            (None, None) => program,
            // One that has failed is to be mended. Who says first what was wrong does not write the same again.
            (Some((_, ended)), None) if ended.trouble.is_some() => mended(lines),
            (Some(_), None) => json!({"anyOf": [answer, program]}),
        }
    }

    /// Runs a program, and tells the model what came of it.
    async fn carry_out(&mut self, run: &Run, program: &str) -> Result<()> {
        let place = usize::try_from(self.rounds).unwrap_or(usize::MAX);
        let scope = run.scope("program", place);
        self.rounds += 1;
        let arguments = json!({"program": program});
        (self.with.acting.watch)(Progress::Calling {
            tool: NAME.to_owned(),
            arguments,
        });
        let (ended, made) = execute(&scope, self.with, &mut self.said, program).await?;
        self.calls += u32::try_from(made.len()).unwrap_or(u32::MAX);
        let mut text = told(&ended, &made, program, self.with.limits.shown_bytes);
        let shown = self.with.acting.shown();
        if ended.trouble.is_some() && made.is_empty() && !shown.is_empty() {
            let functions = manual::listed(&shown);
            text.push_str(&format!(
                "It called none of your functions. Call them so: {functions}\n"
            ));
        }
        let answer = match &ended.trouble {
            None => Answer::Value(text.clone().into()),
            Some(_) => Answer::Error(text.clone()),
        };
        (self.with.acting.watch)(Progress::Called {
            tool: NAME.to_owned(),
            answer,
        });
        let again = (program.to_owned(), ended);
        self.failures = match again.1.trouble {
            Some(_) => self.failures + 1,
            None => 0,
        };
        self.closing = if self.failures > self.with.limits.failures {
            Some(End::WrongCalls)
        } else if self.last.as_ref() == Some(&again) {
            Some(End::Loop)
        } else if self.rounds >= self.with.limits.programs {
            Some(End::Rounds)
        } else {
            None
        };
        self.last = Some(again);
        let next = match self.closing {
            Some(_) => "Answer now from what is known, and say what is missing.",
            None if self.failures > 0 => "Write the whole program again, mended.",
            None => "Answer, or write another program for what is missing.",
        };
        self.said.made(Message::user(format!("{text}\n{next}")))
    }

    /// What the model wrote is not whole.
    fn was_cut_off(&mut self) -> Result<()> {
        self.rounds += 1;
        self.failures += 1;
        if self.failures > self.with.limits.failures || self.rounds >= self.with.limits.programs {
            self.closing = Some(End::WrongCalls);
        }
        let text = "That was cut off: it was too long. Write less.";
        self.said.made(Message::user(text))
    }

    fn acted(&self, text: String, end: End) -> Acted {
        let with = &self.with.acting;
        Acted {
            unkept: with.guard.unkept(&text, self.said.heard(), &with.tools),
            text,
            end,
            rounds: self.rounds,
            calls: self.calls,
        }
    }
}

/// The conversation as who writes programs for it is shown it: with the manual, an example, and the functions once more
/// beside what was said last.
fn taught(run: &Run, with: &Coding, conversation: &Conversation) -> Result<Conversation> {
    let shown = with.acting.shown();
    let manual = manual::manual(&shown, &with.limits);
    let mut said = Conversation::knowing(run, conversation.heard().clone());
    let own = conversation.instructions();
    let instructions = format!("{}\n\n{manual}", own.as_deref().unwrap_or_default());
    said.push(Message::system(instructions.trim()))?;
    for message in manual::example(&with.acting.output) {
        said.made(message)?;
    }
    let messages = conversation
        .messages()
        .iter()
        .skip(usize::from(own.is_some()));
    let mut messages: Vec<Message> = messages.cloned().collect();
    if let Some(last) = messages.last_mut().filter(|_| !shown.is_empty()) {
        let mut parts = last.parts();
        parts.push(Part::Text {
            text: format!("\n\nYour functions: {}", manual::listed(&shown)),
        });
        *last = Message::of(last.role, parts);
    }
    for message in messages {
        said.made(message)?;
    }
    Ok(said)
}

/// An object that says what it is.
fn branch(next: &str, schema: Value) -> Value {
    json!({
        "type": "object",
        "properties": {"next": {"const": next}, next: schema},
        "required": ["next", next],
        "additionalProperties": false,
    })
}

/// A program in place of one that has failed.
fn mended(lines: Value) -> Value {
    let mistake = json!({"type": "string", "maxLength": 150});
    json!({
        "type": "object",
        "properties": {"next": {"const": "program"}, "mistake": mistake, "program": lines},
        "required": ["next", "mistake", "program"],
        "additionalProperties": false,
    })
}

/// The end of a program that makes more calls than it may.
fn too_many(calls: u32) -> Ended {
    let trouble = Trouble {
        message: format!("a program may make {calls} calls and no more"),
        line: None,
    };
    Ended {
        trouble: Some(trouble),
        ..Ended::default()
    }
}

/// A program that may call what is `shown`, within its limits.
fn program(limits: &Limits, text: &str, shown: &[model::Tool]) -> Program {
    Program {
        text: text.to_owned(),
        functions: shown.iter().map(|tool| tool.name.clone()).collect(),
        bounds: Bounds {
            time_ms: u64::try_from(limits.time.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: limits.memory_bytes,
            recursion: limits.recursion,
            // A program that prints without end comes to one; more than is shown, so that what is shown is whole.
            printed_bytes: limits.shown_bytes.saturating_mul(16),
        },
    }
}

/// Runs a program to its end. Gives the calls that were made as well, each with its answer, for a model.
async fn execute(
    run: &Run,
    with: &Coding,
    said: &mut Conversation,
    text: &str,
) -> Result<(Ended, Vec<String>)> {
    let limits = &with.limits;
    let shown = with.acting.shown();
    if let Some(trouble) = manual::redefined(text, &shown) {
        let ended = Ended {
            trouble: Some(trouble),
            ..Ended::default()
        };
        return Ok((ended, Vec::new()));
    }
    let program = program(limits, text, &shown);
    let mut machine = with.interpreter.start(program).await.map_err(missing)?;
    let mut heard = blake3::Hasher::new();
    let mut made: Vec<String> = Vec::new();
    let ended = loop {
        let told = {
            let _working = run.working();
            machine.told().await
        };
        let call = match told {
            Told::Ended(ended) => break ended,
            Told::Call(call) => call,
        };
        let calls = u32::try_from(made.len()).unwrap_or(u32::MAX);
        if calls >= limits.calls {
            break too_many(limits.calls);
        }
        let reply = answered(run, with, said, text, call, &mut made).await?;
        heard.update(json!(reply).to_string().as_bytes());
        machine.reply(reply).await;
    };
    drop(machine);
    // What is recorded counts: how long a program takes, and so where it is cut off, is not the same each time.
    let input = json!({"program": text, "heard": heard.finalize().to_hex().as_str()});
    let ended = run
        .step("end", Effect::Pure, &input, |context| async move {
            context.attribute("title", ended.title());
            Ok(ended)
        })
        .await?;
    let came_to = format!("{}\n{}", ended.printed, ended.value);
    said.heard_mut().worked_out(text, &came_to);
    Ok((ended, made))
}

/// Makes a call that the program `text` asks for, and adds it to `made`.
async fn answered(
    run: &Run,
    with: &Coding,
    said: &mut Conversation,
    text: &str,
    call: Call,
    made: &mut Vec<String>,
) -> Result<Reply> {
    let arguments = match manual::arguments(&call, &with.acting.shown()) {
        Err(wrong) => return Ok(Reply::Raise(wrong)),
        Ok(arguments) => arguments,
    };
    let calls = u32::try_from(made.len()).unwrap_or(u32::MAX);
    let call = ToolCall {
        id: format!("call_{calls}"),
        name: call.name,
        arguments,
        signature: None,
    };
    let shown = manual::shown(&call);
    let known = said.heard().in_program(text);
    let done = carry_out(run, &with.acting, &known, &[call], calls).await?;
    if let (1.., Some(answer)) = (done.carried_out, done.answers.first()) {
        made.push(format!("{shown} -> {}", short(&answer.text(), SHOWN_BYTES)));
    }
    done.called
        .iter()
        .for_each(|called| called.tell(said.heard_mut()));
    Ok(match done.answers.into_iter().next() {
        Some(Answer::Value(value)) => Reply::Answer(value),
        Some(Answer::Error(wrong)) => Reply::Raise(wrong),
        // Whom it asks has been asked by now.
        Some(Answer::Asks(_)) | None => Reply::Raise("there was no answer".to_owned()),
    })
}

fn missing(missing: Missing) -> Error {
    Error::Interpreter {
        message: missing.message,
        hint: missing.hint,
    }
}

/// What came of a program, for a model.
fn told(ended: &Ended, made: &[String], program: &str, most: usize) -> String {
    let mut text = String::new();
    if !ended.printed.trim().is_empty() {
        let printed = short(ended.printed.trim_end(), most);
        text.push_str(&format!("The program printed:\n{printed}\n"));
    }
    match &ended.trouble {
        Some(trouble) => {
            let place = match trouble.line {
                None => String::new(),
                Some(line) => {
                    let index = usize::try_from(line)
                        .unwrap_or(usize::MAX)
                        .saturating_sub(1);
                    let written = program.lines().nth(index).unwrap_or_default();
                    format!(" in line {line}, `{}`", written.trim())
                }
            };
            let message = short(&trouble.message, most);
            text.push_str(&format!("The program failed{place}: {message}\n"));
            // What functions give is seen there, and what was written is not written again.
            let first = made.len().saturating_sub(SHOWN_CALLS);
            for call in made.iter().skip(first) {
                text.push_str(&format!("It had called {call}\n"));
            }
        }
        None if !ended.value.is_null() => {
            let value = match &ended.value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let value = short(&value, most);
            text.push_str(&format!("Its last expression is:\n{value}\n"));
        }
        None if text.is_empty() => {
            text.push_str("The program printed nothing. Use print() for what you want to know.\n");
        }
        None => {}
    }
    text
}

fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    let begin = text.get(..end.unwrap_or(0)).unwrap_or_default();
    format!(
        "{begin}\n[cut off: {} of {} bytes]",
        begin.len(),
        text.len()
    )
}

#[cfg(test)]
#[expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]
mod tests;
