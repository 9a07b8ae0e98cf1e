//! Adapters that come and go while the server runs, by the paths that vLLM and llama.cpp's server have for it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::names::NamedAdapter;
use crate::state::App;

/// `POST /v1/load_lora_adapter`
///
/// # Errors
///
/// A name that is taken; an adapter that cannot be had, or does not fit its base.
pub(crate) async fn load(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let name = fields.needed_text("lora_name")?.to_owned();
    let place = fields.needed_text("lora_path")?.to_owned();
    let model = fields.text("base_model_name")?.map(str::to_owned);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(fields.wrong("lora_name", &format!("1 to {NAME_BYTES_MAX} bytes")));
    }
    if fields.flag("load_inplace")?.unwrap_or(false) {
        // What is not there need not go.
        let _ = app.models.remove_adapter(&name);
    }
    app.models.add_adapter(NamedAdapter { name: name.clone(), model, place }).await?;
    Ok(text(format!("Success: LoRA adapter '{name}' added successfully.")))
}

/// `POST /v1/unload_lora_adapter`
///
/// # Errors
///
/// A name that no adapter has.
pub(crate) async fn unload(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let name = Fields::new(&body).needed_text("lora_name")?.to_owned();
    app.models.remove_adapter(&name)?;
    Ok(text(format!("Success: LoRA adapter '{name}' removed successfully.")))
}

/// `GET /lora-adapters`: by the numbers that `lora` in a request goes by, for each model from zero up.
pub(crate) fn list(app: &App) -> Response {
    let adapters = app.models.adapters();
    let number =
        |place: usize| adapters[..place].iter().filter(|one| one.model == adapters[place].model).count();
    let told = |(place, adapter): (usize, &NamedAdapter)| json!({ "id": number(place), "name": adapter.name, "model": adapter.model, "scale": 0.0 });
    json_reply(&adapters.iter().enumerate().map(told).collect())
}

const NAME_BYTES_MAX: usize = 256;

fn text(text: String) -> Response {
    let mut reply = Response::new(Body::from(text));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}
