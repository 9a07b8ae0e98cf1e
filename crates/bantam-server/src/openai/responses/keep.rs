//! What is kept with a response when it is there.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::caller::Caller;
use crate::messages::{made, made_call};
use crate::state::App;
use crate::stored::Entry;

/// A response that is to be kept.
pub(super) struct Keep {
    pub(super) caller: Caller,
    /// The conversation, without instructions and answer.
    pub(super) messages: Vec<Value>,
    /// What was given last.
    pub(super) items: Vec<Value>,
    pub(super) app: Arc<App>,
}

impl Keep {
    /// Keeps it, now that it has ended.
    pub(super) fn keep(self, response: Value) {
        let Keep { caller, mut messages, items, app } = self;
        let said = || response["output"].as_array().into_iter().flatten();
        let texts = said().filter(|item| item["type"] == "message");
        let text: String = texts.filter_map(|item| item["content"][0]["text"].as_str()).collect();
        let mut message = made("assistant", &text);
        let calls: Vec<Value> = said().filter(|item| item["type"] == "function_call").map(call).collect();
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        messages.push(message);
        let id = response["id"].as_str().unwrap_or_default().to_owned();
        app.responses.keep(&id, Entry { caller, response, messages, items });
    }
}

/// What was called, as messages have it. One that was cut off has no arguments.
fn call(item: &Value) -> Value {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    let arguments: Value = serde_json::from_str(text("arguments")).unwrap_or_else(|_| Map::new().into());
    made_call(Some(text("call_id")), text("name"), &arguments)
}
