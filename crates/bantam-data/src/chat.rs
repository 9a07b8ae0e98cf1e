//! Chats in the forms that people keep them, made into the one form that templates take.
//!
//! OpenAI's `messages`, with `tool_calls`, the older `function_call`, and `weight: 0` on answers that are not to be
//! learnt; ShareGPT's `conversations` with `from` and `value`.

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::read::json::{self, kind};

/// Messages as templates take them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chat {
    pub(crate) messages: Vec<Value>,
    pub(crate) tools: Option<Vec<Value>>,
    /// The places of the messages that are learnt, sorted.
    pub(crate) learnt: Vec<usize>,
}

/// The messages up to the last that is not the assistant's.
pub(crate) fn question(messages: &[Value]) -> Result<Vec<Value>, Fault> {
    let all = messages.iter().enumerate().map(|(at, message)| Ok(normal(message, at)?.0));
    let mut all = all.collect::<Result<Vec<Value>, Fault>>()?;
    let end = all.iter().rposition(|message| message["role"] != "assistant").map_or(0, |last| last + 1);
    all.truncate(end);
    if all.iter().all(|message| message["role"] == "system") {
        return Err(Fault::NothingToLearn("no message asks anything"));
    }
    Ok(all)
}

impl Chat {
    /// Answers are learnt from message `from` on.
    pub(crate) fn new(messages: &[Value], tools: Option<Vec<Value>>, from: usize) -> Result<Self, Fault> {
        let mut chat = Self { messages: Vec::with_capacity(messages.len()), tools, learnt: Vec::new() };
        let mut has_answer = false;
        for (at, message) in messages.iter().enumerate() {
            let (message, is_wanted) = normal(message, at)?;
            let is_answer = message["role"] == "assistant";
            has_answer |= is_answer;
            if is_answer && is_wanted && at >= from {
                chat.learnt.push(at);
            }
            chat.messages.push(message);
        }
        match (has_answer, chat.learnt.is_empty()) {
            (false, _) => Err(Fault::NothingToLearn("no message of the assistant")),
            (_, true) => Err(Fault::NothingToLearn("no answer has a weight")),
            _ => Ok(chat),
        }
    }

    pub(crate) fn append_content(&self, out: &mut String) {
        for message in &self.messages {
            append_texts(&message["content"], out);
            append_texts(&message["tool_calls"], out);
        }
    }

    /// The same with the arguments of calls as JSON in text: some templates want them so.
    pub(crate) fn with_written_arguments(&self) -> Option<Self> {
        let mut chat = self.clone();
        let mut is_changed = false;
        for message in &mut chat.messages {
            for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
                let Some(arguments) = call.pointer_mut("/function/arguments").filter(|a| a.is_object())
                else {
                    continue;
                };
                *arguments = Value::String(arguments.to_string());
                is_changed = true;
            }
        }
        is_changed.then_some(chat)
    }
}

fn append_texts(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.extend([text.as_str(), "\n"]),
        Value::Array(items) => items.iter().for_each(|item| append_texts(item, out)),
        Value::Object(fields) => fields.values().for_each(|value| append_texts(value, out)),
        _ => {}
    }
}

