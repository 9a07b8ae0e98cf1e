//! One call, read from a text that is all there or still coming.

use std::ops::Range;

use serde_json::{Map, Value};

use super::Tool;
use super::forms::{Body, Form, Tags};
use super::literal::Reader;
use super::scan::{Brackets, Found, Quotes, Tagged, expect, overlap};
use super::tool::NAME_BYTES_MAX;

/// A call that is all there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// A JSON object, as the model wrote it where it writes JSON.
    pub(super) arguments: String,
}

/// Keys and a name stand within so many bytes.
const HEAD_BYTES_MAX: usize = 2 * NAME_BYTES_MAX;

/// Names that an object's members have, whatever the form's own are.
const NAMES: [&str; 3] = ["name", "tool_name", "function"];
const ARGUMENTS: [&str; 2] = ["arguments", "parameters"];
/// Members that tell nothing.
const ASIDE: [&str; 3] = ["id", "type", "tool_call_id"];

/// What a body begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// It may still come.
    Open,
    /// This is no call.
    Never,
    /// The name, where it stands before the rest, and where the rest begins.
    Read(Option<String>, usize),
}

impl Form {
    /// Reads the beginning of a call's body at `at`.
    pub(super) fn head(&self, text: &str, at: usize) -> Head {
        let at = text.len() - text[at..].trim_start().len();
        match &self.body {
            Body::Object { .. } => object_head(text, at),
            Body::Keyed => match expect(text, at, "{") {
                Found::At(_) => Head::Read(None, at),
                Found::Open => Head::Open,
                Found::Never => Head::Never,
            },
            Body::Named { before, id, between } => {
                let id = id.as_ref().map(|id| *id);
                named_head(text, at, before, between, id).then_bracket(text)
            }
            Body::Tagged(tags) => tagged_head(text, at, tags, self.behind),
            Body::Python => up_to_bracket(text, at, '('),
            Body::Braces { .. } => match expect(text, at, "call:") {
                Found::At(at) => up_to_bracket(text, at, '{'),
                Found::Open => Head::Open,
                Found::Never => Head::Never,
            },
        }
    }

    /// What finds the end of a body whose head ends at `at`.
    pub(super) fn extent(&'static self, at: usize) -> Extent {
        match &self.body {
            Body::Object { .. } | Body::Keyed | Body::Named { .. } => {
                Extent::Brackets(Brackets::new(Quotes::Json, at))
            }
            Body::Python => Extent::Brackets(Brackets::new(Quotes::Python, at)),
            Body::Braces { quote } => Extent::Brackets(Brackets::new(Quotes::Marker(quote), at)),
            Body::Tagged(tags) => Extent::Tags(Tagged::new(tags, self.behind, at)),
        }
    }

    /// The call whose head had this name and whose rest is this text. `None` if it is none, or of no tool.
    pub(super) fn call(&self, name: Option<&str>, rest: &str, tools: &[Tool]) -> Option<Call> {
        let tool = |name: &str| tools.iter().find(|tool| tool.name == name);
        let call = |tool: &Tool, arguments: Map<String, Value>| Call {
            name: tool.name.clone(),
            arguments: Value::Object(arguments).to_string(),
        };
        match &self.body {
            Body::Object { .. } => object(rest, tools),
            Body::Keyed => {
                let [(name, arguments)] = members(rest)?.try_into().ok()?;
                Some(Call { name: tool(&name)?.name.clone(), arguments: checked(&rest[arguments])? })
            }
            Body::Named { .. } => Some(Call { name: tool(name?)?.name.clone(), arguments: checked(rest)? }),
            Body::Tagged(tags) => {
                let tool = tool(name?)?;
                Some(call(tool, tagged(rest, tags, tool)?))
            }
            Body::Python => {
                let tool = tool(name?)?;
                let names: Vec<&str> = tool.properties().map(|(name, _)| name).collect();
                Some(call(tool, Reader::new(rest, Quotes::Python).keywords(&names)?))
            }
            Body::Braces { quote } => {
                let tool = tool(name?)?;
                Some(call(tool, Reader::new(rest, Quotes::Marker(quote)).braces()?))
            }
        }
    }

