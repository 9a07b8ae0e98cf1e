//! The grammar of each dialect, beside its writer and its parser: what is written passes, and what passes is read.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;

use bantam_engine::{Allowed, Constraint};
use bantam_grammar::{Grammar, Spec, Start, Vocabulary, to_lark};
use bantam_text::{Calling, ChatTemplate, Dialect, GgufVocab, Part, Special, Tokenizer, Tool};
use serde_json::{Map, Value, json};

/// Texts by which dialects are known.
const SIGNS: [&str; 22] = [
    "<tool_call>",
    "<tool_call><function=<parameter=",
    "<seed:tool_call>",
    "<minimax:tool_call>",
    "<function name=<param name=",
    "<tool_call><arg_key><arg_value>",
    "<function=",
    "<|tools_prefix|>",
    "<|START_ACTION|>",
    "<TOOLCALL>",
    "<tool_calls>",
    "<function_calls>",
    "<|tool_call_start|>",
    "<|tool_call>",
    "<start_function_call>",
    "<｜tool▁calls▁begin｜>```json",
    "<｜tool▁calls▁begin｜>",
    "[TOOL_CALLS][ARGS]",
    "[TOOL_CALLS]",
    "<|/tool_call|>",
    "<|tool_call|>",
    "<|python_tag|>",
];

fn dialect(signs: &str) -> Dialect {
    Dialect::of(&ChatTemplate::compile(&format!("{{# {signs} #}}"), "", "").unwrap())
}

/// All bytes, an end, and these special tokens.
fn tokenizer(special: &[&str]) -> Tokenizer {
    let spelled = |byte: u8| {
        let is_itself = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let hidden = (0..byte).filter(|b| !is_itself(b)).count() as u32;
        let c = if is_itself(&byte) { u32::from(byte) } else { 0x100 + hidden };
        char::from_u32(c).unwrap().to_string()
    };
    let pieces: Vec<String> = (0..=255).map(spelled).collect();
    let special: Vec<&str> = std::iter::once("<|end|>").chain(special.iter().copied()).collect();
    let tokens: Vec<&[u8]> =
        special.iter().copied().chain(pieces.iter().map(String::as_str)).map(str::as_bytes).collect();
    let mut token_types = vec![3; special.len()];
    token_types.resize(tokens.len(), 1);
    let vocab = GgufVocab {
        model: "gpt2",
        pre: Some("qwen2"),
        tokens: tokens.into(),
        token_types,
        eos: Some(0),
        add_bos: Some(false),
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(&vocab).unwrap()
}

/// Marks that vocabularies have tokens for.
fn tokens(dialect: &Dialect) -> Vec<&'static str> {
    let is_token = |mark: &&str| {
        (mark.starts_with('<') && mark.ends_with('>') && mark.len() > 3)
            || (mark.starts_with('[') && mark.ends_with(']'))
    };
    dialect.markers().into_iter().filter(is_token).collect()
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn tool(name: &str, parameters: Value) -> Tool {
    Tool { name: name.into(), description: String::new(), parameters: object(parameters), is_strict: true }
}

/// Tools of which all arguments are short.
fn tools() -> Vec<Tool> {
    let trip = json!({ "type": "object", "required": ["city"], "properties": {
        "city": { "type": "string", "enum": ["Rome", "Oslo é"] },
        "days": { "type": "integer", "minimum": 1, "maximum": 30 },
        "train": { "type": "boolean" },
    }});
    let free = json!({ "type": "object", "properties": { "on": { "type": "boolean" }, "n": { "enum": ["a", "b"] } } });
    vec![tool("trip", trip), tool("free", free), tool("now", json!({ "type": "object", "properties": {} }))]
}

fn grammar(
    dialect: &Dialect,
    tools: &[Tool],
    calling: Calling<'_>,
    several: bool,
    tokenizer: &Tokenizer,
) -> Option<Grammar> {
    let of = |_: &Tool, schema: &Value| to_lark(schema);
    let lark = dialect.grammar(tools, calling, several, tokenizer, &of).unwrap()?;
    let vocabulary = Vocabulary::new(tokenizer, tokenizer.vocab_size(), &[0]);
    Some(vocabulary.compile(&Spec::Lark(lark.clone())).unwrap_or_else(|error| panic!("{error}: {lark}")))
}

fn allows(constraint: &mut Box<dyn Constraint>, id: u32) -> bool {
    match constraint.allowed().unwrap() {
        Allowed::All => true,
        Allowed::Set(words) => words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1),
    }
}

