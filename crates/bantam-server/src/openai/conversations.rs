//! OpenAI's conversations: items that are kept under a name, to which responses add what was asked and answered.

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::caller::Caller;
use crate::clock;
use crate::conversation::{Conversation, Turn};
use crate::dialect::json_reply;
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::openai::listing::{Part, list};
use crate::openai::{items, metadata};
use crate::settings::Storing;
use crate::state::App;

/// `POST /v1/conversations`
///
/// # Errors
///
/// What is wrong with the request; a server that keeps nothing.
pub(crate) fn create(app: &App, body: &Map<String, Value>) -> Result<Response, Fault> {
    check_storing(app)?;
    let fields = Fields::new(body);
    let mut conversation = Conversation::new(metadata::read(&fields)?);
    let given = given(&fields)?;
    conversation.check(&given, "items")?;
    conversation.add(given);
    let id = clock::id(&clock::id("conv_"));
    let reply = conversation.to_json(&id);
    app.conversations.keep(Caller::current(), &id, conversation);
    Ok(json_reply(&reply))
}

/// `GET /v1/conversations/{id}`
///
/// # Errors
///
/// One that is not kept, or no more.
pub(crate) fn retrieve(app: &App, id: &str) -> Result<Response, Fault> {
    let told = app.conversations.look(id, |conversation| conversation.to_json(id));
    told.map(|told| json_reply(&told)).ok_or_else(|| unknown(app, id))
}

/// `POST /v1/conversations/{id}`
///
/// # Errors
///
/// As [`retrieve`]; wrong metadata.
pub(crate) fn update(app: &App, id: &str, body: &Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(body);
    if !body.contains_key("metadata") {
        return Err(fields.missing("metadata", "an object of texts, or null for none"));
    }
    let metadata = metadata::read(&fields)?;
    let update = |conversation: &mut Conversation| {
        conversation.metadata = metadata;
        conversation.to_json(id)
    };
    let told = app.conversations.change(Caller::current(), id, update);
    told.map(|told| json_reply(&told)).ok_or_else(|| unknown(app, id))
}

/// `DELETE /v1/conversations/{id}`
///
/// # Errors
///
/// As [`retrieve`].
pub(crate) fn delete(app: &App, id: &str) -> Result<Response, Fault> {
    match app.conversations.remove(id) {
        true => Ok(json_reply(&json!({ "id": id, "object": "conversation.deleted", "deleted": true }))),
        false => Err(unknown(app, id)),
    }
}

/// `POST /v1/conversations/{id}/items`
///
/// # Errors
///
/// As [`retrieve`]; items that are wrong or too many; a response that is being made.
pub(crate) fn add_items(app: &App, id: &str, body: &Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(body);
    let given = given(&fields)?;
    if given.is_empty() {
        return Err(fields.missing("items", "a list of at least one item"));
    }
    let reply = list(&given.iter().collect::<Vec<_>>(), false);
    let add = |conversation: &mut Conversation| -> Result<(), Fault> {
        let _turn = conversation.turn()?;
        conversation.check(&given, "items")?;
        conversation.add(given);
        Ok(())
    };
    app.conversations.change(Caller::current(), id, add).ok_or_else(|| unknown(app, id))??;
    Ok(json_reply(&reply))
}

/// `GET /v1/conversations/{id}/items`
///
/// # Errors
///
/// As [`retrieve`]; a part that there is not.
pub(crate) fn items(app: &App, id: &str, query: Option<&str>) -> Result<Response, Fault> {
    let part = Part::read(query)?;
    let found = app.conversations.look(id, |conversation| part.of(conversation.items()));
    Ok(json_reply(&found.ok_or_else(|| unknown(app, id))??))
}

/// `GET /v1/conversations/{id}/items/{item}`
///
/// # Errors
///
/// As [`retrieve`]; an item that is not there.
pub(crate) fn item(app: &App, id: &str, item: &str) -> Result<Response, Fault> {
    let find =
        |conversation: &Conversation| conversation.items().iter().find(|found| found["id"] == item).cloned();
    let found = app.conversations.look(id, find).ok_or_else(|| unknown(app, id))?;
    found.map(|found| json_reply(&found)).ok_or_else(|| unknown_item(item))
}

