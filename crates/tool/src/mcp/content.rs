//! What comes back from a call, as text and JSON for a model. Pictures and sound are named, not shown.

use rmcp::model::{
    CallToolResult, ContentBlock, GetPromptResult, ReadResourceResult, ResourceContents,
};
use serde_json::Value;

use crate::{Error, Result};

/// What a call has answered. An error of the tool is for the model.
pub(super) fn answer(result: CallToolResult) -> Result<Value> {
    let text = text(&result.content);
    if result.is_error == Some(true) {
        let said = match (text.is_empty(), &result.structured_content) {
            (true, Some(structured)) => structured.to_string(),
            (true, None) => "the tool failed and gave no reason".to_owned(),
            (false, _) => text,
        };
        return Err(Error::Failed(said));
    }
    Ok(match result.structured_content {
        Some(structured) => structured,
        None if result.content.is_empty() => Value::Null,
        None => text.into(),
    })
}

/// What a resource holds.
pub(super) fn resource(result: &ReadResourceResult) -> Value {
    let parts: Vec<String> = result.contents.iter().map(contents).collect();
    parts.join("\n").into()
}

/// What a prompt says, with who says it.
pub(super) fn prompt(result: &GetPromptResult) -> Value {
    let parts = result.messages.iter().map(|message| {
        let role = serde_json::json!(message.role);
        format!(
            "{}: {}",
            role.as_str().unwrap_or_default(),
            block(&message.content)
        )
    });
    parts.collect::<Vec<_>>().join("\n").into()
}

fn text(blocks: &[ContentBlock]) -> String {
    blocks.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => named(&image.mime_type, &image.data),
        ContentBlock::Audio(audio) => named(&audio.mime_type, &audio.data),
        ContentBlock::Resource(embedded) => contents(&embedded.resource),
        ContentBlock::ResourceLink(link) => format!("[{}: {}]", link.name, link.uri),
        _ => "[something that is not known here]".to_owned(),
    }
}

fn contents(contents: &ResourceContents) -> String {
    match contents {
        ResourceContents::TextResourceContents { text, .. } => text.clone(),
        ResourceContents::BlobResourceContents {
            mime_type, blob, ..
        } => named(mime_type.as_deref().unwrap_or("binary"), blob),
        _ => "[something that is not known here]".to_owned(),
    }
}

/// What is not text, by its kind and size.
fn named(kind: &str, base64: &str) -> String {
    format!("[{kind}, {} bytes: not shown]", base64.len() / 4 * 3)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(result: Value) -> Result<Value> {
        answer(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn text_is_joined_and_the_rest_named() {
        let content = json!([{"type": "text", "text": "two"},
            {"type": "image", "mimeType": "image/png", "data": "AAAAAAAA"},
            {"type": "resource", "resource": {"uri": "a:b", "text": "inside"}},
            {"type": "resource_link", "uri": "file:///a", "name": "a"}]);
        let said = "two\n[image/png, 6 bytes: not shown]\ninside\n[a: file:///a]";
        assert_eq!(answered(json!({"content": content})), Ok(said.into()));
    }

    #[test]
    fn structure_comes_before_text() {
        let result =
            json!({"content": [{"type": "text", "text": "4"}], "structuredContent": {"n": 4}});
        assert_eq!(answered(result), Ok(json!({"n": 4})));
        assert_eq!(answered(json!({"content": []})), Ok(Value::Null));
    }

    #[test]
    fn what_went_wrong_is_told() {
        let result =
            json!({"content": [{"type": "text", "text": "no such order"}], "isError": true});
        assert_eq!(
            answered(result),
            Err(Error::Failed("no such order".to_owned()))
        );
    }
}