/// How many of the tokens pass, and whether that may be all.
fn passes(grammar: &Grammar, ids: &[u32]) -> (usize, bool) {
    let mut constraint = grammar.constraint(&Start::Now);
    for (at, &id) in ids.iter().enumerate() {
        if constraint.is_complete() || !allows(&mut constraint, id) {
            return (at, false);
        }
        constraint.commit(id).unwrap();
    }
    (ids.len(), constraint.is_complete() || allows(&mut constraint, 0))
}

fn calls(dialect: &Dialect, text: &str, tools: &[Tool]) -> (Vec<(String, Value)>, String) {
    let mut parser = dialect.parser("", Arc::from(tools));
    let mut parts = parser.push(text);
    parts.extend(parser.finish());
    let (mut calls, mut said) = (Vec::new(), String::new());
    for part in parts {
        match part {
            Part::CallBegin { name, .. } => calls.push((name, Value::Null)),
            Part::CallArguments(text) => calls.last_mut().unwrap().1 = serde_json::from_str(&text).unwrap(),
            Part::Text(text) => said.push_str(&text),
            Part::Thinking(_) | Part::CallEnd => {}
        }
    }
    (calls, said)
}

#[test]
fn what_a_dialect_writes_passes_its_grammar() {
    let trip = object(json!({ "city": "Rome", "days": 3, "train": true }));
    let short = object(json!({ "city": "Oslo é" }));
    let some = object(json!({ "n": "b" }));
    for signs in SIGNS {
        let dialect = dialect(signs);
        let markers = tokens(&dialect);
        for special in [&[][..], &markers] {
            let tokenizer = tokenizer(special);
            for written in
                [&[("trip", &trip)][..], &[("trip", &short)], &[("free", &some)], &[("now", &Map::new())]]
            {
                let text = dialect.write(written);
                let ids = tokenizer.to_ids(&text, Special::Parse).unwrap();
                let grammar = grammar(&dialect, &tools(), Calling::Required, false, &tokenizer).unwrap();
                let (count, is_end) = passes(&grammar, &ids);
                let left = tokenizer.to_text(&ids[count..], bantam_text::Shown::All);
                assert!(is_end, "{}: {text:?} but for {left:?} ({count})", dialect.name());
                let unknown = tokenizer.to_ids(&text.replace(written[0].0, "rm"), Special::Parse).unwrap();
                assert!(passes(&grammar, &unknown).0 < unknown.len());
            }
        }
    }
}

#[test]
fn free_texts_pass_where_the_schema_has_them() {
    let schema = json!({ "type": "object", "required": ["text"], "properties": {
        "text": { "type": "string" }, "more": { "type": "array", "items": { "type": "string" } },
    }});
    let tools = [tool("note", schema)];
    let note = object(json!({ "text": "two\nlines, é {}", "more": ["a", "b"] }));
    for signs in SIGNS {
        let (dialect, tokenizer) = (dialect(signs), tokenizer(&[]));
        let text = dialect.write(&[("note", &note)]);
        let grammar = grammar(&dialect, &tools, Calling::Required, true, &tokenizer).unwrap();
        let ids = tokenizer.to_ids(&text, Special::Parse).unwrap();
        let (count, is_end) = passes(&grammar, &ids);
        assert!(is_end, "{}: {text:?} up to {count}", dialect.name());
        assert_eq!(calls(&dialect, &text, &tools).0, [("note".to_owned(), Value::Object(note.clone()))]);
    }
}

/// Marsaglia's xorshift64*.
fn random(state: &mut u64) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize
}

fn is_valid((name, arguments): &(String, Value)) -> bool {
    let has_only =
        |known: &[&str]| arguments.as_object().unwrap().keys().all(|key| known.contains(&key.as_str()));
    match name.as_str() {
        "trip" => {
            has_only(&["city", "days", "train"])
                && arguments["city"].as_str().is_some_and(|city| ["Rome", "Oslo é"].contains(&city))
                && (arguments["days"].is_null()
                    || arguments["days"].as_i64().is_some_and(|days| (1..=30).contains(&days)))
                && (arguments["train"].is_null() || arguments["train"].is_boolean())
        }
        "free" => {
            has_only(&["on", "n"])
                && (arguments["n"].is_null() || arguments["n"] == "a" || arguments["n"] == "b")
        }
        _ => has_only(&[]),
    }
}

