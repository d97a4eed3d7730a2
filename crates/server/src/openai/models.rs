//! `/v1/models`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::Server;
use crate::error::ApiError;

/// The models that are listed.
pub(crate) async fn list(State(server): State<Arc<Server>>) -> Json<Value> {
    let embedders = server.embedders.iter().map(|embedder| embedder.name());
    let names = server.pool.names().iter().map(String::as_str);
    let data: Vec<Value> = names.chain(embedders).map(model).collect();
    Json(json!({"object": "list", "data": data}))
}

/// One of them.
pub(crate) async fn show(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let embedders = server.embedders.iter().map(|embedder| embedder.name());
    if let Some(name) = embedders.into_iter().find(|known| *known == name) {
        return Ok(Json(model(name)));
    }
    let name = server.pool.full_name(&name)?;
    Ok(Json(model(&name)))
}

fn model(name: &str) -> Value {
    let owner = name
        .split_once(':')
        .map_or("local", |(provider, _)| provider);
    json!({"id": name, "object": "model", "created": 0, "owned_by": owner})
}
