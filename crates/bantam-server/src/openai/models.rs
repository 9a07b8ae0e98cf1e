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
    let models = app.models.all().await;
    let mut data: Vec<Value> = models.iter().map(|model| told(app, model)).collect();
    for adapter in app.models.adapters() {
        let base = models.iter().find(|model| Some(&model.name) == adapter.model.as_ref());
        data.extend(base.map(|base| adapted(app, base, &adapter.name)));
    }
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
    let listed = app.models.find(Some(name)).await?;
    let adapter = app.models.adapters().into_iter().find(|adapter| adapter.name.eq_ignore_ascii_case(name));
    Ok(json_reply(&match adapter {
        Some(adapter) => adapted(app, &listed, &adapter.name),
        None => told(app, &listed),
    }))
}

/// An adapter, which is asked for as a model is.
fn adapted(app: &App, base: &Listed, name: &str) -> Value {
    let mut told = told(app, base);
    let own = [("id", name), ("display_name", name), ("root", name), ("parent", base.name.as_str())];
    for (key, value) in own {
        told[key] = json!(value);
    }
    told["aliases"] = json!(app.models.aliases_of(name));
    told
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
        "memory": memory(app, &listed.name),
    })
}

/// What it may take if it is loaded, and what all models together may.
fn memory(app: &App, name: &str) -> Value {
    let loaded = app.models.loaded().into_iter().find(|loaded| loaded.listed.name == name);
    json!({ "loaded_bytes": loaded.map(|loaded| loaded.bytes), "max_bytes": app.models.memory_max() })
}
