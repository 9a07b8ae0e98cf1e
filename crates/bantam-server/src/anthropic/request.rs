//! What a request for a message asks for.

use bantam_text::Thinking;
use serde_json::{Value, json};

use crate::ask::{Ask, Chat, Prompt, check_stops};
use crate::deadline;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::MESSAGES_MAX;
use crate::messages::{content, made, made_call};
use crate::served::Served;
use crate::structure;
use crate::tools;

/// The whole request.
///
/// # Errors
///
/// Wrong types, missing fields, and what this server does not do.
pub(super) fn read(fields: &Fields<'_>, served: &Served) -> Result<Ask, Fault> {
    let mut ask = read_prompt(fields, served)?;
    let most =
        fields.count("max_tokens")?.ok_or_else(|| fields.missing("max_tokens", "a number from 1 up"))?;
    if most == 0 {
        return Err(fields.wrong("max_tokens", "a number from 1 up"));
    }
    ask.max_tokens = Some(most);
    ask.time_max = deadline::read(fields)?;
    ask.format = structure::of_anthropic(fields)?;
    ask.stops = fields.texts("stop_sequences")?;
    check_stops(&ask.stops, "stop_sequences")?;
    let sampling = &mut ask.sampling;
    sampling.temperature = fields.number("temperature")?.unwrap_or(sampling.temperature);
    sampling.top_p = fields.number("top_p")?.unwrap_or(sampling.top_p);
    sampling.top_k = fields.count("top_k")?.unwrap_or(sampling.top_k);
    Ok(ask)
}

/// Only what becomes the prompt.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_prompt(fields: &Fields<'_>, served: &Served) -> Result<Ask, Fault> {
    let list = fields.needed_list("messages")?;
    if list.is_empty() || list.len() > MESSAGES_MAX {
        return Err(fields.wrong("messages", &format!("from 1 to {MESSAGES_MAX} messages")));
    }
    let system = content(fields, "system")?;
    let mut messages = Vec::with_capacity(list.len() + 1);
    if !system.is_empty() {
        messages.push(made("system", &system));
    }
    for (at, value) in list.iter().enumerate() {
        messages.extend(said(&Fields::at(value, format!("messages[{at}]"))?)?);
    }
    let (tools, telling) = (tools::read_anthropic(fields)?, tools::telling(fields)?);
    let chat = Chat { messages, tools, thinking: thinking(fields)?, telling };
    Ok(Ask::new(Prompt::Chat(chat), served))
}

/// A message, with the results that it brings before it as messages of their own.
fn said(fields: &Fields<'_>) -> Result<Vec<Value>, Fault> {
    let role = match fields.needed_text("role")? {
        role @ ("user" | "assistant" | "system") => role,
        _ => return Err(fields.wrong("role", "user or assistant")),
    };
    let Some(Value::Array(blocks)) = fields.value("content") else {
        return Ok(vec![made(role, &content(fields, "content")?)]);
    };
    let (mut text, mut thinking) = (String::new(), String::new());
    let (mut calls, mut said) = (Vec::new(), Vec::new());
    for (at, block) in blocks.iter().enumerate() {
        let block = Fields::at(block, format!("{}[{at}]", fields.name("content")))?;
        match (block.needed_text("type")?, role) {
            ("text", _) => text += block.needed_text("text")?,
            ("thinking", _) => thinking += block.needed_text("thinking")?,
            ("redacted_thinking", _) => {}
            ("tool_use", "assistant") => calls.push(call(&block)?),
            ("tool_result", "user") => said.push(result(&block)?),
            _ => {
                return Err(block.wrong("type", "text, tool_use or tool_result: this server takes text only"));
            }
        }
    }
    if !said.is_empty() && text.is_empty() {
        return Ok(said);
    }
    let mut message = made(role, &text);
    if !thinking.is_empty() {
        message["reasoning_content"] = json!(thinking);
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    said.push(message);
    Ok(said)
}

fn call(block: &Fields<'_>) -> Result<Value, Fault> {
    let input = block.map("input")?.cloned().unwrap_or_default();
    Ok(made_call(Some(block.needed_text("id")?), block.needed_text("name")?, &input.into()))
}

fn result(block: &Fields<'_>) -> Result<Value, Fault> {
    let mut message = made("tool", &content(block, "content")?);
    message["tool_call_id"] = block.needed_text("tool_use_id")?.into();
    Ok(message)
}

/// Here a model thinks only where it is asked to.
fn thinking(fields: &Fields<'_>) -> Result<Thinking, Fault> {
    let Some(asked) = fields.object("thinking")? else { return Ok(Thinking::switched(false)) };
    if asked.needed_text("type")? == "disabled" {
        return Ok(Thinking::switched(false));
    }
    let budget = asked.count("budget_tokens")?;
    Ok(Thinking { budget, ..Thinking::switched(true) })
}
