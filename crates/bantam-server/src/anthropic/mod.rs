//! Anthropic's protocol: messages, and how many tokens they would be.

mod events;
mod request;

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::answer::{Answers, Ended, Summary, Whole, prepare};
use crate::clock;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::state::App;
use crate::wire::{self, Frames};

use events::Events;

/// `POST /v1/messages`
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn messages(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    fields.needed_text("model")?;
    let model = app.models.open(&fields).await?;
    let ask = request::read(&fields, &model.served)?;
    let head = Head { id: clock::id("msg_"), model: model.name.clone() };
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let answers = Answers::begin(Arc::clone(&model), ask).await?;
    if wants_stream {
        let input_tokens = answers.prompts.first().map_or(0, Vec::len);
        let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
        return Ok(wire::stream(answers, Events::new(head, input_tokens), Frames::Events { ping }));
    }
    let all = answers.collect().await?;
    Ok(json_reply(&all.first().map(|answer| whole(&head, answer)).unwrap_or_default()))
}

/// `POST /v1/messages/count_tokens`
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn count_tokens(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    fields.needed_text("model")?;
    let model = app.models.open(&fields).await?;
    let ask = request::read_prompt(&fields, &model.served)?;
    let (_, prompts, _) = prepare(&model, ask).await?;
    let count: usize = prompts.iter().map(|prompt| prompt.ids.len()).sum();
    Ok(json_reply(&json!({ "input_tokens": count })))
}

/// What a message begins with.
struct Head {
    id: String,
    model: String,
}

impl Head {
    fn message(&self, content: &Value, ended: Option<&Ended>, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": ended.map(stop_reason),
            "stop_sequence": ended.and_then(stop_sequence),
            "stop_details": null,
            "container": null,
            "usage": usage,
        })
    }
}

fn whole(head: &Head, answer: &Whole) -> Value {
    let mut content = Vec::new();
    if !answer.thinking.is_empty() {
        content.push(json!({ "type": "thinking", "thinking": answer.thinking, "signature": "" }));
    }
    if !answer.text.is_empty() {
        content.push(text_block(&answer.text));
    }
    for call in &answer.calls {
        let input: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
        content.push(tool_use_block(&call.id, &call.name, &input));
    }
    head.message(&content.into(), Some(&answer.summary.ended), &usage(&answer.summary))
}

fn text_block(text: &str) -> Value {
    json!({ "type": "text", "text": text, "citations": null })
}

fn tool_use_block(id: &str, name: &str, input: &Value) -> Value {
    let (id, caller) = (tool_use_id(id), json!({ "type": "direct" }));
    json!({ "type": "tool_use", "id": id, "name": name, "input": input, "caller": caller })
}

/// A call's id as these clients know it.
fn tool_use_id(id: &str) -> String {
    format!("toolu_{}", id.trim_start_matches("call_"))
}

fn stop_reason(ended: &Ended) -> &'static str {
    match ended {
        Ended::Stop => "end_turn",
        Ended::StopString(_) => "stop_sequence",
        Ended::Length | Ended::Expired => "max_tokens",
        Ended::Calls => "tool_use",
    }
}

fn stop_sequence(ended: &Ended) -> Option<&str> {
    match ended {
        Ended::StopString(stop) => Some(stop),
        Ended::Stop | Ended::Length | Ended::Expired | Ended::Calls => None,
    }
}

/// Tokens that were there already do not count as input here. All fields are there that Anthropic's document wants.
fn usage(summary: &Summary) -> Value {
    let usage = &summary.usage;
    json!({
        "input_tokens": usage.prompt_tokens.saturating_sub(usage.reused_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.reused_tokens,
        "cache_creation": null,
        "output_tokens": usage.generated_tokens,
        "output_tokens_details": { "thinking_tokens": summary.thinking_tokens },
        "server_tool_use": null,
        "service_tier": "standard",
        "inference_geo": null,
    })
}
