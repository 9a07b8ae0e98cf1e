//! What a request for a message asks for.

use serde_json::{Map, Value, json};

use crate::ask::{Ask, Chat, Prompt, check_stops};
use crate::deadline;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::MESSAGES_MAX;
use crate::messages::{content, made};
use crate::served::Served;
use crate::structure;

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
    refuse_unsupported(fields)?;
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
        messages.push(message(&Fields::at(value, format!("messages[{at}]"))?)?);
    }
    Ok(Ask::new(Prompt::Chat(Chat { messages, switches: switches(fields)? }), served))
}

fn message(fields: &Fields<'_>) -> Result<Value, Fault> {
    let role = match fields.needed_text("role")? {
        role @ ("user" | "assistant" | "system") => role,
        _ => return Err(fields.wrong("role", "user or assistant")),
    };
    let Some(Value::Array(blocks)) = fields.value("content") else {
        return Ok(made(role, &content(fields, "content")?));
    };
    let (mut text, mut thinking) = (String::new(), String::new());
    for (at, block) in blocks.iter().enumerate() {
        let block = Fields::at(block, format!("{}[{at}]", fields.name("content")))?;
        match block.needed_text("type")? {
            "text" => text += block.needed_text("text")?,
            "thinking" => thinking += block.needed_text("thinking")?,
            "redacted_thinking" => {}
            _ => return Err(block.wrong("type", "text: this server takes text only")),
        }
    }
    let mut message = made(role, &text);
    if !thinking.is_empty() {
        message["reasoning_content"] = json!(thinking);
    }
    Ok(message)
}

/// Here a model thinks only where it is asked to.
fn switches(fields: &Fields<'_>) -> Result<Map<String, Value>, Fault> {
    let thinks = match fields.object("thinking")? {
        Some(thinking) => thinking.needed_text("type")? != "disabled",
        None => false,
    };
    Ok(Map::from_iter([("enable_thinking".to_owned(), json!(thinks))]))
}

/// What would change the answer and is not there is refused.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    let is_none = fields.value("tool_choice").is_some_and(|choice| choice["type"] == "none");
    if !is_none && fields.list("tools")?.is_some_and(|tools| !tools.is_empty()) {
        return Err(Fault::unsupported("tools", " yet: leave it out"));
    }
    Ok(())
}
