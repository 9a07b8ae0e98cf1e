//! A model of random weights, held to schemas and grammars: what it says holds to them, however it is run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_engine::{Allowed, Constraint, Error, Reason, Settings, Speculation};
use bantam_grammar::{Grammar, Mark, Spec, Start, to_lark};
use common::{END, collect, engine, holds, llama, request, tokenizer, vocabulary};
use serde_json::{Value, json};

fn schemas() -> Vec<Value> {
    vec![
        json!({
            "type": "object",
            "properties": { "name": { "type": "string", "maxLength": 9 }, "age": { "type": "integer" } },
            "required": ["name", "age"],
            "additionalProperties": false,
        }),
        json!({ "type": "array", "items": { "enum": ["red", "green", 3, null] }, "minItems": 1, "maxItems": 5 }),
        json!({ "type": "integer", "minimum": -20, "maximum": 137, "multipleOf": 5 }),
        json!({ "oneOf": [{ "type": "boolean" }, { "type": "null" }, { "const": { "a": [1, "b"] } }] }),
        json!({
            "$defs": { "tree": {
                "type": "object",
                "properties": { "leaf": { "type": "boolean" }, "next": { "$ref": "#/$defs/tree" } },
                "required": ["leaf"],
                "additionalProperties": false,
            }},
            "$ref": "#/$defs/tree",
        }),
        json!({
            "type": "object",
            "properties": {
                "kind": { "const": "point" },
                "at": { "type": "array", "items": { "type": "number", "minimum": 0, "maximum": 1 }, "minItems": 2,
                    "maxItems": 2 },
                "tag": { "type": ["string", "null"], "minLength": 2, "maxLength": 4 },
            },
            "required": ["kind", "at"],
            "additionalProperties": { "type": "boolean" },
        }),
        json!({
            "type": "object",
            "allOf": [{ "properties": { "b": { "anyOf": [{ "const": 1 }, { "const": "x" }] } } }],
            "properties": { "b": { "enum": ["x", 1, true] }, "a": { "type": "boolean" } },
            "required": ["b"], "additionalProperties": false,
        }),
    ]
}

fn compile(spec: &Spec) -> Grammar {
    vocabulary().compile(spec).unwrap()
}

/// What must come is sampled like anything else.
#[derive(Clone, Debug)]
struct Unforced(Box<dyn Constraint>);