    /// The name and the place of the arguments of a JSON call of which at least so much is there.
    pub(super) fn begun(&self, name: Option<&str>, rest: &str) -> Option<(String, usize)> {
        match &self.body {
            Body::Named { .. } => Some((name?.to_owned(), 0)),
            Body::Object { .. } => {
                let (key, value, end) = member(rest, 1)?;
                let name: String = serde_json::from_str(&rest[value]).ok()?;
                let comma = expect(rest, end, ",");
                let Found::At(at) = comma else { return None };
                let (next, at) = key_at(rest, at)?;
                let begins = rest[at..].starts_with('{');
                (NAMES.contains(&key.as_str()) && ARGUMENTS.contains(&next.as_str()) && begins)
                    .then_some((name, at))
            }
            _ => None,
        }
    }
}

/// What finds the end of a call's body.
#[derive(Clone, Debug)]
pub(super) enum Extent {
    Brackets(Brackets),
    Tags(Tagged),
}

impl Extent {
    pub(super) fn read(&mut self, text: &str) -> Found {
        match self {
            Extent::Brackets(brackets) => brackets.read(text),
            Extent::Tags(tagged) => tagged.read(text),
        }
    }
}

impl Head {
    /// White space up to a `{`.
    fn then_bracket(self, text: &str) -> Head {
        let Head::Read(name, at) = self else { return self };
        match expect(text, at, "{") {
            Found::At(at) => Head::Read(name, at - 1),
            Found::Open => Head::Open,
            Found::Never => Head::Never,
        }
    }
}

/// `{` and a first key that calls have: a JSON answer is told as soon as its first key is.
fn object_head(text: &str, at: usize) -> Head {
    let Found::At(inside) = expect(text, at, "{") else {
        return if at == text.len() { Head::Open } else { Head::Never };
    };
    let rest = text[inside..].trim_start();
    let known = [&NAMES[..], &ARGUMENTS, &ASIDE].concat();
    let keys: Vec<String> = known.iter().map(|key| format!("\"{key}\"")).collect();
    if keys.iter().any(|key| rest.starts_with(key.as_str())) {
        Head::Read(None, at)
    } else if keys.iter().any(|key| key.starts_with(rest)) {
        Head::Open
    } else {
        Head::Never
    }
}

fn named_head(text: &str, at: usize, before: &str, between: &str, id: Option<&str>) -> Head {
    let at = match expect(text, at, before) {
        Found::At(at) => at,
        Found::Open => return Head::Open,
        Found::Never => return Head::Never,
    };
    let rest = &text[at..];
    let (between, id) = (between.trim(), id.unwrap_or(between).trim());
    let Some((begin, end)) = rest.find(between).map(|begin| (begin, begin + between.len())) else {
        let begun = rest.split_once(id).map_or(rest, |(name, _)| name);
        let name = &begun[..begun.len() - overlap(begun, between).max(overlap(begun, id))];
        let may_come = rest.len() <= HEAD_BYTES_MAX && (name.trim().is_empty() || Tool::is_name(name.trim()));
        return if may_come { Head::Open } else { Head::Never };
    };
    let name = rest[..begin].split(id).next().unwrap_or_default().trim();
    if Tool::is_name(name) { Head::Read(Some(name.to_owned()), at + end) } else { Head::Never }
}

fn tagged_head(text: &str, at: usize, tags: &Tags, behind: &str) -> Head {
    // Without a tag behind it, a name ends where the arguments begin, or the call does.
    if tags.name.1.trim().is_empty() {
        let rest = &text[at..];
        let ends = [tags.key.0, behind];
        let end = ends.iter().filter_map(|end| rest.find(end.trim())).min();
        let held = ends.iter().map(|end| overlap(rest, end.trim())).max().unwrap_or(0);
        let name = rest[..end.unwrap_or(rest.len() - held)].trim();
        return match (end, Tool::is_name(name)) {
            (Some(end), true) => Head::Read(Some(name.to_owned()), at + end),
            (None, true) => Head::Open,
            (None, false) if name.is_empty() => Head::Open,
            _ => Head::Never,
        };
    }
    named_head(text, at, tags.name.0, tags.name.1, None)
}

/// A name up to a bracket.
fn up_to_bracket(text: &str, at: usize, bracket: char) -> Head {
    let rest = &text[at..];
    let end = rest.find(bracket);
    let name = rest[..end.unwrap_or(rest.len())].trim();
    match (end, Tool::is_name(name)) {
        (Some(end), true) => Head::Read(Some(name.to_owned()), at + end),
        (None, true) => Head::Open,
        (None, false) if name.is_empty() => Head::Open,
        _ => Head::Never,
    }
}

