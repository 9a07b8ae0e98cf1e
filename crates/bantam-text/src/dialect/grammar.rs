//! The grammar that keeps a model to its form of calls, in the Lark dialect of llguidance.
//!
//! Markers that are tokens of the vocabulary are written as those tokens, so that no other spelling of them passes.
//! Arguments are held to their JSON schema where the form writes JSON; where it does not, each argument is held to its
//! own schema as far as the form can say it.

use serde_json::{Value, json};

use super::forms::{Body, Form, Series, Tags};
use super::tool::{Tool, types};
use super::write::json_text;
use crate::added::{Cut, Special};
use crate::tokenizer::Tokenizer;

/// What an answer may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calling<'a> {
    /// Text, with calls behind it or none.
    Allowed,
    /// Calls alone.
    Required,
    /// Calls alone, or else what this says, an expression of Lark.
    OrElse(&'a str),
}

/// More calls than this are no answer but a loop.
const CALLS_MAX: usize = 16;

/// A text that anything may be, but special tokens.
const ANY: &str = r"/(.|\n)*/";

/// A schema of a tool as a part of a Lark grammar.
pub type ToLark<'f, E> = &'f dyn Fn(&Tool, &Value) -> Result<String, E>;

impl Form {
    /// The grammar of answers that may call these tools. `None` where nothing tells a call from a text before its end,
    /// and calls are not required.
    pub(super) fn grammar<E>(
        &self,
        tools: &[Tool],
        calling: Calling<'_>,
        several: bool,
        mut lark: Lark<'_, E>,
    ) -> Result<Option<String>, E> {
        let start = self.start();
        let otherwise = match calling {
            Calling::Required => Some(""),
            Calling::OrElse(otherwise) => Some(otherwise),
            Calling::Allowed if start.is_empty() => return Ok(None),
            Calling::Allowed => None,
        };
        if let Some(otherwise) = otherwise {
            let calls = self.calls(tools, several, "", &mut lark)?;
            if otherwise.is_empty() {
                lark.rule("start", &calls);
            } else {
                lark.rule("otherwise", otherwise);
                lark.rule("start", &format!("{calls} | otherwise"));
            }
            return Ok(Some(lark.finish()));
        }
        lark.rule("ANY_TEXT", ANY);
        if lark.text(start).starts_with("<[") {
            let calls = self.calls(tools, several, "", &mut lark)?;
            lark.rule("start", &format!("ANY_TEXT ({calls})?"));
        } else {
            // The text ends where the marker does.
            lark.rule(&format!("text_before[suffix={}]", literal(start)), ANY);
            let calls = self.calls(tools, several, start, &mut lark)?;
            lark.rule("start", &format!("text_before {calls} | ANY_TEXT"));
        }
        Ok(Some(lark.finish()))
    }

    /// Calls, of which `begun` is there already.
    fn calls<E>(
        &self,
        tools: &[Tool],
        several: bool,
        begun: &str,
        lark: &mut Lark<'_, E>,
    ) -> Result<String, E> {
        let more = if several && self.series != Series::One { CALLS_MAX - 1 } else { 0 };
        let (open, left) = without(self.open, begun);
        let first = self.one_call(tools, left, "first", lark)?;
        let mut calls = first;
        if more > 0 {
            let between = if let Series::Repeated(between) = self.series { between } else { ", " };
            let call = if left.is_empty() { calls.clone() } else { self.one_call(tools, "", "call", lark)? };
            calls = format!("{calls} ({}){{0,{more}}}", join([&lark.text(between), &call]));
        }
        let brackets = if self.series == Series::List { ["[", "]"] } else { ["", ""] };
        let [before, behind] = [[open, brackets[0]].concat(), [brackets[1], self.close].concat()];
        Ok(join([&lark.text(&before), &calls, &lark.text(&behind)]))
    }

    /// One call of any tool, of which `begun` is there already: the name of its rule.
    fn one_call<E>(
        &self,
        tools: &[Tool],
        begun: &str,
        name: &str,
        lark: &mut Lark<'_, E>,
    ) -> Result<String, E> {
        let (before, left) = without(self.before, begun);
        let mut bodies = Vec::with_capacity(tools.len());
        for (at, tool) in tools.iter().enumerate() {
            bodies.push(lark.body(self, tool, at, left)?);
        }
        let what = join([&lark.text(before), &format!("({})", bodies.join(" | ")), &lark.text(self.behind)]);
        lark.rule(name, &what);
        Ok(name.to_owned())
    }
}

/// A marker without what is there already, and what of that does not belong to the marker.
fn without<'a>(marker: &'a str, begun: &'a str) -> (&'a str, &'a str) {
    match marker.strip_prefix(begun) {
        Some(rest) => (rest, ""),
        None => (marker, begun),
    }
}

