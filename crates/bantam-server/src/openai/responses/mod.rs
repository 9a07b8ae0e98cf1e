//! OpenAI's Responses: answers to items, whole or as events, kept for a while so that a conversation can go on.

mod call;
mod events;
mod keep;
mod references;
mod request;

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::answer::{Answers, Chunk};
use crate::clock;
use crate::dialect::json_reply;
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::openai::conversations::Joined;
use crate::openai::listing::Part;
use crate::settings::Storing;
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
    let (before, joined) = before(&app, &fields)?;
    let model = &app.models.open(&fields).await?;
    let Wanted { ask, messages, items } = request::read(&app, &fields, before, &model.served)?;
    joined.iter().try_for_each(|joined| joined.check(&app, &items))?;
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let is_kept = fields.flag("store")?.unwrap_or(true) && app.settings.storing == Storing::InMemory;
    let mut reply = request::echo(&fields, &ask, is_kept);
    reply.insert("id".into(), json!(clock::id(&clock::id("resp_"))));
    reply.insert("created_at".into(), json!(clock::unix_s()));
    reply.insert("model".into(), json!(model.name));
    if let Some(joined) = &joined {
        reply.insert("conversation".into(), json!({ "id": joined.id }));
    }
    let tokenizer = ask.top_logprobs.map(|_| model.served.tokenizer.clone());
    let draft = Draft::new(reply, tokenizer);
    let keep = Keep { caller: ask.caller, messages, items, is_kept, joined, app: Arc::clone(&app) };
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
    keep.keep(draft.response());
    Ok(json_reply(&draft.response()))
}

/// What was said before, and the conversation in which that was.
fn before(app: &App, fields: &Fields<'_>) -> Result<(Vec<Value>, Option<Joined>), Fault> {
    let previous = fields.text("previous_response_id")?;
    if previous.is_some() && fields.value("conversation").is_some() {
        let message = "`previous_response_id` and `conversation` both say what was before: leave one out";
        return Err(Fault {
            code: Some("mutually_exclusive_parameters"),
            ..Fault::field("conversation", message)
        });
    }
    if let Some(id) = previous {
        return Ok((app.responses.find(id).ok_or_else(|| unknown(id))?.messages, None));
    }
    let mut joined = Joined::read(app, fields)?;
    let messages = joined.as_mut().map(|joined| std::mem::take(&mut joined.messages));
    Ok((messages.unwrap_or_default(), joined))
}

/// `GET /v1/responses/{id}`
///
/// # Errors
///
/// One that is not kept, or no more.
pub(crate) fn retrieve(app: &App, id: &str) -> Result<Response, Fault> {
    let found = app.responses.look(id, |entry| json_reply(&entry.response));
    found.ok_or_else(|| unknown(id))
}

/// `GET /v1/responses/{id}/input_items`
///
/// # Errors
///
/// As [`retrieve`]; a part that there is not.
pub(crate) fn input_items(app: &App, id: &str, query: Option<&str>) -> Result<Response, Fault> {
    let part = Part::read(query)?;
    let found = app.responses.look(id, |entry| part.of(&entry.items));
    Ok(json_reply(&found.ok_or_else(|| unknown(id))??))
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
