//! References made plain: each becomes `#/a/b`, which the parser follows step by step without reading escapes.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::pointer::{at, steps};

/// Where targets go that plain steps cannot reach.
const HOISTED: &str = "bantam:hoisted";

/// Makes all references within the schema plain. Others are left as they are, for the check to refuse.
pub(super) fn straighten(schema: &mut Value) -> Result<(), crate::Error> {
    let mut plain = Plain { root: schema.clone(), hoisted: Map::new(), known: HashMap::new() };
    plain.rewrite(schema);
    // Targets that were hoisted hold references too.
    let mut done = 0;
    while done < plain.hoisted.len() {
        let Some((name, mut target)) = plain.hoisted.iter().nth(done).map(|(k, v)| (k.clone(), v.clone()))
        else {
            break;
        };
        plain.rewrite(&mut target);
        plain.hoisted.insert(name, target);
        done += 1;
    }
    if let (Value::Object(keywords), false) = (schema, plain.hoisted.is_empty()) {
        keywords.insert(HOISTED.into(), Value::Object(plain.hoisted));
    }
    Ok(())
}

struct Plain {
    /// The schema as it was.
    root: Value,
    hoisted: Map<String, Value>,
    known: HashMap<String, Option<String>>,
}

impl Plain {
    fn rewrite(&mut self, value: &mut Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get_mut("$ref")
                    && let Some(plain) = self.plain(reference)
                {
                    *reference = plain;
                }
                object.values_mut().for_each(|value| self.rewrite(value));
            }
            Value::Array(items) => items.iter_mut().for_each(|value| self.rewrite(value)),
            _ => {}
        }
    }

    fn plain(&mut self, reference: &str) -> Option<String> {
        if let Some(known) = self.known.get(reference) {
            return known.clone();
        }
        let plain = self.find(reference);
        self.known.insert(reference.to_owned(), plain.clone());
        plain
    }

    fn find(&mut self, reference: &str) -> Option<String> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !base.is_empty() && !self.is_own(base) {
            let target = anchored(&self.root, reference, 0)?.clone();
            return Some(self.hoist(target));
        }
        let Some(steps) = steps(fragment) else {
            let target = anchored(&self.root, &format!("#{fragment}"), 0)?.clone();
            return Some(self.hoist(target));
        };
        let target = at(&self.root, &steps)?;
        if steps.iter().any(|step| step.contains('/') || step.is_empty()) {
            let target = target.clone();
            return Some(self.hoist(target));
        }
        Some(format!("#/{}", steps.join("/")))
    }

    fn is_own(&self, base: &str) -> bool {
        let ids = [self.root.get("$id"), self.root.get("id")];
        ids.into_iter().flatten().any(|id| id.as_str().map(|id| id.trim_end_matches('#')) == Some(base))
    }

    fn hoist(&mut self, target: Value) -> String {
        let name = self.hoisted.len().to_string();
        let reference = format!("#/{HOISTED}/{name}");
        self.hoisted.insert(name, target);
        reference
    }
}

/// The schema that calls itself by a name: `$id` or `id`, or `$anchor`.
fn anchored<'a>(value: &'a Value, name: &str, depth: usize) -> Option<&'a Value> {
    if depth > super::keywords::DEPTH_MAX {
        return None;
    }
    let below = |value: &'a Value| anchored(value, name, depth + 1);
    match value {
        Value::Object(object) => {
            let is_called = |keyword: &str, name: &str| object.get(keyword) == Some(&json!(name));
            let is_anchor = name.strip_prefix('#').is_some_and(|anchor| is_called("$anchor", anchor));
            if is_anchor || is_called("$id", name) || is_called("id", name) {
                return Some(value);
            }
            object.values().find_map(below)
        }
        Value::Array(items) => items.iter().find_map(below),
        _ => None,
    }
}
