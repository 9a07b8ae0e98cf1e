//! What is kept with a response when it is there.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::caller::Caller;
use crate::messages::{made, made_call};
use crate::openai::conversations::Joined;
use crate::state::App;
use crate::stored::Entry;

/// What is to be kept when a response has ended.
pub(super) struct Keep {
    pub(super) caller: Caller,
    /// What was said, without instructions and answer.
    pub(super) messages: Vec<Value>,
    /// What was given last.
    pub(super) items: Vec<Value>,
    /// Whether the response itself is kept.
    pub(super) is_kept: bool,
    /// The conversation to which what was given and the answer are added.
    pub(super) joined: Option<Joined>,
    pub(super) app: Arc<App>,
}

impl Keep {
    /// Keeps it, now that it has ended.
    pub(super) fn keep(self, response: Value) {
        let Keep { caller, mut messages, items, is_kept, joined, app } = self;
        let output = response["output"].as_array().into_iter().flatten();
        if let Some(joined) = joined {
            joined.add(&app, caller, items.iter().chain(output.clone()).cloned().collect());
        }
        if !is_kept {
            return;
        }
        let said = || output.clone();
        let texts = said().filter(|item| item["type"] == "message");
        let text: String = texts.filter_map(|item| item["content"][0]["text"].as_str()).collect();
        let mut message = made("assistant", &text);
        let calls: Vec<Value> = said().filter(|item| item["type"] == "function_call").map(call).collect();
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        messages.push(message);
        let id = response["id"].as_str().unwrap_or_default().to_owned();
        app.responses.keep(caller, &id, Entry { response, messages, items });
    }
}

/// What was called, as messages have it. One that was cut off has no arguments.
fn call(item: &Value) -> Value {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    let arguments: Value = serde_json::from_str(text("arguments")).unwrap_or_else(|_| Map::new().into());
    made_call(Some(text("call_id")), text("name"), &arguments)
}
