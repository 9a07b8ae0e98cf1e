//! Tools and thinking in all protocols: one meaning, each in its own form.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_text::ChatTemplate;
use common::{Running, chat, settings, with};
use serde_json::{Value, json};

const CALL: &str = r#"<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>"#;

fn server() -> Running {
    Running::with(settings(), |served| served.context_length = 4000)
}

fn tools() -> Value {
    let add = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    json!([
        { "type": "function", "function": { "name": "add", "description": "Adds.", "parameters": add } },
        { "type": "function", "function": { "name": "now" } },
    ])
}

fn asked(say: &str) -> Value {
    with(chat(&format!("say {say}")), json!({ "tools": tools() }))
}

fn anthropic(say: &str) -> Value {
    let add = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    with(
        chat(&format!("say {say}")),
        json!({ "max_tokens": 300, "tools": [{ "name": "add", "input_schema": add }] }),
    )
}

#[test]
fn calls_come_apart_from_text_with_their_own_reason() {
    let server = server();
    let reply = server.post("/v1/chat/completions", &asked(&format!("I see.\n{CALL}\n{CALL}"))).json();
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!("I see."))
    );
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["function"], json!({ "name": "add", "arguments": "{\"a\": 1}" }));
    assert!(calls[0]["type"] == "function" && calls[0]["id"] != calls[1]["id"]);
    let reply = server.post("/v1/chat/completions", &asked(CALL)).json();
    assert_eq!(reply["choices"][0]["message"]["content"], Value::Null);
}

#[test]
fn a_call_streams_its_name_once_and_its_number_always() {
    let server = server();
    let ask = with(asked(&format!("Hm.{CALL}")), json!({ "stream": true }));
    let events = server.post("/v1/chat/completions", &ask).events();
    let deltas: Vec<&Value> = events.iter().map(|(_, data)| &data["choices"][0]["delta"]).collect();
    let content: String = deltas.iter().filter_map(|delta| delta["content"].as_str()).collect();
    assert_eq!(content, "Hm.");
    let calls: Vec<&Value> =
        deltas.iter().filter_map(|d| d["tool_calls"].as_array()).map(|calls| &calls[0]).collect();
    assert_eq!(
        (&calls[0]["function"]["name"], &calls[0]["function"]["arguments"]),
        (&json!("add"), &json!(""))
    );
    assert!(calls.iter().all(|call| call["index"] == 0));
    assert!(calls[1..].iter().all(|call| call["id"].is_null() && call["function"]["name"].is_null()));
    let arguments: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, "{\"a\": 1}");
    let end = &events[events.len() - 2].1["choices"][0];
    assert_eq!((&end["delta"], &end["finish_reason"]), (&json!({}), &json!("tool_calls")));
}

#[test]
fn what_is_no_call_is_text() {
    let server = server();
    let unknown = CALL.replace("add", "rm");
    let broken = CALL.replace("1}}", "1");
    for said in [unknown.as_str(), broken.as_str(), "plain"] {
        let choice = &server.post("/v1/chat/completions", &asked(said)).json()["choices"][0];
        assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(said), &json!("stop")));
        assert_eq!(choice["message"]["tool_calls"], Value::Null);
    }
    let none = with(asked(CALL), json!({ "tool_choice": "none" }));
    assert_eq!(server.post("/v1/chat/completions", &none).json()["choices"][0]["message"]["content"], CALL);
    let cut = with(asked(CALL), json!({ "max_tokens": 40 }));
    let choice = &server.post("/v1/chat/completions", &cut).json()["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!(&CALL[..40]), &json!("length"))
    );
}

