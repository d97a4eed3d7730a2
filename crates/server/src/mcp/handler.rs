//! What a client asks: which tools there are, and that one be called.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, RequestStateCodec, ServerCapabilities, ServerConfig, ToolAnnotations,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use rmcp::{ServerHandler, model};
use serde_json::Value;
use tokio::sync::mpsc;
use tool::{Answer, Asks, Context, Effect, Progress, Secrets, Told, Tool, Toolbox};

use super::asking;

/// How often a call may ask people over one request, where the client is asked while it waits.
const MOST_ROUNDS: usize = 10;

/// Steps that are on their way to a client at once; what does not fit is left out.
const PROGRESS: usize = 64;

/// One service for all clients.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) tools: Arc<Toolbox>,
    pub(super) secrets: Secrets,
    pub(super) instructions: Arc<str>,
    pub(super) codec: Arc<RequestStateCodec>,
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let mut own = Implementation::new("plumb", env!("CARGO_PKG_VERSION"));
        own.title = Some("Plumb".to_owned());
        let config = ServerConfig::new(capabilities).with_server_info(own);
        match self.instructions.is_empty() {
            true => config,
            false => config.with_instructions(self.instructions.to_string()),
        }
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools.iter().map(|tool| shown(&**tool));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = self.tools.find(&request.name).map(Arc::clone) else {
            let names: Vec<String> = self
                .tools
                .iter()
                .map(|tool| tool.spec().shown_name())
                .collect();
            let said = format!(
                "there is no tool {}; there are {}",
                request.name,
                names.join(", ")
            );
            return Err(ErrorData::invalid_params(said, None));
        };
        let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
        let told = asking::told(&self.codec, &request, &arguments)?;
        let calling = self.call(&*tool, arguments, told, &context);
        tokio::select! {
            answer = calling => answer,
            () = context.ct.cancelled() => Err(ErrorData::internal_error("cancelled", None)),
        }
    }
}

impl Handler {
    async fn call(
        &self,
        tool: &dyn Tool,
        arguments: Value,
        mut told: Option<Told>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        for _ in 0..MOST_ROUNDS {
            let answer = self
                .once(tool, arguments.clone(), told.take(), context)
                .await;
            let asks = match answer {
                Answer::Value(value) => return Ok(done(&value).into()),
                Answer::Error(said) => return Ok(failed(said).into()),
                Answer::Asks(asks) => asks,
            };
            let can_ask = context
                .client_capabilities()
                .is_some_and(|capabilities| capabilities.elicitation.is_some());
            let is_new = context
                .protocol_version()
                .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
            match (can_ask, is_new) {
                // Nothing is open here meanwhile: the client comes back with the answers when it has them.
                (true, true) => {
                    let wanted = asking::required(&self.codec, &asks, tool.spec(), &arguments)?;
                    return Ok(wanted.into());
                }
                (true, false) => match ask(&context.peer, *asks).await {
                    Ok(answered) => told = Some(answered),
                    Err(said) => return Ok(failed(said).into()),
                },
                (false, _) => return Ok(failed(asking::in_words(&asks)).into()),
            }
        }
        Ok(failed("the person was asked too often".to_owned()).into())
    }

    /// One call of the tool, during which the client is told how far it has come.
    async fn once(
        &self,
        tool: &dyn Tool,
        arguments: Value,
        told: Option<Told>,
        context: &RequestContext<RoleServer>,
    ) -> Answer {
        let (tell, mut heard) = mpsc::channel::<Progress>(PROGRESS);
        let called = Context::new(&key(), &self.secrets)
            .with_told(told)
            .with_watch(move |progress| {
                // A client that does not keep up misses some.
                let _ = tell.try_send(progress);
            });
        let token = context.meta.get_progress_token();
        let telling = async {
            while let Some(progress) = heard.recv().await {
                let Some(token) = token.clone() else {
                    continue;
                };
                let mut said = ProgressNotificationParam::new(token, progress.done);
                said.total = progress.total;
                said.message = progress.message;
                // A client that has gone needs no progress.
                let _ = context.peer.notify_progress(said).await;
            }
        };
        // What was said before the answer arrives before it.
        let (answer, ()) = tokio::join!(tool::carry_out(tool, arguments, called), telling);
        answer.unwrap_or_else(|error| {
            Answer::Error(match error {
                tool::StepError::Failed(said) | tool::StepError::Fault(said) => said,
            })
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
fn shown(tool: &dyn Tool) -> model::Tool {
    let spec = tool.spec();
    let schema = spec.parameters.as_object().cloned().unwrap_or_default();
    let hints = ToolAnnotations::new();
    let hints = match spec.effect {
        Effect::Pure | Effect::Read => hints.read_only(true),
        Effect::Idempotent => hints.read_only(false).destructive(false).idempotent(true),
        Effect::Irreversible => hints.read_only(false).destructive(true),
    };
    model::Tool::new(spec.shown_name(), spec.description.clone(), schema).with_annotations(hints)
}

fn done(value: &Value) -> CallToolResult {
    let text = Answer::Value(value.clone()).text();
    CallToolResult::success(vec![ContentBlock::text(text)])
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
