//! A number for each module: one for all, and others where a pattern matches, as PEFT's `rank_pattern` and
//! `alpha_pattern` have it.
//!
//! A pattern matches a module's whole name, or its end behind a dot; the first that matches counts. Source:
//! `get_pattern_key` in PEFT's `utils/other.py`.

use regex_automata::meta::Regex;
use serde_json::Value;

use crate::error::{Error, Quoted};
use crate::format::json;

/// What a config says under a key, and under the key of its patterns.
pub(super) struct Pattern {
    default: f64,
    others: Vec<(Matcher, f64)>,
}

/// A pattern that names modules.
enum Matcher {
    /// Letters, digits, `_` and `-`, and dots that stand for any byte.
    Name(String),
    /// Anything else.
    Regex(Regex),
}

impl Pattern {
    /// Reads the number under `key` and the patterns under `pattern_key`.
    pub(super) fn read(config: &Value, key: &str, pattern_key: &str) -> Result<Self, Error> {
        let number = |key: &str, value: &Value| match json::number(value) {
            Some(number) if number.is_finite() => Ok(number),
            _ => Err(Error::adapter(format!("{} in its config is {value}, wanted a number", Quoted(key)))),
        };
        let default = number(key, config.get(key).unwrap_or(&Value::Null))?;
        let patterns = config.get(pattern_key).and_then(Value::as_object).into_iter().flatten();
        let others = patterns.map(|(pattern, value)| Ok((Matcher::new(pattern)?, number(pattern, value)?)));
        let others = others.collect::<Result<Vec<_>, Error>>()?;
        if others.len() > PATTERNS_MAX {
            let found = others.len();
            return Err(Error::adapter(format!(
                "{pattern_key} has {found} entries; the limit is {PATTERNS_MAX}"
            )));
        }
        Ok(Pattern { default, others })
    }

    /// The number of a module.
    pub(super) fn of(&self, module: &str) -> f64 {
        let found = self.others.iter().find(|(matcher, _)| matcher.matches(module));
        found.map_or(self.default, |(_, number)| *number)
    }
}

impl Matcher {
    fn new(pattern: &str) -> Result<Self, Error> {
        if pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
            return Ok(Matcher::Name(pattern.to_owned()));
        }
        let config = Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX)).onepass_size_limit(Some(0));
        let config = config.hybrid_cache_capacity(REGEX_BYTES_MAX);
        let whole = format!("^(?:.*\\.)?(?:{pattern})$");
        let regex = Regex::builder().configure(config).build(&whole);
        regex.map(Matcher::Regex).map_err(|error| {
            Error::adapter(format!("the pattern {} in its config cannot be used: {error}", Quoted(pattern)))
        })
    }

    fn matches(&self, module: &str) -> bool {
        match self {
            Matcher::Name(name) => {
                let Some(begin) = module.len().checked_sub(name.len()) else { return false };
                let (before, end) = module.as_bytes().split_at(begin);
                let same = name.bytes().zip(end).all(|(wanted, found)| wanted == b'.' || wanted == *found);
                same && matches!(before.last(), None | Some(b'.'))
            }
            Matcher::Regex(regex) => regex.is_match(module),
        }
    }
}

/// More patterns are refused: one for each projection of 128 layers is fewer.
const PATTERNS_MAX: usize = 1024;

/// Patterns that take more memory are refused.
const REGEX_BYTES_MAX: usize = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_pattern_that_matches_the_end_counts() {
        let config = json!({
            "r": 8,
            "rank_pattern": {
                "q_proj": 2, "model.layers.1.self_attn.v_proj": 3, "^model\\.layers\\.[0-2]\\..*_proj": 4,
                "layers.1.mlp.up_proj": 5
            }
        });
        let ranks = Pattern::read(&config, "r", "rank_pattern").unwrap();
        for (module, rank) in [
            ("model.layers.7.self_attn.q_proj", 2.0),
            ("q_proj", 2.0),
            ("model.layers.7.self_attn.kq_proj", 8.0),
            ("model.layers.1.self_attn.v_proj", 3.0),
            ("model.layers.11.self_attn.v_proj", 8.0),
            ("model.layers.2.mlp.up_proj", 4.0),
            ("model.layers.1.mlp.up_proj", 4.0),
            ("transformer.layers.1.mlp.up_proj", 5.0),
            ("model.layers.3.mlp.up_proj", 8.0),
        ] {
            assert_eq!(ranks.of(module), rank, "{module}");
        }
    }

    #[test]
    fn what_is_no_number_or_no_pattern_is_refused() {
        for config in [json!({}), json!({ "r": "x" }), json!({ "r": 8, "p": { "a": null } })] {
            assert!(Pattern::read(&config, "r", "p").is_err(), "{config}");
        }
        for pattern in ["(", "(?=a)", "(a{1000}){1000}"] {
            let config = json!({ "r": 8, "p": { pattern: 1 } });
            assert!(Pattern::read(&config, "r", "p").is_err(), "{pattern}");
        }
    }
}
