//! All forms, cut in all ways.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::forms::{FORMS, Form, TAGGED_JSON};
use super::{Parser, Part, Stage, Telling, Tool, form_of, parser};
use crate::testing::{Random, pieces};

static TAGGED: Form = TAGGED_JSON;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("no object: {value}") };
    object
}

fn tools() -> Arc<[Tool]> {
    let tool = |name: &str, properties: Value| Tool {
        name: name.into(),
        description: "does it".into(),
        parameters: object(json!({ "type": "object", "properties": properties, "required": [] })),
        is_strict: false,
    };
    let weather = json!({ "city": { "type": "string" }, "unit": { "enum": ["celsius", "kelvin"] } });
    let add = json!({ "a": { "type": "number" }, "b": { "type": "number" }, "on": { "type": "boolean" } });
    let note =
        json!({ "text": { "type": "string" }, "tags": { "type": "array" }, "more": { "type": "object" } });
    Arc::new([tool("weather", weather), tool("add", add), tool("note", note)])
}

/// Parts with neighbours of one kind joined.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut all: Vec<Part> = Vec::new();
    for part in parts {
        match (all.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more))
            | (Some(Part::Thinking(text)), Part::Thinking(more))
            | (Some(Part::CallArguments(text)), Part::CallArguments(more)) => text.push_str(&more),
            (_, part) => all.push(part),
        }
    }
    all
}

fn parse(mut parser: Parser, parts: &[String]) -> Vec<Part> {
    let mut all: Vec<Part> = parts.iter().flat_map(|part| parser.push(part)).collect();
    all.extend(parser.finish());
    joined(all)
}

/// The parts of a text, cut in many ways, which must not matter.
fn parts_of(parser: &Parser, text: &str) -> Vec<Part> {
    let whole = parse(parser.clone(), &[text.to_owned()]);
    let mut random = Random::new(text.len() as u64);
    let chars: Vec<String> = text.chars().map(String::from).collect();
    assert_eq!(parse(parser.clone(), &chars), whole, "{text:?} by characters");
    for _ in 0..30 {
        let parts = pieces(&mut random, text);
        assert_eq!(parse(parser.clone(), &parts), whole, "{parts:?}");
    }
    whole
}

fn call(index: usize, name: &str, arguments: &Value) -> [Part; 3] {
    let begin = Part::CallBegin { index, name: name.into() };
    [begin, Part::CallArguments(arguments.to_string()), Part::CallEnd]
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

/// The calls among the parts, with arguments as values.
fn calls(parts: &[Part]) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    for part in parts {
        match part {
            Part::CallBegin { index, name } => {
                assert_eq!(*index, calls.len());
                calls.push((name.clone(), Value::Null));
            }
            Part::CallArguments(text) => calls.last_mut().unwrap().1 = serde_json::from_str(text).unwrap(),
            _ => {}
        }
    }
    calls
}

fn parser_of(form: &'static Form) -> Parser {
    parser(form, "", tools())
}

/// Calls that try what forms may stumble over.
fn hard_calls() -> Vec<(&'static str, Value)> {
    vec![
        ("weather", json!({ "city": "São \"Paris\" }])', =", "unit": "celsius" })),
        ("add", json!({ "a": 2, "b": -3.5e2, "on": true })),
        (
            "note",
            json!({ "text": "two\nlines, é\\n", "tags": ["x", 1, null, [true]], "more": { "k": { "l": "m" } } }),
        ),
        ("add", json!({})),
    ]
}

#[test]
fn what_a_form_writes_it_reads() {
    for form in FORMS.iter().chain(FORMS.iter().flat_map(|form| form.also)) {
        let wanted = hard_calls();
        let maps: Vec<(&str, Map<String, Value>)> =
            wanted.iter().map(|(name, arguments)| (*name, object(arguments.clone()))).collect();
        let most = if form.series == super::forms::Series::One { 1 } else { maps.len() };
        for count in 1..=most {
            let written: Vec<(&str, &Map<String, Value>)> =
                maps[..count].iter().map(|(n, m)| (*n, m)).collect();
            let written = form.write(&written);
            let parts = parts_of(&parser_of(form), &written);
            let wanted: Vec<(String, Value)> = wanted[..count]
                .iter()
                .map(|(name, arguments)| ((*name).to_owned(), arguments.clone()))
                .collect();
            assert_eq!(calls(&parts), wanted, "{}: {written}", form.name);
            assert!(parts.iter().all(|part| !matches!(part, Part::Text(_))), "{}: {parts:?}", form.name);
        }
    }
}

