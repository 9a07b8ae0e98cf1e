//! What a request for a response asks for: items become messages.

use bantam_text::Thinking;
use serde_json::{Map, Value, json};

use crate::ask::{Ask, Chat, Prompt};
use crate::deadline;
use crate::fault::Fault;
use crate::fields::{Fields, wrong};
use crate::limits::{MESSAGES_MAX, TOP_LOGPROBS_MAX};
use crate::messages::made;
use crate::openai::responses::references;
use crate::openai::{items, metadata};
use crate::sampling;
use crate::served::Served;
use crate::state::App;
use crate::structure;
use crate::tools;

/// What is wanted.
pub(super) struct Wanted {
    pub(super) ask: Ask,
    /// The conversation so far, without instructions, which hold for one response alone.
    pub(super) messages: Vec<Value>,
    /// What was given, as items.
    pub(super) items: Vec<Value>,
}

/// The whole request, behind what was said before.
///
/// # Errors
///
/// Wrong types, items that are not kept, and what this server does not do.
pub(super) fn read(
    app: &App,
    fields: &Fields<'_>,
    before: Vec<Value>,
    served: &Served,
) -> Result<Wanted, Fault> {
    refuse_unsupported(fields)?;
    metadata::read(fields)?;
    let items = match items::read(fields, "input")? {
        // What was said before can be answered as it is.
        None if before.is_empty() => return Err(fields.missing("input", "a string or a list of items")),
        items => references::resolve(app, items.unwrap_or_default())?,
    };
    let mut messages = before;
    messages.extend(items::to_messages(&items, "input")?);
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
    Ok(Wanted { ask, messages, items })
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
    if fields.value("prompt").is_some() {
        return Err(Fault::unsupported("prompt", ": send the items, or `previous_response_id`"));
    }
    if fields.flag("background")? == Some(true) {
        return Err(Fault::unsupported("background", ": the answer comes with the reply"));
    }
    Ok(())
}

/// What a response says of its request. Strict clients want each of these.
pub(super) fn echo(fields: &Fields<'_>, ask: &Ask, is_kept: bool) -> Map<String, Value> {
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
        "store": is_kept,
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
