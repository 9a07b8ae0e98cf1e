//! Tools, calls and their results as a template takes them.
//!
//! What a template can do is found by rendering probes with it, once: which tools it shows and under which name, whether
//! it writes calls and results, and in which shape it wants them. What it cannot do is said in its place in words: tools
//! in the system's text, calls in the assistant's, results in the user's.

use serde_json::{Map, Value, json};

use super::forms::Form;
use super::tool::Tool;
use super::write::json_text;
use crate::template::{ChatTemplate, Conversation, DateTime};

/// How a template is told of tools, calls and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Habits {
    offer: Offer,
    calls: Calls,
    results: Results,
    /// Several calls in one message are refused.
    is_one_by_one: bool,
    /// Messages of the system are refused, or left out.
    has_system: bool,
}

/// Where a template looks for tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// In `tools`.
    Tools,
    /// In a switch of this name.
    Switch(&'static str),
    /// As JSON in the system's message, under `tools`.
    SystemField,
    /// Nowhere: the system's text tells of them.
    Prompted,
}

/// How a template takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    /// Under `tool_calls`; with these peculiarities.
    Written {
        /// Content beside them must be null, not empty.
        null_content: bool,
        /// Arguments are JSON in a text.
        text_arguments: bool,
        /// Beside content they are left out.
        alone: bool,
    },
    /// Not at all: they become part of the content.
    InContent,
}

/// How a template takes results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Results {
    /// As messages of `tool`.
    Written,
    /// Not at all: they become messages of the user.
    OfUser,
}

/// Other names than `tools` under which templates look for them.
const SWITCHES: [&str; 1] = ["xml_tools"];

/// A name, a value, a result and a system's text that no template has of its own.
const NAME: &str = "zqx_probe";
const VALUES: [&str; 2] = ["zqx_value", "zqx_other"];
const RESULT: &str = "zqx_result";
const SYSTEM: &str = "zqx_system";

impl Default for Habits {
    /// Everything in words.
    fn default() -> Self {
        Habits {
            offer: Offer::Prompted,
            calls: Calls::InContent,
            results: Results::OfUser,
            is_one_by_one: false,
            has_system: true,
        }
    }
}

impl Habits {
    /// Finds out by rendering.
    pub(super) fn of(template: &ChatTemplate) -> Self {
        let has_system = rendered(template, &[said("system", SYSTEM), said("user", "a")], None)
            .is_some_and(|text| text.contains(SYSTEM));
        let offers =
            [Offer::Tools].into_iter().chain(SWITCHES.map(Offer::Switch)).chain([Offer::SystemField]);
        let mut habits = Habits { has_system, ..Habits::default() };
        for offer in offers {
            let tried = Habits { offer, ..habits };
            if tried.probe(template, vec![said("user", "a")]).is_some_and(|text| text.contains(NAME)) {
                habits = tried;
                break;
            }
        }
        habits.probe_calls(template);
        habits
    }

    /// The same, but for telling of tools and calls in words.
    pub(super) fn prompted(self) -> Self {
        Habits { offer: Offer::Prompted, calls: Calls::InContent, results: Results::OfUser, ..self }
    }

    /// Whether the template shows tools.
    pub(super) fn shows_tools(&self) -> bool {
        self.offer != Offer::Prompted
    }

    fn probe_calls(&mut self, template: &ChatTemplate) {
        let ways = [(false, false), (false, true), (true, false), (true, true)];
        for (null_content, text_arguments) in ways {
            let calls = Calls::Written { null_content, text_arguments, alone: false };
            let tried = Habits { calls, results: Results::Written, ..*self };
            let shown = tried.probe(template, called("", 1)).unwrap_or_default();
            if shown.contains(VALUES[0]) {
                let results = if shown.contains(RESULT) { Results::Written } else { Results::OfUser };
                (self.calls, self.results) = (calls, results);
                self.probe_limits(template, null_content, text_arguments);
                return;
            }
        }
        let tried = Habits { calls: Calls::InContent, results: Results::Written, ..*self };
        let mut messages = called("", 1);
        messages[1] = said("assistant", "b");
        if tried.probe(template, messages).is_some_and(|shown| shown.contains(RESULT)) {
            self.results = Results::Written;
        }
    }

    fn probe_limits(&mut self, template: &ChatTemplate, null_content: bool, text_arguments: bool) {
        let both = self.probe(template, called("", 2)).unwrap_or_default();
        self.is_one_by_one = !VALUES.iter().all(|value| both.contains(value));
        let beside = self.probe(template, called("b", 1)).unwrap_or_default();
        let alone = !beside.contains(VALUES[0]);
        self.calls = Calls::Written { null_content, text_arguments, alone };
    }

