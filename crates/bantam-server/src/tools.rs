//! Tools as requests offer them, with one meaning for all protocols.

use std::sync::Arc;

use bantam_grammar::to_lark;
use bantam_text::{Calling, Telling, Tool};
use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::TOOLS_MAX;
use crate::structure::code_of;

/// What a model may call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    /// All that the model is told of; none where it may not call.
    pub(crate) offered: Arc<[Tool]>,
    wanted: Wanted,
    /// Whether an answer may hold several calls.
    pub(crate) several: bool,
}

/// What must be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Wanted {
    /// Nothing; it may answer.
    #[default]
    Any,
    /// Some tool.
    Some,
    /// One of these, if any.
    Among { names: Vec<String>, is_needed: bool },
}

impl Tools {
    /// The tools that may be called.
    pub(crate) fn callable(&self) -> Arc<[Tool]> {
        match &self.wanted {
            Wanted::Among { names, .. } => {
                self.offered.iter().filter(|tool| names.contains(&tool.name)).cloned().collect()
            }
            Wanted::Any | Wanted::Some => Arc::clone(&self.offered),
        }
    }

    /// Whether there must be a call.
    pub(crate) fn calling(&self) -> Calling<'static> {
        match &self.wanted {
            Wanted::Some | Wanted::Among { is_needed: true, .. } => Calling::Required,
            Wanted::Any | Wanted::Among { .. } => Calling::Allowed,
        }
    }

    fn checked(
        offered: Vec<Tool>,
        wanted: Wanted,
        several: Option<bool>,
        fields: &Fields<'_>,
    ) -> Result<Self, Fault> {
        for (at, tool) in offered.iter().enumerate() {
            if offered[..at].iter().any(|other| other.name == tool.name) {
                let message = format!("`tools[{at}]` has the name of another tool, `{}`", tool.name);
                return Err(Fault::field(fields.name("tools"), message));
            }
        }
        if offered.is_empty() && wanted != Wanted::Any {
            return Err(Fault::field(
                "tool_choice",
                "`tool_choice` asks for a tool, and there are none in `tools`",
            ));
        }
        if let Wanted::Among { names, .. } = &wanted
            && let Some(name) = names.iter().find(|name| offered.iter().all(|tool| tool.name != **name))
        {
            let message = format!("`tool_choice` names `{name}`, which is not among `tools`");
            return Err(Fault::field("tool_choice", message));
        }
        let mut tools = Tools { offered: offered.into(), wanted, several: true };
        // A model that had to call does not know when it has called enough: small ones repeat themselves to the end.
        tools.several = several.unwrap_or(tools.calling() == Calling::Allowed);
        Ok(tools)
    }
}

/// Tools of a chat completion, or of Ollama's chat.
///
/// # Errors
///
/// What is wrong with them, by its place.
pub(crate) fn read(fields: &Fields<'_>) -> Result<Tools, Fault> {
    read_as(fields, function)
}

/// Tools of a response.
///
/// # Errors
///
/// What is wrong with them, by its place.
pub(crate) fn read_flat(fields: &Fields<'_>) -> Result<Tools, Fault> {
    read_as(fields, |tool| {
        check_type(tool)?;
        made(tool, "parameters")
    })
}

fn read_as(fields: &Fields<'_>, read: impl Fn(&Fields<'_>) -> Result<Tool, Fault>) -> Result<Tools, Fault> {
    let list = list(fields)?;
    let offered: Vec<Tool> = list.iter().map(read).collect::<Result<_, _>>()?;
    let wanted = match fields.value("tool_choice") {
        None => Wanted::Any,
        Some(Value::String(word)) => match word.as_str() {
            // What may not be called is not told of.
            "none" => return Ok(Tools::default()),
            "auto" => Wanted::Any,
            "required" | "any" => Wanted::Some,
            _ => return Err(fields.wrong("tool_choice", CHOICES)),
        },
        Some(choice) => choice_of(&Fields::at(choice, fields.name("tool_choice"))?)?,
    };
    let several = fields.flag("parallel_tool_calls")?;
    Tools::checked(offered, wanted, several, fields)
}

const CHOICES: &str =
    "\"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": ..}}";

