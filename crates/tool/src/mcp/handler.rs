//! What a server may ask of us: a question to a person. And what it may tell: how far a call has come, and that
//! its tools have changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, FormElicitationCapability, Implementation, ProgressNotificationParam,
    ProgressToken, ProtocolVersion, RequestId, UrlElicitationCapability,
};
use rmcp::service::{InboundStreamOrigin, NotificationContext, RequestContext, RoleClient};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{Context, Progress, Wanted};

/// The most characters of a server's text that a person is shown.
const TEXT_CHARACTERS: usize = 2_000;

/// Our side of a connection.
pub(super) struct Handler {
    pub(super) server: String,
    pub(super) protocol: ProtocolVersion,
    pub(super) calls: Arc<Calls>,
}

/// The calls under way, so that what a server says about one reaches it.
#[derive(Default)]
pub(super) struct Calls {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Call>>,
    /// The server has said that its tools have changed.
    pub(super) changed: AtomicBool,
}

#[derive(Clone)]
struct Call {
    ids: Option<(RequestId, ProgressToken)>,
    context: Context,
    /// How long a person is waited for.
    within: Duration,
    /// How many are asked just now.
    asked: watch::Sender<usize>,
    /// How far it has come; what is said later about less has been overtaken.
    furthest: Arc<Mutex<f64>>,
}

impl Call {
    /// Tells how far the call has come, unless more has been told: notices are handled side by side and overtake
    /// each other, so the telling itself is behind the lock.
    fn comes_to(&self, progress: Progress) {
        let mut furthest = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.done > *furthest {
            *furthest = progress.done;
            self.context.progress(progress);
        }
    }
}

/// A call under way, for as long as this lives.
pub(super) struct Under {
    calls: Arc<Calls>,
    number: u64,
    asked: watch::Receiver<usize>,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Call>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    pub(super) fn begin(self: &Arc<Calls>, context: &Context, within: Duration) -> Under {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (asked, watched) = watch::channel(0);
        let call = Call {
            ids: None,
            context: context.clone(),
            within,
            asked,
            furthest: Arc::new(Mutex::new(f64::NEG_INFINITY)),
        };
        self.lock().insert(number, call);
        Under {
            calls: Arc::clone(self),
            number,
            asked: watched,
        }
    }

    /// The call that a server's question belongs to: the one whose stream it came by, else the one begun last.
    fn of_request(&self, origin: Option<&InboundStreamOrigin>) -> Option<Call> {
        let open = self.lock();
        let by_stream = match origin {
            Some(InboundStreamOrigin::OutboundRequest(request)) => open
                .values()
                .find(|call| call.ids.as_ref().is_some_and(|(id, _)| id == request)),
            Some(InboundStreamOrigin::Unassociated) | None => None,
        };
        by_stream.or_else(|| open.values().next_back()).cloned()
    }

    /// The call that a progress token was made for.
    fn of_token(&self, token: &ProgressToken) -> Option<Call> {
        let open = self.lock();
        let same = |call: &&Call| call.ids.as_ref().is_some_and(|(_, own)| own == token);
        // It may be quicker than we are with noting the token.
        let new = |call: &&Call| call.ids.is_none();
        open.values()
            .find(same)
            .or_else(|| open.values().find(new))
            .cloned()
    }
}

impl Under {
    /// Notes what the call is known by on the wire.
    pub(super) fn known_as(&self, request: RequestId, token: ProgressToken) {
        if let Some(call) = self.calls.lock().get_mut(&self.number) {
            call.ids = Some((request, token));
        }
    }

    /// Ends after so much time; while a person is asked it stands still.
    pub(super) async fn runs_out(&self, time: Duration) {
        let mut asked = self.asked.clone();
        let mut left = time;
        loop {
            if asked.wait_for(|asked| *asked == 0).await.is_err() {
                return;
            }
            let began = tokio::time::Instant::now();
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                _ = asked.wait_for(|asked| *asked > 0) => left = left.saturating_sub(began.elapsed()),
            }
        }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.number);
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut elicitation = ElicitationCapability::new();
        elicitation.form = Some(FormElicitationCapability::new());
        elicitation.url = Some(UrlElicitationCapability::new());
        let mut capabilities = ClientCapabilities::default();
        capabilities.elicitation = Some(elicitation);
        let own = Implementation::new("plumb", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(capabilities, own).with_protocol_version(self.protocol.clone())
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, rmcp::ErrorData> {
        let origin = context.extensions.get::<InboundStreamOrigin>();
        let cancelled = || ElicitResult::new(ElicitationAction::Cancel);
        let (Some(call), Some(wanted)) = (
            self.calls.of_request(origin),
            wanted(&self.server, &request),
        ) else {
            return Ok(cancelled());
        };
        call.asked.send_modify(|asked| *asked += 1);
        let answer = tokio::select! {
            answer = call.context.ask(wanted, call.within) => answer,
            () = context.ct.cancelled() => None,
        };
        call.asked.send_modify(|asked| *asked -= 1);
        Ok(answer.map_or_else(cancelled, |answer| answered(&request, answer)))
    }

    async fn on_progress(
        &self,
        said: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        if let Some(call) = self.calls.of_token(&said.progress_token) {
            call.comes_to(Progress {
                done: said.progress,
                total: said.total,
                message: said.message.as_deref().map(plain),
            });
        }
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.calls.changed.store(true, Ordering::Release);
    }
}

