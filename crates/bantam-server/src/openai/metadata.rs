//! Notes that clients attach to what is kept.

use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::fields::{Fields, wrong};

/// Notes, as many and as long as OpenAI's protocol allows; none where there is no field.
///
/// # Errors
///
/// What is no text, and too much of it.
pub(crate) fn read(fields: &Fields<'_>) -> Result<Map<String, Value>, Fault> {
    let Some(notes) = fields.map("metadata")? else { return Ok(Map::new()) };
    if notes.len() > COUNT_MAX {
        return Err(fields.wrong("metadata", "at most 16 pairs"));
    }
    for (key, value) in notes {
        if key.chars().count() > KEY_MAX {
            return Err(fields.wrong("metadata", "keys of 64 characters at most"));
        }
        let text = value.as_str().filter(|text| text.chars().count() <= VALUE_MAX);
        if text.is_none() {
            return Err(wrong(&format!("metadata.{key}"), "a text of 512 characters at most", value));
        }
    }
    Ok(notes.clone())
}

const COUNT_MAX: usize = 16;
/// Characters.
const KEY_MAX: usize = 64;
const VALUE_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn param(metadata: Value) -> Option<String> {
        let body = json!({ "metadata": metadata });
        read(&Fields::new(body.as_object().unwrap())).err()?.param
    }

    #[test]
    fn notes_are_short_texts() {
        let long = |key: usize, value: usize| json!({ "k".repeat(key): "v".repeat(value) });
        let many = |count: usize| Value::Object((0..count).map(|at| (at.to_string(), json!("v"))).collect());
        for fine in [Value::Null, json!({}), long(64, 512), many(16)] {
            assert_eq!(param(fine), None);
        }
        for bad in [json!([]), long(65, 1), many(17)] {
            assert_eq!(param(bad).as_deref(), Some("metadata"));
        }
        assert_eq!(param(json!({ "a": 1 })).as_deref(), Some("metadata.a"));
        assert_eq!(param(long(1, 513)).as_deref(), Some("metadata.k"));
    }
}
