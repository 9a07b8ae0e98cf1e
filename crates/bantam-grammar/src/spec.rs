//! What an answer is to be, as it is asked for.

use llguidance::api::TopLevelGrammar;
use serde_json::{Value, json};

use crate::error::Error;
use crate::gbnf;
use crate::limits::{BYTES_MAX, PATTERN_BYTES_MAX, check_size};
use crate::schema;

/// What an answer is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// JSON that holds to a schema. It is written on one line, with one space behind each comma and colon, as most
    /// training data has it: free white space is where small models lose themselves.
    Schema(Value),
    /// Any JSON object, written in the same way.
    Object,
    /// A text of which all matches a pattern, in the syntax of Rust's `regex`; without looking around.
    Regex(String),
    /// One of some texts.
    Choice(Vec<String>),
    /// A grammar in `llguidance`'s form of Lark.
    Lark(String),
    /// A grammar in GBNF, as llama.cpp has it; without tokens.
    Gbnf(String),
}

/// Lines of a grammar, each of which may lead to the next: what is wrong behind the last is told by each of them, in
/// time that grows with their square.
const LINES_MAX: usize = 500;
/// Brackets within brackets of a grammar.
const NESTED_MAX: usize = 300;

impl Spec {
    /// A grammar in either form. Only GBNF has `::=`, but for what may stand within quotes.
    pub fn of_grammar(source: String) -> Self {
        if source.contains("::=") { Spec::Gbnf(source) } else { Spec::Lark(source) }
    }

    /// What it is called in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Spec::Schema(_) | Spec::Object => "schema",
            Spec::Regex(_) => "pattern",
            Spec::Choice(_) => "choice",
            Spec::Lark(_) | Spec::Gbnf(_) => "grammar",
        }
    }

    /// The same as a part of a Lark grammar, where it is JSON or a choice.
    ///
    /// # Errors
    ///
    /// As [`Vocabulary::compile`](crate::Vocabulary::compile).
    pub fn to_lark(&self) -> Result<Option<String>, Error> {
        match self {
            Spec::Schema(schema) => schema::to_lark(schema).map(Some),
            Spec::Object => schema::to_lark(&json!({ "type": "object" })).map(Some),
            Spec::Choice(texts) => any_of(texts).map(Some),
            Spec::Regex(_) | Spec::Lark(_) | Spec::Gbnf(_) => Ok(None),
        }
    }

    /// The same for the parser; nothing is lost on the way.
    pub(crate) fn grammar(&self) -> Result<TopLevelGrammar, Error> {
        match self {
            Spec::Schema(schema) => Ok(TopLevelGrammar::from_json_schema(schema::prepare(schema)?)),
            Spec::Object => {
                Ok(TopLevelGrammar::from_json_schema(schema::prepare(&json!({ "type": "object" }))?))
            }
            Spec::Regex(pattern) => {
                check_size("the pattern has bytes:", pattern.len(), PATTERN_BYTES_MAX)?;
                Ok(TopLevelGrammar::from_regex(unanchored(pattern)))
            }
            Spec::Choice(texts) => Ok(TopLevelGrammar::from_lark(choice(texts)?)),
            Spec::Lark(source) => {
                check_lark(source)?;
                Ok(TopLevelGrammar::from_lark(source.clone()))
            }
            Spec::Gbnf(source) => {
                check_length(source)?;
                Ok(TopLevelGrammar::from_lark(gbnf::to_lark(source)?))
            }
        }
    }
}

fn check_length(source: &str) -> Result<(), Error> {
    check_size("the grammar has bytes:", source.len(), BYTES_MAX)?;
    check_size("the grammar has lines:", source.lines().count(), LINES_MAX)
}

/// The parser goes as deep as a grammar does.
fn check_lark(source: &str) -> Result<(), Error> {
    check_length(source)?;
    let (mut depth, mut deepest, mut is_quoted) = (0usize, 0, false);
    let mut bytes = source.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' | b'\n' => is_quoted = byte == b'"' && !is_quoted,
            b'(' | b'[' | b'{' if !is_quoted => depth += 1,
            b')' | b']' | b'}' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    check_size("the grammar is nested deep:", deepest, NESTED_MAX)
}

/// All of a text has to match, so what says so is left out.
fn unanchored(pattern: &str) -> &str {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let Some(front) = pattern.strip_suffix('$') else { return pattern };
    let slashes = front.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if slashes.is_multiple_of(2) { front } else { pattern }
}

fn choice(texts: &[String]) -> Result<String, Error> {
    Ok(format!("start: {}", any_of(texts)?))
}

fn any_of(texts: &[String]) -> Result<String, Error> {
    check_size("the choice has bytes:", texts.iter().map(String::len).sum(), BYTES_MAX)?;
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        let reason = "wanted at least one text, and none that is empty".into();
        return Err(Error::Refused { kind: "choice", reason });
    }
    let texts: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
    Ok(texts.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_left_out_where_they_are_anchors() {
        for (pattern, wanted) in
            [("^a$", "a"), ("a", "a"), (r"^a\$", r"a\$"), (r"a\\$", r"a\\"), ("^", ""), ("$", "")]
        {
            assert_eq!(unanchored(pattern), wanted);
        }
    }

    #[test]
    fn grammars_are_no_deeper_than_the_parser_can_go() {
        assert!(check_lark(&format!("start: {}a{}", "(".repeat(300), ")".repeat(300))).is_ok());
        assert!(check_lark(&format!("start: {}", "(".repeat(301))).is_err());
        assert!(check_lark(&"a: \"((\"\nb: /\\(/\n".repeat(200)).is_ok());
        assert!(check_lark(&"a: b\n".repeat(501)).is_err());
    }

    #[test]
    fn a_choice_is_quoted() {
        let texts = ["a \"b\"\n".to_owned(), "ü".to_owned()];
        assert_eq!(choice(&texts).unwrap(), r#"start: "a \"b\"\n" | "ü""#);
        assert!(choice(&[]).is_err() && choice(&[String::new()]).is_err());
    }
}
