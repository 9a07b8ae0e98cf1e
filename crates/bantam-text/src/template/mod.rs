//! Chat templates: a conversation to the text that a model was trained on.
//!
//! Templates are Jinja, rendered as Hugging Face's transformers renders them: blocks trimmed, `tojson` as
//! Python writes JSON, `raise_exception`, `strftime_now`, Python's string and dict methods, `{% generation
//! %}`. A template comes with a model file and is not trusted: it reaches nothing but the conversation, and
//! its work and its output are bounded.

mod answers;
mod budget;
mod filters;
mod guard;
mod json;
mod program;
mod time;

use minijinja::value::{Rest, Value};
use minijinja::{Environment, ErrorKind};
use regex_automata::meta::Regex;
use serde_json::Map;

use crate::error::Error;
pub use answers::{Answer, Begins, Rendered};
pub use time::DateTime;

/// Longest template accepted, in bytes. The longest in use have 20 KB.
const SOURCE_BYTES_MAX: usize = 256 << 10;

/// What a template is rendered with.
#[derive(Clone, Debug, Default)]
pub struct Conversation<'a> {
    /// The messages, a list of objects with `role` and `content`, as in the chat completions protocol.
    pub messages: &'a [serde_json::Value],
    /// The tools offered, in the same protocol's form.
    pub tools: Option<&'a [serde_json::Value]>,
    /// Documents, for templates that take them.
    pub documents: Option<&'a [serde_json::Value]>,
    /// Whether the text ends where the answer begins.
    pub add_generation_prompt: bool,
    /// Switches of the template's own, such as `enable_thinking`. They cannot replace what is above.
    pub switches: Map<String, serde_json::Value>,
    /// The time that the template may ask for.
    pub now: Option<DateTime>,
    /// Special tokens that stay tokens in what the assistant said, besides markers: those of its calls, where they are
    /// part of its text.
    pub markers: &'a [&'static str],
}

/// A chat template, compiled.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    source: String,
    /// The source with filters for its `{% generation %}` blocks, where it has them.
    marking: Option<String>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens it knows as `bos_token` and
    /// `eos_token`.
    ///
    /// # Errors
    ///
    /// A syntax error, with its line.
    pub fn compile(source: &str, bos: &str, eos: &str) -> Result<Self, Error> {
        if source.len() > SOURCE_BYTES_MAX {
            let found = format!("{} bytes", source.len());
            return Err(Error::wanted("chat template", format!("at most {SOURCE_BYTES_MAX} bytes"), found));
        }
        let blocks = Regex::new(GENERATION_TAG).map_err(|e| Error::pattern("generation", e))?;
        let compiled = |tag: &str, end: &str| -> Result<String, Error> {
            let source = with_generation_blocks_as(&blocks, source, tag, end);
            let source = program::without_constant_products(&source).map_err(failure)?;
            program::compile(&source).map_err(failure)?;
            Ok(source)
        };
        let has_blocks = blocks.is_match(source);
        Ok(Self {
            env: environment(),
            source: compiled("if true", "endif")?,
            marking: has_blocks.then(|| compiled("filter generated", "endfilter")).transpose()?,
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The template itself, with the tags of what a trainer should learn as plain ones.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the template calls `raise_exception`; [`Error::Template`] where it fails;
    /// [`Error::TemplateTooBig`] where it wants more work or memory than any honest one.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, Error> {
        self.run(&self.source, conversation, None)
    }

    /// Renders `source`, with marks around what the filter of its `{% generation %}` blocks gets.
    fn run(
        &self,
        source: &str,
        conversation: &Conversation<'_>,
        marks: Option<[char; 2]>,
    ) -> Result<String, Error> {
        let messages: Value = conversation.messages.iter().map(with_thinking).collect();
        let list = |list: Option<&[serde_json::Value]>| list.map_or(Value::from(()), list_of);
        let now = conversation.now;
        let strftime = move |format: String| time::strftime(now, &format).map_err(|e| error(e.to_string()));
        let switches = conversation.switches.iter().map(|(name, switch)| (name.as_str(), value_of(switch)));
        let context = switches.chain([
            ("messages", messages),
            ("tools", list(conversation.tools)),
            ("documents", list(conversation.documents)),
            ("add_generation_prompt", Value::from(conversation.add_generation_prompt)),
            ("bos_token", Value::from(&*self.bos)),
            ("eos_token", Value::from(&*self.eos)),
            ("strftime_now", Value::from_function(strftime)),
            (budget::INPUT_BYTES, Value::from(conversation.bytes())),
            (answers::MARKS, marks.map_or(Value::from(()), |marks| Value::from(String::from_iter(marks)))),
        ]);
        program::run(&self.env, source, Value::from_pairs(context)).map_err(failure)
    }
}

impl Conversation<'_> {
    /// About how many bytes of text there are.
    fn bytes(&self) -> usize {
        fn bytes(value: &serde_json::Value) -> usize {
            match value {
                serde_json::Value::String(text) => text.len(),
                serde_json::Value::Array(items) => items.iter().map(bytes).sum(),
                serde_json::Value::Object(map) => map.iter().map(|(k, v)| k.len() + bytes(v)).sum(),
                _ => 8,
            }
        }
        let lists = [Some(self.messages), self.tools, self.documents];
        let listed: usize = lists.into_iter().flatten().flatten().map(bytes).sum();
        listed + self.switches.values().map(bytes).sum::<usize>()
    }
}

