//! The grammar that calls are held to, and what of the tools' schemas it does not hold.
//!
//! A tool that is strict is held to all of its schema or refused. Any other is held to as much of it as can be, and the
//! reply tells what that leaves out.

use std::cell::{Cell, RefCell};

use bantam_grammar::{Error, Grammar, LeftOut, Part, Spec, to_lark, to_lark_in_part, type_to_lark};
use bantam_text::{Calling, Tool};
use serde_json::Value;

use crate::fault::Fault;
use crate::models::Model;
use crate::notes::Notes;
use crate::structure::code_of;
use crate::tools::Tools;

/// What calls are held to.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// `None` where nothing is to be called, or nothing tells a call from a text before its end.
    pub(crate) grammar: Option<Grammar>,
    /// What is not held to.
    pub(crate) notes: Notes,
}

/// What keeps calls in form, and what is no call to `otherwise`, an expression of Lark.
///
/// # Errors
///
/// Tools that are strict, or that must be called, and that no grammar can be made of.
pub(crate) fn hold(tools: &Tools, otherwise: Option<&str>, model: &Model) -> Result<Held, Fault> {
    let callable = tools.callable();
    if callable.is_empty() {
        return Ok(Held::default());
    }
    let calling = otherwise.map_or(tools.calling(), Calling::OrElse);
    let making = Making { tools: &callable, calling, several: tools.several, model };
    let (made, notes) = match making.make(&|_| Ok(())) {
        // Schemas that read well and cannot be compiled all the same are looked for one by one.
        (Err(_), _) if callable.iter().any(|tool| !tool.is_strict) => {
            let tried_bytes = Cell::new(0);
            making.make(&|lark| try_alone(lark, &tried_bytes, model))
        }
        made => made,
    };
    match made {
        Ok(Some(grammar)) if calling == Calling::Allowed => {
            let grammar = Some(grammar.free_until(model.dialect.call_mark()));
            Ok(Held { grammar, notes })
        }
        Ok(Some(grammar)) => Ok(Held { grammar: Some(grammar), notes }),
        Ok(None) => Ok(Held { grammar: None, notes: vec![UNMARKED.into()] }),
        // What may be left out may be in any form.
        Err(error) if calling == Calling::Allowed && callable.iter().all(|tool| !tool.is_strict) => {
            Ok(Held { grammar: None, notes: vec![format!("calls are not held to a form: {error}")] })
        }
        Err(error) => {
            let fault = Fault::field("tools", format!("`tools` cannot be held to: {error}"));
            Err(Fault { code: code_of(&error), ..fault })
        }
    }
}

/// Whether a schema can be compiled by itself. So much is tried for a request, and no more.
fn try_alone(lark: &str, tried_bytes: &Cell<usize>, model: &Model) -> Result<(), Error> {
    tried_bytes.set(tried_bytes.get().saturating_add(lark.len()));
    match tried_bytes.get() {
        found if found > TRIED_BYTES_MAX => {
            let what = "schemas that may be at fault have bytes:";
            Err(Error::TooLarge { what, found, most: TRIED_BYTES_MAX })
        }
        _ => model.vocabulary.compile(&Spec::Lark(format!("start: {lark}"))).map(drop),
    }
}

const TRIED_BYTES_MAX: usize = 256 << 10;

const UNMARKED: &str = "calls are not held to a form: nothing marks where this model begins one, unless it must \
                        (tool_choice)";

/// A grammar in the making.
struct Making<'a> {
    tools: &'a [Tool],
    calling: Calling<'a>,
    several: bool,
    model: &'a Model,
}

type Made = Result<Option<Grammar>, Error>;

impl Making<'_> {
    /// The grammar, and what it does not hold to: of a tool that is not strict, what cannot be read, and but for its type
    /// all where `check` says no to the rest.
    fn make(&self, check: &dyn Fn(&str) -> Result<(), Error>) -> (Made, Notes) {
        let notes = RefCell::new(Vec::new());
        let write = |tool: &Tool, schema: &Value| {
            if tool.is_strict {
                return to_lark(schema);
            }
            let (lark, left_out) = in_part(schema, check);
            notes.borrow_mut().extend(note(tool, &left_out));
            Ok(lark)
        };
        let Making { tools, calling, several, model } = self;
        let tokenizer = &model.served.tokenizer;
        let lark = model.dialect.grammar(tools, *calling, *several, tokenizer, &write);
        let compile = |lark| model.vocabulary.compile(&Spec::Lark(lark));
        let made = lark.and_then(|lark| lark.map(compile).transpose());
        (made, notes.into_inner())
    }
}

/// As much of a schema as can be read and as `check` says yes to.
fn in_part(schema: &Value, check: &dyn Fn(&str) -> Result<(), Error>) -> (String, LeftOut) {
    let mut refused = None;
    for part in [Part::Readable, Part::Plain] {
        let (lark, left_out) = to_lark_in_part(schema, part);
        match check(&lark) {
            Ok(()) => return (lark, left_out),
            Err(why) => drop(refused.get_or_insert(why)),
        }
    }
    let left_out = refused.map_or(LeftOut::Keywords(Vec::new()), LeftOut::AllButType);
    (type_to_lark(schema), left_out)
}

/// What is told of a tool, if not all of its schema is held to.
fn note(tool: &Tool, left_out: &LeftOut) -> Option<String> {
    let name = &tool.name;
    match left_out {
        _ if left_out.is_nothing() => None,
        LeftOut::Keywords(_) => Some(format!("arguments of `{name}` are not held to {left_out}")),
        LeftOut::AllButType(why) => {
            Some(format!("arguments of `{name}` are held to their type alone: {why}"))
        }
    }
}
