//! Texts and tokens as completions and embeddings take them.

use serde_json::Value;

use crate::ask::Prompt;
use crate::fault::Fault;
use crate::fields::Fields;

/// A text, tokens, or a list of either, from one to `most`.
///
/// # Errors
///
/// Anything else, and nothing.
pub(crate) fn read(fields: &Fields<'_>, field: &str, most: usize) -> Result<Vec<Prompt>, Fault> {
    let wanted = "a string, a list of strings, a list of token ids, or a list of such lists";
    let prompts = match fields.value(field) {
        None => return Err(fields.missing(field, wanted)),
        Some(Value::String(text)) => vec![Prompt::Text(text.clone())],
        Some(Value::Array(items)) if items.iter().all(Value::is_number) && !items.is_empty() => {
            vec![ids(items).ok_or_else(|| fields.wrong(field, wanted))?]
        }
        Some(Value::Array(items)) => {
            let prompt = |item: &Value| match item {
                Value::String(text) => Some(Prompt::Text(text.clone())),
                Value::Array(items) => ids(items),
                _ => None,
            };
            let prompts: Option<Vec<Prompt>> = items.iter().map(prompt).collect();
            prompts.ok_or_else(|| fields.wrong(field, wanted))?
        }
        Some(_) => return Err(fields.wrong(field, wanted)),
    };
    if prompts.is_empty() || prompts.len() > most {
        return Err(fields.wrong(field, &format!("from 1 to {most} of them")));
    }
    Ok(prompts)
}

fn ids(items: &[Value]) -> Option<Prompt> {
    let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok());
    items.iter().map(id).collect::<Option<Vec<u32>>>().map(Prompt::Ids)
}