fn list_of(items: &[serde_json::Value]) -> Value {
    items.iter().map(value_of).collect()
}

fn value_of(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (_, Some(integer)) => Value::from(integer),
            _ => Value::from(number.as_f64()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => list_of(items),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(k, v)| (k.as_str(), value_of(v))))
        }
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_recursion_limit(100);
    env.add_function("raise_exception", |message: Rest<Value>| -> Result<Value, minijinja::Error> {
        let message = message.first().map_or_else(String::new, ToString::to_string);
        Err(error("").with_source(Raised(message)))
    });
    filters::add_to(&mut env);
    env.add_filter("generated", answers::generated);
    program::add_operators(&mut env);
    env
}

fn error(detail: impl Into<std::borrow::Cow<'static, str>>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, detail)
}

/// What `raise_exception` was called with, on its way through the engine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// The engine's error as one of this crate.
fn failure(error: minijinja::Error) -> Error {
    let line = error.line().unwrap_or(0);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = cause {
        if let Some(Raised(message)) = e.downcast_ref() {
            return Error::Refused(message.clone());
        }
        if let Some(budget::Exceeded(bound)) = e.downcast_ref() {
            return Error::TemplateTooBig { bound: (*bound).to_owned() };
        }
        cause = e.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => Error::TemplateTooBig { bound: format!("{} steps", budget::STEPS_MAX) },
        kind => {
            let detail = error.detail().unwrap_or("no more is known");
            Error::Template { line, reason: format!("{kind}: {detail}") }
        }
    }
}

/// `{% generation %}` and its end.
const GENERATION_TAG: &str = r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}";

/// `{% generation %}` only marks what a trainer should learn: its tags become those of another block.
fn with_generation_blocks_as(blocks: &Regex, source: &str, tag: &str, end: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    for found in blocks.find_iter(source) {
        out.push_str(&source[done..found.start()]);
        let written = &source[found.range()];
        let plain = match written.contains("endgeneration") {
            true => written.replace("endgeneration", end),
            false => written.replace("generation", tag),
        };
        out.push_str(&plain);
        done = found.end();
    }
    out.push_str(&source[done..]);
    out
}

/// A message with its reasoning also under the name that gpt-oss's template uses.
fn with_thinking(message: &serde_json::Value) -> Value {
    let value = value_of(message);
    let serde_json::Value::Object(fields) = message else { return value };
    let Some(reasoning) = fields.get("reasoning_content").filter(|_| !fields.contains_key("thinking")) else {
        return value;
    };
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value_of(value)));
    Value::from_pairs(fields.chain([("thinking", value_of(reasoning))]))
}
