//! Responses that are kept in memory, so that a conversation can go on where one ended. The oldest are forgotten when
//! there are too many or they take too much, and all of them when the server ends.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::caller::Caller;
use crate::limits::{RESPONSES_BYTES_MAX, RESPONSES_MAX};

/// A response that is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Who alone may see it.
    pub(crate) caller: Caller,
    pub(crate) response: Value,
    /// The conversation with the answer, without instructions.
    pub(crate) messages: Vec<Value>,
    /// What was given last.
    pub(crate) items: Vec<Value>,
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

    /// One that whoever asks may see.
    pub(crate) fn find(&self, id: &str) -> Option<Entry> {
        let (entries, caller) = (self.entries(), Caller::current());
        let is_it = |(name, _, entry): &&(String, usize, Entry)| name == id && entry.caller == caller;
        entries.iter().find(is_it).map(|(.., entry)| entry.clone())
    }

    /// Whether it was there.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let (mut entries, caller) = (self.entries(), Caller::current());
        let place = entries.iter().position(|(name, _, entry)| name == id && entry.caller == caller);
        place.and_then(|place| entries.remove(place)).is_some()
    }

    /// Keeps one, if it is not too large, in the place of the oldest.
    pub(crate) fn keep(&self, id: &str, entry: Entry) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