/// An object with a name and arguments.
fn object(text: &str, tools: &[Tool]) -> Option<Call> {
    let members = members(text)?;
    let find = |keys: &[&str]| members.iter().find(|(key, _)| keys.contains(&key.as_str()));
    let name: String = serde_json::from_str(&text[find(&NAMES)?.1.clone()]).ok()?;
    let arguments = find(&ARGUMENTS).map_or("{}", |(_, range)| &text[range.clone()]);
    let arguments = match arguments {
        "null" => "{}".to_owned(),
        // Some write the arguments as a text that holds JSON.
        text if text.starts_with('"') => serde_json::from_str(text).ok()?,
        text => text.to_owned(),
    };
    tools.iter().any(|tool| tool.name == name).then_some(())?;
    Some(Call { name, arguments: checked(&arguments)? })
}

/// A text that is a JSON object.
fn checked(text: &str) -> Option<String> {
    let text = text.trim();
    let object: Option<Map<String, Value>> = serde_json::from_str(text).ok();
    object.map(|_| text.to_owned())
}

/// The members of the object that a text is, and where their values are. Values are not looked into.
fn members(text: &str) -> Option<Vec<(String, Range<usize>)>> {
    let mut all = Vec::new();
    let mut at = 1;
    loop {
        let (key, value, end) = member(text, at)?;
        all.push((key, value));
        if let Found::At(behind) = expect(text, end, ",") {
            at = behind;
        } else {
            return (expect(text, end, "}") == Found::At(text.len())).then_some(all);
        }
    }
}

/// One member at `at`, and where it ends.
fn member(text: &str, at: usize) -> Option<(String, Range<usize>, usize)> {
    let (key, at) = key_at(text, at)?;
    let rest = &text[at..];
    let end = match rest.chars().next()? {
        '{' | '[' => match Brackets::new(Quotes::Json, at).read(text) {
            Found::At(end) => end,
            Found::Open | Found::Never => return None,
        },
        '"' => at + string_bytes(rest)?,
        _ => at + rest.find([',', '}']).map(|end| rest[..end].trim_end().len())?,
    };
    Some((key, at..end, end))
}

/// A key at `at`, and where its value begins.
fn key_at(text: &str, at: usize) -> Option<(String, usize)> {
    let begin = text.len() - text[at..].trim_start().len();
    let end = begin + string_bytes(&text[begin..])?;
    let key = serde_json::from_str(&text[begin..end]).ok()?;
    let Found::At(at) = expect(text, end, ":") else { return None };
    Some((key, text.len() - text[at..].trim_start().len()))
}

/// Bytes of the string that a text begins with.
fn string_bytes(text: &str) -> Option<usize> {
    let mut escaped = false;
    let inside = text.strip_prefix('"')?;
    let end = inside.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    })?;
    Some(1 + end.0 + 1)
}

/// Arguments between tags.
fn tagged(text: &str, tags: &Tags, tool: &Tool) -> Option<Map<String, Value>> {
    let mut all = Map::new();
    let mut at = 0;
    while let Found::At(begin) = expect(text, at, tags.key.0) {
        let rest = &text[begin..];
        let end = rest.find(tags.key.1.trim())?;
        let key = rest[..end].trim();
        let mut begin = begin + end + tags.key.1.trim().len();
        if !tags.value.0.is_empty() {
            let Found::At(at) = expect(text, begin, tags.value.0) else { return None };
            begin = at;
        }
        let (value, behind) = tagged_value(text, begin, tags)?;
        all.insert(key.to_owned(), tool.typed(key, value));
        at = behind;
    }
    text[at..].trim().is_empty().then_some(all)
}

/// A value that begins at `begin`, and the place behind it: it ends where another argument or nothing follows.
fn tagged_value<'t>(text: &'t str, begin: usize, tags: &Tags) -> Option<(&'t str, usize)> {
    let close = tags.value.1.trim();
    let ends = text[begin..].match_indices(close).map(|(end, _)| begin + end);
    for end in ends {
        let behind = end + close.len();
        let is_end = text[behind..].trim().is_empty();
        if is_end || matches!(expect(text, behind, tags.key.0), Found::At(_)) {
            return Some((one_line_less(&text[begin..end]), behind));
        }
    }
    None
}

/// Without the line break that some forms put before and behind a value.
fn one_line_less(value: &str) -> &str {
    let value = value.strip_prefix('\n').unwrap_or(value);
    value.strip_suffix('\n').unwrap_or(value)
}
