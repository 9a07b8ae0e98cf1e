//! `/api/tags`, `/api/ps`, `/api/show`, `/api/version`.

use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use bantam_text::{ChatTemplate, Dialect};
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use crate::clock;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fault::broken;
use crate::fields::Fields;
use crate::library::Listed;
use crate::models::Loaded;
use crate::state::App;

/// Clients ask for a version of Ollama before they use what came with it; this one's requests are understood.
const VERSION: &str = "0.12.6";

/// `GET /api/version`
pub(crate) fn version() -> Response {
    json_reply(&json!({ "version": VERSION, "server": concat!("bantam ", env!("CARGO_PKG_VERSION")) }))
}

/// `GET /api/tags`: the models.
pub(crate) async fn tags(app: &App) -> Response {
    let told = |listed: &Listed| {
        let mut told = entry(listed);
        told.insert("modified_at".into(), json!(clock::rfc3339(listed.details.modified_unix_s, 0)));
        Value::Object(told)
    };
    let models: Vec<Value> = app.models.all().await.iter().map(told).collect();
    json_reply(&json!({ "models": models }))
}

/// `GET /api/ps`: the models that are loaded.
pub(crate) fn ps(app: &App) -> Response {
    let now = Instant::now();
    let told = |loaded: &Loaded| {
        let mut told = entry(&loaded.listed);
        // Of the memory it may take; nothing of it is a graphics card's.
        told.insert("size".into(), json!(loaded.bytes));
        told.insert("size_vram".into(), json!(0));
        let left = loaded.expires.map(|end| end.saturating_duration_since(now));
        told.insert("expires_at".into(), json!(left.map_or(NEVER.into(), clock::rfc3339_in)));
        told.insert("context_length".into(), json!(loaded.context_length));
        Value::Object(told)
    };
    let models: Vec<Value> = app.models.loaded().iter().map(told).collect();
    json_reply(&json!({ "models": models }))
}

/// When a model is unloaded that stays for ever, as Ollama tells it.
const NEVER: &str = "2318-10-21T00:00:00Z";

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
    let listed = &app.models.find(Some(name)).await?;
    let told = &listed.details;
    let template = told.template.clone();
    let capabilities = spawn_blocking(move || capabilities(template.as_deref()));
    let capabilities = capabilities.await.map_err(|_| broken("reading the template broke off"))?;
    let of_architecture = |name: &str| format!("{}.{name}", told.architecture);
    let mut info = Map::new();
    info.insert("general.architecture".into(), json!(told.architecture));
    info.insert("general.parameter_count".into(), json!(told.parameters));
    info.insert(of_architecture("context_length"), json!(told.context_length));
    info.insert(of_architecture("vocab_size"), json!(listed.vocab_size));
    Ok(json_reply(&json!({
        "modelfile": modelfile(listed),
        "license": told.licence.as_deref().unwrap_or_default(),
        "system": told.system.as_deref().unwrap_or_default(),
        "parameters": parameters(listed),
        "template": told.template.as_deref().unwrap_or_default(),
        "details": details(listed),
        "model_info": info,
        "capabilities": capabilities,
        "modified_at": clock::rfc3339(told.modified_unix_s, 0),
    })))
}

/// What a model with this template can do.
fn capabilities(template: Option<&str>) -> Vec<&'static str> {
    let dialect = template.and_then(|template| ChatTemplate::compile(template, "", "").ok());
    let dialect = dialect.as_ref().map(Dialect::of).unwrap_or_default();
    let mut all = vec!["completion"];
    if dialect.is_native() {
        all.push("tools");
    }
    if dialect.thinking().is_some() {
        all.push("thinking");
    }
    all
}

/// The settings that hold where a request says nothing, a line each.
fn parameters(listed: &Listed) -> String {
    let sampling = &listed.sampling;
    format!(
        "temperature {}\ntop_k {}\ntop_p {}\nmin_p {}\nrepeat_penalty {}\nnum_ctx {}",
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.min_p,
        sampling.repeat_penalty,
        listed.context_length
    )
}

fn modelfile(listed: &Listed) -> String {
    let from = listed.details.parent.as_ref().unwrap_or(&listed.name);
    let system = listed.details.system.as_ref().map(|system| format!("SYSTEM \"\"\"{system}\"\"\"\n"));
    let parameters: String = parameters(listed).lines().map(|line| format!("PARAMETER {line}\n")).collect();
    format!("FROM {from}\n{}{parameters}", system.unwrap_or_default())
}

fn entry(listed: &Listed) -> Map<String, Value> {
    let digest = listed.details.digest.as_deref().unwrap_or_default();
    let mut entry = Map::new();
    entry.insert("name".into(), json!(listed.name));
    entry.insert("model".into(), json!(listed.name));
    entry.insert("size".into(), json!(listed.details.file_bytes));
    entry.insert("digest".into(), json!(digest.trim_start_matches("sha256:")));
    entry.insert("details".into(), details(listed));
    entry
}

fn details(listed: &Listed) -> Value {
    let details = &listed.details;
    json!({
        "parent_model": details.parent.as_deref().unwrap_or_default(),
        "format": details.format,
        "family": details.architecture,
        "families": [details.architecture],
        "parameter_size": details.parameter_size(),
        "quantization_level": details.quantization,
    })
}