fn choice_of(choice: &Fields<'_>) -> Result<Wanted, Fault> {
    match choice.needed_text("type")? {
        "function" => {
            let function = choice.object("function")?;
            let name = function.as_ref().unwrap_or(choice).needed_text("name")?;
            Ok(Wanted::Among { names: vec![name.to_owned()], is_needed: true })
        }
        "allowed_tools" => {
            let inner = choice.object("allowed_tools")?;
            let inner = inner.as_ref().unwrap_or(choice);
            let name = |(at, tool): (usize, &Value)| -> Result<String, Fault> {
                let tool = Fields::at(tool, format!("{}[{at}]", inner.name("tools")))?;
                let function = tool.object("function")?;
                Ok(function.as_ref().unwrap_or(&tool).needed_text("name")?.to_owned())
            };
            let names = inner.needed_list("tools")?.iter().enumerate().map(name).collect::<Result<_, _>>()?;
            let is_needed = inner.text("mode")?.is_some_and(|mode| mode == "required");
            Ok(Wanted::Among { names, is_needed })
        }
        _ => Err(choice.wrong("type", "function or allowed_tools")),
    }
}

/// How calls are told: in a stream, as they come.
///
/// # Errors
///
/// `stream` that is no flag.
pub(crate) fn telling(fields: &Fields<'_>) -> Result<Telling, Fault> {
    Ok(if fields.flag("stream")?.unwrap_or(false) { Telling::AsTheyCome } else { Telling::Whole })
}

/// Tools of a message.
///
/// # Errors
///
/// What is wrong with them, by its place.
pub(crate) fn read_anthropic(fields: &Fields<'_>) -> Result<Tools, Fault> {
    let list = list(fields)?;
    let offered: Vec<Tool> = list.iter().map(custom).collect::<Result<_, _>>()?;
    let Some(choice) = fields.object("tool_choice")? else {
        return Tools::checked(offered, Wanted::Any, None, fields);
    };
    let wanted = match choice.needed_text("type")? {
        "none" => return Ok(Tools::default()),
        "auto" => Wanted::Any,
        "any" => Wanted::Some,
        "tool" => Wanted::Among { names: vec![choice.needed_text("name")?.to_owned()], is_needed: true },
        _ => return Err(choice.wrong("type", "auto, any, tool or none")),
    };
    let several = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
    Tools::checked(offered, wanted, several, fields)
}

fn list<'a>(fields: &Fields<'a>) -> Result<Vec<Fields<'a>>, Fault> {
    let list = fields.list("tools")?.unwrap_or_default();
    if list.len() > TOOLS_MAX {
        return Err(fields.wrong("tools", &format!("at most {TOOLS_MAX} tools")));
    }
    let numbered = list.iter().enumerate();
    numbered.map(|(at, tool)| Fields::at(tool, format!("{}[{at}]", fields.name("tools")))).collect()
}

fn check_type(tool: &Fields<'_>) -> Result<(), Fault> {
    match tool.text("type")? {
        None | Some("function") => Ok(()),
        Some(_) => Err(tool.wrong("type", "function: this server runs no tools of its own")),
    }
}

fn function(tool: &Fields<'_>) -> Result<Tool, Fault> {
    check_type(tool)?;
    let function = tool.object("function")?.ok_or_else(|| tool.missing("function", "an object"))?;
    made(&function, "parameters")
}

fn custom(tool: &Fields<'_>) -> Result<Tool, Fault> {
    if tool.text("type")?.is_some_and(|kind| kind != "custom") {
        return Err(tool.wrong("type", "custom: this server runs no tools of its own"));
    }
    made(tool, "input_schema")
}