#[test]
fn a_message_has_blocks_of_tool_use() {
    let server = server();
    let whole = server.post("/v1/messages", &anthropic(&format!("Hm.{CALL}"))).json();
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(whole["content"][0], json!({ "type": "text", "text": "Hm.", "citations": null }));
    let call = &whole["content"][1];
    assert_eq!(
        (&call["type"], &call["name"], &call["input"]),
        (&json!("tool_use"), &json!("add"), &json!({ "a": 1 }))
    );
    assert!(call["id"].as_str().unwrap().starts_with("toolu_"));
    let ask = with(anthropic(&format!("Hm.{CALL}")), json!({ "stream": true }));
    let events = server.post("/v1/messages", &ask).events();
    let starts: Vec<&Value> =
        events.iter().filter(|(name, _)| name == "content_block_start").map(|(_, data)| data).collect();
    assert_eq!((starts.len(), &starts[1]["index"]), (2, &json!(1)));
    assert_eq!(
        (&starts[1]["content_block"]["input"], &starts[1]["content_block"]["name"]),
        (&json!({}), &json!("add"))
    );
    let json: String = events.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str()).collect();
    assert_eq!(json, "{\"a\": 1}");
    let stops = events.iter().filter(|(name, _)| name == "content_block_stop").count();
    assert_eq!((stops, &events[events.len() - 2].1["delta"]["stop_reason"]), (2, &json!("tool_use")));
}

#[test]
fn arguments_are_an_object_in_lines() {
    let server = server();
    let lines = server.post("/api/chat", &asked(&format!("Hm.{CALL}{CALL}"))).lines();
    let calls: Vec<&Value> =
        lines.iter().filter_map(|line| line["message"]["tool_calls"].as_array()).flatten().collect();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[1]["function"], json!({ "index": 1, "name": "add", "arguments": { "a": 1 } }));
    let last = lines.last().unwrap();
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    let whole = server.post("/api/chat", &with(asked(CALL), json!({ "stream": false }))).json();
    assert_eq!(whole["message"]["tool_calls"][0]["function"]["arguments"], json!({ "a": 1 }));
    assert_eq!(whole["message"]["content"], "");
}

#[test]
fn one_call_is_all_where_more_are_not_wanted() {
    let server = server();
    let ask = with(asked(&format!("{CALL}{CALL}")), json!({ "parallel_tool_calls": false }));
    let choice = &server.post("/v1/chat/completions", &ask).json()["choices"][0];
    assert_eq!(choice["message"]["tool_calls"].as_array().unwrap().len(), 1);
    assert_eq!(choice["finish_reason"], "tool_calls");
}

/// Calls and results as the three protocols send them back.
fn conversations() -> [(&'static str, Value); 2] {
    let call = json!({ "id": "call_7", "type": "function", "function": { "name": "add", "arguments": "{\"a\": 1}" } });
    let open = json!([
        { "role": "user", "content": "Add." },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call_7", "content": "2" },
    ]);
    let blocks = json!([
        { "role": "user", "content": "Add." },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_7", "name": "add", "input": { "a": 1 } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_7", "content": [{ "type": "text", "text": "2" }] }] },
    ]);
    [("/v1/chat/completions", open), ("/v1/messages", blocks)]
}

#[test]
fn results_come_back_the_same_from_all_protocols() {
    let server = server();
    let [(_, open), (_, blocks)] = conversations();
    let count = |path: &str, ask: Value| server.post(path, &ask).json();
    let usage =
        count("/v1/chat/completions", json!({ "model": "tiny", "messages": open, "tools": [tools()[0]] }));
    let add = tools()[0]["function"].clone();
    let tool = json!({ "name": "add", "description": "Adds.", "input_schema": add["parameters"] });
    let ask = json!({ "model": "tiny", "messages": blocks, "tools": [tool], "max_tokens": 1 });
    let counted = count("/v1/messages/count_tokens", ask);
    assert_eq!(usage["usage"]["prompt_tokens"], counted["input_tokens"]);
    let ask = json!({ "messages": conversations()[0].1, "tools": [tools()[0]] });
    let prompt = server.post("/apply-template", &ask).json()["prompt"].as_str().unwrap().to_owned();
    let call = "<|begin|>assistant\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call><|end|>\n";
    assert!(prompt.contains(call), "{prompt}");
    assert!(
        prompt.ends_with("<|begin|>user\n<tool_response>\n2\n</tool_response><|end|>\n<|begin|>assistant\n")
    );
    assert!(prompt.starts_with("<|begin|>system\n") && prompt.contains("Adds."), "{prompt}");
}

