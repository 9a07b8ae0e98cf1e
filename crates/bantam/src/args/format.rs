//! Arguments that say what an answer is to be.

use std::path::Path;

use anyhow::{Context, Result};
use bantam::grammar::Spec;
use clap::Args;
use serde_json::Value;

/// What an answer is held to; one of them at most.
#[derive(Args, Debug, Clone, Default)]
#[group(id = "what_an_answer_is", multiple = false)]
pub(crate) struct FormatArgs {
    /// Answer with JSON that holds to this schema: a file, or the schema itself
    #[arg(long, short = 'j', value_name = "FILE|SCHEMA")]
    pub(crate) json_schema: Option<String>,
    /// Answer with any JSON object (`json`), or as --json-schema
    #[arg(long, value_name = "json|FILE|SCHEMA")]
    pub(crate) format: Option<String>,
    /// Answer with a text that matches this pattern as a whole
    #[arg(long, value_name = "PATTERN")]
    pub(crate) regex: Option<String>,
    /// Answer with one of the texts that are given so
    #[arg(long, value_name = "TEXT")]
    pub(crate) choice: Vec<String>,
    /// Answer by this grammar, in GBNF or Lark: a file, or the grammar itself
    #[arg(long, value_name = "FILE|GRAMMAR")]
    pub(crate) grammar: Option<String>,
}

impl FormatArgs {
    /// What an answer is to be, if anything was said.
    pub(crate) fn spec(&self) -> Result<Option<Spec>> {
        let schema = match (&self.format, &self.json_schema) {
            (Some(format), _) if format == "json" => return Ok(Some(Spec::Object)),
            (Some(schema), _) | (None, Some(schema)) => Some(schema),
            (None, None) => None,
        };
        if let Some(schema) = schema {
            return Ok(Some(Spec::Schema(read_schema(schema)?)));
        }
        if let Some(grammar) = &self.grammar {
            return Ok(Some(Spec::of_grammar(read_grammar(grammar)?)));
        }
        let choice = (!self.choice.is_empty()).then(|| Spec::Choice(self.choice.clone()));
        Ok(self.regex.clone().map(Spec::Regex).or(choice))
    }
}

/// A schema as it is, or a file with one.
fn read_schema(given: &str) -> Result<Value> {
    if let Ok(value @ (Value::Object(_) | Value::Bool(_))) = serde_json::from_str(given) {
        return Ok(value);
    }
    if given.trim_start().starts_with('{') {
        return serde_json::from_str(given).context("the schema is no JSON");
    }
    let text = std::fs::read_to_string(given).with_context(|| format!("cannot read the schema {given}"))?;
    serde_json::from_str(&text).with_context(|| format!("{given} is no JSON"))
}

/// A grammar as it is, or a file with one.
fn read_grammar(given: &str) -> Result<String> {
    match Path::new(given).is_file() {
        true => std::fs::read_to_string(given).with_context(|| format!("cannot read the grammar {given}")),
        false => Ok(given.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_text_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("schema.json");
        std::fs::write(&file, "{\"const\": 1}").unwrap();
        let schema =
            |given: &str| FormatArgs { json_schema: Some(given.to_owned()), ..FormatArgs::default() }.spec();
        let wanted = Spec::Schema(json!({ "const": 1 }));
        assert_eq!(schema("{\"const\": 1}").unwrap(), Some(wanted.clone()));
        assert_eq!(schema(&file.to_string_lossy()).unwrap(), Some(wanted));
        assert!(schema("{const: 1}").is_err_and(|error| error.to_string().contains("no JSON")));
        assert!(schema("no-such-file").is_err_and(|error| error.to_string().contains("no-such-file")));
        let any = FormatArgs { format: Some("json".into()), ..FormatArgs::default() };
        assert_eq!(any.spec().unwrap(), Some(Spec::Object));
        assert_eq!(FormatArgs::default().spec().unwrap(), None);
    }

    #[test]
    fn a_grammar_is_in_gbnf_or_lark_as_text_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let grammar =
            |given: &str| FormatArgs { grammar: Some(given.to_owned()), ..FormatArgs::default() }.spec();
        let cases = ["root ::= \"a\"\n", "start: \"a\"\n"];
        for (source, wanted) in
            cases.into_iter().zip([Spec::Gbnf(cases[0].into()), Spec::Lark(cases[1].into())])
        {
            let file = folder.path().join("rules");
            std::fs::write(&file, source).unwrap();
            assert_eq!(grammar(source).unwrap(), Some(wanted.clone()));
            assert_eq!(grammar(&file.to_string_lossy()).unwrap(), Some(wanted));
        }
    }
}
