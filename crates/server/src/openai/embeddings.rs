//! `/v1/embeddings`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Embed;
use serde_json::{Value, json};

use super::Body;
use super::options::Fields;
use crate::Server;
use crate::error::ApiError;

/// The most texts of a request.
const MOST_TEXTS: usize = 2048;

/// Vectors for texts.
pub(crate) async fn embed(
    State(server): State<Arc<Server>>,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::of(body)?;
    let embedder = find(&server, &fields.text("model")?.unwrap_or_default())?;
    let texts = texts(fields.take("input"))?;
    let base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(ApiError::parameter(
                "encoding_format",
                "encoding_format is float or base64",
            ));
        }
    };
    fields.drop(&["user"]);
    let asked = fields.take("dimensions");
    fields.finish()?;
    let count = texts.len();
    let embedded = embedder.embed(texts).await?;
    let (vectors, tokens) = (embedded.vectors, embedded.tokens.unwrap_or(0));
    if vectors.len() != count {
        let message = format!(
            "{} gave {} vectors for {count} texts",
            embedder.name(),
            vectors.len()
        );
        return Err(model::Error::Malformed { message }.into());
    }
    let length = vectors.first().map_or(0, Vec::len);
    if asked.is_some_and(|asked| asked != length) {
        return Err(ApiError::parameter(
            "dimensions",
            format!("the vectors have {length} dimensions"),
        ));
    }
    let data = vectors.iter().enumerate().map(|(index, vector)| {
        let embedding = if base64 {
            packed(vector).into()
        } else {
            json!(vector)
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    Ok(Json(json!({
        "object": "list",
        "data": data.collect::<Vec<Value>>(),
        "model": embedder.name(),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })))
}

/// The embedding model of that name; the provider may be left out where that is clear.
fn find<'a>(server: &'a Server, name: &str) -> Result<&'a dyn Embed, ApiError> {
    let mut embedders = server.embedders.iter().map(|embedder| embedder.as_ref());
    let is = |full: &str| {
        name.is_empty() || full == name || full.split_once(':').is_some_and(|pair| pair.1 == name)
    };
    if server.embedders.is_empty() {
        return Err(ApiError::invalid(
            "this server has no embedding model: start it with --embeddings NAME, or fetch the local one with `plumb models pull`",
        ));
    }
    embedders
        .find(|embedder| is(embedder.name()))
        .ok_or_else(|| {
            let names: Vec<&str> = server
                .embedders
                .iter()
                .map(|embedder| embedder.name())
                .collect();
            let hint = format!("this server has the embedding models {}", names.join(", "));
            model::Error::Unknown {
                name: name.to_owned(),
                hint,
            }
            .into()
        })
}

fn texts(input: Option<Value>) -> Result<Vec<String>, ApiError> {
    let wrong = || {
        ApiError::parameter(
            "input",
            "input is a text or an array of texts; tokens are not supported",
        )
    };
    let texts = match input {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => {
            let texts = items.into_iter().map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(wrong()),
            });
            texts.collect::<Result<Vec<String>, ApiError>>()?
        }
        _ => return Err(wrong()),
    };
    if texts.is_empty() || texts.len() > MOST_TEXTS {
        return Err(ApiError::parameter(
            "input",
            format!("input has 1 to {MOST_TEXTS} texts"),
        ));
    }
    Ok(texts)
}

/// Little-endian 32-bit floats in base64.
fn packed(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::packed;

    #[test]
    fn floats_are_packed_as_clients_unpack_them() {
        // python3: base64.b64encode(struct.pack('<3f', 1.0, -2.5, 0.1))
        assert_eq!(packed(&[1.0, -2.5, 0.1]), "AACAPwAAIMDNzMw9");
        assert_eq!(packed(&[1.0]), "AACAPw==");
        assert_eq!(packed(&[]), "");
    }
}