/// Rules in the making.
pub(super) struct Lark<'t, E> {
    tokenizer: &'t Tokenizer,
    to_lark: ToLark<'t, E>,
    rules: Vec<String>,
}

impl<'t, E> Lark<'t, E> {
    pub(super) fn new(tokenizer: &'t Tokenizer, to_lark: ToLark<'t, E>) -> Self {
        Lark { tokenizer, to_lark, rules: Vec::new() }
    }

    fn finish(mut self) -> String {
        self.rules.reverse();
        format!("%llguidance {{}}\n\n{}\n", self.rules.join("\n"))
    }

    fn rule(&mut self, name: &str, what: &str) {
        let rule = format!("{name}: {what}");
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }

    /// Text as it is, with tokens of the vocabulary for the markers in it. Empty for an empty text.
    fn text(&self, text: &str) -> String {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        for cut in self.tokenizer.added().cut(text, Special::Parse, &[]) {
            match cut {
                Cut::Text(range) => plain.push_str(&text[range]),
                Cut::Token(id) if self.tokenizer.is_text(id) => {
                    plain += &self.tokenizer.piece(id).map(|piece| piece.text()).unwrap_or_default();
                }
                Cut::Token(id) => {
                    pieces.extend([literal(&std::mem::take(&mut plain)), format!("<[{id}]>")]);
                }
            }
        }
        pieces.push(literal(&plain));
        pieces.retain(|piece| !piece.is_empty());
        pieces.join(" ")
    }

    /// One way to write a call of a tool, of which `begun` is there already.
    fn body(&mut self, form: &Form, tool: &Tool, at: usize, begun: &str) -> Result<String, E> {
        let name = json_text(&tool.name.as_str().into());
        let (head, arguments, end) = match &form.body {
            Body::Object { name: key, arguments } => {
                (format!("{{\"{key}\": {name}, \"{arguments}\": "), self.arguments(tool, at)?, "}")
            }
            Body::Keyed => (format!("{{{name}: "), self.arguments(tool, at)?, "}"),
            Body::Named { before, between, .. } => {
                ([before, tool.name.as_str(), between].concat(), self.arguments(tool, at)?, "")
            }
            Body::Tagged(tags) => {
                ([tags.name.0, &tool.name, tags.name.1].concat(), self.tagged(tags, tool, at)?, tags.end)
            }
            Body::Python => (format!("{}(", tool.name), self.separated(tool, "=", ", ", None)?, ")"),
            Body::Braces { quote } => {
                (format!("call:{}{{", tool.name), self.separated(tool, ":", ",", Some(quote))?, "}")
            }
        };
        Ok(join([&self.text(without(&head, begun).0), &arguments, &self.text(end)]))
    }

    /// A rule for all arguments as one JSON object.
    fn arguments(&mut self, tool: &Tool, at: usize) -> Result<String, E> {
        let mut schema = tool.parameters.clone();
        schema.entry("type").or_insert_with(|| json!("object"));
        if schema.get("properties").is_some_and(Value::is_object) {
            // Else a model may make up arguments without end.
            schema.entry("additionalProperties").or_insert(json!(false));
        }
        let lark = (self.to_lark)(tool, &Value::Object(schema))?;
        let name = format!("arguments_{at}");
        self.rule(&name, &lark);
        Ok(name)
    }

    /// A new rule for one value as JSON.
    fn value(&mut self, schema: &Value, tool: &Tool) -> Result<String, E> {
        let lark = (self.to_lark)(tool, schema)?;
        let name = format!("value_{}", self.rules.len());
        self.rule(&name, &lark);
        Ok(name)
    }

    /// Each argument between tags, in the schema's order; those that are not required may be left out.
    fn tagged(&mut self, tags: &Tags, tool: &Tool, at: usize) -> Result<String, E> {
        let mut all = Vec::new();
        for (number, (name, schema)) in tool.properties().enumerate() {
            let schema = with_definitions(schema, tool);
            let head = self.text(&[tags.key.0, name, tags.key.1, tags.value.0].concat());
            let end = self.text(tags.value.1);
            let argument = match (texts(&schema), types(&schema).contains(&"string")) {
                (Some(texts), _) => join([&head, &self.any_of(&texts), &end]),
                // Where the end is a token, no text can be taken for it.
                (None, true) if end.contains("<[") => {
                    self.rule("ANY_TEXT", ANY);
                    join([&head, "ANY_TEXT", &self.text(tags.value.1.trim_start())])
                }
                (None, true) => {
                    let rule = format!("text_{at}_{number}");
                    self.rule(&format!("{rule}[suffix={}]", literal(tags.value.1)), ANY);
                    join([&head, &rule])
                }
                (None, false) => join([&head, &self.value(&schema, tool)?, &end]),
            };
            all.push(if tool.needs(name) { argument } else { format!("({argument})?") });
        }
        Ok(all.join(" "))
    }

