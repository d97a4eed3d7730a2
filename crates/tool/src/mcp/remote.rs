//! A call of a server's tool.

use std::sync::Arc;

use futures::future::BoxFuture;
use journal::Effect;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, InputRequest, InputRequests, InputRequiredResult,
    InputResponses,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::connection::{CallEnd, Connection};
use super::handler::{answered, plain, wanted};
use super::{Definition, Servers, Whole, content};
use crate::{Asks, Context, Error, Result, Spec, Told, Tool, Wanted};

/// How often a server may want one more thing before it answers.
const MOST_ROUNDS: u32 = 10;

/// The only question, where it is ours and not the server's.
const OURS: &str = "answer";

/// A tool of a server, as it was approved.
pub(super) struct Remote {
    pub(super) servers: Servers,
    pub(super) server: String,
    pub(super) definition: Definition,
    pub(super) spec: Spec,
    pub(super) reader: Reader,
}

/// Who reads what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A model: text and JSON.
    Model,
    /// Another client, to which all of it is passed on: a [`Whole`](super::Whole).
    Client,
}

/// What a person is asked about, kept in the journal until there is an answer.
#[derive(Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "lowercase")]
enum State {
    /// The server could not be reached, and nothing was sent.
    Start,
    /// The tool has changed into the one of this hash.
    Changed { hash: String },
    /// The server wants to know something.
    Input(Input),
}

/// What a server wants to know before it answers, and what is sent to it then.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Input {
    requests: InputRequests,
    state: Option<String>,
    round: u32,
    #[serde(default)]
    responses: InputResponses,
}

/// How an attempt ends without an answer.
enum Stop {
    With(Error),
    Ended(CallEnd),
}

impl Tool for Remote {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn call(&self, arguments: Value, context: Context) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            let told = context.told();
            let input = self.input(told)?;
            let connection = self.connect(told).await?;
            let how = match self
                .once(&connection, &arguments, input.clone(), &context)
                .await
            {
                Err(Stop::Ended(CallEnd::Gone(how))) => how,
                ended => return self.ended(ended),
            };
            self.servers.leave(&self.server, &connection).await;
            if self.spec.effect == Effect::Irreversible {
                // Nobody knows whether it was done: the step is in doubt.
                return Err(self.unavailable(&how));
            }
            // Once more, with a server that is started anew.
            let connection = self.connect(told).await?;
            let ended = self.once(&connection, &arguments, input, &context).await;
            self.ended(ended)
        })
    }
}

impl Remote {
    /// What goes with a call that is made again because the server wanted to know something.
    fn input(&self, told: Option<&Told>) -> Result<Input> {
        let Some(told) = told else {
            return Ok(Input::default());
        };
        let state = State::deserialize(&told.state)?;
        let yes = told.answers.get(OURS) == Some(&Value::Bool(true));
        match state {
            State::Start if !yes => Err(Error::Failed(
                "The server is out of reach, and the person does not want it to be tried again."
                    .to_owned(),
            )),
            State::Changed { .. } if !yes => Err(Error::Failed(
                "The tool has changed, and the person does not allow it like this.".to_owned(),
            )),
            State::Start | State::Changed { .. } => Ok(Input::default()),
            State::Input(mut input) => {
                for (name, request) in &input.requests {
                    let answer = told.answers.get(name).cloned();
                    if let (InputRequest::Elicitation(request), Some(answer)) = (request, answer) {
                        let told = json!(answered(&request.params, answer));
                        input.responses.insert(name.clone(), told);
                    }
                }
                Ok(input)
            }
        }
    }

    /// The server at work, with the tool as it was approved. Nothing has been done when this fails.
    async fn connect(&self, told: Option<&Told>) -> Result<Arc<Connection>> {
        let mut second = false;
        loop {
            let connection = self.servers.connection(&self.server).await;
            let connection = connection.map_err(|error| self.not_begun(&error.to_string()))?;
            let within = self.servers.config(&self.server)?.start();
            match connection.offered(within).await {
                Ok(offered) => {
                    self.check(&offered, told)?;
                    return Ok(connection);
                }
                Err(CallEnd::Gone(_)) if !second => {
                    self.servers.leave(&self.server, &connection).await;
                    second = true;
                }
                Err(CallEnd::Gone(how)) => return Err(self.not_begun(&self.of_server(&how))),
                Err(CallEnd::Refused(error)) => {
                    let said = format!("does not say what it offers: {}", plain(&error.message));
                    return Err(self.not_begun(&self.of_server(&said)));
                }
                Err(CallEnd::TooLong) => {
                    let said = "took too long to say what it offers";
                    return Err(self.not_begun(&self.of_server(said)));
                }
                Err(CallEnd::Login(scope)) => return Err(self.not_begun(&self.login(scope))),
            }
        }
    }