#[test]
fn a_template_that_knows_tools_is_given_them() {
    let template = "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}<|begin|>{{ m.role }}\n\
                    {{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}\
                    <|end|>\n{% endfor %}{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}";
    let server = Running::with(settings(), |served| {
        served.template = Some(ChatTemplate::compile(template, "", "<|end|>").unwrap());
        served.details.template = Some(template.to_owned());
    });
    let ask = json!({ "messages": conversations()[0].1, "tools": tools() });
    let prompt = server.post("/apply-template", &ask).json()["prompt"].as_str().unwrap().to_owned();
    assert_eq!(
        prompt,
        "[add][now]<|begin|>user\nAdd.<|end|>\n<|begin|>assistant\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n\
         </tool_call><|end|>\n<|begin|>tool\n2<|end|>\n<|begin|>assistant\n"
    );
    let show = server.post("/api/show", &json!({ "model": "tiny" })).json();
    assert_eq!(show["capabilities"], json!(["completion", "tools"]));
}

/// A template that opens the thinking unless it is told not to.
fn thinking() -> Running {
    let template = "{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}<|begin|>assistant\n\
                    <think>\n{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}";
    Running::with(settings(), |served| {
        served.context_length = 4000;
        served.template = Some(ChatTemplate::compile(template, "", "<|end|>").unwrap());
        served.details.template = Some(template.to_owned());
    })
}

#[test]
fn thinking_is_switched_off_in_all_protocols() {
    let server = thinking();
    let said = |path: &str, more: Value| server.post(path, &with(chat("say hm</think>Hi"), more)).json();
    for (more, thought) in [
        (json!({}), json!("hm")),
        (json!({ "reasoning_effort": "low" }), json!("hm")),
        (json!({ "reasoning_effort": "none" }), Value::Null),
        (json!({ "chat_template_kwargs": { "enable_thinking": false } }), Value::Null),
        (json!({ "enable_thinking": false }), Value::Null),
    ] {
        let message = said("/v1/chat/completions", more.clone())["choices"][0]["message"].clone();
        assert_eq!(message["reasoning_content"], thought, "{more}");
        assert_eq!(message["reasoning"], thought, "{more}");
    }
    let message = said("/api/chat", json!({ "stream": false, "think": false }))["message"].clone();
    assert_eq!((&message["thinking"], &message["content"]), (&Value::Null, &json!("hm</think>Hi")));
    let message = said("/api/chat", json!({ "stream": false, "think": "high" }))["message"].clone();
    assert_eq!((&message["thinking"], &message["content"]), (&json!("hm"), &json!("Hi")));
    let reply = said("/v1/messages", json!({ "max_tokens": 50 }));
    assert_eq!(reply["content"][0]["type"], "text");
    let on = json!({ "max_tokens": 50, "thinking": { "type": "enabled", "budget_tokens": 1024 } });
    let reply = said("/v1/messages", on);
    assert_eq!(
        (&reply["content"][0]["thinking"], &reply["content"][1]["text"]),
        (&json!("hm"), &json!("Hi"))
    );
    let show = server.post("/api/show", &json!({ "model": "tiny" })).json();
    assert_eq!(show["capabilities"], json!(["completion", "thinking"]));
}

