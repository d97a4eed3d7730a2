//! What a client asks of tools: which there are, and that one be called.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities,
    CompleteRequestParams, CompleteResult, ContentBlock, ElicitationCapability, ErrorData,
    GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    RequestStateCodec, ServerCapabilities, ServerConfig, ToolAnnotations,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use rmcp::{ServerHandler, model};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tool::mcp::{Passed, Whole};
use tool::{Answer, Asks, Context, Effect, People, Progress, Secrets, Told, Tool, Wanted};

use super::asking::{self, Standing};
use super::log::{self, Log};
use super::passing;

/// How often a call may ask people over one request, where the client is asked while it waits.
const MOST_ROUNDS: usize = 10;

/// Steps that are on their way to a client at once; what does not fit is left out.
const PROGRESS: usize = 64;

/// A tool, and in which form it answers.
pub(super) struct Offered {
    pub(super) tool: Arc<dyn Tool>,
    pub(super) name: String,
    pub(super) form: Form,
}

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A value, which is shown as text.
    Value,
    /// All that a server has said: [`Whole`].
    Whole,
}

/// One service for a client.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) tools: Arc<[Offered]>,
    pub(super) passed: Arc<[Passed]>,
    pub(super) capabilities: ServerCapabilities,
    pub(super) secrets: Secrets,
    pub(super) instructions: Arc<str>,
    pub(super) codec: Arc<RequestStateCodec>,
    pub(super) log: Arc<Log>,
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut own = Implementation::new("plumb", env!("CARGO_PKG_VERSION"));
        own.title = Some("Plumb".to_owned());
        let config = ServerConfig::new(self.capabilities.clone()).with_server_info(own);
        match self.instructions.is_empty() {
            true => config,
            false => config.with_instructions(self.instructions.to_string()),
        }
    }

    #[expect(deprecated, reason = "clients of the older version may ask for it")]
    async fn set_level(
        &self,
        request: model::SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.log.set(&request);
        Ok(())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.iter().map(shown);
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(offered) = self.tools.iter().find(|own| own.name == request.name) else {
            let names: Vec<&str> = self.tools.iter().map(|own| own.name.as_str()).collect();
            let said = format!(
                "there is no tool {}; there are {}",
                request.name,
                names.join(", ")
            );
            return Err(ErrorData::invalid_params(said, None));
        };
        let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
        let told = match asking::standing(&self.codec, &request, &arguments)? {
            Standing::New => None,
            Standing::Told(told) => Some(told),
            Standing::Short(asks) => {
                let again = asking::required(&self.codec, &asks, &offered.name, &arguments)?;
                return Ok(again.into());
            }
        };
        let calling = self.call(offered, arguments, told, &context);
        tokio::select! {
            answer = calling => answer,
            () = context.ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
        }
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        passing::resources(&self.passed).await
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        passing::templates(&self.passed).await
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        passing::read(&self.passed, request, &context).await
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        passing::prompts(&self.passed).await
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        passing::prompt(&self.passed, request, &context).await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        passing::complete(&self.passed, request).await
    }
}

impl Handler {
    async fn call(
        &self,
        offered: &Offered,
        arguments: Value,
        mut told: Option<Told>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        for _ in 0..MOST_ROUNDS {
            let answer = self
                .once(offered, arguments.clone(), told.take(), context)
                .await;
            let asks = match answer {
                Answer::Value(value) => return done(offered.form, value),
                Answer::Error(said) => return Ok(failed(said).into()),
                Answer::Asks(asks) => asks,
            };
            match (can_ask(context), is_new(context)) {
                // Nothing is open here meanwhile: the client comes back with the answers when it has them.
                (true, true) => {
                    let wanted = asking::required(&self.codec, &asks, &offered.name, &arguments)?;
                    return Ok(wanted.into());
                }
                (true, false) => match ask(&context.peer, *asks).await {
                    Ok(answered) => told = Some(answered),
                    Err(said) => return Ok(failed(said).into()),
                },
                // A run waits, and can be answered in another way; a server's call is over.
                (false, true) if offered.form == Form::Whole => return Err(lacks_asking()),
                (false, _) => return Ok(failed(asking::in_words(&asks)).into()),
            }
        }
        Ok(failed("the person was asked too often".to_owned()).into())
    }

