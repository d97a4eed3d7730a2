//! Resources and prompts of the servers that are passed on: whose something is, and the way there and back.

use rmcp::model::{
    CompleteRequestParams, CompleteResult, ErrorCode, ErrorData, GetPromptRequestParams,
    GetPromptResponse, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ReadResourceRequestParams, ReadResourceResponse,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;
use tool::mcp::Passed;

use super::handler::{can_ask, is_new, lacks_asking};

pub(super) async fn resources(servers: &[Passed]) -> Result<ListResourcesResult, ErrorData> {
    let mut all = Vec::new();
    for server in servers {
        all.extend(server.resources().await?);
    }
    Ok(ListResourcesResult::with_all_items(all))
}

pub(super) async fn templates(
    servers: &[Passed],
) -> Result<ListResourceTemplatesResult, ErrorData> {
    let mut all = Vec::new();
    for server in servers {
        all.extend(server.templates().await?);
    }
    Ok(ListResourceTemplatesResult::with_all_items(all))
}

pub(super) async fn prompts(servers: &[Passed]) -> Result<ListPromptsResult, ErrorData> {
    let mut all = Vec::new();
    for server in servers {
        all.extend(server.prompts().await?);
    }
    Ok(ListPromptsResult::with_all_items(all))
}

/// Reads a resource of the first server that has it.
pub(super) async fn read(
    servers: &[Passed],
    mut request: ReadResourceRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<ReadResourceResponse, ErrorData> {
    // What the client says of itself is not said of us.
    request.meta = None;
    for server in servers {
        if server.has(&request.uri).await? {
            let response = server.read(request).await?;
            return match &response {
                ReadResourceResponse::InputRequired(_) => may_ask(context).map(|()| response),
                _ => Ok(response),
            };
        }
    }
    let code = match is_new(context) {
        true => ErrorCode::INVALID_PARAMS,
        false => ErrorCode::RESOURCE_NOT_FOUND,
    };
    let said = format!("there is no resource {}", request.uri);
    Err(ErrorData::new(
        code,
        said,
        Some(json!({"uri": request.uri})),
    ))
}

/// Gets a prompt of the first server that has it.
pub(super) async fn prompt(
    servers: &[Passed],
    mut request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    request.meta = None;
    for server in servers {
        let prompts = server.prompts().await?;
        if prompts.iter().any(|prompt| prompt.name == request.name) {
            let response = server.prompt(request).await?;
            return match &response {
                GetPromptResponse::InputRequired(_) => may_ask(context).map(|()| response),
                _ => Ok(response),
            };
        }
    }
    let said = format!("there is no prompt {}", request.name);
    Err(ErrorData::invalid_params(said, None))
}

/// Completes an argument of the first server that has what it belongs to.
pub(super) async fn complete(
    servers: &[Passed],
    mut request: CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    request.meta = None;
    for server in servers {
        if server.completes(&request.r#ref).await? {
            return server.complete(request).await;
        }
    }
    Ok(CompleteResult::default())
}

/// Whether a client may be given a server's questions: it carries them itself, or there is no way to.
fn may_ask(context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
    match (is_new(context), can_ask(context)) {
        (true, true) => Ok(()),
        (true, false) => Err(lacks_asking()),
        (false, _) => Err(ErrorData::internal_error(
            "the server asks before it answers, for which the client has to speak version 2026-07-28",
            None,
        )),
    }
}
