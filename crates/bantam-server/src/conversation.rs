//! A conversation that is kept: its items, and who is adding to it.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::clock;
use crate::fault::Fault;
use crate::limits::{CONVERSATION_BYTES_MAX, MESSAGES_MAX};
use crate::stored::{Weighed, bytes_of};

/// A conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    created_unix_s: u64,
    pub(crate) metadata: Map<String, Value>,
    /// The oldest first, each with a name of its own.
    items: Vec<Value>,
    items_bytes: usize,
    turn: Turn,
}

/// Who holds one, besides the conversation, is adding to it: a response, until it has ended. It is given back when it is
/// dropped, however that comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<()>);

/// Longest name of an item, in bytes.
const ID_MAX: usize = 64;

impl Weighed for Conversation {
    fn bytes(&self) -> usize {
        let notes = self.metadata.iter().map(|(key, value)| key.len() + bytes_of(value));
        self.items_bytes + notes.sum::<usize>() + BYTES_OF_ITSELF
    }
}

/// About what one without items takes.
const BYTES_OF_ITSELF: usize = 256;

impl Conversation {
    pub(crate) fn new(metadata: Map<String, Value>) -> Self {
        let (created_unix_s, turn) = (clock::unix_s(), Turn::default());
        Conversation { created_unix_s, metadata, items: Vec::new(), items_bytes: 0, turn }
    }

    pub(crate) fn to_json(&self, id: &str) -> Value {
        json!({
            "id": id,
            "object": "conversation",
            "created_at": self.created_unix_s,
            "metadata": self.metadata,
        })
    }

    pub(crate) fn items(&self) -> &[Value] {
        &self.items
    }

    /// The right to add to it until the turn is dropped.
    ///
    /// # Errors
    ///
    /// Somebody else has it.
    pub(crate) fn turn(&self) -> Result<Turn, Fault> {
        if Arc::strong_count(&self.turn.0) == 1 {
            return Ok(self.turn.clone());
        }
        let message = "another response to this conversation is being made: try again when it has ended";
        Err(Fault { code: Some("conversation_locked"), ..Fault::field("conversation", message) })
    }

    /// Whether items can be added, which lie in a field of the request.
    ///
    /// # Errors
    ///
    /// Names that are no names, or that are there twice; more than is kept.
    pub(crate) fn check(&self, more: &[Value], field: &str) -> Result<(), Fault> {
        let mut ids: HashSet<&str> = self.items.iter().filter_map(|item| item["id"].as_str()).collect();
        for (at, item) in more.iter().enumerate() {
            let refused = |wanted: &str| {
                Err(Fault::field(format!("{field}[{at}].id"), format!("`{field}[{at}].id` is {wanted}")))
            };
            match item["id"].as_str() {
                Some(id) if !is_id(id) => {
                    return refused("no name: wanted at most 64 letters, digits, `_` and `-`");
                }
                Some(id) if !ids.insert(id) => return refused("the name of another item: leave it out"),
                _ => {}
            }
        }
        let count = self.items.len() + more.len();
        let bytes = self.items_bytes + more.iter().map(bytes_of).sum::<usize>();
        if count > MESSAGES_MAX || bytes > CONVERSATION_BYTES_MAX {
            let message = format!(
                "the conversation would have {count} items of {bytes} bytes: wanted at most {MESSAGES_MAX} of \
                 {CONVERSATION_BYTES_MAX}; begin another one, or delete items"
            );
            return Err(Fault::field(field, message));
        }
        Ok(())
    }

    /// Adds items that were checked.
    pub(crate) fn add(&mut self, more: Vec<Value>) {
        self.items_bytes += more.iter().map(bytes_of).sum::<usize>();
        self.items.extend(more);
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let Some(place) = self.items.iter().position(|item| item["id"] == id) else { return false };
        self.items_bytes -= bytes_of(&self.items.remove(place));
        true
    }
}

fn is_id(id: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=ID_MAX).contains(&id.len()) && id.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> Value {
        json!({ "type": "message", "id": id, "role": "user", "content": [] })
    }

    #[test]
    fn one_at_a_time_adds_to_it() {
        let conversation = Conversation::new(Map::new());
        let turn = conversation.turn().unwrap();
        assert_eq!(conversation.turn().unwrap_err().code, Some("conversation_locked"));
        drop(turn);
        assert!(conversation.turn().is_ok());
    }

    #[test]
    fn it_takes_items_with_names_of_their_own_up_to_its_limits() {
        let mut conversation = Conversation::new(Map::new());
        let bare = conversation.bytes();
        conversation.add(vec![item("a")]);
        let param = |more: &[Value]| conversation.check(more, "items").unwrap_err().param.unwrap_or_default();
        assert!(conversation.check(&[item("b"), item("c-1_")], "items").is_ok());
        assert_eq!(param(&[item("b"), item("a")]), "items[1].id");
        assert_eq!(param(&[item("b"), item("b")]), "items[1].id");
        for id in ["", "a b", "a/b", &"a".repeat(65)] {
            assert_eq!(param(&[item(id)]), "items[0].id");
        }
        let large = json!({ "type": "message", "id": "l", "content": "x".repeat(CONVERSATION_BYTES_MAX) });
        assert_eq!(param(&[large]), "items");
        let many: Vec<Value> = (0..MESSAGES_MAX).map(|at| item(&format!("i{at}"))).collect();
        assert_eq!(param(&many), "items");
        assert!(conversation.remove("a") && !conversation.remove("a"));
        assert_eq!(conversation.bytes(), bare);
    }
}
