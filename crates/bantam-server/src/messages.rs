//! Conversations as clients send them, made into what templates take: `{role, content, ..}` with text as content.
//!
//! Roles come from a fixed list: templates make special tokens of them.

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::fields::{Fields, wrong};
use crate::limits::MESSAGES_MAX;

/// The messages of a chat completion, or of Ollama's chat.
///
/// # Errors
///
/// Roles, parts and types that are not known, by their place.
pub(crate) fn read(list: &[Value]) -> Result<Vec<Value>, Fault> {
    if list.len() > MESSAGES_MAX {
        let message = format!("`messages` has {} messages: wanted at most {MESSAGES_MAX}", list.len());
        return Err(Fault::field("messages", message));
    }
    let numbered = list.iter().enumerate();
    numbered.map(|(at, value)| message(&Fields::at(value, format!("messages[{at}]"))?)).collect()
}

/// A message that was made here.
pub(crate) fn made(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

fn message(fields: &Fields<'_>) -> Result<Value, Fault> {
    let mut message = Map::new();
    message.insert("role".into(), json!(role(fields)?));
    message.insert("content".into(), json!(content(fields, "content")?));
    if fields.list("images")?.is_some_and(|images| !images.is_empty()) {
        return Err(Fault::unsupported(&fields.name("images"), ": it takes text only"));
    }
    for name in ["reasoning_content", "reasoning", "thinking"] {
        if let Some(thinking) = fields.text(name)? {
            message.insert("reasoning_content".into(), json!(thinking));
            break;
        }
    }
    for name in ["name", "tool_call_id"] {
        if let Some(text) = fields.text(name)? {
            message.insert(name.into(), json!(text));
        }
    }
    if let Some(tool) = fields.text("tool_name")? {
        message.insert("name".into(), json!(tool));
    }
    if let Some(calls) = fields.list("tool_calls")? {
        let place = |at: usize| format!("{}[{at}]", fields.name("tool_calls"));
        let numbered = calls.iter().enumerate();
        let calls = numbered.map(|(at, value)| call(&Fields::at(value, place(at))?));
        message.insert("tool_calls".into(), calls.collect::<Result<_, _>>()?);
    }
    Ok(Value::Object(message))
}

fn role(fields: &Fields<'_>) -> Result<&'static str, Fault> {
    Ok(match fields.needed_text("role")? {
        "system" | "developer" => "system",
        "user" => "user",
        "assistant" => "assistant",
        "tool" | "function" => "tool",
        _ => return Err(fields.wrong("role", "system, developer, user, assistant or tool")),
    })
}

/// A text, or parts of text one behind the other.
///
/// # Errors
///
/// Parts that are no text.
pub(crate) fn content(fields: &Fields<'_>, name: &str) -> Result<String, Fault> {
    let Some(value) = fields.value(name) else { return Ok(String::new()) };
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let path = |at: usize| format!("{}[{at}]", fields.name(name));
            parts.iter().enumerate().map(|(at, value)| part(&Fields::at(value, path(at))?)).collect()
        }
        other => Err(wrong(&fields.name(name), "a string or a list of parts", other)),
    }
}

fn part(fields: &Fields<'_>) -> Result<String, Fault> {
    match fields.needed_text("type")? {
        "text" | "input_text" | "output_text" => Ok(fields.needed_text("text")?.to_owned()),
        "refusal" => Ok(fields.needed_text("refusal")?.to_owned()),
        _ => Err(fields.wrong("type", "text: this server takes text only")),
    }
}

/// A call with its arguments as an object, as templates want them.
fn call(fields: &Fields<'_>) -> Result<Value, Fault> {
    let function = fields.object("function")?.ok_or_else(|| fields.missing("function", "an object"))?;
    let arguments = match function.value("arguments") {
        None => json!({}),
        Some(Value::String(text)) if text.trim().is_empty() => json!({}),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(value) => value.clone(),
    };
    if !arguments.is_object() {
        return Err(function.wrong("arguments", "a JSON object, or a text that is one"));
    }
    Ok(made_call(fields.text("id")?, function.needed_text("name")?, &arguments))
}

/// A call in the form of the chat completions protocol.
pub(crate) fn made_call(id: Option<&str>, name: &str, arguments: &Value) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_content_become_text() {
        let messages = json!([
            { "role": "developer", "content": "a" },
            { "role": "user", "content": [{ "type": "text", "text": "b" }, { "type": "text", "text": "c" }] },
            { "role": "assistant", "content": null, "reasoning": "r",
              "tool_calls": [{ "function": { "name": "f", "arguments": "{\"x\": 1}" } }] },
        ]);
        let read = read(messages.as_array().unwrap()).unwrap();
        assert_eq!(read[0], json!({ "role": "system", "content": "a" }));
        assert_eq!(read[1], json!({ "role": "user", "content": "bc" }));
        assert_eq!(read[2]["reasoning_content"], "r");
        assert_eq!(read[2]["tool_calls"][0]["function"]["arguments"], json!({ "x": 1 }));
    }

    #[test]
    fn what_is_no_text_is_refused_by_its_place() {
        let cases = [
            (json!({ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }), "type"),
            (json!({ "role": "root", "content": "x" }), "role"),
            (json!({ "content": "x" }), "role"),
            (json!({ "role": "user", "content": 5 }), "content"),
            (json!({ "role": "user", "content": "x", "images": ["aGk="] }), "images"),
            (json!("hi"), "messages[0]"),
        ];
        for (message, param) in cases {
            let fault = read(&[message]).unwrap_err();
            let found = fault.param.unwrap();
            assert!(found.starts_with("messages[0]") && found.contains(param), "{found}");
        }
    }
}
