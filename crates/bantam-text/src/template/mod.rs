//! Chat templates: a conversation to the text that a model was trained on.
//!
//! Templates are Jinja, rendered as Hugging Face's transformers renders them: blocks trimmed, `tojson` as Python writes
//! JSON, `raise_exception`, `strftime_now`, Python's string and dict methods, `{% generation %}`. A template comes with
//! a model file and is not trusted: it reaches nothing but the conversation, and its work and its output are bounded.

mod budget;
mod guard;
mod json;
mod time;

use minijinja::value::{Rest, Value};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind};
use regex_automata::meta::Regex;
use serde_json::Map;

use crate::error::Error;
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
}

/// A chat template, compiled.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    bos: String,
    eos: String,
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of the tokens it knows as `bos_token` and `eos_token`.
    ///
    /// # Errors
    ///
    /// A syntax error, with its line.
    pub fn compile(source: &str, bos: &str, eos: &str) -> Result<Self, Error> {
        if source.len() > SOURCE_BYTES_MAX {
            let found = format!("{} bytes", source.len());
            return Err(Error::wanted("chat template", format!("at most {SOURCE_BYTES_MAX} bytes"), found));
        }
        let mut env = environment()?;
        env.add_template_owned(NAME, without_generation_blocks(source)?).map_err(failure)?;
        Ok(Self { env, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The text of a conversation.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where the template calls `raise_exception`; [`Error::Template`] where it fails;
    /// [`Error::TemplateTooBig`] where it wants more work or memory than any honest one.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, Error> {
        let messages: Vec<serde_json::Value> = conversation.messages.iter().map(with_thinking).collect();
        let tools = conversation.tools.map(<[_]>::to_vec);
        let documents = conversation.documents.map(<[_]>::to_vec);
        self.render_values(&messages, &tools, &documents, conversation)
    }

    fn render_values(
        &self,
        messages: &[serde_json::Value],
        tools: &Option<Vec<serde_json::Value>>,
        documents: &Option<Vec<serde_json::Value>>,
        conversation: &Conversation<'_>,
    ) -> Result<String, Error> {
        let mut context: Vec<(&str, Value)> = Vec::new();
        for (name, switch) in &conversation.switches {
            context.push((name, value_of(switch)));
        }
        let now = conversation.now;
        let strftime =
            move |format: String| time::strftime(now, &format).map_err(|e| error(e.to_string()));
        context.extend([
            ("messages", list_of(messages)),
            ("tools", tools.as_deref().map_or(Value::from(()), list_of)),
            ("documents", documents.as_deref().map_or(Value::from(()), list_of)),
            ("add_generation_prompt", Value::from(conversation.add_generation_prompt)),
            ("bos_token", Value::from(&*self.bos)),
            ("eos_token", Value::from(&*self.eos)),
            ("strftime_now", Value::from_function(strftime)),
        ]);
        budget::render(&self.env, NAME, Value::from_pairs(context))
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
        serde_json::Value::Object(map) => Value::from_pairs(map.iter().map(|(k, v)| (k.as_str(), value_of(v)))),
    }
}

fn environment() -> Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failure)?;
    let mut env = Environment::new();
    env.set_syntax(syntax);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(budget::call_method);
    env.set_recursion_limit(64);
    env.add_function("raise_exception", |message: Rest<Value>| -> Result<Value, minijinja::Error> {
        let message = message.first().map_or_else(String::new, ToString::to_string);
        Err(error("").with_source(Raised(message)))
    });
    env.add_filter("tojson", json::tojson);
    budget::bound_filters(&mut env);
    Ok(env)
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
            return Error::TemplateTooBig { bound: bound.clone() };
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

/// `{% generation %}` only marks what a trainer should learn; its body is rendered as it is.
fn without_generation_blocks(source: &str) -> Result<String, Error> {
    let tag = Regex::new(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}")
        .map_err(|e| Error::pattern("generation", e))?;
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    for found in tag.find_iter(source) {
        out.push_str(&source[done..found.start()]);
        let tag = &source[found.range()];
        let plain = match tag.contains("endgeneration") {
            true => tag.replace("endgeneration", "endif"),
            false => tag.replace("generation", "if true"),
        };
        out.push_str(&plain);
        done = found.end();
    }
    out.push_str(&source[done..]);
    Ok(out)
}

/// A message with its reasoning also under the name that gpt-oss's template uses.
fn with_thinking(message: &serde_json::Value) -> serde_json::Value {
    let mut message = message.clone();
    if let Some(object) = message.as_object_mut()
        && let Some(reasoning) = object.get("reasoning_content").cloned()
        && !object.contains_key("thinking")
    {
        object.insert("thinking".into(), reasoning);
    }
    message
}
