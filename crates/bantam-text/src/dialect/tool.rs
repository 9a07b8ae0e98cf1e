//! A tool that a model may call.

use serde_json::{Map, Value, json};

/// A tool: a name and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// How it is called.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Map<String, Value>,
    /// Whether a schema that cannot be kept to in full is refused.
    pub is_strict: bool,
}

/// No name is longer, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 128;

impl Tool {
    /// Whether all forms can write this name.
    pub fn is_name(name: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_part)
    }

    /// In the form of the chat completions protocol, which templates take.
    pub fn to_json(&self) -> Value {
        json!({ "type": "function", "function": {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
        }})
    }

    /// What it takes, in the schema's order.
    pub(super) fn properties(&self) -> impl Iterator<Item = (&str, &Value)> {
        let properties = self.parameters.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    /// Whether an argument must be there.
    pub(super) fn needs(&self, name: &str) -> bool {
        let required = self.parameters.get("required").and_then(Value::as_array);
        required.is_some_and(|required| required.iter().any(|needed| needed == name))
    }

    /// A value that a model wrote without quotes, with the type that the schema gives it.
    pub(super) fn typed(&self, name: &str, text: &str) -> Value {
        let schema = self.properties().find(|(property, _)| *property == name).map(|(_, schema)| schema);
        let types = schema.map(types).unwrap_or_default();
        let as_json = match text.trim() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            text => serde_json::from_str(text).ok(),
        };
        let is_text = types.contains(&"string");
        match as_json {
            // A text stays one, be it `5`; nothing is nothing only where that is allowed.
            Some(Value::Null) if types.contains(&"null") => Value::Null,
            Some(value) if !is_text && !value.is_string() => value,
            _ => Value::String(text.to_owned()),
        }
    }
}

/// The types that a schema allows, as far as it says so at once.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    let mut all = Vec::new();
    match schema.get("type") {
        Some(Value::String(one)) => all.push(one.as_str()),
        Some(Value::Array(some)) => all.extend(some.iter().filter_map(Value::as_str)),
        _ => {}
    }
    for name in ["anyOf", "oneOf"] {
        let some = schema.get(name).and_then(Value::as_array);
        all.extend(some.into_iter().flatten().flat_map(types));
    }
    let given = schema.get("enum").and_then(Value::as_array);
    if all.is_empty() && given.is_some_and(|given| given.iter().any(Value::is_string)) {
        all.push("string");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_quotes_gets_the_type_of_the_schema() {
        let parameters = json!({ "properties": {
            "s": { "type": "string" }, "n": { "type": "integer" }, "b": { "type": "boolean" },
            "o": { "anyOf": [{ "type": "string" }, { "type": "null" }] }, "e": { "enum": ["1", "2"] },
            "l": { "type": "array" },
        }});
        let Value::Object(parameters) = parameters else { unreachable!() };
        let tool = Tool { name: "f".into(), description: String::new(), parameters, is_strict: false };
        let cases = [
            ("s", "5", json!("5")),
            ("s", "\"x\"", json!("\"x\"")),
            ("s", "null", json!("null")),
            ("n", "5", json!(5)),
            ("n", "five", json!("five")),
            ("b", "True", json!(true)),
            ("o", "null", Value::Null),
            ("e", "1", json!("1")),
            ("l", "[1, {\"a\": 2}]", json!([1, { "a": 2 }])),
            ("unknown", "2.5", json!(2.5)),
            ("unknown", "Paris", json!("Paris")),
        ];
        for (name, text, value) in cases {
            assert_eq!(tool.typed(name, text), value, "{name} {text}");
        }
    }

    #[test]
    fn types_are_found_however_deep() {
        let deep = (0..200).fold(json!({ "type": "null" }), |inner, _| json!({ "anyOf": [inner] }));
        assert_eq!(types(&deep), ["null"]);
    }
}