fn made(fields: &Fields<'_>, schema: &str) -> Result<Tool, Fault> {
    let name = fields.needed_text("name")?;
    if !Tool::is_name(name) {
        return Err(fields.wrong("name", "letters, digits, `_`, `-` and `.`, 128 at most"));
    }
    let is_strict = fields.flag("strict")?.unwrap_or(false);
    let nothing = || json!({ "type": "object", "properties": {} }).as_object().cloned().unwrap_or_default();
    let parameters: Map<String, Value> = match fields.map(schema)? {
        Some(parameters) if !parameters.is_empty() => parameters.clone(),
        _ => nothing(),
    };
    if is_strict && let Err(error) = to_lark(&Value::Object(parameters.clone())) {
        let place = fields.name(schema);
        let fault = Fault::field(&place, format!("`{place}` cannot be held to: {error}"));
        return Err(Fault { code: code_of(&error), ..fault });
    }
    Ok(Tool {
        name: name.to_owned(),
        description: fields.text("description")?.unwrap_or_default().to_owned(),
        parameters,
        is_strict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(choice: Value) -> Map<String, Value> {
        let tool =
            |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": null } });
        let body = json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice });
        body.as_object().unwrap().clone()
    }

    fn names(tools: &[Tool]) -> Vec<&str> {
        tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn a_choice_has_one_meaning_in_both_forms() {
        let some = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "name": "b" }] } });
        let named = json!({ "type": "function", "function": { "name": "b" } });
        let must = json!({ "type": "allowed_tools", "mode": "required", "tools": [{ "type": "function", "name": "a" }] });
        let (free, needed) = (Calling::Allowed, Calling::Required);
        let cases = [
            (Value::Null, vec!["a", "b"], free),
            (json!("auto"), vec!["a", "b"], free),
            (json!("none"), vec![], free),
            (json!("required"), vec!["a", "b"], needed),
            (named, vec!["b"], needed),
            (some, vec!["b"], free),
            (must, vec!["a"], needed),
        ];
        for (choice, callable, calling) in cases {
            let body = body(choice.clone());
            let tools = read(&Fields::new(&body)).unwrap();
            assert_eq!((names(&tools.callable()), tools.calling()), (callable, calling), "{choice}");
        }
        let tool = |name: &str| json!({ "name": name, "input_schema": { "type": "object" } });
        let cases = [
            (json!({ "type": "auto" }), vec!["a", "b"], free),
            (json!({ "type": "none" }), vec![], free),
            (json!({ "type": "any" }), vec!["a", "b"], needed),
            (json!({ "type": "tool", "name": "b" }), vec!["b"], needed),
        ];
        for (choice, callable, calling) in cases {
            let body = json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice });
            let tools = read_anthropic(&Fields::new(body.as_object().unwrap())).unwrap();
            assert_eq!((names(&tools.callable()), tools.calling()), (callable, calling), "{choice}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        let cases = [
            (json!({ "tools": [{ "type": "web_search" }] }), "tools[0].type"),
            (json!({ "tools": [{ "function": { "name": "a b" } }] }), "tools[0].function.name"),
            (json!({ "tools": [{ "function": {} }] }), "tools[0].function.name"),
            (json!({ "tools": [{ "function": { "name": "a" } }, { "function": { "name": "a" } }] }), "tools"),
            (json!({ "tool_choice": "required" }), "tool_choice"),
            (json!({ "tools": [{ "function": { "name": "a" } }], "tool_choice": "must" }), "tool_choice"),
            (
                json!({ "tools": [{ "function": { "name": "a" } }],
                     "tool_choice": { "type": "function", "function": { "name": "c" } } }),
                "tool_choice",
            ),
            (
                json!({ "tools": [{ "function": { "name": "a", "strict": true,
                     "parameters": { "properties": { "b": { "type": "array", "uniqueItems": true } } } } }] }),
                "tools[0].function.parameters",
            ),
            (json!({ "tools": [5] }), "tools[0]"),
        ];
        for (body, param) in cases {
            let fault = read(&Fields::new(body.as_object().unwrap())).unwrap_err();
            assert_eq!(fault.param.as_deref(), Some(param), "{body}");
        }
    }

    #[test]
    fn a_call_that_must_come_comes_once_unless_more_are_asked_for() {
        let tools = json!([{ "type": "function", "function": { "name": "add" } }]);
        let openai = |more: Value| {
            let mut ask = json!({ "tools": tools });
            ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(&Fields::at(&ask, String::new()).unwrap()).unwrap().several
        };
        assert!(openai(json!({})));
        assert!(!openai(json!({ "parallel_tool_calls": false })));
        assert!(!openai(json!({ "tool_choice": "required" })));
        assert!(openai(json!({ "tool_choice": "required", "parallel_tool_calls": true })));
        let anthropic = |choice: Value| {
            let ask = json!({ "tools": [{ "name": "add", "input_schema": {} }], "tool_choice": choice });
            read_anthropic(&Fields::at(&ask, String::new()).unwrap()).unwrap().several
        };
        assert!(anthropic(json!({ "type": "auto" })));
        assert!(!anthropic(json!({ "type": "any" })));
        assert!(anthropic(json!({ "type": "any", "disable_parallel_tool_use": false })));
    }
}
