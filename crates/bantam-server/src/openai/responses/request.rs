//! What a request for a response asks for: items become messages.

use bantam_text::Thinking;
use serde_json::{Map, Value, json};

use crate::ask::{Ask, Chat, Prompt};
use crate::clock;
use crate::deadline;
use crate::fault::Fault;
use crate::fields::{Fields, wrong};
use crate::limits::{MESSAGES_MAX, TOP_LOGPROBS_MAX};
use crate::messages::{self, content, made};
use crate::sampling;
use crate::served::Served;
use crate::structure;
use crate::tools;

/// What is wanted.
pub(super) struct Wanted {
    pub(super) ask: Ask,
    /// The conversation so far, without instructions, which hold for one response alone.
    pub(super) messages: Vec<Value>,
    /// What was given, as items.
    pub(super) items: Vec<Value>,
    /// Whether the response is kept.
    pub(super) is_kept: bool,
}

/// The whole request, behind what was said before.
///
/// # Errors
///
/// Wrong types, and what this server does not do.
pub(super) fn read(fields: &Fields<'_>, before: Vec<Value>, served: &Served) -> Result<Wanted, Fault> {
    refuse_unsupported(fields)?;
    let items = items(fields)?;
    let mut messages = before;
    let mut said = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        if let Some(message) = message(&Fields::at(item, format!("input[{at}]"))?)? {
            add(&mut said, message);
        }
    }
    messages.extend(messages::read(&said)?);
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        return Err(fields.wrong("input", &format!("from 1 to {MESSAGES_MAX} messages in all")));
    }
    let instructions = fields.text("instructions")?.map(|text| made("system", text));
    let all = instructions.into_iter().chain(messages.iter().cloned()).collect();
    let (tools, telling) = (tools::read_flat(fields)?, tools::telling(fields)?);
    let chat = Chat { messages: all, tools, thinking: thinking(fields)?, telling };
    let mut ask = Ask::new(Prompt::Chat(chat), served);
    sampling::read(fields, &mut ask.sampling)?;
    ask.format = structure::of_responses(fields)?;
    ask.time_max = deadline::read(fields)?;
    ask.max_tokens = fields.count("max_output_tokens")?;
    if ask.max_tokens == Some(0) {
        return Err(fields.wrong("max_output_tokens", "at least 1"));
    }
    ask.top_logprobs = top_logprobs(fields)?;
    Ok(Wanted { ask, messages, items, is_kept: fields.flag("store")?.unwrap_or(true) })
}

/// What was given, each with a name.
fn items(fields: &Fields<'_>) -> Result<Vec<Value>, Fault> {
    let mut items = match fields.value("input") {
        None => return Err(fields.missing("input", "a string or a list of items")),
        Some(Value::String(text)) => {
            let content = json!([{ "type": "input_text", "text": text }]);
            vec![json!({ "type": "message", "role": "user", "content": content })]
        }
        Some(Value::Array(items)) => items.clone(),
        Some(_) => return Err(fields.wrong("input", "a string or a list of items")),
    };
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        item.entry("id").or_insert_with(|| json!(clock::id("item_")));
    }
    Ok(items)
}

/// What is said and called in one go becomes one message.
fn add(said: &mut Vec<Value>, mut message: Value) {
    let is_call = message["tool_calls"].is_array();
    match said.last_mut().filter(|last| is_call && last["role"] == "assistant") {
        Some(last) => match (&mut last["tool_calls"], message["tool_calls"].take()) {
            (Value::Array(calls), Value::Array(more)) => calls.extend(more),
            (calls, more) => *calls = more,
        },
        None => said.push(message),
    }
}

/// An item as a message of a chat completion; thinking of earlier answers is left out, as templates would.
fn message(item: &Fields<'_>) -> Result<Option<Value>, Fault> {
    Ok(match item.text("type")?.unwrap_or("message") {
        "message" => {
            let role = match item.needed_text("role")? {
                role @ ("system" | "developer" | "user" | "assistant") => role,
                _ => return Err(item.wrong("role", "system, developer, user or assistant")),
            };
            Some(made(role, &content(item, "content")?))
        }
        "reasoning" => None,
        "function_call" => {
            let function = json!({
                "name": item.needed_text("name")?,
                "arguments": item.needed_text("arguments")?,
            });
            let call =
                json!({ "id": item.needed_text("call_id")?, "type": "function", "function": function });
            Some(json!({ "role": "assistant", "content": null, "tool_calls": [call] }))
        }
        "function_call_output" => {
            let id = item.needed_text("call_id")?;
            Some(json!({ "role": "tool", "tool_call_id": id, "content": content(item, "output")? }))
        }
        _ => {
            return Err(item.wrong("type", "message, reasoning, function_call or function_call_output"));
        }
    })
}