/// A server's question as a person is asked it; none where it cannot be one.
pub(super) fn wanted(server: &str, request: &ElicitRequestParams) -> Option<Wanted> {
    let (text, accepted) = match request {
        ElicitRequestParams::FormElicitationParams {
            message,
            requested_schema,
            ..
        } => (plain(message), json!(requested_schema)),
        ElicitRequestParams::UrlElicitationParams { message, url, .. } => (
            format!(
                "{}\nIt wants you to open {} and to answer \"done\" when that is over.",
                plain(message),
                plain(url)
            ),
            json!({"const": "done"}),
        ),
        _ => return None,
    };
    Some(Wanted {
        text: format!("the MCP server {server} asks: {text}"),
        schema: json!({"anyOf": [accepted, {"enum": ["decline", "cancel"]}]}),
    })
}

/// A person's answer as the server is told it.
pub(super) fn answered(request: &ElicitRequestParams, answer: Value) -> ElicitResult {
    match (answer.as_str(), request) {
        (Some("decline"), _) => ElicitResult::new(ElicitationAction::Decline),
        (Some("cancel"), _) => ElicitResult::new(ElicitationAction::Cancel),
        (
            _,
            ElicitRequestParams::FormElicitationParams {
                requested_schema, ..
            },
        ) => {
            let content = with_defaults(answer, &json!(requested_schema));
            ElicitResult::new(ElicitationAction::Accept).with_content(content)
        }
        _ => ElicitResult::new(ElicitationAction::Accept),
    }
}

/// What a person has left out is what the schema says it is then.
fn with_defaults(mut answer: Value, schema: &Value) -> Value {
    let properties = schema["properties"].as_object();
    if let (Some(fields), Some(properties)) = (answer.as_object_mut(), properties) {
        for (name, property) in properties {
            if let Some(default) = property
                .get("default")
                .filter(|_| !fields.contains_key(name))
            {
                fields.insert(name.clone(), default.clone());
            }
        }
    }
    answer
}

/// A server's text for a person's eyes: without what a terminal would obey, and not too long.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: &char| *c == '\n' || !c.is_control();
    text.chars().filter(shown).take(TEXT_CHARACTERS).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn form() -> ElicitRequestParams {
        serde_json::from_value(
            json!({"mode": "form", "message": "Who?\u{1b}[31m", "requestedSchema": {
            "type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "age": {"type": "integer", "default": 30}}}}),
        )
        .unwrap()
    }

    #[test]
    fn a_person_is_asked_in_words_that_no_terminal_obeys() {
        let wanted = wanted("mail", &form()).unwrap();
        assert_eq!(wanted.text, "the MCP server mail asks: Who?[31m");
        assert_eq!(
            wanted.schema["anyOf"][1]["enum"],
            json!(["decline", "cancel"])
        );
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let told = answered(&form(), json!({"name": "Ada"}));
        assert_eq!(told.action, ElicitationAction::Accept);
        assert_eq!(told.content, Some(json!({"name": "Ada", "age": 30})));
        let told = answered(&form(), json!("decline"));
        assert_eq!(
            (told.action, told.content),
            (ElicitationAction::Decline, None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_while_a_person_is_asked() {
        let calls = Arc::new(Calls::default());
        let under = calls.begin(&Context::default(), Duration::ZERO);
        let began = tokio::time::Instant::now();
        let asking = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let call = calls.of_request(None).unwrap();
            call.asked.send_modify(|asked| *asked += 1);
            tokio::time::sleep(Duration::from_secs(100)).await;
            call.asked.send_modify(|asked| *asked -= 1);
        };
        tokio::join!(under.runs_out(Duration::from_secs(10)), asking);
        assert_eq!(began.elapsed().as_secs(), 110);
    }
}