    fn any_of(&self, texts: &[&str]) -> String {
        let ways: Vec<String> = texts.iter().map(|text| self.text(text)).collect();
        format!("({})", ways.join(" | "))
    }

    /// Arguments with a text between: those that are required, then any of the others in their order. Texts stand
    /// between markers, or else all is as in Python.
    fn separated(&mut self, tool: &Tool, is: &str, between: &str, quote: Option<&str>) -> Result<String, E> {
        let (mut needed, mut free) = (Vec::new(), Vec::new());
        for (name, schema) in tool.properties() {
            let schema = with_definitions(schema, tool);
            let value = match quote {
                Some(quote) => self.braces(&schema, tool, quote)?,
                None => self.python(&schema, tool)?,
            };
            let argument = join([&self.text(&[name, is].concat()), &value]);
            if tool.needs(name) { needed.push(argument) } else { free.push(argument) }
        }
        let between = literal(between);
        let tail = |free: &[String]| -> String {
            free.iter().map(|argument| format!(" ({between} {argument})?")).collect()
        };
        if !needed.is_empty() {
            return Ok(needed.join(&format!(" {between} ")) + &tail(&free));
        }
        let ways = (0..free.len()).map(|first| [free[first].as_str(), &tail(&free[first + 1..])].concat());
        let ways: Vec<String> = ways.collect();
        Ok(if ways.is_empty() { String::new() } else { format!("({})?", ways.join(" | ")) })
    }

    fn python(&mut self, schema: &Value, tool: &Tool) -> Result<String, E> {
        match types(schema).as_slice() {
            ["boolean"] => Ok("(\"True\" | \"False\")".into()),
            ["null"] => Ok("\"None\"".into()),
            _ => self.value(schema, tool),
        }
    }

    fn braces(&mut self, schema: &Value, tool: &Tool, quote: &str) -> Result<String, E> {
        let marker = self.text(quote);
        if let Some(texts) = texts(schema) {
            return Ok(join([&marker, &self.any_of(&texts), &marker]));
        }
        match types(schema).as_slice() {
            ["number" | "integer" | "boolean" | "null"] => self.value(schema, tool),
            ["string"] => Ok(self.quoted(quote)),
            _ => self.nested(tool, quote),
        }
    }

    /// A text between two markers.
    fn quoted(&mut self, quote: &str) -> String {
        let marker = self.text(quote);
        if marker.starts_with("<[") {
            self.rule("ANY_TEXT", ANY);
            return join([&marker, "ANY_TEXT", &marker]);
        }
        self.rule(&format!("quoted[suffix={}]", literal(quote)), ANY);
        join([&marker, "quoted"])
    }

    /// Any value whose texts stand between markers.
    fn nested(&mut self, tool: &Tool, quote: &str) -> Result<String, E> {
        let text = self.quoted(quote);
        let atom = (self.to_lark)(tool, &json!({ "type": ["number", "boolean", "null"] }))?;
        self.rule("atom", &atom);
        self.rule("KEY", "/[a-zA-Z0-9_]+/");
        self.rule("list", "\"[\" (nested (\",\" nested)*)? \"]\"");
        self.rule("map", "\"{\" (KEY \":\" nested (\",\" KEY \":\" nested)*)? \"}\"");
        self.rule("nested", &format!("atom | list | map | {text}"));
        Ok("nested".into())
    }
}

/// The texts that a value is one of, where it must be one.
fn texts(schema: &Value) -> Option<Vec<&str>> {
    let given = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(given)), _) => given.iter().collect(),
        (_, Some(one)) => vec![one],
        _ => return None,
    };
    given.into_iter().map(Value::as_str).collect()
}

/// A part of a tool's schema with the definitions that it may refer to.
fn with_definitions(schema: &Value, tool: &Tool) -> Value {
    let mut schema = schema.clone();
    for name in ["$defs", "definitions"] {
        if let (Some(schema), Some(definitions)) = (schema.as_object_mut(), tool.parameters.get(name)) {
            schema.entry(name).or_insert_with(|| definitions.clone());
        }
    }
    schema
}

/// A text as Lark writes it, which is as JSON does. Empty for an empty text.
fn literal(text: &str) -> String {
    if text.is_empty() { String::new() } else { Value::from(text).to_string() }
}

fn join<const N: usize>(parts: [&str; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
