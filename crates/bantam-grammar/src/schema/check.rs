//! Whether a schema can be held to: every keyword that restricts is one that the parser knows.
//!
//! Definitions that nothing refers to are not looked at.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::keywords::{DEPTH_MAX, LIST, NAMED, ONE, UNSUPPORTED};
use super::pointer::{at, place_of};
use crate::error::{Error, Keyword};
use crate::limits::{PATTERN_BYTES_MAX, check_size};

/// Schemas within a schema, at most.
const SCHEMAS_MAX: usize = 50_000;

/// Counts that cost as much as they are.
const COUNTS: [&str; 6] =
    ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];
const COUNT_MAX: u64 = 1 << 20;
/// Least numbers of items and properties, which are written out one by one.
const LEAST_MAX: u64 = 1000;

/// Numbers that are written out digit by digit.
const BOUNDS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const BOUND_MAX: f64 = 1e30;
const MULTIPLE_MIN: f64 = 1e-12;

/// What the parser knows of `format`.
const FORMATS: [&str; 11] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri", "unknown"];

/// Refuses what cannot be held to.
pub(super) fn check(schema: &Value) -> Result<(), Error> {
    let (place, seen, unsupported) = (Vec::new(), HashSet::new(), Vec::new());
    let mut check = Check { root: schema, place, seen, schemas: 0, depth: 0, unsupported };
    let checked = check.schema(schema);
    if check.unsupported.is_empty() { checked } else { Err(Error::Keywords(check.unsupported)) }
}

struct Check<'a> {
    root: &'a Value,
    place: Vec<String>,
    /// References that were followed.
    seen: HashSet<&'a str>,
    schemas: usize,
    depth: usize,
    unsupported: Vec<Keyword>,
}

impl<'a> Check<'a> {
    fn place(&self) -> String {
        place_of(&self.place)
    }

    fn wrong(&self, keyword: &'static str, found: String, wanted: &'static str) -> Error {
        Error::Value { keyword, place: self.place(), found, wanted }
    }

    fn schema(&mut self, schema: &'a Value) -> Result<(), Error> {
        self.schemas += 1;
        check_size("the schema has parts:", self.schemas, SCHEMAS_MAX)?;
        check_size("the schema is nested deep:", self.depth, DEPTH_MAX)?;
        match schema {
            Value::Object(keywords) => self.keywords(keywords),
            Value::Bool(_) => Ok(()),
            other => Err(self.wrong("schema", described(other), "an object, true or false")),
        }
    }

    fn keywords(&mut self, keywords: &'a Map<String, Value>) -> Result<(), Error> {
        for (keyword, value) in keywords {
            // `uniqueItems` is here only where it is not false.
            if UNSUPPORTED.contains(&keyword.as_str()) || keyword == "uniqueItems" {
                self.unsupported.push(Keyword { name: keyword.clone(), place: self.place() });
            } else {
                self.keyword(keyword, value)?;
            }
        }
        self.least_properties(keywords)
    }

    /// The parser counts a name that comes twice twice, where JSON knows it once: no more than one may be free.
    fn least_properties(&self, keywords: &Map<String, Value>) -> Result<(), Error> {
        let least = keywords.get("minProperties").and_then(Value::as_u64).unwrap_or(0);
        let required = keywords.get("required").and_then(Value::as_array).map_or(0, Vec::len) as u64;
        if least <= required + 1 {
            return Ok(());
        }
        let wanted = "at most one more than are `required`: other names could be the same";
        Err(self.wrong("minProperties", format!("{least} where {required} are required"), wanted))
    }

    fn keyword(&mut self, keyword: &'a str, value: &'a Value) -> Result<(), Error> {
        match value {
            Value::Object(named) if NAMED.contains(&keyword) => self.named(keyword, named),
            Value::Array(list) if LIST.contains(&keyword) => self.list(keyword, list),
            value if ONE.contains(&keyword) => self.below(keyword.to_owned(), None, value),
            Value::String(reference) if keyword == "$ref" => self.reference(reference),
            Value::String(pattern) if keyword == "pattern" => self.pattern(pattern),
            Value::String(format) if keyword == "format" && !FORMATS.contains(&format.as_str()) => {
                let wanted = "date-time, date, time, duration, email, hostname, ipv4, ipv6, uuid or uri";
                Err(self.wrong("format", format!("\"{format}\""), wanted))
            }
            Value::Number(_) if BOUNDS.contains(&keyword) => self.bound(keyword, value),
            value => self.count(keyword, value),
        }
    }

