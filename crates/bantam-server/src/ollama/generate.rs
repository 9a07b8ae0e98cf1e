//! `POST /api/generate`.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value};

use super::{Place, chat, moved, options};
use crate::ask::{Ask, Chat, Prompt};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::fill::Fill;
use crate::messages::made;
use crate::served::Served;
use crate::state::App;

/// Answers one question, or continues a text.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn generate(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    fields.needed_text("model")?;
    let prompt = fields.text("prompt")?.unwrap_or_default();
    if prompt.is_empty() {
        return moved(&app, &fields, Place::Response).await;
    }
    refuse_unsupported(&fields)?;
    let model = &app.models.open(&fields).await?;
    let mut ask = Ask::new(read(&fields, prompt, &model.served)?, &model.served);
    options::read(&fields, &mut ask)?;
    chat::answer(model, ask, Place::Response, &fields).await
}

/// Through the template, unless there is none or the client brings its own text.
fn read(fields: &Fields<'_>, prompt: &str, served: &Served) -> Result<Prompt, Fault> {
    if let Some(suffix) = fields.text("suffix")?.filter(|suffix| !suffix.is_empty()) {
        let (prefix, suffix) = (prompt.to_owned(), suffix.to_owned());
        return Ok(Prompt::Fill(Fill { prefix, suffix, field: "suffix", ..Fill::default() }));
    }
    if fields.flag("raw")?.unwrap_or(false) || served.template.is_none() {
        return Ok(Prompt::Text(prompt.to_owned()));
    }
    let system = fields.text("system")?.filter(|system| !system.is_empty());
    let mut messages: Vec<Value> = system.map(|system| made("system", system)).into_iter().collect();
    messages.push(made("user", prompt));
    Ok(Prompt::Chat(Chat { messages, thinking: options::thinking(fields)?, ..Chat::default() }))
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    if fields.text("template")?.is_some_and(|template| !template.is_empty()) {
        return Err(Fault::unsupported("template", ": the model's own is used; with `raw` there is none"));
    }
    if fields.list("context")?.is_some_and(|context| !context.is_empty()) {
        return Err(Fault::unsupported("context", ": send the conversation to /api/chat"));
    }
    Ok(())
}
