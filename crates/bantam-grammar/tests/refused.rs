//! What cannot be held to is refused by name and place, and what is hostile is refused soon.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_grammar::{Error, Keyword, Spec};
use common::vocabulary;
use serde_json::{Map, Value, json};

fn refusal(schema: Value) -> Error {
    let text = schema.to_string();
    let text: String = text.chars().take(100).collect();
    vocabulary().compile(&Spec::Schema(schema)).err().unwrap_or_else(|| panic!("{text} was taken"))
}

#[test]
fn keywords_that_would_be_left_out_are_named_with_their_place() {
    let cases = [
        (json!({ "type": "array", "uniqueItems": true }), "uniqueItems", "#"),
        (json!({ "properties": { "a/b": { "not": { "type": "null" } } } }), "not", "#/properties/a~1b"),
        (json!({ "anyOf": [{}, { "if": {}, "then": { "const": 1 } }] }), "if", "#/anyOf/1"),
        (json!({ "items": { "contains": { "const": 1 } } }), "contains", "#/items"),
        (
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "propertyNames": { "maxLength": 3 } } } }),
            "propertyNames",
            "#/$defs/a",
        ),
        (json!({ "dependentRequired": { "a": ["b"] } }), "dependentRequired", "#"),
        (
            json!({ "patternProperties": { "^x": { "unevaluatedProperties": false } } }),
            "unevaluatedProperties",
            "#/patternProperties/^x",
        ),
    ];
    for (schema, keyword, place) in cases {
        let keyword = Keyword { name: keyword.to_owned(), place: place.to_owned() };
        let found = refusal(schema);
        match &found {
            Error::Keywords(keywords) => assert_eq!(keywords[0], keyword),
            other => panic!("{other}"),
        }
    }
    let all = refusal(json!({ "not": {}, "properties": { "a": { "uniqueItems": true, "contains": {} } } }));
    let told = "keywords `not` at #, `uniqueItems` at #/properties/a, `contains` at #/properties/a are not";
    assert!(all.to_string().contains(told), "{all}");
    let many: Map<String, Value> = (0..40).map(|n| (format!("p{n:02}"), json!({ "not": {} }))).collect();
    let many = refusal(json!({ "properties": many })).to_string();
    assert!(many.contains("#/properties/p15 and 24 more are not"), "{many}");
    let format = refusal(json!({ "items": { "format": "regex" } }));
    assert!(
        matches!(&format, Error::Value { keyword: "format", place, .. } if place == "#/items"),
        "{format}"
    );
    // Two free names may be the same one, and then they are one property.
    let free = refusal(json!({ "required": ["a"], "additionalProperties": {}, "minProperties": 3 }));
    assert!(free.to_string().contains("minProperties"), "{free}");
}

#[test]
fn what_restricts_nothing_is_left_out() {
    for schema in [
        json!({ "type": "array", "items": { "const": 1 }, "uniqueItems": false }),
        json!({ "type": "string", "if": { "const": "x" }, "x-guidance": { "lenient": true } }),
        json!({ "type": "object", "propertyNames": {}, "dependencies": {}, "unevaluatedProperties": true }),
        json!({ "type": "null", "$defs": { "unused": { "not": {} } }, "my-own-note": 1 }),
        json!(true),
    ] {
        let compiled = vocabulary().compile(&Spec::Schema(schema.clone()));
        assert!(compiled.is_ok(), "{schema}: {}", compiled.unwrap_err());
    }
}

#[test]
fn references_are_followed_within_the_schema_only() {
    for reference in [
        "http://127.0.0.1:1/schema.json",
        "https://json-schema.org/draft/2020-12/schema",
        "file:///etc/passwd",
        "other.json#/a",
        "#/$defs/none",
        "#nowhere",
    ] {
        let found = refusal(json!({ "properties": { "a": { "$ref": reference } } }));
        let (reference, place) = (reference.to_owned(), "#/properties/a".to_owned());
        assert_eq!(found, Error::Reference { reference, place });
    }
    let target = json!({ "enum": ["x"] });
    for reference in
        ["#/$defs/a~1b", "#/$defs/c%20d", "#named", "urn:own#/$defs/plain", "inner", "#/properties/b/items/0"]
    {
        let schema = json!({
            "$id": "urn:own",
            "$defs": { "a/b": target, "c d": target, "plain": target, "other": { "$anchor": "named", "enum": ["x"] },
                "third": { "$id": "inner", "enum": ["x"] } },
            "properties": { "a": { "$ref": reference }, "b": { "items": [target] } },
            "required": ["a"], "additionalProperties": false, "type": "object",
        });
        let grammar =
            vocabulary().compile(&Spec::Schema(schema)).unwrap_or_else(|e| panic!("{reference}: {e}"));
        assert!(grammar.accepts("{\"a\": \"x\"}"), "{reference}");
        assert!(!grammar.accepts("{\"a\": \"y\"}"), "{reference}");
    }
}

