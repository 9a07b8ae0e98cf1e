//! Answers that are held to something, over a script that says what it likes and over a tiny model.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;
#[path = "common/tiny.rs"]
mod tiny;

use common::{Running, chat, served, settings, with};
use serde_json::{Value, json};

fn server() -> Running {
    let mut served = served(Box::new(tiny::engine()));
    (served.context_length, served.sequences_max) = (tiny::CONTEXT_LENGTH, 4);
    Running::serve(settings(), served, Default::default())
}

fn drawn(ask: Value) -> Value {
    with(ask, json!({ "temperature": 0.8, "seed": 3, "max_tokens": 40 }))
}

#[test]
fn every_protocol_holds_answers_to_what_they_are_to_be() {
    let server = server();
    let schema =
        json!({ "type": "array", "items": { "enum": ["a", 7, false] }, "minItems": 2, "maxItems": 3 });
    let is_it = |text: &str| {
        let items: Vec<Value> = serde_json::from_str(text).unwrap();
        items.len() >= 2 && items.iter().all(|item| [json!("a"), json!(7), json!(false)].contains(item))
    };
    let format =
        json!({ "type": "json_schema", "json_schema": { "name": "x", "strict": true, "schema": schema } });
    let reply = server
        .post("/v1/chat/completions", &drawn(with(chat("x"), json!({ "response_format": format, "n": 3 }))));
    let reply = reply.json();
    for choice in reply["choices"].as_array().unwrap() {
        assert!(is_it(choice["message"]["content"].as_str().unwrap()), "{reply}");
        assert_eq!(choice["finish_reason"], "stop");
    }
    let reply =
        server.post("/v1/completions", &drawn(json!({ "prompt": "x", "guided_json": schema }))).json();
    assert!(is_it(reply["choices"][0]["text"].as_str().unwrap()), "{reply}");
    let ask =
        with(chat("x"), json!({ "format": schema, "stream": false, "options": { "temperature": 0.8 } }));
    let reply = server.post("/api/chat", &ask).json();
    assert!(is_it(reply["message"]["content"].as_str().unwrap()), "{reply}");
    let ask = json!({ "model": "tiny", "prompt": "x", "format": schema, "stream": false });
    let reply = server.post("/api/generate", &ask).json();
    assert!(is_it(reply["response"].as_str().unwrap()), "{reply}");
    let config = json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } });
    let reply =
        server.post("/v1/messages", &with(with(chat("x"), json!({ "max_tokens": 40 })), config)).json();
    assert!(is_it(reply["content"][0]["text"].as_str().unwrap()), "{reply}");
    let format = json!({ "type": "json_schema", "name": "x", "schema": schema });
    let ask = json!({ "input": "x", "text": { "format": format }, "max_output_tokens": 40 });
    let reply = server.post("/v1/responses", &ask).json();
    assert!(is_it(reply["output"][0]["content"][0]["text"].as_str().unwrap()), "{reply}");
    let told = &reply["text"]["format"];
    assert_eq!(
        (&told["schema"], &told["description"], &told["strict"]),
        (&schema, &Value::Null, &json!(true))
    );
    assert!(told.as_object().unwrap().contains_key("description"), "it is told even where it is null");
}

#[test]
fn the_stream_is_the_answer_and_figures_are_told() {
    let server = server();
    let ask =
        drawn(with(chat("x"), json!({ "guided_choice": ["red", "reddish", "green"], "logprobs": true })));
    let whole = server.post("/v1/chat/completions", &ask).json();
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(["red", "reddish", "green"].contains(&text), "{whole}");
    let events = server.post("/v1/chat/completions", &with(ask, json!({ "stream": true }))).events();
    let parts = events.iter().filter_map(|(_, event)| event["choices"][0]["delta"]["content"].as_str());
    assert_eq!(parts.collect::<String>(), text);
    let metrics = server.get("/metrics").body;
    let figure = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(figure("bantam:forced_tokens_total") >= 4.0 && figure("bantam:mask_total") >= 2.0, "{metrics}");
}

#[test]
fn an_answer_that_is_cut_short_says_so() {
    let server = server();
    let ask = drawn(with(chat("x"), json!({ "guided_regex": "[ab]{30}" })));
    for more in [json!({ "max_tokens": 10 }), json!({ "stop": ["a", "b"] })] {
        let reply = server.post("/v1/chat/completions", &with(ask.clone(), more)).json();
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{reply}");
    }
    let whole = server.post("/v1/chat/completions", &ask).json();
    assert_eq!(whole["choices"][0]["finish_reason"], "stop", "{whole}");
}