    fn probe(&self, template: &ChatTemplate, messages: Vec<Value>) -> Option<String> {
        let parameters = json!({ "type": "object", "properties": { "k": { "type": "string" } } });
        let Value::Object(parameters) = parameters else { return None };
        let tools = [Tool { name: NAME.into(), description: "a".into(), parameters, is_strict: false }];
        let given = self.prepare(messages, &tools, None);
        rendered(template, &given.messages, Some(&given))
    }

    /// The conversation as the template takes it. Without `form` what it cannot write stays as it is.
    pub(super) fn prepare(&self, messages: Vec<Value>, tools: &[Tool], form: Option<&Form>) -> Given {
        let mut messages = numbered(messages);
        if self.is_one_by_one {
            messages = one_by_one(messages);
        }
        for message in &mut messages {
            self.write_calls(message, form);
        }
        if let (Results::OfUser, Some(_)) = (self.results, form) {
            messages = results_of_user(messages);
        }
        let mut given = Given { messages, tools: None, switches: Map::new() };
        if !tools.is_empty() {
            self.offer(&mut given, tools, form);
        }
        given
    }

    fn write_calls(&self, message: &mut Value, form: Option<&Form>) {
        let Some(calls) = message["tool_calls"].as_array().filter(|calls| !calls.is_empty()).cloned() else {
            return;
        };
        let is_empty = message["content"].as_str().is_none_or(str::is_empty);
        let (null_content, text_arguments) = match (self.calls, form) {
            (Calls::Written { null_content, text_arguments, alone }, _) if is_empty || !alone => {
                (null_content, text_arguments)
            }
            (_, Some(form)) => return write_into_content(message, &calls, form),
            (_, None) => return,
        };
        if null_content && is_empty {
            message["content"] = Value::Null;
        }
        if text_arguments {
            let calls = message["tool_calls"].as_array_mut();
            for arguments in
                calls.into_iter().flatten().filter_map(|call| call.pointer_mut("/function/arguments"))
            {
                *arguments = json_text(arguments).into();
            }
        }
    }

    fn offer(&self, given: &mut Given, tools: &[Tool], form: Option<&Form>) {
        let list: Vec<Value> = tools.iter().map(Tool::to_json).collect();
        match self.offer {
            Offer::Tools => given.tools = Some(list),
            Offer::Switch(name) => drop(given.switches.insert(name.into(), list.into())),
            Offer::SystemField => {
                if given.messages.first().is_none_or(|message| message["role"] != "system") {
                    given.messages.insert(0, said("system", ""));
                }
                let bare: Vec<Value> = list.iter().map(|tool| tool["function"].clone()).collect();
                given.messages[0]["tools"] = json_text(&bare.into()).into();
            }
            Offer::Prompted => {
                if let Some(form) = form {
                    self.prompt(given, &list, form);
                }
            }
        }
    }

    /// Tells of tools in words.
    fn prompt(&self, given: &mut Given, tools: &[Value], form: &Form) {
        let told = told(tools, form);
        let place = if self.has_system { "system" } else { "user" };
        match given.messages.first_mut().filter(|message| message["role"] == place) {
            Some(message) => {
                let content = message["content"].as_str().unwrap_or_default();
                let both = if self.has_system {
                    format!("{content}\n\n{told}")
                } else {
                    format!("{told}\n\n{content}")
                };
                message["content"] = both.into();
            }
            None => given.messages.insert(0, said(place, &told)),
        }
    }
}

/// A conversation as a template takes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The messages.
    pub messages: Vec<Value>,
    /// The tools, where the template looks for them.
    pub tools: Option<Vec<Value>>,
    /// More switches of the template.
    pub switches: Map<String, Value>,
}

/// A question and so many calls with their results.
fn called(content: &str, count: usize) -> Vec<Value> {
    let ids = ["abcdef123", "abcdef456"].into_iter().zip(VALUES).take(count);
    let call = |(id, value): (&str, &str)| json!({ "id": id, "type": "function", "function": { "name": NAME, "arguments": { "k": value } } });
    let mut messages = vec![said("user", "a"), said("assistant", content)];
    messages[1]["tool_calls"] = ids.clone().map(call).collect();
    let result = |(id, _)| json!({ "role": "tool", "content": RESULT, "tool_call_id": id, "name": NAME });
    messages.extend(ids.map(result));
    messages
}

