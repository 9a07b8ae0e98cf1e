//! Dialects: how models think and call tools, read from what they write and written as they are used to.
//!
//! All that tells one family from another is data ([`forms`]). A row is chosen by what stands in the chat template; from
//! it come the parser of answers ([`Parser`]), the grammar that keeps a model to the form ([`Dialect::grammar`]), and
//! calls as text, for templates that do not write them ([`Dialect::write`]).

mod call;
mod forms;
mod grammar;
mod literal;
mod parser;
mod prompt;
mod reading;
mod scan;
#[cfg(test)]
mod tests;
mod thinking;
mod tool;
mod write;

use std::sync::Arc;

pub use grammar::{Calling, ToLark};
pub use parser::{Parser, Part, Stage, Telling};
pub use prompt::Given;
pub use thinking::Thinking;
pub use tool::Tool;

use serde_json::{Map, Value};

use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use forms::{FORMS, Form, Marks, TAGGED_JSON, THINKING, UNKNOWN};
use grammar::Lark;
use prompt::Habits;

/// How a model thinks and calls tools, and how its template is told of it. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    form: &'static Form,
    habits: Habits,
    thinking: Option<&'static Marks>,
}

impl Default for Dialect {
    /// Of models without a template.
    fn default() -> Self {
        Dialect { form: &TAGGED, habits: Habits::default(), thinking: None }
    }
}

static TAGGED: Form = TAGGED_JSON;

impl Dialect {
    /// The dialect of models with this chat template. This renders some short conversations.
    pub fn of(template: &ChatTemplate) -> Self {
        let habits = Habits::of(template);
        let form = form_of(template.source());
        // A template that shows no tools tells of no form, and one whose form is not known is not asked.
        let habits = match form {
            Some(_) => habits,
            None => habits.prompted(),
        };
        Dialect { form: form.unwrap_or(&TAGGED), habits, ..Dialect::of_text(template) }
    }

    /// The same, but for what has no tools to offer: nothing is rendered.
    pub fn of_text(template: &ChatTemplate) -> Self {
        let thinking = THINKING.iter().find(|pair| template.source().contains(pair.close));
        Dialect { thinking, ..Dialect::default() }
    }

    /// Whether the template shows tools itself, so that the model was made to call them.
    pub fn is_native(&self) -> bool {
        self.habits.shows_tools()
    }

    /// The marks before and behind thinking, where the template speaks of them.
    pub fn thinking(&self) -> Option<(&'static str, &'static str)> {
        self.thinking.map(|pair| (pair.open, pair.close))
    }

    /// Its name, for people.
    pub fn name(&self) -> &'static str {
        self.form.name
    }

    /// What tells the parts of an answer from each other. `prompt_end` is the end of the prompt: some templates open
    /// the thinking themselves. Without tools, nothing is a call.
    pub fn parser(&self, prompt_end: &str, tools: Arc<[Tool]>) -> Parser {
        parser(self.form, prompt_end, tools)
    }

    /// A conversation as the template takes it. Messages are in the form of the chat completions protocol, with
    /// arguments as objects.
    pub fn prepare(&self, messages: Vec<Value>, tools: &[Tool]) -> Given {
        self.habits.prepare(messages, tools, Some(self.form))
    }

    /// Texts of special tokens that [`Self::prepare`] may write into what the assistant said.
    pub fn markers(&self) -> Vec<&'static str> {
        self.form.markers().map(str::trim).filter(|marker| !marker.is_empty()).collect()
    }

    /// What begins a call in an answer that [`Self::grammar`] lets call or not: before it, any text is allowed. Empty
    /// where nothing does.
    pub fn call_mark(&self) -> &'static str {
        self.form.start()
    }

    /// Calls as this dialect writes them, each with its arguments.
    pub fn write(&self, calls: &[(&str, &Map<String, Value>)]) -> String {
        self.form.write(calls)
    }

    /// The grammar, in the form of Lark that llguidance takes, of answers that may call these tools, several times if
    /// `several`. `to_lark` writes a schema of a tool as a part of it. `None` where calls are not required and nothing tells one
    /// from a text before it is over.
    ///
    /// # Errors
    ///
    /// What `to_lark` refuses.
    pub fn grammar<E>(
        &self,
        tools: &[Tool],
        calling: Calling<'_>,
        several: bool,
        tokenizer: &Tokenizer,
        to_lark: ToLark<'_, E>,
    ) -> Result<Option<String>, E> {
        self.form.grammar(tools, calling, several, Lark::new(tokenizer, to_lark))
    }
}

fn parser(form: &'static Form, prompt_end: &str, tools: Arc<[Tool]>) -> Parser {
    let end = prompt_end.trim_end();
    let opened = THINKING.iter().find(|pair| end.ends_with(pair.open));
    // The form that it writes, and those that it reads too.
    let forms = std::iter::once(form).chain(form.also);
    Parser::new(opened, if tools.is_empty() { Vec::new() } else { forms.collect() }, tools)
}

/// The form of a template with these signs.
fn form_of(source: &str) -> Option<&'static Form> {
    if UNKNOWN.iter().any(|sign| source.contains(sign)) {
        return None;
    }
    let has = |signs: &[&str]| signs.iter().all(|sign| source.contains(sign));
    FORMS.iter().find(|form| form.signs.iter().any(|signs| has(signs)))
}