    fn named(&mut self, keyword: &str, named: &'a Map<String, Value>) -> Result<(), Error> {
        for (name, schema) in named {
            if keyword == "patternProperties" {
                self.pattern(name)?;
            }
            self.below(keyword.to_owned(), Some(name.clone()), schema)?;
        }
        Ok(())
    }

    fn list(&mut self, keyword: &str, list: &'a [Value]) -> Result<(), Error> {
        let mut schemas = list.iter().enumerate();
        schemas.try_for_each(|(at, schema)| self.below(keyword.to_owned(), Some(at.to_string()), schema))
    }

    fn below(&mut self, keyword: String, name: Option<String>, schema: &'a Value) -> Result<(), Error> {
        let length = self.place.len();
        self.place.push(keyword);
        self.place.extend(name);
        self.depth += 1;
        let checked = self.schema(schema);
        self.depth -= 1;
        self.place.truncate(length);
        checked
    }

    fn reference(&mut self, reference: &'a str) -> Result<(), Error> {
        let outside = || Error::Reference { reference: reference.to_owned(), place: self.place() };
        let (steps, target) = self.target(reference).ok_or_else(outside)?;
        if !self.seen.insert(reference) {
            return Ok(());
        }
        if self.is_circle(reference) {
            return Err(self.wrong(
                "$ref",
                format!("a way back to itself, by {reference}"),
                "a schema at its end",
            ));
        }
        let place = std::mem::replace(&mut self.place, steps);
        self.depth += 1;
        let checked = self.schema(target);
        self.depth -= 1;
        self.place = place;
        checked
    }

    /// Where a reference leads.
    fn target(&self, reference: &str) -> Option<(Vec<String>, &'a Value)> {
        let rest = reference.strip_prefix("#/")?;
        let steps: Vec<String> = rest.split('/').filter(|step| !step.is_empty()).map(str::to_owned).collect();
        let target = at(self.root, &steps)?;
        Some((steps, target))
    }

    /// Whether references alone lead from a reference back to it.
    fn is_circle(&self, reference: &'a str) -> bool {
        let mut seen = vec![reference];
        while let Some(next) = seen.last().and_then(|last| self.target(last)?.1.get("$ref")?.as_str()) {
            if seen.contains(&next) {
                return true;
            }
            seen.push(next);
        }
        false
    }

    fn pattern(&self, pattern: &str) -> Result<(), Error> {
        check_size("a pattern of the schema has bytes:", pattern.len(), PATTERN_BYTES_MAX)
    }

    fn bound(&self, keyword: &str, value: &Value) -> Result<(), Error> {
        let Some(&keyword) = BOUNDS.iter().find(|bound| **bound == keyword) else { return Ok(()) };
        match value.as_f64().map(f64::abs) {
            Some(size) if size <= BOUND_MAX && (keyword != "multipleOf" || size >= MULTIPLE_MIN) => Ok(()),
            _ => Err(self.wrong(
                keyword,
                described(value),
                "a number up to 1e30, for multipleOf from 1e-12 up",
            )),
        }
    }

    fn count(&self, keyword: &str, value: &Value) -> Result<(), Error> {
        let Some(&keyword) = COUNTS.iter().find(|count| **count == keyword) else { return Ok(()) };
        let is_written_out = matches!(keyword, "minItems" | "minProperties");
        let most = if is_written_out { LEAST_MAX } else { COUNT_MAX };
        match value.as_u64() {
            Some(count) if count <= most => Ok(()),
            _ if is_written_out => Err(self.wrong(keyword, described(value), "a whole number up to 1000")),
            _ => Err(self.wrong(keyword, described(value), "a whole number up to 1048576")),
        }
    }
}

fn described(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        Value::String(text) if text.len() > 40 => "a long text".into(),
        value => value.to_string(),
    }
}
