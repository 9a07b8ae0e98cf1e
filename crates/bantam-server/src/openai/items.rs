//! Items, of which OpenAI's Responses and conversations consist: what is said, called and answered, one by one.

use serde_json::{Map, Value, json};

use crate::clock;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::messages::{self, content, made};

/// What a field gives as items, each in the form in which it is told; `None` where it is not there.
///
/// # Errors
///
/// What is neither a text nor a list.
pub(crate) fn read(fields: &Fields<'_>, name: &str) -> Result<Option<Vec<Value>>, Fault> {
    match fields.value(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![told(&json!({ "role": "user", "content": text }))])),
        Some(Value::Array(items)) => Ok(Some(items.iter().map(told).collect())),
        Some(_) => Err(fields.wrong(name, "a string or a list of items")),
    }
}

/// An item with all that the protocol says is always there: type, name, status, content as a list of parts.
fn told(item: &Value) -> Value {
    let Value::Object(given) = item else { return item.clone() };
    let mut item = given.clone();
    // A name alone says no message.
    let is_name = given.get("id").is_some_and(Value::is_string) && !given.contains_key("role");
    let kind = text_or(&mut item, "type", if is_name { "item_reference" } else { "message" });
    let (prefix, has_status) = match kind.as_str() {
        "message" => ("msg_", true),
        "function_call" => ("fc_", true),
        "function_call_output" => ("fco_", true),
        "reasoning" => ("rs_", false),
        _ => ("item_", false),
    };
    text_or(&mut item, "id", &clock::id(&clock::id(prefix)));
    if has_status {
        text_or(&mut item, "status", "completed");
    }
    if kind == "message" {
        let is_output = item.get("role").is_some_and(|role| role == "assistant");
        if let Some(content) = item.get_mut("content") {
            *content = parts(content.take(), is_output);
        }
    }
    Value::Object(item)
}

/// What a field is, and if it is nothing, `default`.
fn text_or(item: &mut Map<String, Value>, name: &str, default: &str) -> String {
    let value = item.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = json!(default);
    }
    value.as_str().unwrap_or_default().to_owned()
}

/// A text as the list of parts that it stands for.
fn parts(content: Value, is_output: bool) -> Value {
    match content {
        Value::String(text) if is_output => {
            json!([{ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }])
        }
        Value::String(text) => json!([{ "type": "input_text", "text": text }]),
        Value::Null => json!([]),
        parts => parts,
    }
}

/// Items as messages, instructions not among them; `name` is where the items lie in the request.
///
/// # Errors
///
/// Items, roles, parts and types that are not known, by their place.
pub(crate) fn to_messages(items: &[Value], name: &str) -> Result<Vec<Value>, Fault> {
    let mut said = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        if let Some(message) = message(&Fields::at(item, format!("{name}[{at}]"))?)? {
            add(&mut said, message);
        }
    }
    messages::read(&said)
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
    item.text("id")?;
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
            let function = json!({ "name": item.needed_text("name")?, "arguments": arguments(item)? });
            let call =
                json!({ "id": item.needed_text("call_id")?, "type": "function", "function": function });
            Some(json!({ "role": "assistant", "content": null, "tool_calls": [call] }))
        }
        "function_call_output" => {
            let id = item.needed_text("call_id")?;
            Some(json!({ "role": "tool", "tool_call_id": id, "content": content(item, "output")? }))
        }
        _ => {
            return Err(item.wrong("type", "message, reasoning, function_call, function_call_output, or in a response's input item_reference"));
        }
    })
}

/// The arguments of a call. One that was cut off has none: half of them are no JSON.
fn arguments<'a>(item: &Fields<'a>) -> Result<&'a str, Fault> {
    let arguments = item.needed_text("arguments")?;
    let is_cut = item.text("status")? == Some("incomplete");
    let is_whole = || serde_json::from_str::<Map<String, Value>>(arguments).is_ok();
    Ok(if is_cut && !is_whole() { "{}" } else { arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_all_that_they_are_told_with() {
        let body = json!({ "input": [
            { "role": "user", "content": "a" },
            { "role": "assistant", "content": "b", "id": null, "status": null },
            { "type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}" },
            { "type": "reasoning", "summary": [] },
        ]});
        let items = read(&Fields::new(body.as_object().unwrap()), "input").unwrap().unwrap();
        assert_eq!((&items[0]["type"], &items[0]["status"]), (&json!("message"), &json!("completed")));
        assert_eq!(items[0]["content"], json!([{ "type": "input_text", "text": "a" }]));
        assert_eq!(items[1]["content"][0]["type"], "output_text");
        assert!(items[1]["id"].as_str().unwrap().starts_with("msg_") && items[1]["status"] == "completed");
        assert_eq!((&items[2]["id"], &items[2]["status"]), (&json!("fc_1"), &json!("completed")));
        assert!(items[3]["id"].as_str().unwrap().starts_with("rs_") && items[3].get("status").is_none());
    }

    #[test]
    fn a_call_that_was_cut_off_has_no_arguments() {
        let call = |status: &str| {
            let call = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\": ",
                               "status": status });
            to_messages(&[call], "input")
        };
        let read = call("incomplete").unwrap();
        assert_eq!(read[0]["tool_calls"][0]["function"]["arguments"], json!({}));
        assert!(call("completed").is_err());
    }
}