impl Constraint for Unforced {
    fn allowed(&mut self) -> Result<Allowed<'_>, Error> {
        self.0.allowed()
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        self.0.commit(token)
    }

    fn forced(&mut self) -> Result<Vec<u32>, Error> {
        Ok(Vec::new())
    }

    fn is_complete(&self) -> bool {
        self.0.is_complete()
    }

    fn in_time(&mut self, token: u32, left: usize) -> Result<Option<u32>, Error> {
        self.0.in_time(token, left)
    }

    fn is_cut_short(&self) -> bool {
        self.0.is_cut_short()
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

#[test]
fn every_answer_holds_to_its_schema() {
    let engine = engine(Settings::default());
    for schema in schemas() {
        let grammar = compile(&Spec::Schema(schema.clone()));
        let streams: Vec<_> = (0..25)
            .map(|seed| engine.submit(request(seed, grammar.constraint(&Start::Now))).unwrap())
            .collect();
        let answers: Vec<_> = streams.into_iter().map(collect).collect();
        let whole: Vec<_> = answers.iter().filter(|answer| answer.is_whole()).collect();
        assert!(whole.len() > 10, "{} of {schema} end", whole.len());
        for answer in whole {
            let value: Value = serde_json::from_str(&answer.text)
                .unwrap_or_else(|error| panic!("{error} in {} for {schema}", answer.text));
            assert!(holds(&value, &schema, &schema), "{} for {schema}", answer.text);
            assert!(grammar.accepts(&answer.text), "{} for {schema}", answer.text);
        }
        assert!(!grammar.accepts("") && !grammar.accepts("[1, ") && !grammar.accepts("{\"zz\": 1, }"));
    }
}

#[test]
fn forced_tokens_are_those_that_would_have_been_sampled() {
    let engine = engine(Settings::default());
    let mut forced_tokens = 0;
    for schema in schemas() {
        let grammar = compile(&Spec::Schema(schema.clone()));
        for seed in 0..6 {
            let forced = engine.submit(request(seed, grammar.constraint(&Start::Now))).unwrap();
            let sampled = Box::new(Unforced(grammar.constraint(&Start::Now)));
            let sampled = engine.submit(request(seed, sampled)).unwrap();
            let (forced, sampled) = (collect(forced), collect(sampled));
            assert_eq!(forced.ids, sampled.ids, "{} and {} for {schema}", forced.text, sampled.text);
            assert_eq!(forced.reason, sampled.reason);
            forced_tokens += forced.usage.forced_tokens;
        }
    }
    assert!(forced_tokens > 100, "{forced_tokens}");
}

#[test]
fn company_and_guesses_change_no_token() {
    let all = schemas();
    let ask = |at: usize| {
        let grammar = compile(&Spec::Schema(all[at].clone()));
        // Some are led to their end.
        let most = if at.is_multiple_of(2) { 400 } else { 20 };
        bantam_engine::Request {
            max_tokens: Some(most),
            ..request(at as u64, grammar.constraint(&Start::Now))
        }
    };
    let alone: Vec<_> = {
        let engine = engine(Settings::default());
        (0..all.len()).map(|at| collect(engine.submit(ask(at)).unwrap())).collect()
    };
    for (step_rows_max, speculation) in [(4, Speculation::Off), (64, Speculation::Draft(llama()))] {
        let engine = engine(Settings { step_rows_max, speculation, ..Settings::default() });
        let streams: Vec<_> = (0..all.len()).map(|at| engine.submit(ask(at)).unwrap()).collect();
        for (alone, stream) in alone.iter().zip(streams) {
            let among = collect(stream);
            assert_eq!((&alone.ids, alone.reason), (&among.ids, among.reason));
        }
    }
}

/// What is asked for, and whether a text is that.
type Case<'a> = (Spec, &'a dyn Fn(&str) -> bool);

#[test]
fn patterns_choices_and_grammars_hold() {
    let engine = engine(Settings::default());
    let choices = ["yes".to_owned(), "no".to_owned(), "not \"now\"".to_owned()];
    let is_choice = |text: &str| choices.iter().any(|choice| choice == text);
    let is_call = |text: &str| {
        let inner = text.strip_prefix("call ").and_then(|text| text.strip_suffix(" end"));
        inner.is_some_and(|inner| serde_json::from_str::<Value>(inner).is_ok_and(|v| v["a"].is_boolean()))
    };
    let is_nest = |text: &str| {
        let inner = text.trim_start_matches(['(', '[']);
        let opened: Vec<char> = text[..text.len() - inner.len()].chars().rev().collect();
        let end = inner.find([')', ']']).unwrap_or(inner.len());
        let (front, back) = inner[..end].split_once(',').unwrap_or((&inner[..end], "0"));
        let closed: String = opened.iter().map(|c| if *c == '(' { ')' } else { ']' }).collect();
        let is_front = !front.is_empty() && front.bytes().all(|byte| b"ab".contains(&byte));
        is_front && !back.is_empty() && back.bytes().all(|b| b.is_ascii_digit()) && inner[end..] == closed
    };
    let inner = to_lark(&json!({
        "type": "object", "properties": { "a": { "type": "boolean" } }, "required": ["a"],
        "additionalProperties": false,
    }));
    let nest = "root ::= \"(\" root \")\" | \"[\" root \"]\" | [ab]+ (\",\" [0-9]+)?";
    let cases: [Case<'_>; 5] = [
        (Spec::Gbnf(nest.into()), &is_nest),
        (Spec::Choice(choices.to_vec()), &is_choice),
        (Spec::Regex("^[ab]{2,4}-[0-9]$".into()), &|text| {
            let (front, back) = text.split_once('-').unwrap();
            let is_ab = front.bytes().all(|byte| byte == b'a' || byte == b'b');
            is_ab
                && (2..=4).contains(&front.len())
                && back.len() == 1
                && back.bytes().all(|b| b.is_ascii_digit())
        }),
        (Spec::Lark(format!("start: \"call \" {} \" end\"", inner.unwrap())), &is_call),
        (Spec::Object, &|text| match serde_json::from_str::<Value>(text) {
            Ok(value) => value.is_object(),
            // A number of many digits is JSON, and no number of this reader's.
            Err(error) => error.to_string().contains("out of range"),
        }),
    ];
    for (spec, holds) in cases {
        let grammar = compile(&spec);
        let asks = (0..12).map(|seed| request(seed, grammar.constraint(&Start::Now)));
        let streams: Vec<_> = asks.map(|ask| engine.submit(ask).unwrap()).collect();
        let answers: Vec<_> = streams.into_iter().map(collect).filter(|answer| answer.is_whole()).collect();
        assert!(answers.len() > 4 || matches!(spec, Spec::Object), "{} of {spec:?}", answers.len());
        for answer in answers {
            assert!(holds(&answer.text), "{} for {spec:?}", answer.text);
        }
    }
}