/// A model that chooses at random among what passes writes calls and nothing else.
#[test]
fn what_passes_is_read_as_calls() {
    let mut state = 41;
    for signs in SIGNS {
        let dialect = dialect(signs);
        let markers = tokens(&dialect);
        for special in [&[][..], &markers] {
            let tokenizer = tokenizer(special);
            for several in [false, true] {
                let grammar = grammar(&dialect, &tools(), Calling::Required, several, &tokenizer).unwrap();
                let mut constraint = grammar.constraint(&Start::Now);
                let mut ids = Vec::new();
                while !constraint.is_complete() && ids.len() < 6000 {
                    let all: Vec<u32> = (0..tokenizer.vocab_size() as u32)
                        .filter(|id| allows(&mut constraint, *id))
                        .collect();
                    let id = all[random(&mut state) % all.len()];
                    if id == 0 {
                        break;
                    }
                    ids.push(id);
                    constraint.commit(id).unwrap();
                }
                let text = tokenizer.to_text(&ids, bantam_text::Shown::All);
                let (calls, said) = calls(&dialect, &text, &tools());
                assert!(said.is_empty() && !calls.is_empty(), "{}: {text:?} gives {said:?}", dialect.name());
                assert!(several || calls.len() == 1, "{text:?}");
                assert!(calls.iter().all(is_valid), "{}: {calls:?}", dialect.name());
            }
        }
    }
}

#[test]
fn a_text_is_free_until_a_call_begins() {
    for signs in SIGNS {
        let dialect = dialect(signs);
        let markers = tokens(&dialect);
        let call = dialect.write(&[("trip", &object(json!({ "city": "Rome" })))]);
        for special in [&[][..], &markers] {
            let tokenizer = tokenizer(special);
            let Some(grammar) = grammar(&dialect, &tools(), Calling::Allowed, false, &tokenizer) else {
                assert_eq!(signs, "<|python_tag|>", "calls of all others have a mark");
                continue;
            };
            let ids = |text: &str| tokenizer.to_ids(text, Special::Parse).unwrap();
            let passed = |text: &str| passes(&grammar, &ids(text)) == (ids(text).len(), true);
            assert!(passed("So it is: {\"a\": [1]} < 2 >."), "{}", dialect.name());
            assert!(passed(&call) && passed(&format!("I see.\n\n{call}")), "{}: {call}", dialect.name());
            let wrong = format!("I see. {}", call.replace("trip", "tr9p"));
            assert!(!passed(&wrong), "{}: {wrong}", dialect.name());
        }
    }
}

/// What may come behind free text is told as the parser would compute it, and costs a computation only where a mark may
/// have begun: elsewhere it is the same list in memory.
#[test]
fn free_text_costs_no_mask() {
    let mut state = 97;
    for signs in SIGNS {
        let dialect = dialect(signs);
        let markers = tokens(&dialect);
        for special in [&[][..], &markers] {
            let tokenizer = tokenizer(special);
            let Some(computed) = grammar(&dialect, &tools(), Calling::Allowed, true, &tokenizer) else {
                continue;
            };
            let mark = dialect.call_mark();
            let call = dialect.write(&[("trip", &object(json!({ "city": "Oslo é" })))]);
            let mut words = vec!["é", "😀", " ", "\n", "a", "{\"", "<", "[", mark.get(..3).unwrap_or("<t")];
            words.push(&mark[..mark.len() - 1]);
            for _ in 0..3 {
                let mut text: String = (0..40).map(|_| words[random(&mut state) % words.len()]).collect();
                text.push_str(&call);
                let ids = tokenizer.to_ids(&text, Special::Parse).unwrap();
                let (all, free) = both(&computed, &computed.clone().free_until(mark), &ids);
                assert!(all >= 40 && free > 0, "{}: {free} of {all}", dialect.name());
            }
            let plain = tokenizer.to_ids(&"It is warm, é. ".repeat(9), Special::Parse).unwrap();
            let (all, free) = both(&computed, &computed.clone().free_until(mark), &plain);
            // But for those within a letter.
            assert_eq!((all, free), (plain.len(), plain.len() - 9), "{}", dialect.name());
        }
    }
}

/// Follows tokens with both grammars, which must allow the same; how many of them were followed, and for how many the
/// second had nothing to compute.
fn both(computed: &Grammar, known: &Grammar, ids: &[u32]) -> (usize, usize) {
    let (mut computed, mut known) = (computed.constraint(&Start::Now), known.constraint(&Start::Now));
    let set = |constraint: &mut Box<dyn Constraint>| match constraint.allowed().unwrap() {
        Allowed::All => panic!("a grammar allows what it names"),
        Allowed::Set(words) => (words.as_ptr(), words.to_vec()),
    };
    let (first, mut free) = (set(&mut known).0, 0);
    for (at, &id) in ids.iter().enumerate() {
        let (place, allowed) = set(&mut known);
        assert_eq!(allowed, set(&mut computed).1, "behind {at} of {ids:?}");
        assert_eq!(known.forced().unwrap(), computed.forced().unwrap(), "behind {at} of {ids:?}");
        free += usize::from(place == first);
        if known.is_complete() || !allows(&mut known, id) {
            return (at, free);
        }
        known.commit(id).unwrap();
        computed.commit(id).unwrap();
    }
    (ids.len(), free)
}
