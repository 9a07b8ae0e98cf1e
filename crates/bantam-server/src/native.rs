//! What belongs to no dialect: health, and text to tokens and back as llama.cpp's and vLLM's servers have it.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use bantam_text::{Shown, Special};
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;

use crate::ask::Chat;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fault::broken;
use crate::fields::Fields;
use crate::messages;
use crate::models::Model;
use crate::names::Wanted;
use crate::state::App;
use crate::{thinking, tools};

/// `GET /health`: the program lives.
pub(crate) fn health() -> Response {
    json_reply(&json!({ "status": "ok" }))
}

/// `GET /ready`: it takes requests, and what is to be loaded from the start is.
pub(crate) fn ready(app: &App) -> Response {
    if app.is_ready() {
        return json_reply(&json!({ "status": "ok" }));
    }
    let status = if app.is_stopping() { "stopping" } else { "loading" };
    let mut reply = json_reply(&json!({ "status": status }));
    *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    reply
}

/// `POST /tokenize`: `content` as llama.cpp's server calls the text, `prompt` as vLLM does.
///
/// # Errors
///
/// Wrong types; no text.
pub(crate) async fn tokenize(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let model = named(&app, &body).await?;
    blocking(move || {
        let fields = Fields::new(&body);
        let (tokenizer, is_prompt) = (&model.served.tokenizer, fields.value("prompt").is_some());
        let text = fields.needed_text(if is_prompt { "prompt" } else { "content" })?;
        // Each has its own name and its own default for what stands before a text.
        let frame = match is_prompt {
            true => fields.flag("add_special_tokens")?.unwrap_or(true),
            false => fields.flag("add_special")?.unwrap_or(false),
        };
        let parse = fields.flag("parse_special")?.unwrap_or(true);
        let special = if parse { Special::Parse } else { Special::AsText };
        let mut ids = tokenizer.to_ids(text, special).map_err(|error| Fault::invalid(error.to_string()))?;
        if frame {
            ids = tokenizer.frame(ids);
        }
        let piece = |id: &u32| {
            let bytes = tokenizer.piece(*id).map(|piece| piece.bytes).unwrap_or_default();
            let piece =
                String::from_utf8(bytes).map_or_else(|error| json!(error.as_bytes()), |text| json!(text));
            json!({ "id": id, "piece": piece })
        };
        let tokens: Value = match fields.flag("with_pieces")?.unwrap_or(false) {
            true => ids.iter().map(piece).collect(),
            false => json!(ids),
        };
        Ok(json!({ "tokens": tokens, "count": ids.len(), "max_model_len": model.served.context_length }))
    })
    .await
}

/// `POST /detokenize`
///
/// # Errors
///
/// What are no tokens of the model.
pub(crate) async fn detokenize(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let model = named(&app, &body).await?;
    blocking(move || {
        let fields = Fields::new(&body);
        let vocab_size = model.served.vocab_size as u64;
        let id = |value: &Value| value.as_u64().filter(|id| *id < vocab_size).map(|id| id as u32);
        let ids: Option<Vec<u32>> = fields.needed_list("tokens")?.iter().map(id).collect();
        let wanted = format!("a list of token ids below {vocab_size}");
        let ids = ids.ok_or_else(|| fields.wrong("tokens", &wanted))?;
        let text = model.served.tokenizer.to_text(&ids, Shown::All);
        Ok(json!({ "content": text, "prompt": text }))
    })
    .await
}

/// `POST /apply-template`: the text of a conversation, up to where the answer begins.
///
/// # Errors
///
/// What is wrong with the conversation.
pub(crate) async fn apply_template(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let model = named(&app, &body).await?;
    blocking(move || {
        let fields = Fields::new(&body);
        let chat = Chat {
            messages: messages::read(fields.needed_list("messages")?)?,
            tools: tools::read(&fields)?,
            thinking: thinking::read(&fields)?,
            ..Chat::default()
        };
        Ok(json!({ "prompt": chat.to_text(&model)? }))
    })
    .await
}

/// `GET /tokenizer_info`: what a harness must know to make prompts of tokens by asking this server.
///
/// # Errors
///
/// A model that cannot be loaded.
pub(crate) async fn tokenizer_info(app: Arc<App>) -> Result<Response, Fault> {
    let model = app.models.open_wanted(&Wanted::default()).await?;
    let served = &model.served;
    let (tokenizer, roles) = (&served.tokenizer, served.tokenizer.roles());
    let text = |id: Option<u32>| id.map(|id| tokenizer.role_text(Some(id)));
    Ok(json_reply(&json!({
        "tokenizer_class": "bantam",
        "bos_token": text(roles.bos),
        "eos_token": text(roles.eos),
        "pad_token": text(roles.padding),
        "unk_token": text(roles.unknown),
        "chat_template": served.details.template,
        "vocab_size": tokenizer.vocab_size(),
        "model_max_length": served.context_length,
    })))
}

async fn named(app: &App, body: &Map<String, Value>) -> Result<Arc<Model>, Fault> {
    app.models.open(&Fields::new(body)).await
}

/// Replies with what work gives that could hold up others.
async fn blocking(work: impl FnOnce() -> Result<Value, Fault> + Send + 'static) -> Result<Response, Fault> {
    let done = spawn_blocking(work).await.map_err(|_| broken("the work broke off"))?;
    done.map(|value| json_reply(&value))
}