/// Answers of at most so many tokens, to one grammar, with several seeds.
fn limited(
    engine: &bantam_engine::Engine,
    grammar: &Grammar,
    start: &Start,
    most: usize,
) -> Vec<common::Answer> {
    let ask =
        |seed| bantam_engine::Request { max_tokens: Some(most), ..request(seed, grammar.constraint(start)) };
    let streams: Vec<_> = (0..8).map(|seed| engine.submit(ask(seed)).unwrap()).collect();
    streams.into_iter().map(collect).collect()
}

/// Each schema with the shortest of its values: a token is at least a byte of it.
fn leasts() -> Vec<(Value, &'static str)> {
    let mut all: Vec<_> = schemas()
        .into_iter()
        .zip([
            "{\"name\": \"\", \"age\": 0}",
            "[3]",
            "0",
            "null",
            "{\"leaf\": true}",
            "{\"kind\": \"point\", \"at\": [0, 0]}",
            "{\"b\": 1}",
        ])
        .collect();
    let text = |least: usize| json!({ "type": "string", "minLength": least });
    let person = json!({
        "type": "object",
        "properties": { "friends": { "type": "array", "items": { "$ref": "#" } }, "spouse": { "$ref": "#" },
            "zip": { "type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$" }, "note": text(12), "name": text(0) },
        "required": ["name", "zip"], "additionalProperties": false,
    });
    all.push((person, "{\"zip\": \"00000\", \"name\": \"\"}"));
    all.push((
        json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "array" } },
        "required": ["a", "b"] }),
        "{\"a\": \"\", \"b\": []}",
    ));
    let deep = (0..6).fold(json!({ "type": "null" }), |inner, _| {
        json!({
        "type": "object", "properties": { "k": inner }, "required": ["k"], "additionalProperties": false })
    });
    all.push((json!({ "type": "array", "items": { "anyOf": [deep, { "type": "boolean" }] } }), "[]"));
    // A pattern that may begin anywhere lets any text go on for ever.
    let code = json!({ "type": "string", "pattern": "[a-f]{2}-[0-9]{3}t" });
    let long = json!({ "type": "string", "pattern": "[0-9]", "minLength": 6 });
    let above = json!({ "type": "number", "exclusiveMinimum": 0 });
    all.push((code.clone(), "\"aa-000t\""));
    let several = json!({ "type": "object", "patternProperties": { "^k[0-9]+$": above }, "minProperties": 1,
        "properties": { "code": code, "long": long }, "required": ["code", "long"], "additionalProperties": false });
    all.push((several, "{\"code\": \"aa-000t\", \"long\": \"aaaaa0\"}"));
    all.push((above, "0.01"));
    let switch = json!({ "enum": ["on", "neither on nor off as far as one can tell"] });
    let switches = json!({ "type": "object", "properties": { "name": { "type": "string" }, "a": switch, "b": switch },
        "required": ["name", "a", "b"], "additionalProperties": false });
    all.push((switches, "{\"name\": \"\", \"a\": \"on\", \"b\": \"on\"}"));
    all
}