#[test]
fn thinking_ends_with_its_budget() {
    let server = thinking();
    let said = |path: &str, more: Value| server.post(path, &with(chat("held abcdef"), more)).json();
    for name in ["thinking_budget", "thinking_budget_tokens", "thinking_token_budget", "reasoning_budget"] {
        let message = said("/v1/chat/completions", json!({ name: 3 }))["choices"][0]["message"].clone();
        let parts = (&message["reasoning_content"], &message["content"]);
        assert_eq!(parts, (&json!("abc"), &json!("def")), "{name}");
        let message = said("/v1/chat/completions", json!({ name: 0 }))["choices"][0]["message"].clone();
        let parts = (&message["reasoning_content"], &message["content"]);
        assert_eq!(parts, (&Value::Null, &json!("abcdef")), "{name}");
    }
    let on = json!({ "max_tokens": 50, "thinking": { "type": "enabled", "budget_tokens": 2 } });
    let reply = said("/v1/messages", on);
    let parts = (&reply["content"][0]["thinking"], &reply["content"][1]["text"]);
    assert_eq!(parts, (&json!("ab"), &json!("cdef")));
}

/// What each protocol asks where a call must come, of some tool and of `now`.
fn must() -> [(&'static str, Value, Value); 4] {
    let named = json!({ "type": "function", "function": { "name": "now" } });
    let tools = tools();
    let open = |choice: Value| json!({ "tools": tools, "tool_choice": choice, "parallel_tool_calls": false, "stream": false });
    let custom = |tool: &Value| {
        let function = &tool["function"];
        json!({ "name": function["name"], "input_schema": function.get("parameters").cloned().unwrap_or(json!({})) })
    };
    let custom: Value = tools.as_array().unwrap().iter().map(custom).collect();
    let message = |mut choice: Value| {
        choice["disable_parallel_tool_use"] = json!(true);
        json!({ "tools": custom, "tool_choice": choice, "max_tokens": 300 })
    };
    let any = message(json!({ "type": "any" }));
    [
        ("/v1/chat/completions", open(json!("required")), open(named.clone())),
        (
            "/v1/chat/completions",
            open(json!({ "type": "allowed_tools", "mode": "required", "tools": tools })),
            open(named.clone()),
        ),
        ("/api/chat", open(json!("required")), open(named)),
        ("/v1/messages", any, message(json!({ "type": "tool", "name": "now" }))),
    ]
}

/// The calls of a reply, and whether it has anything else.
fn calls_of(reply: &Value) -> (Vec<(String, Value)>, bool) {
    if let Some(blocks) = reply["content"].as_array() {
        let (calls, more): (Vec<&Value>, Vec<&Value>) =
            blocks.iter().partition(|block| block["type"] == "tool_use");
        let calls =
            calls.iter().map(|call| (call["name"].as_str().unwrap().to_owned(), call["input"].clone()));
        return (calls.collect(), !more.is_empty());
    }
    let message = reply.get("message").unwrap_or(&reply["choices"][0]["message"]);
    let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
        let arguments = &call["function"]["arguments"];
        let arguments = match arguments.as_str() {
            Some(text) => serde_json::from_str(text).unwrap(),
            None => arguments.clone(),
        };
        (call["function"]["name"].as_str().unwrap().to_owned(), arguments)
    });
    (calls.collect(), message["content"].as_str().is_some_and(|text| !text.is_empty()))
}

#[test]
fn a_call_that_must_come_comes_in_all_protocols() {
    let server = server();
    for (path, some, named) in must() {
        let ask = with(chat("held I will add: a\"7}"), some);
        let reply = server.post(path, &ask).json();
        assert_eq!(calls_of(&reply), (vec![("add".to_owned(), json!({ "a": 7 }))], false), "{path} {reply}");
        let reply = server.post(path, &with(chat("held I will not"), named)).json();
        assert_eq!(calls_of(&reply), (vec![("now".to_owned(), json!({}))], false), "{path} {reply}");
    }
    let none = with(chat("x"), json!({ "tool_choice": "required" }));
    assert_eq!(server.post("/v1/chat/completions", &none).json()["error"]["param"], "tool_choice");
}

