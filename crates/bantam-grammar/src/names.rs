//! The names of properties that a specification speaks of, those first that an answer soon ends by.

use std::collections::HashMap;

use serde_json::Value;

use crate::spec::Spec;

/// What stands before a schema in Lark.
const JSON: &str = "%json";

/// So many are kept.
const NAMES_MAX: usize = 256;

/// The names as JSON writes them, each with the quote behind it. Properties come in the schema's order, and those that
/// may be left out are skipped by going to one that must come: required names first, and later ones before earlier ones.
/// `None` where what is specified is no JSON.
pub(crate) fn names(spec: &Spec) -> Option<Vec<String>> {
    let mut found = Found::default();
    match spec {
        Spec::Schema(schema) => found.look(schema),
        Spec::Lark(source) if source.contains(JSON) => {
            for (at, mark) in source.match_indices(JSON) {
                let mut values = serde_json::Deserializer::from_str(&source[at + mark.len()..]).into_iter();
                if let Some(Ok(schema)) = values.next() {
                    found.look(&schema);
                }
            }
        }
        Spec::Object => {}
        Spec::Lark(_) | Spec::Regex(_) | Spec::Choice(_) => return None,
    }
    let mut names: Vec<_> = found.names.into_iter().collect();
    names.sort_by_key(|(_, (place, is_required))| std::cmp::Reverse((*is_required, *place)));
    let written = |(name, _)| Value::from(name).to_string().split_off(1);
    Some(names.into_iter().take(NAMES_MAX).map(written).collect())
}

/// Names with the place of their first appearance, and whether one of their objects needs them.
#[derive(Default)]
struct Found {
    names: HashMap<String, (usize, bool)>,
}

impl Found {
    /// Looks at all there is, since a schema is anywhere in a schema; what is none of one is tried in vain.
    fn look(&mut self, root: &Value) {
        let mut left = vec![root];
        while let Some(value) = left.pop() {
            match value {
                // The first is to be looked at first.
                Value::Array(items) => left.extend(items.iter().rev()),
                Value::Object(keywords) => {
                    self.note(keywords);
                    left.extend(keywords.values().rev());
                }
                _ => {}
            }
        }
    }

    fn note(&mut self, keywords: &serde_json::Map<String, Value>) {
        let properties = keywords.get("properties").and_then(Value::as_object);
        for name in properties.into_iter().flat_map(|properties| properties.keys()) {
            let place = self.names.len();
            self.names.entry(name.to_owned()).or_insert((place, false));
        }
        let required = keywords.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            let place = self.names.len();
            self.names.entry(name.to_owned()).or_insert((place, true)).1 = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_must_come_is_tried_first_and_the_last_of_it() {
        let schema = json!({
            "properties": {
                "a": { "properties": { "b\"": {}, "c": {} }, "required": ["b\""] },
                "d": { "type": "null" },
                "properties": {},
            },
            "required": ["d", "e"],
        });
        let wanted = ["b\\\"\"", "e\"", "d\"", "c\"", "properties\"", "a\""];
        let lark = Spec::Lark(format!("start: \"x\" %json {schema} \"y\"\n"));
        for spec in [Spec::Schema(schema), lark] {
            assert_eq!(names(&spec).unwrap(), wanted);
        }
        assert!(names(&Spec::Lark("start: \"%json\"".into())).unwrap().is_empty());
        assert!(names(&Spec::Lark("start: \"{\"".into())).is_none());
    }
}
