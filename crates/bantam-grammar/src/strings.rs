//! What a specification says of the strings of JSON, as far as an answer soon ends by it.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use llguidance::toktrie::TokEnv;
use serde_json::Value;

use crate::pattern::Pattern;
use crate::spec::Spec;

/// What stands before a schema in Lark.
const JSON: &str = "%json";

/// So many names are kept, as many values, and so many patterns.
const NAMES_MAX: usize = 256;
const PATTERNS_MAX: usize = 64;

/// By what strings may end.
pub(crate) struct Strings {
    /// Names of properties, those first that an answer soon ends by, and values of `enum`, the shortest first; with the
    /// quote behind each.
    pub(crate) known: Vec<Vec<u32>>,
    found: Vec<(String, usize)>,
    patterns: OnceLock<Vec<Pattern>>,
}

impl Strings {
    /// `None` where what is specified is no JSON.
    pub(crate) fn new(spec: &Spec, words: &TokEnv) -> Option<Self> {
        let found = Found::of(spec)?;
        let known = found.names().into_iter().chain(found.values());
        let known = known.map(|text| words.tokenize_bytes(text.as_bytes())).collect();
        Some(Strings { known, found: found.patterns, patterns: OnceLock::new() })
    }

    /// What makes a string that begins so, as JSON writes it, match one of the patterns; with the quote behind it.
    pub(crate) fn ends_of(&self, begun: &[u8]) -> impl Iterator<Item = String> {
        let begun = std::str::from_utf8(begun).ok();
        let text = begun.and_then(|begun| serde_json::from_str::<String>(&format!("\"{begun}\"")).ok());
        text.into_iter().flat_map(|text| {
            self.patterns().iter().filter_map(move |pattern| Some(pattern.end_of(&text)? + "\""))
        })
    }

    fn patterns(&self) -> &[Pattern] {
        let compile = |(pattern, chars_min): &(String, usize)| Pattern::new(pattern, *chars_min);
        self.patterns.get_or_init(|| self.found.iter().filter_map(compile).collect())
    }
}

/// Names with the place of their first appearance, and whether one of their objects needs them; values; patterns with the
/// least length that stands beside them.
#[derive(Default)]
struct Found {
    names: HashMap<String, (usize, bool)>,
    values: BTreeSet<(usize, String)>,
    patterns: Vec<(String, usize)>,
}

impl Found {
    fn of(spec: &Spec) -> Option<Self> {
        let mut found = Found::default();
        match spec {
            Spec::Schema(schema) => found.look(schema),
            Spec::Lark(source) if source.contains(JSON) => {
                for (at, mark) in source.match_indices(JSON) {
                    let behind = &source[at + mark.len()..];
                    let mut values = serde_json::Deserializer::from_str(behind).into_iter();
                    if let Some(Ok(schema)) = values.next() {
                        found.look(&schema);
                    }
                }
            }
            // Most that asks for quotes in GBNF is JSON, and what ends JSON is tried in vain where it is not.
            Spec::Gbnf(source) if source.contains("\\\"") => {}
            Spec::Object => {}
            Spec::Lark(_) | Spec::Gbnf(_) | Spec::Regex(_) | Spec::Choice(_) => return None,
        }
        Some(found)
    }

    /// The names as JSON writes them, each with the quote behind it. Properties come in the schema's order, and those
    /// that may be left out are skipped by going to one that must come: required names first, and later ones before
    /// earlier ones.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_by_key(|(_, (place, is_required))| std::cmp::Reverse((*is_required, *place)));
        names.into_iter().take(NAMES_MAX).map(|(name, _)| written(name)).collect()
    }

    /// The values of `enum`, in the same way.
    fn values(&self) -> impl Iterator<Item = String> {
        self.values.iter().take(NAMES_MAX).map(|(_, value)| written(value))
    }

    /// Looks at all there is, since a schema is anywhere in a schema; what is none of one is tried in vain.
    fn look(&mut self, root: &Value) {
        let mut left = vec![root];
        while let Some(value) = left.pop() {
            match value {
                // The first is to be looked at first.
                Value::Array(items) => left.extend(items.iter().rev()),
                Value::Object(keywords) => {
                    self.note_names(keywords);
                    self.note_values(keywords);
                    self.note_patterns(keywords);
                    left.extend(keywords.values().rev());
                }
                _ => {}
            }
        }
    }

    fn note_names(&mut self, keywords: &serde_json::Map<String, Value>) {
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

    fn note_values(&mut self, keywords: &serde_json::Map<String, Value>) {
        let values = keywords.get("enum").and_then(Value::as_array).into_iter().flatten();
        self.values.extend(values.filter_map(Value::as_str).map(|value| (value.len(), value.to_owned())));
    }

    fn note_patterns(&mut self, keywords: &serde_json::Map<String, Value>) {
        let chars_min = keywords.get("minLength").and_then(Value::as_u64).unwrap_or(0);
        let chars_min = usize::try_from(chars_min).unwrap_or(usize::MAX);
        let of_value = keywords.get("pattern").and_then(Value::as_str).map(|pattern| (pattern, chars_min));
        let of_names = keywords.get("patternProperties").and_then(Value::as_object);
        let of_names =
            of_names.into_iter().flat_map(|patterns| patterns.keys()).map(|pattern| (pattern.as_str(), 0));
        for (pattern, chars_min) in of_value.into_iter().chain(of_names) {
            let found = (pattern.to_owned(), chars_min);
            if self.patterns.len() < PATTERNS_MAX && !self.patterns.contains(&found) {
                self.patterns.push(found);
            }
        }
    }
}

/// As JSON writes it behind the first quote.
fn written(text: &str) -> String {
    Value::from(text).to_string().split_off(1)
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
            assert_eq!(Found::of(&spec).unwrap().names(), wanted);
        }
        assert!(Found::of(&Spec::Lark("start: \"%json\"".into())).unwrap().names().is_empty());
        assert!(Found::of(&Spec::Lark("start: \"{\"".into())).is_none());
    }

    #[test]
    fn short_values_come_first() {
        let schema = json!({ "anyOf": [{ "enum": ["bcd", 1, "a\n"] }, { "enum": [null, "e"] }] });
        assert!(Found::of(&Spec::Schema(schema)).unwrap().values().eq(["e\"", "a\\n\"", "bcd\""]));
    }

    #[test]
    fn patterns_come_with_the_least_length_beside_them() {
        let schema = json!({
            "patternProperties": { "^x": { "pattern": "a", "minLength": 3 }, "^y": { "pattern": "b" } },
            "properties": { "pattern": { "pattern": "b" } },
        });
        let found = Found::of(&Spec::Schema(schema)).unwrap().patterns;
        let found: Vec<_> = found.iter().map(|(pattern, chars_min)| (pattern.as_str(), *chars_min)).collect();
        assert_eq!(found, [("^x", 0), ("^y", 0), ("a", 3), ("b", 0)]);
    }
}