#[test]
fn a_call_that_may_come_is_kept_in_form_from_its_mark_on() {
    let server = server();
    let reply = server.post("/v1/chat/completions", &asked("x")).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "x");
    let ask = with(
        chat("held Hm {1}. <tool_call>rm a\"7}"),
        json!({ "tools": tools(), "parallel_tool_calls": false }),
    );
    let choice = server.post("/v1/chat/completions", &ask).json()["choices"][0].clone();
    assert_eq!(choice["message"]["content"], "Hm {1}.");
    assert_eq!(calls_of(&json!({ "choices": [choice] })).0, [("add".to_owned(), json!({ "a": 7 }))]);
    let plain = with(chat("held Hm {1}."), json!({ "tools": tools() }));
    let choice = server.post("/v1/chat/completions", &plain).json()["choices"][0].clone();
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("Hm {1}."), &json!("stop"))
    );
}

#[test]
fn arguments_that_a_grammar_holds_stream_as_they_come() {
    let server = server();
    let ask =
        with(chat("held a\"123}"), json!({ "tools": tools(), "tool_choice": "required", "stream": true }));
    let events = server.post("/v1/chat/completions", &ask).events();
    let calls: Vec<&Value> =
        events.iter().map(|(_, data)| &data["choices"][0]["delta"]["tool_calls"][0]).collect();
    let arguments: Vec<&str> =
        calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert!(arguments.len() > 5, "{arguments:?}");
    assert_eq!(arguments.concat(), "{\"a\": 123}");
    let whole = with(ask, json!({ "stream": false, "max_tokens": 30 }));
    let choice = &server.post("/v1/chat/completions", &whole).json()["choices"][0];
    // What is cut off is no call.
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["tool_calls"]),
        (&json!("length"), &Value::Null)
    );
    assert_eq!(choice["message"]["content"].as_str().unwrap().len(), 30);
}

#[test]
fn a_call_comes_behind_the_thinking() {
    let server = thinking();
    let ask = with(
        chat("held hm</think>a\"7}"),
        json!({ "tools": tools(), "tool_choice": "required", "parallel_tool_calls": false }),
    );
    let reply = server.post("/v1/chat/completions", &ask).json();
    assert_eq!(reply["choices"][0]["message"]["reasoning_content"], "hm", "{reply}");
    assert_eq!(calls_of(&reply).0, [("add".to_owned(), json!({ "a": 7 }))]);
    let short = with(ask, json!({ "thinking_budget": 1 }));
    let reply = server.post("/v1/chat/completions", &short).json();
    assert_eq!(reply["choices"][0]["message"]["reasoning_content"], "h");
    assert_eq!(calls_of(&reply).0.len(), 1, "{reply}");
}

