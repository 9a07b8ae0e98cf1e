//! Calls as text, for templates that do not write them.

use std::io;

use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value};

use super::forms::{Body, Form, Series, Tags};

impl Form {
    /// The text of calls, each with its arguments.
    pub(super) fn write(&self, calls: &[(&str, &Map<String, Value>)]) -> String {
        let call = |(name, arguments): &(&str, &Map<String, Value>)| {
            [self.before, &self.body(name, arguments), self.behind].concat()
        };
        let calls: Vec<String> = calls.iter().map(call).collect();
        let calls = match self.series {
            Series::One => calls.concat(),
            Series::Repeated(between) => calls.join(between),
            Series::List => format!("[{}]", calls.join(", ")),
        };
        [self.open, &calls, self.close].concat()
    }

    fn body(&self, name: &str, arguments: &Map<String, Value>) -> String {
        let object = Value::Object(arguments.clone());
        match &self.body {
            Body::Object { name: name_key, arguments: key } => {
                format!("{{\"{name_key}\": {}, \"{key}\": {}}}", json_text(&name.into()), json_text(&object))
            }
            Body::Keyed => format!("{{{}: {}}}", json_text(&name.into()), json_text(&object)),
            Body::Named { before, between, .. } => [before, name, between, &json_text(&object)].concat(),
            Body::Tagged(tags) => tagged(tags, name, arguments),
            Body::Python => {
                let keywords = arguments.iter().map(|(key, value)| format!("{key}={}", python(value)));
                format!("{name}({})", keywords.collect::<Vec<_>>().join(", "))
            }
            Body::Braces { quote } => format!("call:{name}{}", braces(&object, quote)),
        }
    }
}

fn tagged(tags: &Tags, name: &str, arguments: &Map<String, Value>) -> String {
    let mut text = [tags.name.0, name, tags.name.1].concat();
    for (key, value) in arguments {
        let value = match value {
            Value::String(text) => text.clone(),
            value => json_text(value),
        };
        text.extend([tags.key.0, key, tags.key.1, tags.value.0, &value, tags.value.1]);
    }
    text + tags.end
}

/// A value as Python writes it, with JSON's strings, which are Python's too.
fn python(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(python).collect::<Vec<_>>().join(", ");
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                format!("{}: {}", json_text(&key.as_str().into()), python(value))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::Number(_) | Value::String(_) => json_text(value),
    }
}

/// A value with markers for quotes. A marker inside of a text is left out, since nothing can stand for it.
fn braces(value: &Value, quote: &str) -> String {
    match value {
        Value::String(text) => [quote, &text.replace(quote, ""), quote].concat(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| braces(item, quote)).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{key}:{}", braces(value, quote));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        value => value.to_string(),
    }
}

/// JSON as Python's `json.dumps` writes it, which is what models saw.
pub(super) fn json_text(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut writer = Serializer::with_formatter(&mut bytes, Spaced);
    // Writing to memory does not fail, and keys are strings.
    let _ = serde::Serialize::serialize(value, &mut writer);
    String::from_utf8(bytes).unwrap_or_default()
}

/// A space behind commas and colons.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