#[test]
fn text_around_calls_stays() {
    let parser = parser_of(&TAGGED);
    let one = r#"<tool_call>{"name": "add", "arguments": {"a":1}}</tool_call>"#;
    let add = call(0, "add", &json!({ "a": 1 }));
    let found = parts_of(&parser, &format!("Let me see.\n\n{one}\n\nDone."));
    assert_eq!(found, [vec![text("Let me see.")], add.to_vec(), vec![text("\n\nDone.")]].concat());
    let found = parts_of(&parser, &format!("<think>\nhm\n</think>\n\n{one}\n{one}\n"));
    let thought = Part::Thinking("hm".into());
    assert_eq!(found, [vec![thought], add.to_vec(), call(1, "add", &json!({ "a": 1 })).to_vec()].concat());
}

#[test]
fn what_is_no_call_comes_back_as_text() {
    let broken = [
        "<tool_call>",
        "<tool_call> hi",
        r#"<tool_call>{"name": "add", "arguments": {"a": 1}"#,
        r#"<tool_call>{"name": "rm", "arguments": {}}</tool_call>"#,
        r#"<tool_call>{"name": "add", "arguments": {"a" 1}}</tool_call> and on"#,
        r#"<tool_call>{"name": "add", "arguments": [1]}</tool_call>"#,
        r#"a < b <tool_ca"#,
        r#"<tool_call>{"answer": 4}</tool_call>"#,
        "<tool_call><function=add><parameter=a>1",
        "<tool_call><function=none></function></tool_call>",
    ];
    let parser = parser_of(&TAGGED);
    for broken in broken {
        assert_eq!(parts_of(&parser, broken), [text(broken)]);
        let good = r#"<tool_call>{"name": "add", "arguments": {}}</tool_call>"#;
        let add = call(0, "add", &json!({}));
        // What is cut off by the next call is told before it; a string would go on into it.
        if !broken.ends_with("call>") && !broken.contains("{\"a\": 1}\"") {
            let found = parts_of(&parser, &format!("{broken}\n{good}"));
            assert_eq!(calls(&found).len(), 1, "{broken}: {found:?}");
        }
        let found = parts_of(&parser, &format!("{good}{broken}"));
        assert_eq!(found, [add.to_vec(), vec![text(broken)]].concat());
    }
}