/// Log-probabilities come where `include` names them.
fn top_logprobs(fields: &Fields<'_>) -> Result<Option<usize>, Fault> {
    let mut wanted = None;
    let top = fields.count("top_logprobs")?.unwrap_or(0);
    if top > TOP_LOGPROBS_MAX {
        return Err(fields.wrong("top_logprobs", &format!("at most {TOP_LOGPROBS_MAX}")));
    }
    for (at, value) in fields.list("include")?.unwrap_or_default().iter().enumerate() {
        match value.as_str() {
            Some("message.output_text.logprobs") => wanted = Some(top),
            // What is not there cannot be included.
            Some(_) => {}
            None => return Err(wrong(&format!("include[{at}]"), "a string", value)),
        }
    }
    Ok(wanted)
}

/// How much to think.
fn thinking(fields: &Fields<'_>) -> Result<Thinking, Fault> {
    let Some(reasoning) = fields.object("reasoning")? else { return Ok(Thinking::default()) };
    Ok(reasoning.text("effort")?.map(Thinking::of).unwrap_or_default())
}

/// What would change the answer and is not there is refused.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    for name in ["conversation", "prompt"] {
        if fields.value(name).is_some() {
            return Err(Fault::unsupported(name, ": send the items, or `previous_response_id`"));
        }
    }
    if fields.flag("background")? == Some(true) {
        return Err(Fault::unsupported("background", ": the answer comes with the reply"));
    }
    Ok(())
}

/// What a response says of its request. Strict clients want each of these.
pub(super) fn echo(fields: &Fields<'_>, ask: &Ask) -> Map<String, Value> {
    let given = |name: &str| fields.value(name).cloned().unwrap_or_default();
    let or = |name: &str, default: Value| fields.value(name).cloned().unwrap_or(default);
    let sampling = &ask.sampling;
    // In as few digits as were given.
    let number = |x: f32| x.to_string().parse::<f64>().unwrap_or_default();
    let format = format_of(fields);
    let effort = fields.value("reasoning").map_or(&Value::Null, |reasoning| &reasoning["effort"]);
    let tools: Vec<Value> =
        fields.value("tools").and_then(Value::as_array).into_iter().flatten().map(tool).collect();
    let echo = json!({
        "object": "response",
        "background": false,
        "completed_at": null,
        "error": null,
        "incomplete_details": null,
        "instructions": given("instructions"),
        "max_output_tokens": ask.max_tokens,
        "max_tool_calls": given("max_tool_calls"),
        "metadata": or("metadata", json!({})),
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "presence_penalty": number(sampling.presence_penalty),
        "frequency_penalty": number(sampling.frequency_penalty),
        "previous_response_id": given("previous_response_id"),
        "prompt_cache_key": given("prompt_cache_key"),
        "reasoning": { "effort": effort, "summary": null },
        "safety_identifier": given("safety_identifier"),
        "service_tier": "default",
        "store": or("store", json!(true)),
        "temperature": number(sampling.temperature),
        "text": { "format": format, "verbosity": "medium" },
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": tools,
        "top_logprobs": ask.top_logprobs.unwrap_or(0),
        "top_p": number(sampling.top_p),
        "truncation": "disabled",
        "user": given("user"),
    });
    match echo {
        Value::Object(echo) => echo,
        _ => Map::new(),
    }
}

/// A tool with all fields that strict clients want.
fn tool(given: &Value) -> Value {
    let mut tool = json!({ "type": "function", "description": null, "parameters": null, "strict": false });
    if let (Some(tool), Some(given)) = (tool.as_object_mut(), given.as_object()) {
        tool.extend(given.clone());
    }
    tool
}

/// What the answer was to be, with the fields that the protocol says are always there.
fn format_of(fields: &Fields<'_>) -> Value {
    let format = fields.value("text").map(|text| text["format"].clone()).filter(Value::is_object);
    let mut format = format.unwrap_or_else(|| json!({ "type": "text" }));
    if format["type"] == "json_schema" {
        for (name, default) in [("description", Value::Null), ("strict", json!(true))] {
            if format.get(name).is_none() {
                format[name] = default;
            }
        }
    }
    format
}
