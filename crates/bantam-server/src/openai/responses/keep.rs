//! What is kept with a response when it is there.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::caller::Caller;
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
        let said = response["output"].as_array().into_iter().flatten();
        let said = said.filter(|item| item["type"] == "message");
        let text: String = said.filter_map(|item| item["content"][0]["text"].as_str()).collect();
        messages.push(json!({ "role": "assistant", "content": text }));
        let id = response["id"].as_str().unwrap_or_default().to_owned();
        app.responses.keep(&id, Entry { caller, response, messages, items });
    }
}
