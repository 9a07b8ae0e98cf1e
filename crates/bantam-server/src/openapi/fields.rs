//! Fields of requests by name and kind.

use serde_json::{Map, Value, json};

/// A field of a request: its name, what it holds, and whether it must be there.
pub(super) type Field = (&'static str, Kind, Presence);

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It must.
    Needed,
    /// It need not, and `null` is as good as absent.
    Free,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    /// One of some texts.
    Word(&'static [&'static str]),
    /// One text or a list of them.
    Texts,
    Flag,
    /// From, to.
    Number(f64, f64),
    /// From, to.
    Whole(i64, i64),
    Object,
    /// Objects with a role and a content.
    Messages,
    /// Text, texts, token ids or lists of those.
    Prompts,
    /// Texts, or objects with a `text`.
    Documents,
    Ids,
    /// Objects with an adapter's number or name, and its scale.
    Adapters,
    /// A text or a list of items.
    Items,
    /// `true`, `false` or a word.
    FlagOrText,
    /// A number or a text.
    NumberOrText,
    Objects,
    /// A word, or an object that says more.
    TextOrObject,
}

/// A body with these fields.
pub(super) fn schema(groups: &[&[Field]]) -> Value {
    let fields = || groups.iter().copied().flatten();
    let property = |(name, kind, presence): &Field| {
        let schema = match presence {
            Presence::Needed => kind.schema(),
            Presence::Free => json!({ "anyOf": [kind.schema(), { "type": "null" }] }),
        };
        ((*name).to_owned(), schema)
    };
    let needed = fields().filter(|(.., presence)| *presence == Presence::Needed).map(|(name, ..)| *name);
    json!({
        "type": "object",
        "properties": fields().map(property).collect::<Map<String, Value>>(),
        "required": needed.collect::<Vec<&str>>(),
    })
}

impl Kind {
    pub(super) fn schema(self) -> Value {
        let text = || json!({ "type": "string" });
        let list = |items: Value| json!({ "type": "array", "items": items });
        let ids = || list(json!({ "type": "integer", "minimum": 0 }));
        match self {
            Kind::Text => text(),
            Kind::Word(words) => json!({ "enum": words }),
            Kind::Texts => json!({ "anyOf": [text(), list(text())] }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Number(from, to) => json!({ "type": "number", "minimum": from, "maximum": to }),
            Kind::Whole(from, to) => json!({ "type": "integer", "minimum": from, "maximum": to }),
            Kind::Object => json!({ "type": "object" }),
            Kind::Messages => list(message()),
            Kind::Prompts => json!({ "anyOf": [text(), list(text()), ids(), list(ids())] }),
            Kind::Documents => list(json!({ "anyOf": [text(), with_text()] })),
            Kind::Ids => ids(),
            Kind::Adapters => list(adapter()),
            Kind::Items => json!({ "anyOf": [text(), list(message())] }),
            Kind::FlagOrText => json!({ "type": ["boolean", "string"] }),
            Kind::NumberOrText => json!({ "type": ["number", "string"] }),
            Kind::Objects => list(json!({ "type": "object" })),
            Kind::TextOrObject => json!({ "type": ["string", "object"] }),
        }
    }
}

fn with_text() -> Value {
    json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] })
}

fn adapter() -> Value {
    json!({ "type": "object", "properties": {
        "id": { "type": "integer", "minimum": 0 },
        "name": { "type": "string" },
        "scale": { "type": "number" },
    }})
}

fn message() -> Value {
    let parts = json!({ "type": "array", "items": {
        "type": "object",
        "properties": { "type": { "const": "text" }, "text": { "type": "string" } },
        "required": ["type", "text"],
    }});
    json!({
        "type": "object",
        "properties": {
            "role": { "enum": ["system", "user", "assistant"] },
            "content": { "anyOf": [{ "type": "string" }, parts] },
        },
        "required": ["role", "content"],
    })
}
