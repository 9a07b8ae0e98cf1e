//! `GET /props`: what llama.cpp's server tells of its model and its settings.

use axum::response::Response;
use serde_json::json;

use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::names::Wanted;
use crate::state::App;

/// Of the first model.
///
/// # Errors
///
/// A model that cannot be loaded.
pub(crate) async fn props(app: &App) -> Result<Response, Fault> {
    let model = app.models.open_wanted(&Wanted::default()).await?;
    let (served, sampling) = (&model.served, &model.served.sampling);
    let role = |id: Option<u32>| id.map(|id| served.tokenizer.role_text(Some(id)));
    let roles = served.tokenizer.roles();
    Ok(json_reply(&json!({
        "default_generation_settings": {
            "n_ctx": served.context_length,
            "params": {
                "seed": served.seed,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": sampling.top_p,
                "min_p": sampling.min_p,
                "repeat_penalty": sampling.repeat_penalty,
            },
        },
        "total_slots": served.sequences_max,
        "model_alias": served.name,
        "chat_template": served.details.template,
        "bos_token": role(roles.bos),
        "eos_token": role(roles.eos),
        "modalities": { "vision": false, "audio": false },
        "build_info": concat!("bantam ", env!("CARGO_PKG_VERSION")),
    })))
}