/// How many messages two chats have in common at their beginning; 0 if they are no lists.
pub(crate) fn shared(one: &Value, other: &Value) -> usize {
    let (Value::Array(one), Value::Array(other)) = (one, other) else { return 0 };
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// A message as templates take it, and whether it is to be learnt if the assistant says it.
fn normal(message: &Value, at: usize) -> Result<(Value, bool), Fault> {
    let fault =
        |wanted, found: &Value| Fault::Message { message: at + 1, wanted, found: kind(found).to_owned() };
    let Value::Object(fields) = message else { return Err(fault("an object", message)) };
    let role = fields.get("role").or(fields.get("from")).unwrap_or(&Value::Null);
    let role = role.as_str().ok_or_else(|| fault("a role in text", role))?;
    let mut content = fields.get("content").or(fields.get("value")).cloned().unwrap_or(Value::Null);
    let mut calls = calls(fields);
    if role == "function_call" {
        let text = content.as_str().unwrap_or_default();
        let call = json::value(text).map_err(|_| fault("a call in JSON", &content))?;
        calls = Some(vec![json!({ "type": "function", "function": call })]);
        content = Value::String(String::new());
    }
    let role = usual_role(role);
    let is_silent =
        matches!(&content, Value::Null) || content.as_str().is_some_and(|text| text.trim().is_empty());
    if is_silent && role == "assistant" && calls.is_none() {
        return Err(fault("content or tool calls", &Value::Null));
    }
    if !matches!(content, Value::Null | Value::String(_) | Value::Array(_)) {
        return Err(fault("content in text", &content));
    }
    let weight = fields.get("weight").or(fields.get("train"));
    let is_wanted = !weight.is_some_and(|w| w.as_f64() == Some(0.0) || *w == Value::Bool(false));
    let mut normal = Map::from_iter([("role".to_owned(), role.into()), ("content".to_owned(), content)]);
    let used = ["role", "from", "content", "value", "tool_calls", "function_call", "weight", "train"];
    let rest = fields.iter().filter(|(name, value)| !used.contains(&name.as_str()) && !value.is_null());
    normal.extend(rest.map(|(name, value)| (name.clone(), value.clone())));
    if let Some(calls) = calls {
        normal.insert("tool_calls".to_owned(), calls.into_iter().map(with_read_arguments).collect());
    }
    Ok((Value::Object(normal), is_wanted))
}

fn usual_role(role: &str) -> &str {
    match role {
        "human" => "user",
        "gpt" | "chatgpt" | "model" | "bot" | "function_call" => "assistant",
        "observation" | "function_response" | "function" => "tool",
        other => other,
    }
}

/// The calls of a message, in the present form or in the older one.
fn calls(fields: &Map<String, Value>) -> Option<Vec<Value>> {
    match (fields.get("tool_calls"), fields.get("function_call")) {
        (Some(Value::Array(calls)), _) if !calls.is_empty() => Some(calls.clone()),
        (_, Some(call @ Value::Object(_))) => Some(vec![json!({ "type": "function", "function": call })]),
        _ => None,
    }
}

/// A call with its arguments as an object: most templates write the JSON themselves.
fn with_read_arguments(mut call: Value) -> Value {
    if let Some(arguments) = call.pointer_mut("/function/arguments") {
        let read = arguments.as_str().and_then(|text| json::value(text).ok());
        if let Some(read @ Value::Object(_)) = read {
            *arguments = read;
        }
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chats_of_other_makers_become_messages() {
        let messages = [
            json!({"from": "system", "value": "s"}),
            json!({"from": "human", "value": "q"}),
            json!({"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"}),
            json!({"from": "observation", "value": "3"}),
            json!({"from": "gpt", "value": "a", "weight": null}),
        ];
        let chat = Chat::new(&messages, None, 0).unwrap();
        let roles: Vec<&str> = chat.messages.iter().filter_map(|m| m["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant"]);
        assert_eq!(chat.messages[2]["tool_calls"][0]["function"]["arguments"]["x"], 1);
        assert_eq!(chat.learnt, [2, 4]);
    }

    #[test]
    fn arguments_are_read_and_can_be_written_again() {
        let call = json!({"function": {"name": "f", "arguments": "{\"x\": 1}"}});
        let messages = [json!({"role": "assistant", "content": null, "tool_calls": [call]})];
        let chat = Chat::new(&messages, None, 0).unwrap();
        let arguments = |chat: &Chat| chat.messages[0]["tool_calls"][0]["function"]["arguments"].clone();
        assert_eq!(arguments(&chat), json!({"x": 1}));
        assert_eq!(arguments(&chat.with_written_arguments().unwrap()), json!("{\"x\":1}"));
    }

    #[test]
    fn answers_without_weight_are_context() {
        let say = |weight: u8| json!({"role": "assistant", "content": "a", "weight": weight});
        assert_eq!(Chat::new(&[say(0), say(1)], None, 0).unwrap().learnt, [1]);
        assert!(matches!(Chat::new(&[say(0)], None, 0), Err(Fault::NothingToLearn(_))));
    }

    #[test]
    fn broken_messages_are_named() {
        let cases = [
            (json!("hi"), "message 1: wanted an object, found text"),
            (json!({"content": "hi"}), "message 1: wanted a role in text, found nothing"),
            (
                json!({"role": "assistant", "content": " "}),
                "message 1: wanted content or tool calls, found nothing",
            ),
            (
                json!({"role": "user", "content": {"a": 1}}),
                "message 1: wanted content in text, found an object",
            ),
            (json!({"role": "user", "content": "hi"}), "nothing to learn: no message of the assistant"),
        ];
        for (message, expected) in cases {
            assert_eq!(Chat::new(&[message], None, 0).unwrap_err().to_string(), expected);
        }
    }
}