#[test]
fn whatever_its_limit_an_answer_is_whole_if_there_is_one_so_short() {
    let engine = engine(Settings::default());
    let (mut cut, mut broken) = (0, 0);
    for (schema, least) in leasts() {
        let grammar = compile(&Spec::Schema(schema.clone()));
        assert!(grammar.accepts(least), "{least} for {schema}");
        for most in [1, 3, 5, least.len(), least.len() + 1, least.len() + 9, 60, 150] {
            for answer in limited(&engine, &grammar, &Start::Now, most) {
                let is_right = grammar.accepts(&answer.text);
                let fits = most >= least.len();
                assert!(
                    is_right || !fits && answer.reason == Reason::Length,
                    "{} of {most} for {schema}",
                    answer.text
                );
                assert!(answer.ids.len() <= most);
                cut += usize::from(is_right && answer.reason == Reason::Length);
                broken += usize::from(!is_right);
            }
        }
    }
    assert!(cut > 200 && broken > 50, "{cut} were led to their end, {broken} had none so short");
}

#[test]
fn free_names_are_counted_and_descents_are_left() {
    let engine = engine(Settings::default());
    let several = json!({ "type": "object", "additionalProperties": { "type": "integer" }, "minProperties": 2,
        "required": ["a"] });
    let tree = json!({
        "$defs": { "tree": { "anyOf": [
            { "type": "object", "properties": { "k": { "enum": ["b"] },
                "of": { "type": "array", "items": { "$ref": "#/$defs/tree" }, "minItems": 1 } },
                "required": ["k", "of"], "additionalProperties": false },
            { "type": "object", "properties": { "k": { "enum": ["leaf"] } }, "required": ["k"],
                "additionalProperties": false },
        ] } },
        "$ref": "#/$defs/tree",
    });
    for (schema, mosts) in [(several, 30..34), (tree, 180..220)] {
        let grammar = compile(&Spec::Schema(schema.clone()));
        for answer in mosts.flat_map(|most| limited(&engine, &grammar, &Start::Now, most)) {
            let value: Value =
                serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{}", answer.text));
            assert!(holds(&value, &schema, &schema), "{} for {schema}", answer.text);
        }
    }
}

const JSON_IN_GBNF: &str = r#"
root   ::= object
value  ::= object | "[" ws (value ws ("," ws value ws)*)? "]" | string | number | "true" | "false" | "null"
object ::= "{" ws (string ws ":" ws value ws ("," ws string ws ":" ws value ws)*)? "}"
string ::= "\"" ([^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4}))* "\""
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)?
ws     ::= ([ \n] ws)?
"#;

#[test]
fn other_grammars_are_led_to_their_end_too() {
    let engine = engine(Settings::default());
    let mut cut = 0;
    let inner = to_lark(&json!({
        "type": "object", "properties": { "q": { "type": "string" }, "n": { "type": "integer" } }, "required": ["n"],
        "additionalProperties": false,
    })).unwrap();
    let cases = [
        (Spec::Regex("a+-[ab]+!".into()), 6),
        (Spec::Regex("(no|[a-m]{3}[.][0-9]*)x".into()), 5),
        (Spec::Regex("[ab]{30}".into()), 30),
        (Spec::Regex("([a-z0-9-]+:)?[a-z0-9-]+:[0-9]+-[0-9]+".into()), 14),
        (Spec::Choice(vec!["yes".into(), "no".into(), "n, and that is the end of it".into()]), 2),
        (Spec::Lark(format!("start: \"call \" {inner} \" end\" (\" or \" start)?")), 17),
        (Spec::Gbnf("root ::= \"(\" root \")\" | [a-m]+ \";\"".into()), 2),
        (Spec::Gbnf(JSON_IN_GBNF.into()), 2),
        (Spec::Object, 2),
    ];
    for (spec, least) in cases {
        let grammar = compile(&spec);
        for most in [least, least + 2, least + 20, 70] {
            for answer in limited(&engine, &grammar, &Start::Now, most) {
                assert!(grammar.accepts(&answer.text), "{} of {most} for {spec:?}", answer.text);
                cut += usize::from(answer.reason == Reason::Length);
            }
        }
        let short = limited(&engine, &grammar, &Start::Now, 1);
        assert!(short.iter().all(|answer| answer.reason == Reason::Length && !grammar.accepts(&answer.text)));
    }
    assert!(cut > 40, "{cut}");
}