#[test]
fn an_answer_that_runs_out_of_tokens_is_whole_on_every_protocol_and_says_so() {
    let server = server();
    let schema = json!({ "type": "object", "properties": { "a": { "type": "array", "items": { "type": "string" },
        "minItems": 1 }, "b": { "type": "boolean" } }, "required": ["a", "b"], "additionalProperties": false });
    let is_it = |text: &Value| {
        let value: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert!(!value["a"].as_array().unwrap().is_empty() && value["b"].is_boolean(), "{value}");
    };
    for seed in 0..6 {
        let more = json!({ "seed": seed, "max_tokens": 36, "temperature": 1.0, "guided_json": schema });
        let reply = server.post("/v1/chat/completions", &with(chat("x"), more)).json();
        is_it(&reply["choices"][0]["message"]["content"]);
        assert_eq!(reply["choices"][0]["finish_reason"], "length", "{reply}");
    }
    let options =
        json!({ "format": schema, "stream": false, "options": { "num_predict": 36, "temperature": 1.0 } });
    let reply = server.post("/api/chat", &with(chat("x"), options)).json();
    is_it(&reply["message"]["content"]);
    assert_eq!(reply["done_reason"], "length");
    let config = json!({ "max_tokens": 36, "output_config": { "format": { "type": "json_schema", "schema": schema } } });
    let reply = server.post("/v1/messages", &with(chat("x"), config)).json();
    is_it(&reply["content"][0]["text"]);
    assert_eq!(reply["stop_reason"], "max_tokens");
    let format = json!({ "format": { "type": "json_schema", "name": "x", "schema": schema } });
    let ask = json!({ "input": "x", "text": format, "max_output_tokens": 36 });
    let reply = server.post("/v1/responses", &ask).json();
    is_it(&reply["output"][0]["content"][0]["text"]);
    assert_eq!(
        (&reply["status"], &reply["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
}

#[test]
fn what_is_not_what_it_was_to_be_is_never_called_done() {
    let server = Running::new();
    let ask = |said: &str| {
        let ask = with(chat(&format!("say {said}")), json!({ "guided_choice": ["yes", "no"] }));
        server.post("/v1/chat/completions", &ask)
    };
    assert_eq!(ask("yes").json()["choices"][0]["message"]["content"], "yes");
    let failed = ask("maybe");
    assert_eq!(failed.status, 500, "{}", failed.body);
}

#[test]
fn what_cannot_be_held_to_is_refused_by_name() {
    let server = Running::new();
    let schema = json!({ "properties": { "a": { "items": { "not": { "type": "null" } } } } });
    let reply = server.post("/v1/completions", &json!({ "prompt": "say x", "guided_json": schema }));
    let error = &reply.json()["error"];
    let message = error["message"].as_str().unwrap();
    assert!(
        reply.status == 400 && message.contains("`not`") && message.contains("#/properties/a/items"),
        "{message}"
    );
    let reply = server.post("/v1/completions", &json!({ "prompt": "say x", "guided_regex": "(?=x)" }));
    assert_eq!((reply.status, reply.json()["error"]["param"].clone()), (400, json!("guided_regex")));
    assert_eq!(server.signals.submitted(), 0, "nothing came as far as the engine");
}

#[test]
fn a_grammar_in_gbnf_is_held_to() {
    let server = server();
    let list = "root ::= item (\",\" item)* \".\" # a list\nitem ::= \"ab\" | \"(\" item \")\"\n";
    let is_it = |text: &str| {
        let plain = text.replace(['(', ')'], "");
        let items: Vec<&str> = plain.strip_suffix('.').unwrap_or("no").split(',').collect();
        items.iter().all(|item| *item == "ab") && text.matches('(').count() == text.matches(')').count()
    };
    for seed in 0..4 {
        let more = json!({ "grammar": list, "max_tokens": 60, "seed": seed, "temperature": 1.0 });
        let reply = server.post("/v1/chat/completions", &with(chat("x"), more)).json();
        assert!(is_it(reply["choices"][0]["message"]["content"].as_str().unwrap()), "{reply}");
    }
    for field in ["grammar", "guided_grammar"] {
        let ask = with(json!({ "prompt": "x" }), json!({ field: "root ::= \"a\" item\n" }));
        let reply = server.post("/v1/completions", &ask);
        let error = &reply.json()["error"];
        let message = error["message"].as_str().unwrap();
        assert_eq!((reply.status, &error["param"]), (400, &json!(field)), "{message}");
        assert!(message.contains("line 1: there is no rule `item`"), "{message}");
    }
}
