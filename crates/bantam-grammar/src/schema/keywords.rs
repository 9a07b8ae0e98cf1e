//! What keywords are for, and those that say nothing.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::limits::check_size;

/// Keywords that restrict and cannot be held to, of all drafts of JSON Schema, and a parser's own options.
pub(super) const UNSUPPORTED: [&str; 19] = [
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "extends",
    "disallow",
    "divisibleBy",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is a schema.
pub(super) const ONE: [&str; 3] = ["additionalProperties", "additionalItems", "items"];
/// Keywords whose value is a list of schemas.
pub(super) const LIST: [&str; 5] = ["prefixItems", "items", "allOf", "anyOf", "oneOf"];
/// Keywords whose value has a schema under each name.
pub(super) const NAMED: [&str; 2] = ["properties", "patternProperties"];
/// Keywords that hold schemas for references.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// How deep a schema is looked into, references included.
pub(super) const DEPTH_MAX: usize = 200;

/// Leaves out what restricts nothing, such as `"uniqueItems": false`, and the parser's own options.
pub(super) fn leave_out(schema: &mut Value, depth: usize) -> Result<(), Error> {
    check_size("the schema is nested deep:", depth, DEPTH_MAX)?;
    let Value::Object(keywords) = schema else { return Ok(()) };
    let has_branch = keywords.contains_key("then") || keywords.contains_key("else");
    let has_condition = keywords.contains_key("if");
    let has_contains = keywords.contains_key("contains");
    keywords.retain(|keyword, value| match keyword.as_str() {
        "uniqueItems" => *value != Value::Bool(false),
        "if" => has_branch,
        "then" | "else" => has_condition,
        "minContains" | "maxContains" => has_contains,
        "propertyNames" | "unevaluatedItems" | "unevaluatedProperties" => !allows_all(value),
        "dependencies" | "dependentRequired" | "dependentSchemas" => !is_empty(value),
        "not" => *value != Value::Bool(false),
        "x-guidance" => false,
        _ => true,
    });
    leave_out_below(keywords, depth)
}

fn leave_out_below(keywords: &mut Map<String, Value>, depth: usize) -> Result<(), Error> {
    for (keyword, value) in keywords {
        let keyword = keyword.as_str();
        match value {
            Value::Object(named) if NAMED.contains(&keyword) || DEFINITIONS.contains(&keyword) => {
                named.values_mut().try_for_each(|schema| leave_out(schema, depth + 1))?;
            }
            Value::Array(list) if LIST.contains(&keyword) => {
                list.iter_mut().try_for_each(|schema| leave_out(schema, depth + 1))?;
            }
            value if ONE.contains(&keyword) => leave_out(value, depth + 1)?,
            _ => {}
        }
    }
    Ok(())
}

fn allows_all(schema: &Value) -> bool {
    *schema == Value::Bool(true) || is_empty(schema)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}