#[test]
fn the_end_of_the_context_is_an_end_in_time_too() {
    let engine = engine(Settings::default());
    let grammar = compile(&Spec::Object);
    let ask =
        |seed| bantam_engine::Request { max_tokens: None, ..request(seed, grammar.constraint(&Start::Now)) };
    let answers = (0..12).map(|seed| collect(engine.submit(ask(seed)).unwrap()));
    let cut: Vec<_> = answers.filter(|answer| answer.reason == Reason::Length).collect();
    assert!(!cut.is_empty());
    for answer in cut {
        assert!(grammar.accepts(&answer.text), "{}", answer.text);
    }
}

#[test]
fn thinking_leaves_time_for_an_answer() {
    let engine = engine(Settings::default());
    let schema = schemas().remove(0);
    let grammar = compile(&Spec::Schema(schema));
    let close = Mark::of("</think>", &tokenizer());
    let starts = [
        (Start::After(close.clone()), "</think>"),
        (Start::After(Mark::Text("so:".into())), "so:"),
        (Start::MayThink { open: 2, close }, "</think>"),
    ];
    for (start, mark) in starts {
        for most in [40, 120] {
            for answer in limited(&engine, &grammar, &start, most) {
                let text = tokenizer().to_text(&answer.ids, bantam_text::Shown::All);
                let (_, text) = text.split_once(mark).unwrap_or(("", &text));
                assert!(grammar.accepts(text.trim()), "{text} of {most} behind {mark}");
            }
        }
    }
}

/// Feeds a constraint with tokens, each of which must be allowed.
fn feed(constraint: &mut dyn Constraint, ids: &[u32]) {
    for id in ids {
        assert!(is_allowed(constraint, *id), "token {id} of {ids:?}");
        constraint.commit(*id).unwrap();
    }
}

fn is_allowed(constraint: &mut dyn Constraint, id: u32) -> bool {
    match constraint.allowed().unwrap() {
        Allowed::All => true,
        Allowed::Set(words) => words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1),
    }
}

#[test]
fn a_grammar_can_begin_behind_the_thinking() {
    let grammar = compile(&Spec::Choice(vec!["yes".into(), "no".into()]));
    let ids = |text: &str| tokenizer().to_ids(text, bantam_text::Special::Parse).unwrap();
    let close = Mark::of("</think>", &tokenizer());
    assert_eq!(close, Mark::Token(3));
    let marks = [close.clone(), Mark::Text("</think>".into()), Mark::Text("so, na".into())];
    let thoughts = ["no yes</think>", "no yes</think>", "I say so, name"];
    for (mark, thought) in marks.into_iter().zip(thoughts) {
        let mut constraint = grammar.constraint(&Start::After(mark));
        assert!(constraint.forced().unwrap().is_empty());
        assert!(!is_allowed(&mut *constraint, END), "an answer is still to come");
        if thought.ends_with("name") {
            // The mark ends within a token whose rest is no answer.
            let (last, front) = (ids("nam"), ids("I say so, "));
            feed(&mut *constraint, &front);
            assert!(constraint.commit(last[0]).is_err());
            continue;
        }
        feed(&mut *constraint, &ids(thought));
        assert!(!is_allowed(&mut *constraint, ids("a")[0]));
        feed(&mut *constraint, &ids("yes"));
        assert!(constraint.is_complete());
    }
    let start = Start::MayThink { open: 2, close };
    let mut thinking = grammar.constraint(&start);
    let mut not = thinking.fork();
    assert!(!is_allowed(&mut *not, ids("a")[0]));
    feed(&mut *not, &ids("no"));
    assert!(not.is_complete());
    feed(&mut *thinking, &ids("<think>ag</think>no"));
    assert!(thinking.is_complete());
}
