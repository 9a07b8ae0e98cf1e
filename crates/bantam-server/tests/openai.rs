//! OpenAI's protocol: the order of chunks, the forms of replies, what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Running, chat, with};
use serde_json::{Value, json};

/// The contents of a stream's deltas, one behind the other.
fn text(events: &[(String, Value)], field: &str) -> String {
    events.iter().filter_map(|(_, data)| data["choices"][0]["delta"][field].as_str()).collect()
}

#[test]
fn a_stream_begins_with_the_role_and_ends_with_its_reason_then_usage_then_done() {
    let server = Running::new();
    let ask = with(chat("say Hello"), json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let reply = server.post("/v1/chat/completions", &ask);
    assert_eq!(reply.status, 200);
    assert!(reply.headers["content-type"].as_str().unwrap().starts_with("text/event-stream"));
    let events = reply.events();
    let (last, rest) = events.split_last().unwrap();
    assert_eq!(last.1, "[DONE]");
    assert_eq!(rest[0].1["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(text(rest, "content"), "Hello");
    let (usage, chunks) = rest.split_last().unwrap();
    assert_eq!(usage.1["choices"], json!([]));
    // <|begin|>user\nsay Hello<|end|>\n<|begin|>assistant\n
    let wanted = json!({
        "prompt_tokens": 28, "completion_tokens": 5, "total_tokens": 33,
        "prompt_tokens_details": { "cached_tokens": 3 },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    });
    assert_eq!(usage.1["usage"], wanted);
    let end = &chunks.last().unwrap().1["choices"][0];
    assert_eq!((&end["delta"], &end["finish_reason"]), (&json!({}), &json!("stop")));
    for (name, chunk) in chunks {
        assert!(name.is_empty(), "events have no names here");
        assert_eq!((&chunk["id"], &chunk["created"]), (&usage.1["id"], &usage.1["created"]));
        assert_eq!((&chunk["object"], &chunk["usage"]), (&json!("chat.completion.chunk"), &Value::Null));
    }
    for (_, chunk) in &chunks[..chunks.len() - 1] {
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
    }
}

#[test]
fn whole_and_streamed_answers_are_the_same() {
    let server = Running::new();
    let ask = with(chat("say <think>hm </think>so be it"), json!({ "stop": [" it"] }));
    let whole = server.post("/v1/chat/completions", &ask).json();
    let message = &whole["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("so be"), &json!("hm")));
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
    let events = server.post("/v1/chat/completions", &with(ask, json!({ "stream": true }))).events();
    assert_eq!((text(&events, "content"), text(&events, "reasoning_content")), ("so be".into(), "hm".into()));
}

#[test]
fn tokens_of_the_answer_are_told_with_its_text() {
    let server = Running::new();
    let ask = json!({ "logprobs": true, "top_logprobs": 2, "stop": "END" });
    let ask = with(chat("say <think>no</think>abENDc"), ask);
    let reply = server.post("/v1/chat/completions", &ask).json();
    let content = reply["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let tokens: Vec<&str> = content.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(tokens, ["a", "b"]);
    assert_eq!(
        (&content[0]["bytes"], content[0]["top_logprobs"].as_array().unwrap().len()),
        (&json!([97]), 2)
    );
    let events = server.post("/v1/chat/completions", &with(ask, json!({ "stream": true }))).events();
    let streamed = events.iter().filter_map(|(_, data)| data["choices"][0]["logprobs"]["content"].as_array());
    assert_eq!(streamed.flatten().cloned().collect::<Vec<_>>(), *content);
}

#[test]
fn several_choices_come_under_their_numbers() {
    let server = Running::new();
    let ask = with(chat("say abc"), json!({ "n": 3 }));
    let whole = server.post("/v1/chat/completions", &ask).json();
    let indices: Vec<u64> =
        whole["choices"].as_array().unwrap().iter().map(|c| c["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2]);
    assert_eq!(
        (&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"]),
        (&json!(26), &json!(9))
    );
    let events = server.post("/v1/chat/completions", &with(ask, json!({ "stream": true }))).events();
    for index in 0..3 {
        let own = events.iter().filter(|(_, data)| data["choices"][0]["index"] == index);
        let text: String =
            own.filter_map(|(_, data)| data["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(text, "abc");
    }
}

#[test]
fn a_length_that_is_reached_is_told() {
    let server = Running::new();
    for field in ["max_tokens", "max_completion_tokens"] {
        let reply = server.post("/v1/chat/completions", &with(chat("say abc"), json!({ field: 2 }))).json();
        let choice = &reply["choices"][0];
        assert_eq!(
            (&choice["message"]["content"], &choice["finish_reason"]),
            (&json!("ab"), &json!("length"))
        );
    }
}

#[test]
fn an_answer_that_has_begun_goes_on() {
    let server = Running::new();
    let ask = json!({ "messages": [
        { "role": "user", "content": "say x" },
        { "role": "assistant", "content": "Sure:" },
    ]});
    let reply = server.post("/v1/chat/completions", &ask).json();
    // <|begin|>user\nsay x<|end|>\n<|begin|>assistant\nSure:
    assert_eq!(reply["usage"]["prompt_tokens"], 29);
}

#[test]
fn failures_are_told_before_and_within_a_stream() {
    let server = Running::new();
    let whole = server.post("/v1/chat/completions", &chat("fail ab"));
    assert_eq!((whole.status, &whole.json()["error"]["type"]), (500, &json!("server_error")));
    let events =
        server.post("/v1/chat/completions", &with(chat("fail ab"), json!({ "stream": true }))).events();
    assert_eq!(text(&events, "content"), "ab");
    let last = &events.last().unwrap().1;
    assert!(last["error"]["message"].as_str().unwrap().contains("as ordered"), "{last}");
    assert!(events.iter().all(|(_, data)| data != "[DONE]"));
}

#[test]
fn what_is_wrong_is_named() {
    let server = Running::new();
    let cases = [
        (json!({ "messages": [] }), 400, "messages"),
        (json!({}), 400, "messages"),
        (with(chat("x"), json!({ "model": "other" })), 404, "model"),
        (with(chat("x"), json!({ "temperature": "warm" })), 400, "temperature"),
        (with(chat("x"), json!({ "temperature": -1 })), 400, "temperature"),
        (with(chat("x"), json!({ "n": 1000 })), 400, "n"),
        (with(chat("x"), json!({ "n": 0 })), 400, "n"),
        (with(chat("x"), json!({ "logit_bias": { "5000": 1 } })), 400, "logit_bias"),
        (with(chat("x"), json!({ "logit_bias": { "a": 1 } })), 400, "logit_bias.a"),
        (with(chat("x"), json!({ "logprobs": true, "top_logprobs": 21 })), 400, "top_logprobs"),
        (with(chat("x"), json!({ "stop": vec!["x"; 33] })), 400, "stop"),
        (with(chat("x"), json!({ "response_format": { "type": "xml" } })), 400, "response_format.type"),
        (
            with(chat("x"), json!({ "guided_json": { "type": "array", "uniqueItems": true } })),
            400,
            "guided_json",
        ),
        (with(chat("x"), json!({ "tools": [{ "type": "function" }] })), 400, "tools[0].function"),
        (with(chat("x"), json!({ "stream": "yes" })), 400, "stream"),
        (with(chat(&"x".repeat(300)), json!({})), 400, ""),
    ];
    for (ask, status, param) in cases {
        let reply = server.post("/v1/chat/completions", &ask);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, error["param"].as_str().unwrap_or_default()), (status, param), "{error}");
        assert!(error["message"].as_str().unwrap().len() > 10 && error["type"] == "invalid_request_error");
    }
    assert_eq!(server.signals.submitted(), 0, "nothing came as far as the engine");
}

#[test]
fn what_nobody_asks_for_is_not_looked_at() {
    let server = Running::new();
    let more = json!({
        "user": "me", "metadata": {}, "store": false, "seed": null, "stop": null, "tools": [], "n": null,
        "response_format": { "type": "text" }, "logit_bias": {}, "something_new": [1, 2], "tool_choice": "auto",
        "model": "TINY:latest",
    });
    let reply = server.post("/v1/chat/completions", &with(chat("say ok"), more)).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "ok");
    assert_eq!(
        server.post("/v1/chat/completions", &with(chat("say"), json!({ "model": "gpt-x" }))).status,
        200
    );
}

/// As lm-evaluation-harness asks: tokens in, log-probabilities of all of them and of one more out.
#[test]
fn a_prompt_is_scored_for_a_harness() {
    let server = Running::new();
    let ask = json!({
        "model": "tiny", "prompt": [[66, 67, 68], [70, 71]], "temperature": 0, "max_tokens": 1, "logprobs": 1,
        "seed": 1234, "echo": true,
    });
    let reply = server.post("/v1/completions", &ask).json();
    for (prompt, text) in [(0, "abc"), (1, "ef")] {
        let choice = &reply["choices"][prompt];
        assert_eq!(choice["index"], prompt);
        assert!(choice["text"].as_str().unwrap().starts_with(text));
        let lists = &choice["logprobs"];
        let logprobs = lists["token_logprobs"].as_array().unwrap();
        assert_eq!(logprobs.len(), text.len() + 1, "the prompt's tokens and one more");
        assert_eq!((&logprobs[0], &lists["top_logprobs"][0]), (&Value::Null, &Value::Null));
        assert_eq!((&lists["tokens"][1], &lists["text_offset"][1]), (&json!(&text[1..2]), &json!(1)));
        for (logprob, top) in logprobs.iter().zip(lists["top_logprobs"].as_array().unwrap()).skip(1) {
            let most =
                top.as_object().unwrap().values().map(|v| v.as_f64().unwrap()).fold(f64::MIN, f64::max);
            assert_eq!(logprob.as_f64().unwrap(), most, "equal to the last bit");
        }
    }
}

#[test]
fn prompts_of_every_form_are_continued() {
    let server = Running::new();
    let answer = |prompt: Value| {
        let reply = server.post("/v1/completions", &json!({ "prompt": prompt, "n": 2 })).json();
        let choices = reply["choices"].as_array().unwrap().clone();
        choices.iter().map(|choice| choice["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(answer(json!("say ab")), ["ab", "ab"]);
    assert_eq!(answer(json!(["say ab", "say c"])), ["ab", "ab", "c", "c"]);
    assert_eq!(answer(json!([66, 67])), ["ab", "ab"]);
    assert_eq!(answer(json!([[66], [67, 68]])), ["a", "a", "bc", "bc"]);
    for bad in [json!([]), json!([[]]), json!([-1]), json!([96]), json!([1.5]), json!({}), json!([{}])] {
        assert_eq!(server.post("/v1/completions", &json!({ "prompt": bad })).status, 400, "{bad}");
    }
}

#[test]
fn completions_stream_with_their_prompt() {
    let server = Running::new();
    let ask = json!({ "prompt": "say abc", "stream": true, "echo": true, "logprobs": 0 });
    let events = server.post("/v1/completions", &ask).events();
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last.1, "[DONE]");
    let texts: Vec<&str> = chunks.iter().map(|(_, c)| c["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["say abc", "a", "b", "c", ""]);
    let offsets = |at: usize| chunks[at].1["choices"][0]["logprobs"]["text_offset"].clone();
    assert_eq!((offsets(0), offsets(1)), (json!([0, 1, 2, 3, 4, 5, 6]), json!([7])));
    assert_eq!(chunks[4].1["choices"][0]["finish_reason"], "stop");
}

#[test]
fn models_are_listed_and_found_by_any_name() {
    let server = Running::new();
    let list = server.get("/v1/models").json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("tiny")));
    for name in ["tiny", "gpt-x", "tiny%3Alatest"] {
        assert_eq!(server.get(&format!("/v1/models/{name}")).json()["id"], "tiny");
    }
    assert_eq!(server.get("/v1/models/a%2Fb").status, 404);
}

#[test]
fn texts_become_tokens_and_back() {
    let server = Running::new();
    let ids = server.post("/tokenize", &json!({ "content": "ab c" })).json();
    assert_eq!(ids["tokens"], json!([66, 67, 94, 68]));
    let pieces = server.post("/tokenize", &json!({ "content": "a", "with_pieces": true })).json();
    assert_eq!(pieces["tokens"], json!([{ "id": 66, "piece": "a" }]));
    assert_eq!(
        server.post("/tokenize", &json!({ "prompt": "a", "add_special_tokens": true })).json()["count"],
        1
    );
    let back = server.post("/detokenize", &json!({ "tokens": [66, 67, 94, 68] })).json();
    assert_eq!(back["content"], "ab c");
    assert_eq!(server.post("/detokenize", &json!({ "tokens": [96] })).status, 400);
    let prompt = server.post("/apply-template", &chat("x")).json();
    assert_eq!(prompt["prompt"], "<|begin|>user\nx<|end|>\n<|begin|>assistant\n");
    assert_eq!(server.get("/tokenizer_info").json()["eos_token"], "<|end|>");
}
