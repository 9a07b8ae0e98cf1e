//! Responses that are kept in memory, so that a conversation can go on where one ended. The oldest are forgotten when
//! there are too many or they take too much, and all of them when the server ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::events::Draft;
use crate::limits::{RESPONSES_BYTES_MAX, RESPONSES_MAX};
use crate::state::App;

/// A response that is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(super) response: Value,
    /// The conversation with the answer, without instructions.
    pub(super) messages: Vec<Value>,
    /// What was given last.
    pub(super) items: Vec<Value>,
}

impl Entry {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let lists = self.messages.iter().chain(&self.items);
        lists.chain([&self.response]).map(|value| value.to_string().len()).sum()
    }
}

/// All that are kept, the oldest first.
#[derive(Default)]
pub(crate) struct Stored(Mutex<VecDeque<(String, usize, Entry)>>);

impl Stored {
    fn entries(&self) -> MutexGuard<'_, VecDeque<(String, usize, Entry)>> {
        // Whoever panicked had changed nothing by halves.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, id: &str) -> Option<Entry> {
        self.entries().iter().find(|(name, ..)| name == id).map(|(.., entry)| entry.clone())
    }

    /// Whether it was there.
    pub(super) fn remove(&self, id: &str) -> bool {
        let mut entries = self.entries();
        let place = entries.iter().position(|(name, ..)| name == id);
        place.and_then(|place| entries.remove(place)).is_some()
    }

    fn keep(&self, id: &str, entry: Entry) {
        let bytes = entry.bytes();
        if bytes > RESPONSES_BYTES_MAX {
            return;
        }
        let mut entries = self.entries();
        entries.push_back((id.to_owned(), bytes, entry));
        let mut total: usize = entries.iter().map(|(_, bytes, _)| bytes).sum();
        while (total > RESPONSES_BYTES_MAX || entries.len() > RESPONSES_MAX)
            && let Some((_, bytes, _)) = entries.pop_front()
        {
            total -= bytes;
        }
    }
}

/// What is kept with a response when it is there.
pub(super) struct Kept {
    pub(super) messages: Vec<Value>,
    pub(super) items: Vec<Value>,
    pub(super) app: Arc<App>,
}

impl Kept {
    /// Keeps a response that has ended.
    pub(super) fn keep(mut self, draft: &Draft) {
        let response = draft.response();
        let parts = draft.output.iter().filter(|item| item["type"] == "message");
        let text: String = parts.filter_map(|item| item["content"][0]["text"].as_str()).collect();
        self.messages.push(json!({ "role": "assistant", "content": text }));
        let id = response["id"].as_str().unwrap_or_default().to_owned();
        self.app.responses.keep(&id, Entry { response, messages: self.messages, items: self.items });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Entry {
        Entry { response: json!("x".repeat(bytes)), ..Entry::default() }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let stored = Stored::default();
        (0..RESPONSES_MAX + 2).for_each(|number| stored.keep(&number.to_string(), entry(1)));
        assert!(stored.find("1").is_none() && stored.find("2").is_some());
        stored.keep("large", entry(RESPONSES_BYTES_MAX - 100));
        assert!(stored.find("large").is_some() && stored.find("2").is_none());
        stored.keep("larger", entry(RESPONSES_BYTES_MAX));
        assert!(stored.find("larger").is_none() && stored.find("large").is_some());
        assert!(stored.remove("large") && !stored.remove("large"));
    }
}
