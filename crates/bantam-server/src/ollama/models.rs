//! `/api/tags`, `/api/ps`, `/api/show`, `/api/version`.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::served::Served;
use crate::state::App;

/// Clients ask for a version of Ollama before they use what came with it; this one's requests are understood.
const VERSION: &str = "0.12.6";

/// `GET /api/version`
pub(crate) fn version() -> Response {
    json_reply(&json!({ "version": VERSION, "server": concat!("bantam ", env!("CARGO_PKG_VERSION")) }))
}

/// `GET /api/tags`: the models.
pub(crate) fn tags(app: &App) -> Response {
    let told = |served: &Served| {
        let mut told = entry(served);
        told.insert("modified_at".into(), json!(clock::rfc3339(served.details.modified_unix_s, 0)));
        Value::Object(told)
    };
    let models: Vec<Value> = app.models.iter().map(|model| told(&model.served)).collect();
    json_reply(&json!({ "models": models }))
}

/// `GET /api/ps`: the models that are loaded, which all are, for good.
pub(crate) fn ps(app: &App) -> Response {
    let told = |served: &Served| {
        let mut told = entry(served);
        told.insert("expires_at".into(), json!("2318-10-21T00:00:00Z"));
        told.insert("size_vram".into(), json!(0));
        told.insert("context_length".into(), json!(served.context_length));
        Value::Object(told)
    };
    let models: Vec<Value> = app.models.iter().map(|model| told(&model.served)).collect();
    json_reply(&json!({ "models": models }))
}

/// `POST /api/show`: what a model is. Editors go by its capabilities.
///
/// # Errors
///
/// A name that nothing has.
pub(crate) async fn show(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let name = match fields.text("model")? {
        Some(name) => name,
        None => fields.needed_text("name")?,
    };
    let served = &app.models.find(Some(name))?.served;
    let told = &served.details;
    let mut capabilities = vec!["completion"];
    if told.thinks() {
        capabilities.push("thinking");
    }
    let of_architecture = |name: &str| format!("{}.{name}", told.architecture);
    let mut info = Map::new();
    info.insert("general.architecture".into(), json!(told.architecture));
    info.insert("general.parameter_count".into(), json!(told.parameters));
    info.insert(of_architecture("context_length"), json!(told.context_length));
    info.insert(of_architecture("vocab_size"), json!(served.vocab_size));
    Ok(json_reply(&json!({
        "modelfile": format!("FROM {}", served.name),
        "parameters": parameters(served),
        "template": told.template.as_deref().unwrap_or_default(),
        "details": details(served),
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": clock::rfc3339(told.modified_unix_s, 0),
    })))
}

/// The settings that hold where a request says nothing, a line each.
fn parameters(served: &Served) -> String {
    let sampling = &served.sampling;
    format!(
        "temperature {}\ntop_k {}\ntop_p {}\nmin_p {}\nrepeat_penalty {}\nnum_ctx {}",
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.min_p,
        sampling.repeat_penalty,
        served.context_length
    )
}

fn entry(served: &Served) -> Map<String, Value> {
    let digest = served.details.digest.as_deref().unwrap_or_default();
    let mut entry = Map::new();
    entry.insert("name".into(), json!(served.name));
    entry.insert("model".into(), json!(served.name));
    entry.insert("size".into(), json!(served.details.file_bytes));
    entry.insert("digest".into(), json!(digest.trim_start_matches("sha256:")));
    entry.insert("details".into(), details(served));
    entry
}

fn details(served: &Served) -> Value {
    let details = &served.details;
    json!({
        "parent_model": "",
        "format": details.format,
        "family": details.architecture,
        "families": [details.architecture],
        "parameter_size": details.parameter_size(),
        "quantization_level": details.quantization,
    })
}
