//! JSON Schemas before they are compiled: what cannot be held to is refused by name, what says nothing is left out.

mod check;
mod keywords;
mod part;
mod pointer;
mod references;

use serde_json::{Value, json};

use crate::error::Error;
use crate::limits::{BYTES_MAX, check_size};

pub use part::{LeftOut, Part, to_lark_in_part, type_to_lark};

/// The schema as the parser takes it.
///
/// # Errors
///
/// Keywords that are not supported, references out of the schema, and what is too large or too deep.
pub(crate) fn prepare(schema: &Value) -> Result<Value, Error> {
    let schema = tidied(schema)?;
    check::check(&schema)?;
    Ok(laid_out(schema))
}

/// The schema with what says nothing left out and references made plain.
fn tidied(schema: &Value) -> Result<Value, Error> {
    check_size("the schema has bytes:", schema.to_string().len(), BYTES_MAX)?;
    let mut schema = match schema {
        Value::Bool(true) => json!({}),
        schema => schema.clone(),
    };
    keywords::leave_out(&mut schema, 0)?;
    references::straighten(&mut schema)?;
    Ok(schema)
}

/// The schema with how JSON that holds to it is written.
fn laid_out(mut schema: Value) -> Value {
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("x-guidance".into(), layout());
    }
    schema
}

/// A schema as a part of a Lark grammar: where a rule's name may stand, this is JSON that holds to it.
///
/// # Errors
///
/// As [`Vocabulary::compile`](crate::Vocabulary::compile).
pub fn to_lark(schema: &Value) -> Result<String, Error> {
    Ok(format!("%json {}", prepare(schema)?))
}

/// One line, with one space behind each comma and colon: as most JSON in training data is written, and without white
/// space to get lost in.
fn layout() -> Value {
    json!({ "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false })
}