    /// One call of the tool, during which the client is told how far it has come.
    async fn once(
        &self,
        offered: &Offered,
        arguments: Value,
        told: Option<Told>,
        context: &RequestContext<RoleServer>,
    ) -> Answer {
        let (tell, mut heard) = mpsc::channel::<Progress>(PROGRESS);
        let mut called = Context::new(&key(), &self.secrets)
            .with_told(told)
            .with_watch(move |progress| {
                // A client that does not keep up misses some.
                let _ = tell.try_send(progress);
            });
        if can_ask(context) && !is_new(context) {
            called = called.with_people(Arc::new(AtClient(context.peer.clone())));
        }
        let is_read = self.log.is_read(context);
        let telling = async {
            while let Some(progress) = heard.recv().await {
                if is_read {
                    log::tell(&context.peer, &offered.name, &progress).await;
                }
                if let Some(token) = context.meta.get_progress_token() {
                    let mut said = ProgressNotificationParam::new(token, progress.done);
                    said.total = progress.total;
                    said.message = progress.message;
                    // A client that has gone needs no progress.
                    let _ = context.peer.notify_progress(said).await;
                }
            }
        };
        // What was said before the answer arrives before it.
        let called = tool::carry_out(&*offered.tool, arguments, called);
        let (answer, ()) = tokio::join!(called, telling);
        answer.unwrap_or_else(|error| {
            Answer::Error(match error {
                tool::StepError::Failed(said) | tool::StepError::Fault(said) => said,
            })
        })
    }
}

/// Whether the client can ask a person.
pub(super) fn can_ask(context: &RequestContext<RoleServer>) -> bool {
    context
        .client_capabilities()
        .is_some_and(|capabilities| capabilities.elicitation.is_some())
}

/// Whether the client speaks the version in which questions are answers.
pub(super) fn is_new(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// For a client that would have to ask a person and has not said that it can.
pub(super) fn lacks_asking() -> ErrorData {
    let mut required = ClientCapabilities::default();
    required.elicitation = Some(ElicitationCapability::new());
    ErrorData::missing_required_client_capability(required)
}

/// The person at a client of a version in which a request may be asked back while it is open.
struct AtClient(Peer<RoleServer>);

impl People for AtClient {
    fn ask(&self, wanted: Wanted, within: Duration) -> BoxFuture<'_, Option<Value>> {
        Box::pin(async move {
            let asked = self.0.create_elicitation(asking::request(&wanted).ok()?);
            let result = tokio::time::timeout(within, asked).await.ok()?.ok()?;
            asking::answer(&wanted, &result).ok()
        })
    }
}

/// Asks the client's person while its request is open, as versions before 2026-07-28 do.
async fn ask(peer: &Peer<RoleServer>, asks: Asks) -> Result<Told, String> {
    let mut answers = std::collections::BTreeMap::new();
    for (name, wanted) in asks.questions {
        let asked = peer.create_elicitation(asking::request(&wanted)?).await;
        let result = asked.map_err(|error| format!("the person cannot be asked: {error}"))?;
        answers.insert(name, asking::answer(&wanted, &result)?);
    }
    Ok(Told {
        answers,
        state: asks.state,
    })
}

/// A tool as clients see it; its effect becomes the protocol's hints.
fn shown(offered: &Offered) -> model::Tool {
    let spec = offered.tool.spec();
    let schema = spec.parameters.as_object().cloned().unwrap_or_default();
    let hints = ToolAnnotations::new();
    let hints = match spec.effect {
        Effect::Pure | Effect::Read => hints.read_only(true),
        Effect::Idempotent => hints.read_only(false).destructive(false).idempotent(true),
        Effect::Irreversible => hints.read_only(false).destructive(true),
    };
    model::Tool::new(offered.name.clone(), spec.description.clone(), schema).with_annotations(hints)
}

fn done(form: Form, value: Value) -> Result<CallToolResponse, ErrorData> {
    // What was too long has been cut, and is text.
    if form == Form::Whole
        && let Ok(whole) = Whole::deserialize(&value)
    {
        return match whole {
            Whole::Result(result) => Ok(result.into()),
            Whole::Error(error) => Err(error),
        };
    }
    let text = Answer::Value(value).text();
    Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
}

fn failed(said: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(said)])
}

/// A key for a call that nobody makes twice.
fn key() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let process: u64 = rand::random();
    format!("{process:016x}-{}", CALLS.fetch_add(1, Ordering::Relaxed))
}
