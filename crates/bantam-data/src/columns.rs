//! Which columns of a record hold what.
//!
//! Columns are found by the names that data sets usually give them. A name given replaces that search for its
//! column.

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::read::json::{self, kind};

/// Names of columns, where they are not the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// A text to be learnt whole.
    pub text: Option<String>,
    /// What is asked.
    pub prompt: Option<String>,
    /// What is answered.
    pub completion: Option<String>,
    /// A chat.
    pub messages: Option<String>,
    /// The tools that a chat offers.
    pub tools: Option<String>,
    /// The better answer.
    pub chosen: Option<String>,
    /// The worse answer.
    pub rejected: Option<String>,
    /// What examples are ordered by: a number, or a name that has a weight.
    pub rank: Option<String>,
}

pub(crate) const TEXT: [&str; 2] = ["text", "content"];
pub(crate) const PROMPT: [&str; 5] = ["prompt", "instruction", "question", "input", "text"];
pub(crate) const COMPLETION: [&str; 5] = ["completion", "response", "output", "answer", "label"];
pub(crate) const MESSAGES: [&str; 3] = ["messages", "conversations", "conversation"];
pub(crate) const TOOLS: [&str; 1] = ["tools"];
pub(crate) const CHOSEN: [&str; 1] = ["chosen"];
pub(crate) const REJECTED: [&str; 1] = ["rejected"];
/// What an instruction is about, in the columns of Alpaca and Dolly.
pub(crate) const CONTEXT: [&str; 2] = ["input", "context"];

/// The column of these names that is there and holds something.
pub(crate) fn find<'c>(
    fields: &Map<String, Value>,
    given: Option<&'c String>,
    usual: &[&'c str],
) -> Option<&'c str> {
    let holds = |name: &&str| fields.get(*name).is_some_and(|value| !value.is_null());
    match given {
        Some(name) => Some(name.as_str()).filter(holds),
        None => usual.iter().copied().find(holds),
    }
}

/// The text of a column. A number is text too: labels often are.
pub(crate) fn text<'f>(
    fields: &'f Map<String, Value>,
    column: &str,
) -> Result<std::borrow::Cow<'f, str>, Fault> {
    match fields.get(column) {
        Some(Value::String(text)) if text.trim().is_empty() => Err(Fault::column(column, "text", "none")),
        Some(Value::String(text)) => Ok(text.into()),
        Some(number @ (Value::Number(_) | Value::Bool(_))) => Ok(number.to_string().into()),
        other => Err(Fault::column(column, "text", kind(other.unwrap_or(&Value::Null)))),
    }
}

/// The list in a column; tables hold lists as JSON in text.
pub(crate) fn list(fields: &Map<String, Value>, column: &str) -> Result<Vec<Value>, Fault> {
    let written = match fields.get(column) {
        Some(Value::String(text)) => Some(json::value(text)?),
        _ => None,
    };
    match written.as_ref().or(fields.get(column)).unwrap_or(&Value::Null) {
        Value::Array(items) => Ok(items.clone()),
        other => Err(Fault::column(column, "a list", kind(other))),
    }
}