fn said(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

fn rendered(template: &ChatTemplate, messages: &[Value], given: Option<&Given>) -> Option<String> {
    let conversation = Conversation {
        messages,
        tools: given.and_then(|given| given.tools.as_deref()),
        add_generation_prompt: true,
        switches: given.map(|given| given.switches.clone()).unwrap_or_default(),
        now: Some(DateTime { year: 2026, month: 1, day: 1, hour: 0, minute: 0, second: 0 }),
        ..Conversation::default()
    };
    template.render(&conversation).ok()
}

/// How a model is asked to call that was not made to.
fn told(tools: &[Value], form: &Form) -> String {
    let tools: Vec<String> = tools.iter().map(json_text).collect();
    let example = Map::from_iter([("argument".to_owned(), json!("value"))]);
    format!(
        "You can call functions. These are their signatures, one on each line:\n<tools>\n{}\n</tools>\n\
         To call a function, write its name and its arguments as JSON, in this form and with nothing around it:\n{}\n\
         You will be given the result, and can then answer. Call a function only where it helps.",
        tools.join("\n"),
        form.write(&[("function_name", &example)]),
    )
}

/// Messages whose calls have ids that every template takes, nine letters and digits, and whose results have the ids
/// and the names of their calls.
fn numbered(mut messages: Vec<Value>) -> Vec<Value> {
    let mut known: Vec<(String, String)> = Vec::new();
    for message in &mut messages {
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        for call in calls.into_iter().flatten().filter(|call| call.is_object()) {
            let name = call["function"]["name"].as_str().unwrap_or_default().to_owned();
            let id = call["id"].as_str().map_or_else(|| format!("call {}", known.len()), str::to_owned);
            call["id"] = short_id(&id).into();
            call["type"] = "function".into();
            known.push((id, name));
        }
        if message["role"] != "tool" {
            continue;
        }
        let (asked, named) = (message["tool_call_id"].as_str(), message["name"].as_str());
        let is_asked = |(id, name): &&(String, String)| match asked {
            Some(asked) => asked == id,
            None => named.is_none_or(|named| named == name),
        };
        if let Some((id, name)) = known.iter().rev().find(is_asked) {
            message["tool_call_id"] = short_id(id).into();
            message["name"] = name.as_str().into();
        }
    }
    messages
}

/// The id itself if it is one that every template takes, else one made of it.
fn short_id(id: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    // FNV-1a.
    let mut hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut letter = || {
        let letter = LETTERS[(hash % LETTERS.len() as u64) as usize];
        hash /= LETTERS.len() as u64;
        char::from(letter)
    };
    (0..9).map(|_| letter()).collect()
}

/// Each call in a message of its own, with its result behind it.
fn one_by_one(messages: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::with_capacity(messages.len());
    for mut message in messages {
        let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
        if calls.len() > 1 {
            for (number, call) in calls.into_iter().enumerate() {
                message["tool_calls"] = json!([call]);
                all.push(message.clone());
                if number == 0 {
                    // Said once.
                    message["content"] = "".into();
                }
            }
        } else if message["role"] == "tool" {
            let is_call = |said: &Value| said["tool_calls"][0]["id"] == message["tool_call_id"];
            let place = all.iter().rposition(is_call).map_or(all.len(), |at| at + 1);
            all.insert(place, message);
        } else {
            all.push(message);
        }
    }
    all
}

fn write_into_content(message: &mut Value, calls: &[Value], form: &Form) {
    let empty = Map::new();
    let call = |call: &'_ Value| -> (String, Map<String, Value>) {
        let function = &call["function"];
        let arguments = function["arguments"].as_object().unwrap_or(&empty);
        (function["name"].as_str().unwrap_or_default().to_owned(), arguments.clone())
    };
    let calls: Vec<(String, Map<String, Value>)> = calls.iter().map(call).collect();
    let calls: Vec<(&str, &Map<String, Value>)> =
        calls.iter().map(|(name, arguments)| (name.as_str(), arguments)).collect();
    let said = message["content"].as_str().unwrap_or_default();
    let between = if said.is_empty() { "" } else { "\n" };
    message["content"] = [said, between, &form.write(&calls)].concat().into();
    if let Some(message) = message.as_object_mut() {
        message.remove("tool_calls");
    }
}

/// Results as what the user says; what the user says before or behind them is part of one message, since many templates
/// want roles to take turns.
fn results_of_user(messages: Vec<Value>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::with_capacity(messages.len());
    let mut is_result_before = false;
    for message in messages {
        let content = message["content"].as_str().unwrap_or_default();
        let is_result = message["role"] == "tool";
        let text = if is_result {
            format!("<tool_response>\n{content}\n</tool_response>")
        } else {
            content.to_owned()
        };
        let is_user = is_result || message["role"] == "user";
        match all.last_mut() {
            Some(last) if is_user && (is_result || is_result_before) && last["role"] == "user" => {
                let before = last["content"].as_str().unwrap_or_default();
                last["content"] = format!("{before}\n{text}").into();
            }
            _ if is_result => all.push(said("user", &text)),
            _ => all.push(message),
        }
        is_result_before = is_result;
    }
    all
}