#[test]
fn beside_tools_an_answer_holds_to_its_format() {
    let server = server();
    let schema = json!({ "type": "object", "properties": { "b": { "type": "boolean" } }, "required": ["b"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let more = json!({ "tools": tools(), "parallel_tool_calls": false, "response_format": format });
    let said = |text: &str, more: &Value| {
        server.post("/v1/chat/completions", &with(chat(text), more.clone())).json()
    };
    let choice = said("held Yes: {t", &more)["choices"][0].clone();
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("{\"b\": true}"), &json!("stop"))
    );
    assert_eq!(calls_of(&said("held Yes: <a\"7}", &more)).0, [("add".to_owned(), json!({ "a": 7 }))]);
    let must = with(more.clone(), json!({ "tool_choice": "required" }));
    assert_eq!(calls_of(&said("held Yes: {n", &must)).0, [("now".to_owned(), json!({}))]);
    let pattern = json!({ "tools": tools(), "guided_regex": "a+" });
    assert_eq!(said("x", &pattern)["error"]["param"], "guided_regex");
}

/// Schemas of which something cannot be held to, and what is told of each.
fn partly_held() -> Vec<(Value, &'static str)> {
    let object = |a: Value| json!({ "type": "object", "required": ["a"], "properties": { "a": a } });
    let list = json!({ "type": "array", "uniqueItems": true, "minItems": 2, "maxItems": 2, "items": { "type": "integer", "maximum": 9 } });
    vec![
        (object(list), "`uniqueItems` at #/properties/a"),
        (
            object(json!({ "type": "string", "pattern": "(?=b)a", "maxLength": 3 })),
            "`pattern` at #/properties/a",
        ),
        (
            object(json!({ "oneOf": [{ "type": "integer" }, { "type": "number" }] })),
            "`oneOf` at #/properties/a",
        ),
        (
            json!({ "type": "object", "patternProperties": { "(?=b)a": { "type": "integer" } } }),
            "held to their type alone: the grammar cannot be used",
        ),
    ]
}

fn offered(parameters: &Value, more: Value) -> Value {
    let function = with(json!({ "name": "add", "parameters": parameters }), more);
    json!([{ "type": "function", "function": function }])
}

#[test]
fn a_tool_that_is_not_strict_is_held_to_what_can_be_and_the_reply_tells_the_rest() {
    let server = server();
    let (list, _) = partly_held().remove(0);
    for choice in ["auto", "required"] {
        let said = if choice == "auto" { "held <tool_call>a[77" } else { "held a[77" };
        let ask = with(chat(said), json!({ "tools": offered(&list, json!({})), "tool_choice": choice }));
        for stream in [false, true] {
            let reply = server.post("/v1/chat/completions", &with(ask.clone(), json!({ "stream": stream })));
            let told = reply.headers["x-bantam-warning"].as_str().unwrap();
            assert_eq!(told, "arguments of `add` are not held to `uniqueItems` at #/properties/a");
            if !stream {
                let call = &reply.json()["choices"][0]["message"]["tool_calls"][0]["function"];
                assert_eq!(call["arguments"], "{\"a\": [7, 7]}", "{}", reply.body);
            }
        }
    }
    for (schema, told) in partly_held() {
        let must =
            json!({ "tools": offered(&schema, json!({})), "tool_choice": "required", "max_tokens": 300 });
        let reply = server.post("/v1/chat/completions", &with(chat("held a1}"), must));
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.headers["x-bantam-warning"].as_str().unwrap().contains(told), "{:?}", reply.headers);
    }
}

#[test]
fn every_protocol_tells_what_is_not_held_to() {
    let server = server();
    let (list, told) = partly_held().remove(0);
    let flat = json!([{ "type": "function", "name": "add", "parameters": list }]);
    let custom = json!([{ "name": "add", "input_schema": list }]);
    let cases = [
        ("/v1/responses", json!({ "model": "tiny", "input": "say a", "tools": flat })),
        ("/v1/messages", with(chat("say a"), json!({ "max_tokens": 9, "tools": custom }))),
        ("/api/chat", with(chat("say a"), json!({ "tools": offered(&list, json!({})) }))),
    ];
    for (path, ask) in cases {
        let reply = server.post(path, &ask);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        assert!(reply.headers["x-bantam-warning"].as_str().unwrap().contains(told), "{path}");
    }
    let plain = server.post("/v1/chat/completions", &asked("a"));
    assert!(!plain.headers.contains_key("x-bantam-warning"), "{:?}", plain.headers);
}

#[test]
fn a_tool_that_is_strict_is_held_to_all_of_its_schema_or_refused() {
    let server = server();
    for (schema, _) in partly_held() {
        let ask = with(
            chat("say a"),
            json!({ "tools": offered(&schema, json!({ "strict": true })), "tool_choice": "required" }),
        );
        let reply = server.post("/v1/chat/completions", &ask);
        assert_eq!(reply.status, 400, "{schema}: {}", reply.body);
    }
    let (list, _) = partly_held().remove(0);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": list } });
    let refused =
        server.post("/v1/chat/completions", &with(chat("say a"), json!({ "response_format": format })));
    assert!(refused.status == 400 && refused.body.contains("`uniqueItems`"), "{}", refused.body);
}
