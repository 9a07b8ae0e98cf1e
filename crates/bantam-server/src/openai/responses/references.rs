//! Items that a request names in place of saying them again.

use serde_json::Value;

use crate::conversation::Conversation;
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::state::App;
use crate::stored::Entry;

/// The items of a request, with what is kept in the place of what only names it.
///
/// # Errors
///
/// An item that is not kept, or no more; by its place.
pub(super) fn resolve(app: &App, items: Vec<Value>) -> Result<Vec<Value>, Fault> {
    let resolve = |(at, item): (usize, Value)| match item["type"] == "item_reference" {
        true => referred(app, &Fields::at(&item, format!("input[{at}]"))?),
        false => Ok(item),
    };
    items.into_iter().enumerate().map(resolve).collect()
}

/// The item that a reference names: of a response, given or answered, or of a conversation.
fn referred(app: &App, reference: &Fields<'_>) -> Result<Value, Fault> {
    let id = reference.needed_text("id")?;
    let is_it = |item: &&Value| item["id"] == *id;
    let of_response = |entry: &Entry| {
        let answered = entry.response["output"].as_array().into_iter().flatten();
        answered.chain(&entry.items).find(is_it).cloned()
    };
    let of_conversation = |conversation: &Conversation| conversation.items().iter().find(is_it).cloned();
    let found = app.responses.search(of_response).or_else(|| app.conversations.search(of_conversation));
    found.ok_or_else(|| {
        let id: String = id.chars().take(80).collect();
        let message = format!(
            "item `{id}` not found: it is of no response and no conversation that is kept, or newer ones took its place"
        );
        Fault { param: Some(reference.name("id")), ..Fault::new(Kind::NotFound, message) }
    })
}
