//! What an answer is to be, in the words of all protocols: a schema, any JSON, a pattern, a choice, a grammar.
//!
//! What is asked for is held to or refused with the name of the field; nothing is left out in silence.

use bantam_grammar::Spec;
use serde_json::Value;

use crate::fault::Fault;
use crate::fields::Fields;

/// What an answer is to be, and the field that says so.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Format {
    pub(crate) spec: Spec,
    pub(crate) field: String,
}

impl Format {
    fn new(spec: Spec, field: String) -> Self {
        Format { spec, field }
    }

    /// Why it cannot be held to.
    pub(crate) fn refusal(&self, error: &bantam_grammar::Error) -> Fault {
        Fault { code: code_of(error), ..Fault::field(&self.field, format!("`{}`: {error}", self.field)) }
    }
}

/// A word for programs of why a schema cannot be held to.
pub(crate) fn code_of(error: &bantam_grammar::Error) -> Option<&'static str> {
    matches!(error, bantam_grammar::Error::Keywords(_)).then_some("unsupported_parameter")
}

/// As OpenAI's protocol says it, with what vLLM and llama-server added: `response_format`, `structured_outputs`,
/// `guided_json` and its kin, `json_schema`, `grammar`.
///
/// # Errors
///
/// Wrong types, what is not known, and more than one wish.
pub(crate) fn of_openai(fields: &Fields<'_>) -> Result<Option<Format>, Fault> {
    let mut wishes: Vec<Format> = response_format(fields)?.into_iter().collect();
    if let Some(wanted) = fields.object("structured_outputs")? {
        wishes.extend(schema(&wanted, "json")?);
        wishes.extend(pattern(&wanted, "regex")?);
        wishes.extend(choice(&wanted, "choice")?);
        wishes.extend(grammar(&wanted, "grammar")?);
        if wanted.flag("json_object")?.unwrap_or(false) {
            wishes.push(Format::new(Spec::Object, wanted.name("json_object")));
        }
        refuse(&wanted, &["structural_tag", "whitespace_pattern"])?;
    }
    wishes.extend(schema(fields, "guided_json")?);
    wishes.extend(pattern(fields, "guided_regex")?);
    wishes.extend(choice(fields, "guided_choice")?);
    wishes.extend(grammar(fields, "guided_grammar")?);
    wishes.extend(schema(fields, "json_schema")?);
    wishes.extend(grammar(fields, "grammar")?);
    refuse(fields, &["guided_whitespace_pattern", "grammar_lazy", "grammar_triggers"])?;
    match wishes.len() {
        0 | 1 => Ok(wishes.pop()),
        _ => {
            let (first, second) = (&wishes[0].field, &wishes[1].field);
            let message =
                format!("`{first}` and `{second}` both say what the answer is to be: leave one out");
            Err(Fault::field(second, message))
        }
    }
}

fn refuse(fields: &Fields<'_>, names: &[&str]) -> Result<(), Fault> {
    match names.iter().find(|name| fields.value(name).is_some_and(|value| *value != Value::Bool(false))) {
        Some(name) => Err(Fault::unsupported(&fields.name(name), "")),
        None => Ok(()),
    }
}

fn response_format(fields: &Fields<'_>) -> Result<Option<Format>, Fault> {
    let Some(format) = fields.object("response_format")? else { return Ok(None) };
    let schema = match format.needed_text("type")? {
        "text" => return Ok(None),
        "json_object" => schema(&format, "schema")?,
        "json_schema" => match format.object("json_schema")? {
            Some(named) => {
                schema(&named, "schema")?.ok_or_else(|| named.missing("schema", "a schema"))?.into()
            }
            None => {
                schema(&format, "schema")?.ok_or_else(|| format.missing("json_schema", "an object"))?.into()
            }
        },
        _ => return Err(format.wrong("type", "text, json_object or json_schema")),
    };
    Ok(Some(schema.unwrap_or_else(|| Format::new(Spec::Object, "response_format".into()))))
}

