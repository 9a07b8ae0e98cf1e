//! As much of a schema as can be held to, for those who would rather have that than nothing.

use std::fmt;

use serde_json::{Value, json};

use super::keywords::{DEFINITIONS, LIST, NAMED, ONE};
use super::pointer::place_of;
use super::{check, laid_out, tidied, to_lark};
use crate::error::{Error, Keyword, named};

/// What of a schema is not held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// These keywords; nothing where there are none.
    Keywords(Vec<Keyword>),
    /// All but its type, and why.
    AllButType(Error),
}

impl LeftOut {
    /// Whether all of the schema is held to.
    pub fn is_nothing(&self) -> bool {
        matches!(self, LeftOut::Keywords(keywords) if keywords.is_empty())
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::Keywords(keywords) => f.write_str(&named(keywords)),
            LeftOut::AllButType(why) => write!(f, "all but its type: {why}"),
        }
    }
}

/// How much of a schema is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All that can be read.
    Readable,
    /// Of that, what can be compiled too, most often: no `pattern` and no `multipleOf`, and of `oneOf` that one holds,
    /// but not that no other does.
    Plain,
}

/// As [`to_lark`], without what cannot be held to, and what that is.
pub fn to_lark_in_part(schema: &Value, part: Part) -> (String, LeftOut) {
    let mut found = Vec::new();
    match prepare_in_part(schema, part, &mut found) {
        Ok(prepared) => (format!("%json {prepared}"), LeftOut::Keywords(found)),
        Err(why) => (type_to_lark(schema), LeftOut::AllButType(why)),
    }
}

/// As [`to_lark`], of the type alone that a schema says at its top; any JSON where it says none.
pub fn type_to_lark(schema: &Value) -> String {
    let of_type = schema.get("type").and_then(|kind| to_lark(&json!({ "type": kind })).ok());
    of_type.unwrap_or_else(|| format!("%json {}", laid_out(json!({}))))
}

/// What is found wrong is taken out, until nothing is.
fn prepare_in_part(schema: &Value, part: Part, found: &mut Vec<Keyword>) -> Result<Value, Error> {
    let mut schema = tidied(schema)?;
    if part == Part::Plain {
        make_plain(&mut schema, &mut Vec::new(), found);
    }
    for _ in 0..ROUNDS_MAX {
        let Err(error) = check::check(&schema) else { return Ok(laid_out(schema)) };
        let before = found.len();
        found.extend(keywords_of(&error).into_iter().filter(|keyword| take_out(&mut schema, keyword)));
        if found.len() == before {
            return Err(error);
        }
    }
    check::check(&schema).map(|()| laid_out(schema))
}

/// Values that are wrong are found one by one, each by looking at the whole schema.
const ROUNDS_MAX: usize = 32;

/// Takes out what often cannot be compiled. How deep it goes was checked before.
fn make_plain(schema: &mut Value, place: &mut Vec<String>, found: &mut Vec<Keyword>) {
    let Value::Object(keywords) = schema else { return };
    for (keyword, value) in keywords.iter_mut() {
        let keyword = keyword.as_str();
        let mut below = |name: Option<String>, value: &mut Value| {
            let length = place.len();
            place.push(keyword.to_owned());
            place.extend(name);
            make_plain(value, place, found);
            place.truncate(length);
        };
        match value {
            Value::Object(named) if NAMED.contains(&keyword) || DEFINITIONS.contains(&keyword) => {
                named.iter_mut().for_each(|(name, value)| below(Some(name.clone()), value));
            }
            Value::Array(list) if LIST.contains(&keyword) => {
                list.iter_mut().enumerate().for_each(|(at, value)| below(Some(at.to_string()), value));
            }
            value if ONE.contains(&keyword) => below(None, value),
            _ => {}
        }
    }
    let mut left_out = |name: &str| found.push(Keyword { name: name.to_owned(), place: place_of(place) });
    for name in ["pattern", "multipleOf"] {
        if keywords.remove(name).is_some() {
            left_out(name);
        }
    }
    if let Some(ways) = keywords.remove("oneOf") {
        keywords.entry("anyOf").or_insert(ways);
        left_out("oneOf");
    }
}

