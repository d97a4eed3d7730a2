//! The log that a client may read: how far a tool has come, as a line.
#![expect(
    deprecated,
    reason = "version 2026-07-28 has deprecated logs, and clients of both versions may still ask for them"
)]

use std::sync::{Mutex, PoisonError};

use rmcp::model::{
    LoggingLevel, LoggingMessageNotificationParam, ServerCapabilities, SetLevelRequestParams,
};
use rmcp::service::{Peer, RequestContext, RoleServer};
use tool::Progress;

use super::handler::is_new;

/// From which level on a client wants to read the log; nothing where it has not said so.
#[derive(Default)]
pub(super) struct Log {
    level: Mutex<Option<LoggingLevel>>,
}

impl Log {
    /// What a client has asked for.
    pub(super) fn set(&self, request: &SetLevelRequestParams) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        *level = Some(request.level);
    }

    /// Whether the client of a request wants to read what goes on. In the newer version each request says so.
    pub(super) fn is_read(&self, context: &RequestContext<RoleServer>) -> bool {
        let level = match is_new(context) {
            true => context.meta.log_level(),
            false => *self.level.lock().unwrap_or_else(PoisonError::into_inner),
        };
        matches!(level, Some(LoggingLevel::Debug | LoggingLevel::Info))
    }
}

/// Says that there is one.
pub(super) fn offer(capabilities: &mut ServerCapabilities) {
    capabilities.logging = Some(serde_json::Map::new());
}

/// Tells a client how far a tool has come. One that has gone needs to know nothing of it.
pub(super) async fn tell(peer: &Peer<RoleServer>, tool: &str, progress: &Progress) {
    let mut said = LoggingMessageNotificationParam::new(LoggingLevel::Info, progress.text().into());
    said.logger = Some(tool.to_owned());
    let _ = peer.notify_logging_message(said).await;
}
