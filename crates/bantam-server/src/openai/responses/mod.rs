//! OpenAI's Responses: answers to items, whole or as events, kept for a while so that a conversation can go on.

mod call;
mod events;
mod keep;
mod request;

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::answer::{Answers, Chunk};
use crate::clock;
use crate::dialect::json_reply;
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::state::App;
use crate::wire::{self, Frames};

use events::{Draft, Events};
use keep::Keep;
use request::Wanted;

/// `POST /v1/responses`
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn create(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = &app.models.open(&fields).await?;
    let before = match fields.text("previous_response_id")? {
        Some(id) => app.responses.find(id).ok_or_else(|| unknown(id))?.messages,
        None => Vec::new(),
    };
    let Wanted { ask, messages, items, is_kept } = request::read(&fields, before, &model.served)?;
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let mut reply = request::echo(&fields, &ask);
    reply.insert("id".into(), json!(clock::id(&clock::id("resp_"))));
    reply.insert("created_at".into(), json!(clock::unix_s()));
    reply.insert("model".into(), json!(model.name));
    let tokenizer = ask.top_logprobs.map(|_| model.served.tokenizer.clone());
    let draft = Draft::new(reply, tokenizer);
    let keep = is_kept.then(|| {
        let (caller, app) = (ask.caller, Arc::clone(&app));
        Keep { caller, messages, items, app }
    });
    let answers = Answers::begin(Arc::clone(model), ask).await?;
    if wants_stream {
        let wire = Events::new(draft, keep);
        return Ok(wire::stream(answers, wire, Frames::Events { ping: ": ping\n\n" }));
    }
    let mut draft = draft;
    for answer in answers.collect().await? {
        draft.chunk(Chunk { thinking: answer.thinking, text: answer.text, tokens: answer.tokens });
        answer.calls.into_iter().for_each(|call| draft.called(call));
        draft.end(&answer.summary);
    }
    keep.into_iter().for_each(|keep| keep.keep(draft.response()));
    Ok(json_reply(&draft.response()))
}

/// `GET /v1/responses/{id}`
///
/// # Errors
///
/// One that is not kept, or no more.
pub(crate) fn retrieve(app: &App, id: &str) -> Result<Response, Fault> {
    let found = app.responses.find(id).ok_or_else(|| unknown(id))?;
    Ok(json_reply(&found.response))
}

/// `GET /v1/responses/{id}/input_items`
///
/// # Errors
///
/// As [`retrieve`].
pub(crate) fn input_items(app: &App, id: &str) -> Result<Response, Fault> {
    let items = app.responses.find(id).ok_or_else(|| unknown(id))?.items;
    Ok(json_reply(&json!({
        "object": "list",
        "first_id": items.first().map(|item| &item["id"]),
        "last_id": items.last().map(|item| &item["id"]),
        "has_more": false,
        "data": items,
    })))
}

/// `DELETE /v1/responses/{id}`
///
/// # Errors
///
/// As [`retrieve`].
pub(crate) fn delete(app: &App, id: &str) -> Result<Response, Fault> {
    match app.responses.remove(id) {
        true => Ok(json_reply(&json!({ "id": id, "object": "response", "deleted": true }))),
        false => Err(unknown(id)),
    }
}

fn unknown(id: &str) -> Fault {
    let id: String = id.chars().take(80).collect();
    let message = format!(
        "response `{id}` not found: it was never kept (`store`), is deleted, or newer ones took its place"
    );
    Fault { param: Some("previous_response_id".into()), ..Fault::new(Kind::NotFound, message) }
}