#[test]
fn a_bare_call_is_all_of_an_answer() {
    let parser = parser_of(form_of("<|python_tag|>").unwrap());
    let found = parts_of(&parser, r#" {"name": "add", "parameters": {"a":1}}"#);
    assert_eq!(found, call(0, "add", &json!({ "a": 1 })));
    let found = parts_of(&parser, r#"<|python_tag|>{"type": "function", "name": "add", "parameters": {}}"#);
    assert_eq!(found, call(0, "add", &json!({})));
    let found = parts_of(&parser, r#"[add(a=1), weather(city='Rome')]"#);
    assert_eq!(calls(&found).len(), 2);
    for answer in
        [r#"{"answer": 42}"#, "[1, 2]", r#"It is {"name": "add", "parameters": {}}."#, "{", " \n", "[add(a="]
    {
        assert_eq!(parts_of(&parser, answer), [text(answer)]);
    }
}

#[test]
fn models_write_forms_with_small_differences() {
    let fenced = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n{\"a\":1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>";
    let cases = [
        (
            "[TOOL_CALLS]",
            "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"a\":1}, \"id\": \"abcdef123\"}]",
        ),
        ("[TOOL_CALLS]", "[TOOL_CALLS]{\"name\": \"add\", \"arguments\": {\"a\":1}}"),
        ("[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]add[CALL_ID]abcdef123[ARGS]{\"a\":1}"),
        ("[TOOL_CALLS] [ARGS]", "[TOOL_CALLS][{\"arguments\": {\"a\":1}, \"name\": \"add\"}]"),
        ("<｜tool▁calls▁begin｜> ```json", fenced),
        ("<tool_call>", "<tool_call>{\"name\": \"add\", \"arguments\": \"{\\\"a\\\":1}\"}</tool_call>"),
        (
            "<tool_call>",
            "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
        ),
        ("<tool_call>", "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\":1}}"),
        (
            "<tool_call> <arg_key> <arg_value>",
            "<tool_call>add<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>",
        ),
        ("<|tool_call|>", "<tool_call>[{\"name\": \"add\", \"arguments\": {\"a\":1}}]"),
        ("<|tool_call_start|>", "<|tool_call_start|>[add(1)]<|tool_call_end|>"),
        ("<|/tool_call|>", "functools[{\"name\": \"add\", \"arguments\": {\"a\":1}}]"),
        ("<start_function_call>", "<start_function_call>call:add{a:1}<end_function_call>"),
    ];
    for (signs, written) in cases {
        let parser = parser_of(form_of(signs).unwrap());
        let found = parts_of(&parser, written);
        assert_eq!(found, call(0, "add", &json!({ "a": 1 })), "{written}");
    }
}

#[test]
fn a_tagged_value_may_hold_tags() {
    let parser = parser_of(form_of("<tool_call><function=<parameter=").unwrap());
    let inner = "if a < b:\n</function> </parameter> <parameter>\n";
    let written =
        format!("<tool_call><function=note><parameter=text>\n{inner}\n</parameter></function></tool_call>");
    assert_eq!(calls(&parts_of(&parser, &written)), [("note".to_owned(), json!({ "text": inner }))]);
}

#[test]
fn arguments_come_as_they_are_made_where_a_grammar_keeps_the_form() {
    let parser = parser_of(&TAGGED).telling(Telling::AsTheyCome);
    let mut stream = parser.clone();
    let first = stream.push("<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1");
    assert_eq!(stream.stage(), Stage::Call);
    let begin = Part::CallBegin { index: 0, name: "add".into() };
    assert_eq!(joined(first), [begin, Part::CallArguments("{\"a\": 1".into())]);
    assert_eq!(
        joined(stream.push(", \"b\": 2}}")),
        [Part::CallArguments(", \"b\": 2}".into()), Part::CallEnd]
    );
    let whole = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>\n".repeat(2);
    assert_eq!(parts_of(&parser, &whole), parts_of(&parser_of(&TAGGED), &whole));
    let cut = parts_of(&parser, &whole[..whole.len() - 16]);
    assert!(!cut.iter().any(|part| matches!(part, Part::Text(_))) && calls_begun(&cut) == 2, "{cut:?}");
    assert_eq!(cut.iter().filter(|part| **part == Part::CallEnd).count(), 1);
}

/// Where an answer is cut off behind a call, nothing of the marks around calls is told as text, in no form and however
/// calls are told; within the next call, what is not told as a call comes back.
#[test]
fn marks_that_are_cut_off_are_no_text() {
    let map = object(json!({ "text": "a \\ \"b\" é", "tags": ["x"] }));
    for form in FORMS.iter().chain(FORMS.iter().flat_map(|form| form.also)) {
        let one = form.write(&[("note", &map)]);
        let most = if form.series == super::forms::Series::One { 1 } else { 2 };
        let written = form.write(&vec![("note", &map); most]);
        for telling in [Telling::Whole, Telling::AsTheyCome] {
            let parser = parser_of(form).telling(telling);
            for at in (1..written.len()).filter(|at| written.is_char_boundary(*at)) {
                let told = joined(parse(parser.clone(), &[written[..at].to_owned()]));
                let ends = told.iter().filter(|part| **part == Part::CallEnd).count();
                let is_text = |part: &Part| match part {
                    Part::Text(text) if ends == 0 => calls_begun(&told) > 0 || !one.starts_with(text),
                    Part::Text(text) => ends == most || text.trim_matches([',', ';', ' ', '\n']).is_empty(),
                    _ => false,
                };
                assert!(!told.iter().any(is_text), "{}: {:?} gives {told:?}", form.name, &written[..at]);
            }
        }
    }
    let cut = |text: &str| parts_of(&parser_of(&TAGGED), text);
    let call = "<tool_call>\n{\"name\": \"add\", \"arguments\": {}}";
    for end in ["", "\n", "\n<", "\n</tool_ca", "\n</tool_call"] {
        assert_eq!(cut(&format!("{call}{end}")), self::call(0, "add", &json!({})), "{end:?}");
    }
    for end in ["<b", "</tools>", "so"] {
        assert_eq!(cut(&format!("{call} {end}")).last(), Some(&text(end)), "{end:?}");
    }
    assert_eq!(cut("<think>hm</thi"), [Part::Thinking("hm".into())]);
}

fn calls_begun(parts: &[Part]) -> usize {
    parts.iter().filter(|part| matches!(part, Part::CallBegin { .. })).count()
}

/// Texts made of what forms are made of: nothing panics, nothing depends on the cut, no letter is lost unless a call
/// took it.
#[test]
fn no_text_is_lost() {
    let mut random = Random::new(99);
    for form in FORMS.iter().chain(FORMS.iter().flat_map(|form| form.also)) {
        let mut words: Vec<&str> = form.markers().filter(|marker| !marker.is_empty()).collect();
        words.extend([
            "{", "}", "[", "]", "(", ")", "\"", "name", ":", ",", "add", "a", "1", "=", "'", "call:", "é",
            " ", "\n",
        ]);
        words.extend(["{\"name\": \"", "\", \"arguments\": {", "</think>", "<think>"]);
        for _ in 0..300 {
            let written: String = (0..random.below(14)).map(|_| words[random.below(words.len())]).collect();
            let parser = parser_of(form);
            let whole = parse(parser.clone(), std::slice::from_ref(&written));
            let cut = pieces(&mut random, &written);
            assert_eq!(parse(parser, &cut), whole, "{}: {written:?} as {cut:?}", form.name);
            if calls_begun(&whole) == 0 && !written.contains("think>") {
                let told: String =
                    whole.iter().map(|part| if let Part::Text(text) = part { text } else { "" }).collect();
                assert_eq!(told, written, "{}", form.name);
            }
        }
    }
}

#[test]
fn thinking_is_told_from_the_answer_however_it_is_cut() {
    let parser = |end: &str| parser(&TAGGED, end, Arc::default());
    let cases = [
        ("\n<think>a</thi b</think>\n\nc <think>", "a</thi b", "c <think>"),
        ("[THINK]é[/THINK]x", "é", "x"),
        ("<thin> no", "", "<thin> no"),
        ("  plain ", "", "  plain "),
        ("<think>\nnever ends </thin\n", "never ends </thin", ""),
        ("<think>\n\n</think>\n\nyes\n", "", "yes\n"),
        ("<|channel>thought\nhm\n<channel|>yes", "hm", "yes"),
        ("<th", "", "<th"),
        ("", "", ""),
    ];
    for (written, thinking, answer) in cases {
        let wanted: Vec<Part> = [Part::Thinking(thinking.into()), text(answer)]
            .into_iter()
            .filter(|part| !matches!(part, Part::Thinking(text) | Part::Text(text) if text.is_empty()))
            .collect();
        assert_eq!(parts_of(&parser("assistant\n"), written), wanted, "{written:?}");
    }
    let opened = parser("<think>\n");
    assert_eq!((opened.stage(), opened.thinking_close()), (Stage::Thinking, Some("</think>")));
    assert_eq!(parts_of(&opened, "so</think>yes"), [Part::Thinking("so".into()), text("yes")]);
    assert_eq!(parts_of(&Parser::none(), " so</think>yes "), [text(" so</think>yes ")]);
    assert_eq!(parts_of(&parser("").begun(), "<think>yes"), [text("<think>yes")]);
}

#[test]
fn markers_of_the_form_are_needed() {
    let with_tools = parser_of(form_of("[TOOL_CALLS][ARGS]").unwrap());
    assert!(with_tools.needs("[TOOL_CALLS]") && with_tools.needs("[ARGS]") && with_tools.needs("</think>"));
    let without = parser(form_of("[TOOL_CALLS][ARGS]").unwrap(), "", Arc::default());
    assert!(!without.needs("[TOOL_CALLS]") && !without.needs("<|im_end|>") && without.needs("[THINK]"));
}
