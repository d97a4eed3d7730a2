//! Scripted models, and runs of agents.

use std::sync::Arc;

use journal::{Engine, Journal, NewRun, Run, WorkflowError};
use model::{Message, Part, Request, Response, Role, Scripted, Stop, ToolCall};
use plumb_agent::act::Acted;
use plumb_agent::{Agent, Error};
use serde_json::{Value, json};

pub(crate) fn says(text: &str) -> Response {
    Response {
        text: text.to_owned(),
        ..Response::default()
    }
}

pub(crate) fn calls(calls: &[(&str, Value)]) -> Response {
    let numbered = calls.iter().enumerate();
    let calls = numbered.map(|(index, (name, arguments))| ToolCall {
        id: format!("call_{index}"),
        name: (*name).to_owned(),
        arguments: arguments.clone(),
        signature: None,
    });
    Response {
        tool_calls: calls.collect(),
        stop: Stop::ToolCalls,
        ..Response::default()
    }
}

/// What was called for has answered so far, newest last.
pub(crate) fn told(request: &Request) -> Vec<String> {
    let parts = request.messages.iter().flat_map(Message::parts);
    let results = parts.filter_map(|part| match part {
        Part::ToolResult(result) => Some(result.content),
        _ => None,
    });
    results.collect()
}

/// What was said last by a user.
pub(crate) fn asked(request: &Request) -> String {
    let mut said = request.messages.iter().rev();
    let last = said.find(|message| message.role == Role::User);
    last.map(|message| message.text().into_owned())
        .unwrap_or_default()
}

/// The instructions.
pub(crate) fn instructions(request: &Request) -> String {
    let first = request.messages.first();
    let system = first.filter(|message| message.role == Role::System);
    system
        .map(|message| message.text().into_owned())
        .unwrap_or_default()
}

pub(crate) fn model(
    script: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> Arc<Scripted> {
    let name = "scripted:patterns";
    Arc::new(Scripted::with_calls(name, move |request| {
        Ok(script(request))
    }))
}

pub(crate) fn agent(script: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Agent {
    Agent::new(model(script))
}

/// The code of a run: an agent on the run's input.
pub(crate) async fn work(run: Run, agent: Agent) -> Result<Value, WorkflowError> {
    let input = run.input().as_str().unwrap_or_default().to_owned();
    ended(agent.run(&run, &input).await)
}

pub(crate) fn ended<T: serde::Serialize>(came: Result<T, Error>) -> Result<Value, WorkflowError> {
    match came {
        Ok(value) => Ok(json!(value)),
        Err(error) => Err(error.for_the_journal()),
    }
}

/// An engine that knows `work` under the name `patterns`.
pub(crate) fn engine(journal: Journal, make: fn() -> Agent) -> Engine {
    Engine::new(journal).register("patterns", move |run| work(run, make()))
}

pub(crate) fn new(input: &str) -> NewRun {
    NewRun::new("patterns", input.into())
}

/// A run that is over.
pub(crate) struct Over {
    pub(crate) output: Value,
    /// The addresses of its steps, in the order in which they began.
    pub(crate) steps: Vec<String>,
    pub(crate) journal: Journal,
    pub(crate) id: String,
}

impl Over {
    pub(crate) fn acted(&self) -> Acted {
        serde_json::from_value(self.output.clone()).unwrap()
    }
}

/// Runs it to the end; questions are answered by `answers`, which gets their text. The run is replayed as well.
pub(crate) async fn run(
    make: impl Fn(Run) -> futures::future::BoxFuture<'static, Result<Value, WorkflowError>>
    + Send
    + Sync
    + Clone
    + 'static,
    input: &str,
    answers: impl Fn(&str) -> Value,
) -> Over {
    let journal = Journal::in_memory().unwrap();
    let engine = Engine::new(journal.clone()).register("patterns", make.clone());
    let id = journal.submit(new(input)).await.unwrap().to_string();
    loop {
        engine.run_until_idle().await.unwrap();
        let Some(question) = journal.questions(Some(&id)).await.unwrap().pop() else {
            break;
        };
        let answer = answers(&question.text);
        let answered = journal.answer(&id, &question.path, answer, "Ada").await;
        answered.unwrap();
    }
    let record = journal.run(&id).await.unwrap();
    let output = record
        .output
        .clone()
        .unwrap_or_else(|| panic!("{record:?}"));
    let replay = journal.replay(&id, make).await.unwrap();
    assert!(replay.complete);
    let steps = journal.steps(&record.id).await.unwrap();
    let steps = steps.iter().map(|step| step.path.clone()).collect();
    Over {
        output,
        steps,
        journal,
        id,
    }
}

/// An agent on an input, to the end.
pub(crate) async fn answered(make: fn() -> Agent, input: &str, answers: fn(&str) -> Value) -> Over {
    run(move |run| Box::pin(work(run, make())), input, answers).await
}

/// Nobody asks anything.
pub(crate) fn silent(question: &str) -> Value {
    panic!("asked: {question}")
}
