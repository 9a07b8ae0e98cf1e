//! `POST /api/chat`.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value};

use super::{Lines, Place, moved, options};
use crate::answer::{Answers, Called};
use crate::ask::{Ask, Chat, Prompt};
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::messages;
use crate::models::Model;
use crate::state::App;
use crate::tools;
use crate::wire::{self, Frames};

/// Answers a conversation.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn chat(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    fields.needed_text("model")?;
    let list = fields.list("messages")?.unwrap_or_default();
    if list.is_empty() {
        return moved(&app, &fields, Place::Message).await;
    }
    let model = &app.models.open(&fields).await?;
    let chat = Chat {
        messages: messages::read(list)?,
        tools: tools::read(&fields)?,
        thinking: options::thinking(&fields)?,
        ..Chat::default()
    };
    let mut ask = Ask::new(Prompt::Chat(chat), &model.served);
    options::read(&fields, &mut ask)?;
    answer(model, ask, Place::Message, &fields).await
}

fn lines(model: &Model, place: Place, has_logprobs: bool) -> Lines {
    let tokenizer = has_logprobs.then(|| model.served.tokenizer.clone());
    Lines { model: model.name.clone(), place, tokenizer, call: Called::default() }
}

/// One answer, in lines or whole.
pub(super) async fn answer(
    model: &Arc<Model>,
    ask: Ask,
    place: Place,
    fields: &Fields<'_>,
) -> Result<Response, Fault> {
    let wants_stream = fields.flag("stream")?.unwrap_or(true);
    let lines = lines(model, place, ask.top_logprobs.is_some());
    let answers = Answers::begin(Arc::clone(model), ask).await?;
    if wants_stream {
        return Ok(wire::stream(answers, lines, Frames::Lines));
    }
    let all = answers.collect().await?;
    Ok(json_reply(&all.first().map(|answer| lines.whole(answer)).unwrap_or_default()))
}