/// What would have to go.
fn keywords_of(error: &Error) -> Vec<Keyword> {
    let one = |name: &str, place: &String| vec![Keyword { name: name.to_owned(), place: place.clone() }];
    match error {
        Error::Keywords(keywords) => keywords.clone(),
        Error::Value { keyword, place, .. } => one(keyword, place),
        Error::Reference { place, .. } => one("$ref", place),
        _ => Vec::new(),
    }
}

/// Whether it was there.
fn take_out(schema: &mut Value, keyword: &Keyword) -> bool {
    let place = keyword.place.strip_prefix('#').and_then(|place| schema.pointer_mut(place));
    place.and_then(Value::as_object_mut).is_some_and(|keywords| keywords.remove(&keyword.name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(schema: &Value) -> (Value, String) {
        in_part(schema, Part::Readable)
    }

    fn in_part(schema: &Value, part: Part) -> (Value, String) {
        let (lark, left_out) = to_lark_in_part(schema, part);
        let mut held: Value = serde_json::from_str(lark.strip_prefix("%json ").unwrap()).unwrap();
        held.as_object_mut().unwrap().remove("x-guidance");
        (held, left_out.to_string())
    }

    #[test]
    fn what_can_be_held_to_is_left_in() {
        let whole = json!({ "type": "object", "properties": { "a": { "type": "string", "maxLength": 5 } } });
        assert_eq!(left_out(&whole), (whole.clone(), String::new()));
        let schema = json!({
            "type": "object",
            "properties": {
                "a/b": { "type": "array", "uniqueItems": true, "items": { "not": {}, "type": "string" } },
                "c": { "type": "string", "format": "ipv7" },
                "d": { "$ref": "https://other.example/x" },
            },
            "required": ["c"],
            "if": { "required": ["d"] }, "then": { "required": ["c"] },
        });
        let (held, told) = left_out(&schema);
        let wanted = json!({
            "type": "object",
            "properties": { "a/b": { "type": "array", "items": { "type": "string" } }, "c": { "type": "string" }, "d": {} },
            "required": ["c"],
        });
        assert_eq!(held, wanted);
        for keyword in [
            "`uniqueItems` at #/properties/a~1b",
            "`not` at #/properties/a~1b/items",
            "`format` at #/properties/c",
            "`$ref` at #/properties/d",
            "`if` at #",
            "`then` at #",
        ] {
            assert!(told.contains(keyword), "{keyword}: {told}");
        }
    }

    #[test]
    fn what_is_plain_has_no_patterns_and_any_of_several_ways() {
        let schema = json!({
            "type": "object",
            "properties": {
                "pattern": { "type": "string", "pattern": "a", "maxLength": 3 },
                "b": { "oneOf": [{ "type": "integer", "multipleOf": 2 }, { "type": "number" }] },
            },
        });
        let (held, told) = in_part(&schema, Part::Plain);
        let wanted = json!({
            "type": "object",
            "properties": {
                "pattern": { "type": "string", "maxLength": 3 },
                "b": { "anyOf": [{ "type": "integer" }, { "type": "number" }] },
            },
        });
        assert_eq!(held, wanted);
        for keyword in [
            "`pattern` at #/properties/pattern",
            "`oneOf` at #/properties/b",
            "`multipleOf` at #/properties/b/oneOf/0",
        ] {
            assert!(told.contains(keyword), "{keyword}: {told}");
        }
    }

    #[test]
    fn where_nothing_can_be_taken_out_the_type_is_held_to() {
        let deep = (0..300).fold(json!({}), |schema, _| json!({ "type": "array", "items": schema }));
        let (held, told) = left_out(&deep);
        assert_eq!(held, json!({ "type": "array" }));
        assert!(told.starts_with("all but its type: the schema is nested deep"), "{told}");
        let many: serde_json::Map<String, Value> =
            (0..100).map(|at| (at.to_string(), json!({ "type": "string", "format": "odd" }))).collect();
        assert_eq!(
            left_out(&json!({ "type": ["object"], "properties": many })).0,
            json!({ "type": ["object"] })
        );
        assert_eq!(left_out(&json!({ "items": 5 })).0, json!({}));
        assert_eq!(left_out(&json!({ "type": "odd", "items": 5 })).0, json!({ "type": "odd" }));
    }
}