fn pattern(fields: &Fields<'_>, field: &str) -> Result<Option<Format>, Fault> {
    let pattern = fields.text(field)?;
    Ok(pattern.map(|pattern| Format::new(Spec::Regex(pattern.to_owned()), fields.name(field))))
}

fn choice(fields: &Fields<'_>, field: &str) -> Result<Option<Format>, Fault> {
    let has_choice = fields.list(field)?.is_some();
    let texts = fields.texts(field)?;
    Ok(has_choice.then(|| Format::new(Spec::Choice(texts), fields.name(field))))
}

fn grammar(fields: &Fields<'_>, field: &str) -> Result<Option<Format>, Fault> {
    let Some(source) = fields.text(field)?.filter(|source| !source.is_empty()) else { return Ok(None) };
    Ok(Some(Format::new(Spec::of_grammar(source.to_owned()), fields.name(field))))
}

/// A schema, as it is or in a string.
fn schema(fields: &Fields<'_>, field: &str) -> Result<Option<Format>, Fault> {
    let schema = match fields.value(field) {
        None => return Ok(None),
        Some(Value::String(text)) => serde_json::from_str(text).ok().filter(is_schema),
        Some(value) => Some(value.clone()).filter(is_schema),
    };
    let schema = schema.ok_or_else(|| fields.wrong(field, "a JSON schema: an object, true or false"))?;
    Ok(Some(Format::new(Spec::Schema(schema), fields.name(field))))
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

/// As OpenAI's Responses say it: `text.format`.
///
/// # Errors
///
/// Wrong types and unknown kinds.
pub(crate) fn of_responses(fields: &Fields<'_>) -> Result<Option<Format>, Fault> {
    let Some(text) = fields.object("text")? else { return Ok(None) };
    let Some(format) = text.object("format")? else { return Ok(None) };
    match format.needed_text("type")? {
        "text" => Ok(None),
        "json_object" => Ok(Some(Format::new(Spec::Object, "text.format".into()))),
        "json_schema" => {
            schema(&format, "schema")?.ok_or_else(|| format.missing("schema", "a schema")).map(Some)
        }
        _ => Err(format.wrong("type", "text, json_object or json_schema")),
    }
}

/// As Ollama's protocol says it: `format` is `"json"` or a schema.
///
/// # Errors
///
/// Anything else.
pub(crate) fn of_ollama(fields: &Fields<'_>) -> Result<Option<Format>, Fault> {
    match fields.value("format") {
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if text == "json" => Ok(Some(Format::new(Spec::Object, "format".into()))),
        Some(Value::Bool(_)) => Err(fields.wrong("format", "\"json\" or a JSON schema")),
        _ => schema(fields, "format"),
    }
}

/// As Anthropic's protocol says it: `output_config.format`.
///
/// # Errors
///
/// Wrong types and unknown kinds.
pub(crate) fn of_anthropic(fields: &Fields<'_>) -> Result<Option<Format>, Fault> {
    let Some(config) = fields.object("output_config")? else { return Ok(None) };
    let Some(format) = config.object("format")? else { return Ok(None) };
    if format.needed_text("type")? != "json_schema" {
        return Err(format.wrong("type", "json_schema"));
    }
    schema(&format, "schema")?.ok_or_else(|| format.missing("schema", "a JSON schema")).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn openai(body: Value) -> Result<Option<(Spec, String)>, String> {
        let format = of_openai(&Fields::new(body.as_object().unwrap()));
        format.map(|f| f.map(|f| (f.spec, f.field))).map_err(|fault| fault.param.unwrap_or_default())
    }

    #[test]
    fn every_way_to_ask_is_understood() {
        let schema = json!({ "type": "null" });
        let spec = || Spec::Schema(schema.clone());
        let lark = || Spec::Lark("start: \"a\"".into());
        let gbnf = || Spec::Gbnf("root ::= \"a\"".into());
        for (body, wanted, field) in [
            (json!({ "response_format": { "type": "json_object" } }), Spec::Object, "response_format"),
            (
                json!({ "response_format": { "type": "json_object", "schema": schema } }),
                spec(),
                "response_format.schema",
            ),
            (
                json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } }),
                spec(),
                "response_format.json_schema.schema",
            ),
            (
                json!({ "structured_outputs": { "json": schema.to_string() } }),
                spec(),
                "structured_outputs.json",
            ),
            (
                json!({ "structured_outputs": { "json_object": true } }),
                Spec::Object,
                "structured_outputs.json_object",
            ),
            (
                json!({ "structured_outputs": { "regex": "a+" } }),
                Spec::Regex("a+".into()),
                "structured_outputs.regex",
            ),
            (json!({ "guided_json": schema }), spec(), "guided_json"),
            (json!({ "guided_regex": "a+" }), Spec::Regex("a+".into()), "guided_regex"),
            (
                json!({ "guided_choice": ["a", "b"] }),
                Spec::Choice(vec!["a".into(), "b".into()]),
                "guided_choice",
            ),
            (json!({ "guided_grammar": "start: \"a\"" }), lark(), "guided_grammar"),
            (json!({ "guided_grammar": "root ::= \"a\"" }), gbnf(), "guided_grammar"),
            (
                json!({ "structured_outputs": { "grammar": "root ::= \"a\"" } }),
                gbnf(),
                "structured_outputs.grammar",
            ),
            (json!({ "json_schema": schema }), spec(), "json_schema"),
            (json!({ "grammar": "start: \"a\"" }), lark(), "grammar"),
            (json!({ "grammar": "root ::= \"a\"" }), gbnf(), "grammar"),
        ] {
            assert_eq!(openai(body.clone()), Ok(Some((wanted, field.to_owned()))), "{body}");
        }
        for body in [json!({}), json!({ "response_format": { "type": "text" } }), json!({ "grammar": "" })] {
            assert_eq!(openai(body), Ok(None));
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (body, field) in [
            (json!({ "response_format": { "type": "xml" } }), "response_format.type"),
            (json!({ "response_format": { "type": "json_schema" } }), "response_format.json_schema"),
            (
                json!({ "response_format": { "type": "json_schema", "json_schema": {} } }),
                "response_format.json_schema.schema",
            ),
            (json!({ "guided_json": "no json" }), "guided_json"),
            (json!({ "guided_json": [1] }), "guided_json"),
            (json!({ "guided_choice": [1] }), "guided_choice"),
            (
                json!({ "structured_outputs": { "structural_tag": "{}" } }),
                "structured_outputs.structural_tag",
            ),
            (json!({ "guided_regex": "a", "guided_choice": ["a"] }), "guided_choice"),
        ] {
            assert_eq!(openai(body.clone()), Err(field.to_owned()), "{body}");
        }
    }

    #[test]
    fn ollama_and_anthropic_have_their_own_words() {
        let ollama = |format: Value| {
            let body = json!({ "format": format });
            of_ollama(&Fields::new(body.as_object().unwrap())).map(|format| format.map(|f| f.spec))
        };
        assert_eq!(ollama(json!("json")), Ok(Some(Spec::Object)));
        assert_eq!(ollama(json!("")), Ok(None));
        assert_eq!(ollama(json!({ "const": 1 })), Ok(Some(Spec::Schema(json!({ "const": 1 })))));
        assert!(ollama(json!("xml")).is_err() && ollama(json!(true)).is_err());
        let body =
            json!({ "output_config": { "format": { "type": "json_schema", "schema": { "const": 1 } } } });
        let format = of_anthropic(&Fields::new(body.as_object().unwrap())).unwrap().unwrap();
        assert_eq!(
            format,
            Format::new(Spec::Schema(json!({ "const": 1 })), "output_config.format.schema".into())
        );
    }
}
