//! `GET /v1/models`: the models, in a form that OpenAI's and Anthropic's clients both read.

use axum::response::Response;
use serde_json::{Value, json};

use crate::clock;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::library::Listed;
use crate::state::App;

/// All models.
pub(crate) async fn models(app: &App) -> Response {
    let data: Vec<Value> = app.models.all().await.iter().map(|model| told(app, model)).collect();
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
pub(crate) async fn model(app: &App, name: &str) -> Result<Response, Fault> {
    Ok(json_reply(&told(app, &app.models.find(Some(name)).await?)))
}

fn told(app: &App, listed: &Listed) -> Value {
    let details = &listed.details;
    json!({
        "id": listed.name,
        "object": "model",
        "type": "model",
        "created": details.modified_unix_s,
        "created_at": clock::rfc3339(details.modified_unix_s, 0),
        "owned_by": "bantam",
        "display_name": listed.name,
        "aliases": app.models.aliases_of(&listed.name),
        "context_length": listed.context_length,
        "max_model_len": listed.context_length,
        "meta": { "n_params": details.parameters, "size": details.file_bytes, "n_vocab": listed.vocab_size },
    })
}
