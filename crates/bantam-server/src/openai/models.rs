//! `GET /v1/models`: the models, in a form that OpenAI's and Anthropic's clients both read.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use crate::clock;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::served::Served;
use crate::state::App;

/// All models.
pub(crate) fn models(app: &App) -> Response {
    let data: Vec<Value> = app.models.iter().map(|model| told(&model.served)).collect();
    json_reply(&json!({
        "object": "list",
        "first_id": data.first().map(|model| &model["id"]),
        "last_id": data.last().map(|model| &model["id"]),
        "has_more": false,
        "data": data,
    }))
}

/// One model, by any of its names.
///
/// # Errors
///
/// A name that nothing has.
pub(crate) fn model(app: &Arc<App>, name: &str) -> Result<Response, Fault> {
    Ok(json_reply(&told(&app.models.find(Some(name))?.served)))
}

fn told(served: &Served) -> Value {
    let details = &served.details;
    json!({
        "id": served.name,
        "object": "model",
        "type": "model",
        "created": details.modified_unix_s,
        "created_at": clock::rfc3339(details.modified_unix_s, 0),
        "owned_by": "bantam",
        "display_name": served.name,
        "aliases": served.aliases,
        "context_length": served.context_length,
        "max_model_len": served.context_length,
        "meta": { "n_params": details.parameters, "size": details.file_bytes, "n_vocab": served.vocab_size },
    })
}