/// `DELETE /v1/conversations/{id}/items/{item}`
///
/// # Errors
///
/// As [`item`]; a response that is being made.
pub(crate) fn delete_item(app: &App, id: &str, item: &str) -> Result<Response, Fault> {
    let remove = |conversation: &mut Conversation| {
        let _turn = conversation.turn()?;
        match conversation.remove(item) {
            true => Ok(conversation.to_json(id)),
            false => Err(unknown_item(item)),
        }
    };
    let told = app.conversations.change(Caller::current(), id, remove).ok_or_else(|| unknown(app, id))??;
    Ok(json_reply(&told))
}

/// A conversation that a response is made for.
pub(crate) struct Joined {
    pub(crate) id: String,
    /// What was said in it.
    pub(crate) messages: Vec<Value>,
    /// Nobody else adds to it meanwhile.
    _turn: Turn,
}

impl Joined {
    /// Finds the conversation that a request names, as `"conv_.."` or `{"id": "conv_.."}`; `None` if it names none.
    ///
    /// # Errors
    ///
    /// One that is not there; one that another response is made for; what is no name.
    pub(crate) fn read(app: &App, fields: &Fields<'_>) -> Result<Option<Self>, Fault> {
        let id = match fields.value("conversation") {
            None => return Ok(None),
            Some(Value::String(id)) => id.as_str(),
            Some(Value::Object(_)) => {
                fields.object("conversation")?.as_ref().map_or(Ok(""), |named| named.needed_text("id"))?
            }
            Some(_) => return Err(fields.wrong("conversation", "a name, or an object with an `id`")),
        };
        let join = |conversation: &Conversation| {
            let turn = conversation.turn()?;
            let messages = items::to_messages(conversation.items(), "conversation.items")?;
            Ok(Joined { id: id.to_owned(), messages, _turn: turn })
        };
        app.conversations.look(id, join).ok_or_else(|| unknown(app, id))?.map(Some)
    }

    /// Whether what is asked can be added when it is answered.
    ///
    /// # Errors
    ///
    /// A conversation that is full; names that are there already.
    pub(crate) fn check(&self, app: &App, asked: &[Value]) -> Result<(), Fault> {
        let check = |conversation: &Conversation| conversation.check(asked, "input");
        app.conversations.look(&self.id, check).ok_or_else(|| unknown(app, &self.id))?
    }

    /// Adds what was asked and what was answered. A conversation that is gone by then stays so.
    pub(crate) fn add(self, app: &App, caller: Caller, items: Vec<Value>) {
        app.conversations.change(caller, &self.id, |conversation| conversation.add(items));
    }
}

/// Items that a request brings.
fn given(fields: &Fields<'_>) -> Result<Vec<Value>, Fault> {
    fields.list("items")?;
    let given = items::read(fields, "items")?.unwrap_or_default();
    // Whatever is kept can be read again.
    items::to_messages(&given, "items")?;
    Ok(given)
}

fn check_storing(app: &App) -> Result<(), Fault> {
    match app.settings.storing {
        Storing::InMemory => Ok(()),
        Storing::Off => Err(Fault::new(Kind::Unsupported, "this server keeps no conversations (--no-store)")),
    }
}

fn unknown(app: &App, id: &str) -> Fault {
    if let Err(fault) = check_storing(app) {
        return fault;
    }
    let message = format!(
        "conversation `{}` not found: it was never made, is deleted, or newer ones took its place",
        short(id)
    );
    Fault { param: Some("conversation".into()), ..Fault::new(Kind::NotFound, message) }
}

fn unknown_item(id: &str) -> Fault {
    let message = format!("item `{}` not found in this conversation", short(id));
    Fault { param: Some("item_id".into()), ..Fault::new(Kind::NotFound, message) }
}

/// As much of a client's word as an error repeats.
fn short(id: &str) -> String {
    id.chars().take(80).collect()
}
