//! `/v1/responses/compact`: a conversation made shorter, to be gone on with.
//!
//! The model sums it up. What it says travels as an item that callers hand back unread.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Message;
use serde_json::{Value, json};

use super::super::Body;
use super::{new_id, now, read, usage};
use crate::Server;
use crate::error::ApiError;

/// What the model is asked after the conversation.
const ASK: &str = "Sum up this conversation so that it can be gone on with by someone who reads only \
    the summary: what is known, what was agreed, and what is left to do. Write the summary alone.";
/// What stands before the summary when the conversation goes on.
const BEFORE: &str = "Summary of the conversation so far:\n";

/// A conversation, compacted.
pub(crate) async fn compact(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err(ApiError::parameter("model", "model is missing"));
    }
    let mut asked = read(body, None)?;
    if asked.stream {
        return Err(ApiError::parameter(
            "stream",
            "a compaction is not streamed",
        ));
    }
    asked.request.messages.push(Message::user(ASK));
    let (model, request, _) = asked.open(&server).await?;
    let response = model.generate(&request, None).await?;
    Ok(Json(json!({
        "id": new_id("resp_"),
        "object": "response.compaction",
        "created_at": now(),
        "output": [{
            "type": "compaction",
            "id": new_id("cmp_"),
            "encrypted_content": STANDARD.encode(&response.text),
        }],
        "usage": usage(&response.usage),
    })))
}

/// The summary in an item; it is what a user brings, and no instruction.
pub(super) fn summary(item: &Value, place: &str) -> Result<Message, ApiError> {
    let content = item["encrypted_content"].as_str();
    let bytes = content.and_then(|content| STANDARD.decode(content).ok());
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Ok(Message::user(format!("{BEFORE}{text}"))),
        None => Err(ApiError::parameter(
            place,
            format!("{place} is no compaction of this server"),
        )),
    }
}