    /// Whether the tool is still what was approved.
    fn check(&self, offered: &[Definition], told: Option<&Told>) -> Result<()> {
        let mut offered = offered.iter();
        let Some(now) = offered.find(|tool| tool.name == self.definition.name) else {
            let gone = format!(
                "The server no longer has the tool {}.",
                self.definition.name
            );
            return Err(Error::Failed(gone));
        };
        let hash = now.hash();
        let pins = self.servers.pins();
        let approved = pins.of(&self.server)?;
        let is_approved = approved.get(&now.name).is_some_and(|pin| pin.hash == hash);
        if is_approved || hash == self.definition.hash() {
            return Ok(());
        }
        // `input` has seen that the answer is yes.
        if let Some(Ok(State::Changed { hash: allowed })) =
            told.map(|told| State::deserialize(&told.state))
            && allowed == hash
        {
            pins.approve(
                &self.server,
                std::slice::from_ref(now),
                super::servers::now_ms(),
            )?;
            return Ok(());
        }
        let mut text = format!(
            "the MCP server {} has changed its tool {} since it was approved.",
            self.server, self.definition.name
        );
        for found in self.definition.differences(now) {
            let (was, is) = (plain(&found.was), plain(&found.is));
            text.push_str(&format!("\n{} was: {was}\n{} is: {is}", found.of, found.of));
        }
        text.push_str("\nMay it be used as it is now?");
        Err(self.ask(Wanted::yes_or_no(&text), State::Changed { hash }))
    }

    /// One attempt, with as many rounds as the server wants and no person is needed for.
    async fn once(
        &self,
        connection: &Connection,
        arguments: &Value,
        mut input: Input,
        context: &Context,
    ) -> Result<Value, Stop> {
        let config = self
            .servers
            .config(&self.server)
            .map_err(|error| Stop::With(error.into()))?;
        loop {
            let mut params = CallToolRequestParams::new(self.definition.name.clone());
            params.arguments = arguments.as_object().cloned();
            params.request_state.clone_from(&input.state);
            if !input.responses.is_empty() {
                params.input_responses = Some(std::mem::take(&mut input.responses));
            }
            let answer = connection.call(params, context, config).await;
            match answer.map_err(Stop::Ended)? {
                CallToolResponse::Complete(result) => {
                    return match self.reader {
                        Reader::Model => content::answer(result).map_err(Stop::With),
                        Reader::Client => Ok(json!(Whole::Result(result))),
                    };
                }
                CallToolResponse::InputRequired(wants) => {
                    input = self.wants(wants, input.round + 1).map_err(Stop::With)?;
                }
                _ => {
                    let said = "the server began a task, which is not supported";
                    return Err(Stop::Ended(CallEnd::refused(said)));
                }
            }
        }
    }

    /// What a server wants to know: of a person, who is asked, or of us.
    fn wants(&self, wants: InputRequiredResult, round: u32) -> Result<Input> {
        if round > MOST_ROUNDS {
            return Err(Error::Failed(format!(
                "The server has wanted to know something {MOST_ROUNDS} times and has not answered."
            )));
        }
        let requests = wants.input_requests.unwrap_or_default();
        let mut input = Input {
            requests: InputRequests::new(),
            state: wants.request_state,
            round,
            responses: InputResponses::new(),
        };
        let mut questions = std::collections::BTreeMap::new();
        for (name, request) in requests {
            match &request {
                InputRequest::Elicitation(asked) => {
                    let wanted = wanted(&self.server, &asked.params)
                        .ok_or("the server asks in a way that is not known")?;
                    questions.insert(name.clone(), wanted);
                    input.requests.insert(name, request);
                }
                InputRequest::ListRoots(_) => {
                    input.responses.insert(name, json!({"roots": []}));
                }
                _ => {
                    return Err(Error::Failed(
                        "The server wants a model to be asked, which it may not.".to_owned(),
                    ));
                }
            }
        }
        if questions.is_empty() {
            return Ok(input);
        }
        Err(Error::Asks(Box::new(Asks {
            questions,
            state: json!(State::Input(input)),
            at: String::new(),
        })))
    }

    /// What an attempt comes to.
    fn ended(&self, ended: Result<Value, Stop>) -> Result<Value> {
        let end = match ended {
            Ok(value) => return Ok(value),
            Err(Stop::With(error)) => return Err(error),
            Err(Stop::Ended(end)) => end,
        };
        Err(match end {
            CallEnd::Refused(error) if self.reader == Reader::Client => {
                return Ok(json!(Whole::Error(*error)));
            }
            CallEnd::Refused(error) => Error::Failed(plain(&error.message)),
            CallEnd::Gone(how) => self.unavailable(&how),
            CallEnd::Login(scope) => self.not_begun(&self.login(scope)),
            CallEnd::TooLong => {
                let seconds = self.servers.config(&self.server)?.time_s;
                let said = format!("took longer than {seconds} s and was cancelled");
                match self.spec.effect {
                    Effect::Pure | Effect::Read => Error::Failed(self.of_server(&said)),
                    Effect::Idempotent | Effect::Irreversible => self.unavailable(&said),
                }
            }
        })
    }

    /// Nothing was sent. A step that is irreversible would be in doubt after a fault, so a person is asked; the
    /// others are tried again when the run goes on.
    fn not_begun(&self, message: &str) -> Error {
        if self.spec.effect != Effect::Irreversible {
            return Error::Unavailable(message.to_owned());
        }
        let text = format!("{message}\nNothing was sent. Is it to be tried again?");
        self.ask(Wanted::yes_or_no(&text), State::Start)
    }

    fn ask(&self, wanted: Wanted, state: State) -> Error {
        Error::Asks(Box::new(Asks::one(OURS, wanted, json!(state))))
    }

    fn of_server(&self, said: &str) -> String {
        format!("the MCP server {} {said}", self.server)
    }

    fn unavailable(&self, said: &str) -> Error {
        Error::Unavailable(self.of_server(said))
    }

    fn login(&self, scope: Option<String>) -> String {
        let error = super::Error::Login {
            server: self.server.clone(),
            scope: scope
                .map(|scope| format!(" --scope '{scope}'"))
                .unwrap_or_default(),
        };
        error.to_string()
    }
}