#[test]
fn hostile_schemas_are_refused_or_taken_but_never_followed_for_long() {
    let nested =
        |depth: usize, wrap: &dyn Fn(Value) -> Value| (0..depth).fold(json!({}), |inner, _| wrap(inner));
    let chain: Map<String, Value> =
        (0..5000).map(|i| (format!("d{i}"), json!({ "$ref": format!("#/$defs/d{}", i + 1) }))).collect();
    let wide: Map<String, Value> =
        (0..60_000).map(|i| (format!("p{i}"), json!({ "type": "string" }))).collect();
    let either =
        |inner: Value| json!({ "allOf": [{ "anyOf": [inner, { "type": "null" }] }, { "anyOf": [{}, {}] }] });
    let cases = [
        ("deep", nested(250, &|inner| json!({ "items": inner }))),
        ("a chain of references", json!({ "$ref": "#/$defs/d0", "$defs": chain })),
        ("wide", json!({ "type": "object", "properties": wide })),
        ("many alternatives", nested(40, &either)),
        ("itself", json!({ "$ref": "#" })),
        (
            "each other",
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        ),
        ("many items", json!({ "type": "array", "minItems": 4_000_000_000_u64 })),
        ("a long text", json!({ "type": "string", "minLength": 1u64 << 40 })),
        ("a long pattern", json!({ "type": "string", "pattern": "a".repeat(1 << 20) })),
        ("a deep pattern", json!({ "type": "string", "pattern": "(".repeat(30_000) })),
        ("a large pattern", json!({ "type": "string", "pattern": "((((a{1000}){1000}){1000}){1000}b)+" })),
        ("looking around", json!({ "type": "string", "pattern": "^(?!x).*$" })),
        ("an impossible number", json!({ "type": "integer", "minimum": 5, "maximum": 4 })),
        ("a number out of range", json!({ "type": "integer", "minimum": 1e308, "multipleOf": 1e-300 })),
        ("no schema", json!({ "properties": { "a": 5 } })),
        ("no properties", json!({ "properties": [] , "type": "object"})),
        ("no type", json!({ "type": "thing" })),
        ("false", json!(false)),
        ("text", json!("{}")),
        ("too large", json!({ "description": "x".repeat(3 << 20) })),
    ];
    for (name, schema) in cases {
        // What is taken must be so for a reason: these two only look bad.
        let is_harmless = ["many alternatives", "a large pattern"].contains(&name);
        match vocabulary().compile(&Spec::Schema(schema)) {
            Ok(_) => assert!(is_harmless, "{name} was taken"),
            Err(error) => assert!(error.to_string().len() < 600, "{name}: {error}"),
        }
    }
}

/// What was compiled on a deep stack is followed on that of the engine's thread.
#[test]
fn what_is_large_is_followed_on_a_small_stack() {
    let rules: String = (0..400).map(|i| format!("a{i}: \"(\" a{} \")\"\n", i + 1)).collect();
    for spec in [
        Spec::Regex("[ab][cd]".repeat(2000)),
        Spec::Regex("a|b?".repeat(3000)),
        Spec::Regex("(a|bc?){1,1000}".repeat(500)),
        Spec::Schema(
            json!({ "type": "string", "pattern": "^([ab][cd]|e)".to_owned() + &"[ab][cd]".repeat(1500) }),
        ),
        Spec::Schema(json!({ "enum": (0..20_000).map(|i| i * 7).collect::<Vec<_>>() })),
        Spec::Lark(format!("start: a0\n{rules}a400: \"a\"")),
    ] {
        let Ok(grammar) = vocabulary().compile(&spec) else { continue };
        let mut constraint = grammar.constraint(&bantam_grammar::Start::Now);
        for _ in 0..40 {
            let Ok(bantam_engine::Allowed::Set(words)) = constraint.allowed() else { break };
            let Some(place) = words.iter().position(|word| *word != 0) else { break };
            let token = place as u32 * 32 + words[place].trailing_zeros();
            if constraint.commit(token).is_err() || constraint.forced().is_err() || constraint.is_complete() {
                break;
            }
        }
    }
}

#[test]
fn patterns_and_grammars_that_are_none_are_refused() {
    for spec in [
        Spec::Regex("(".into()),
        Spec::Regex("a".repeat(1 << 20)),
        Spec::Regex(r"(?=a)b".into()),
        Spec::Regex(r"(a)\1".into()),
        Spec::Lark("start: nothing".into()),
        Spec::Lark(String::new()),
        Spec::Lark("start: \"a".into()),
        Spec::Lark("root ::= \"a\"".into()),
        Spec::Lark("start: (".repeat(10_000)),
        Spec::Lark(format!("start: {}", "(".repeat(1 << 20))),
        Spec::Lark(format!(
            "start: a0\n{}",
            (0..400).map(|i| format!("a{i}: a{}\n", i + 1)).collect::<String>()
        )),
        Spec::Choice(Vec::new()),
    ] {
        let error = vocabulary().compile(&spec).expect_err("a refusal");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
