//! The fields of a request's JSON: tolerant in what is there, exact in what it must be.
//!
//! `null` is absent, fields that nobody asks for are not looked at, and a wrong type is a fault that names the field,
//! what was wanted and what was found.

use serde_json::{Map, Value};

use crate::fault::Fault;

/// An object of the request, and where it lies in it.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The request's body.
    pub(crate) fn new(object: &'a Map<String, Value>) -> Self {
        Fields { object, path: String::new() }
    }

    /// An object somewhere below the body, whose place is `path`.
    pub(crate) fn at(value: &'a Value, path: String) -> Result<Self, Fault> {
        match value {
            Value::Object(object) => Ok(Fields { object, path: format!("{path}.") }),
            other => Err(wrong(&path, "an object", other)),
        }
    }

    /// The full name of a field.
    pub(crate) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// What is there, but for `null`.
    pub(crate) fn value(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        field: &str,
        wanted: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.value(field) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong(&self.name(field), wanted, value))
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<&'a str>, Fault> {
        self.read(field, "a string", Value::as_str)
    }

    /// A string that must be there.
    pub(crate) fn needed_text(&self, field: &str) -> Result<&'a str, Fault> {
        self.text(field)?.ok_or_else(|| self.missing(field, "a string"))
    }

    pub(crate) fn flag(&self, field: &str) -> Result<Option<bool>, Fault> {
        self.read(field, "true or false", Value::as_bool)
    }

    pub(crate) fn number(&self, field: &str) -> Result<Option<f32>, Fault> {
        let finite = |value: &Value| value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        self.read(field, "a number", finite)
    }

    /// A whole number; `5.0` is one.
    pub(crate) fn integer(&self, field: &str) -> Result<Option<i64>, Fault> {
        self.read(field, "a whole number", whole)
    }

    /// A whole number from zero up.
    pub(crate) fn count(&self, field: &str) -> Result<Option<usize>, Fault> {
        let count = |value: &Value| whole(value).and_then(|count| usize::try_from(count).ok());
        self.read(field, "a whole number from 0 up", count)
    }

    pub(crate) fn list(&self, field: &str) -> Result<Option<&'a [Value]>, Fault> {
        self.read(field, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// A list that must be there.
    pub(crate) fn needed_list(&self, field: &str) -> Result<&'a [Value], Fault> {
        self.list(field)?.ok_or_else(|| self.missing(field, "a list"))
    }

    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, Fault> {
        self.value(field).map(|value| Fields::at(value, self.name(field))).transpose()
    }

    /// An object as it is.
    pub(crate) fn map(&self, field: &str) -> Result<Option<&'a Map<String, Value>>, Fault> {
        self.read(field, "an object", Value::as_object)
    }

    /// The names of all fields.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.object.iter()
    }

    /// One string, or a list of them.
    pub(crate) fn texts(&self, field: &str) -> Result<Vec<String>, Fault> {
        let texts = |value: &Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        Ok(self.read(field, "a string or a list of strings", texts)?.unwrap_or_default())
    }

    /// A field that must be there and is not.
    pub(crate) fn missing(&self, field: &str, wanted: &str) -> Fault {
        let name = self.name(field);
        let message = format!("`{name}` is missing: wanted {wanted}");
        Fault { code: Some("missing_required_parameter"), ..Fault::field(name, message) }
    }

    /// A field with the wrong value.
    pub(crate) fn wrong(&self, field: &str, wanted: &str) -> Fault {
        wrong(&self.name(field), wanted, self.object.get(field).unwrap_or(&Value::Null))
    }
}

/// The object that a body holds.
pub(crate) fn parse(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    match serde_json::from_slice(body) {
        Err(_) if body.is_empty() => Err(Fault::invalid("the body is empty: wanted a JSON object")),
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(Fault::invalid(format!("the body is {}: wanted a JSON object", described(&other)))),
        Err(error) => Err(Fault::invalid(format!("the body is no JSON: {error}"))),
    }
}

fn whole(value: &Value) -> Option<i64> {
    let fraction = |x: f64| (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(fraction))
}

pub(crate) fn wrong(path: &str, wanted: &str, found: &Value) -> Fault {
    let message = format!("`{path}` is {}: wanted {wanted}", described(found));
    Fault { code: Some("invalid_type"), ..Fault::field(path, message) }
}

/// A value as an error names it: short, and nothing of a prompt.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.len() <= 24 => format!("{text:?}"),
        Value::String(text) => format!("a string of {} bytes", text.len()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_absent_and_wrong_types_are_named() {
        let body = json!({ "a": null, "n": 5.0, "x": 0.5, "o": { "t": 3 }, "s": ["a", "b"] });
        let fields = Fields::new(body.as_object().unwrap());
        assert_eq!(fields.text("a"), Ok(None));
        assert_eq!(fields.count("n"), Ok(Some(5)));
        assert_eq!(fields.number("x"), Ok(Some(0.5)));
        assert_eq!(fields.texts("s"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(fields.texts("absent"), Ok(vec![]));
        assert!(fields.count("x").is_err());
        let inner = fields.object("o").unwrap().unwrap();
        let fault = inner.text("t").unwrap_err();
        assert_eq!(fault.param.as_deref(), Some("o.t"));
        assert_eq!(fault.message, "`o.t` is 3: wanted a string");
    }

    #[test]
    fn numbers_out_of_range_are_no_counts() {
        let body = json!({ "a": -1, "b": 1e300, "c": 18_446_744_073_709_551_615_u64, "d": 1e39 });
        let fields = Fields::new(body.as_object().unwrap());
        for field in ["a", "b"] {
            assert!(fields.count(field).is_err(), "{field}");
        }
        assert!(fields.integer("c").is_err());
        assert!(fields.number("d").is_err(), "no f32");
    }

    #[test]
    fn a_body_is_an_object() {
        assert!(parse(b"{\"a\": 1}").is_ok());
        for body in [&b"[1]"[..], b"", b"{", b"\"x\"", b"\xff"] {
            assert!(parse(body).is_err());
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
