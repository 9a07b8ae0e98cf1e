//! Ollama's and Anthropic's protocols.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Running, chat, with};
use serde_json::{Value, json};

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_chat_streams_lines_unless_told_otherwise() {
    let server = Running::new();
    let ask = chat("say <think>hm</think>Hi");
    let reply = server.post("/api/chat", &ask);
    assert_eq!(reply.headers["content-type"], "application/x-ndjson");
    assert!(!reply.body.contains("\n\n") && reply.body.ends_with('\n'));
    let lines = reply.lines();
    let (last, chunks) = lines.split_last().unwrap();
    let text = |field: &str| chunks.iter().filter_map(|l| l["message"][field].as_str()).collect::<String>();
    assert_eq!((text("content"), text("thinking")), ("Hi".to_owned(), "hm".to_owned()));
    assert!(chunks.iter().all(|line| line["done"] == false && line["message"]["role"] == "assistant"));
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["message"]["content"]),
        (&json!(true), &json!("stop"), &json!(""))
    );
    for count in
        ["total_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"]
    {
        assert!(last[count].is_u64(), "{count}");
    }
    let whole = server.post("/api/chat", &with(ask, json!({ "stream": false }))).json();
    assert_eq!((&whole["message"]["content"], &whole["message"]["thinking"]), (&json!("Hi"), &json!("hm")));
    assert_eq!(whole["done"], true);
}

#[test]
fn a_question_is_answered_and_a_raw_text_continued() {
    let server = Running::new();
    let ask = json!({ "model": "tiny", "prompt": "say abc", "stream": false, "system": "Be brief." });
    let reply = server.post("/api/generate", &ask).json();
    // <|begin|>system\nBe brief.<|end|>\n before what stands there without it
    assert_eq!((&reply["response"], &reply["prompt_eval_count"]), (&json!("abc"), &json!(45)));
    let options = json!({ "raw": true, "options": { "num_predict": 2, "num_ctx": 99, "mirostat": 1 } });
    let reply = server.post("/api/generate", &with(ask, options)).json();
    assert_eq!((&reply["response"], &reply["done_reason"]), (&json!("ab"), &json!("length")));
    assert_eq!(reply["prompt_eval_count"], 7);
}

#[test]
fn an_empty_request_wants_the_model_to_be_there() {
    let server = Running::new();
    let reply = server.post("/api/generate", &json!({ "model": "tiny" })).json();
    assert_eq!(
        (&reply["done"], &reply["done_reason"], &reply["response"]),
        (&json!(true), &json!("load"), &json!(""))
    );
    let reply = server.post("/api/chat", &json!({ "model": "tiny", "messages": [] })).json();
    assert_eq!((&reply["done_reason"], &reply["message"]["role"]), (&json!("load"), &json!("assistant")));
}

#[test]
fn failures_are_lines_with_an_error() {
    let server = Running::new();
    let lines = server.post("/api/chat", &chat("fail ab")).lines();
    assert!(lines.last().unwrap()["error"].as_str().unwrap().contains("as ordered"));
    let cases = [
        (json!({ "model": "other" }), 404),
        (with(chat("x"), json!({ "format": "xml" })), 400),
        (with(chat("x"), json!({ "format": { "not": {} } })), 400),
        (with(chat("x"), json!({ "tools": [{}] })), 400),
        (with(chat("x"), json!({ "options": { "temperature": "hot" } })), 400),
        (json!({ "messages": [] }), 400),
    ];
    for (ask, status) in cases {
        let reply = server.post("/api/chat", &ask);
        assert_eq!(reply.status, status, "{ask}");
        assert!(reply.json()["error"].is_string(), "{}", reply.body);
    }
}

#[test]
fn models_are_told_as_clients_of_ollama_read_them() {
    let server = Running::new();
    let tags = server.get("/api/tags").json();
    let model = &tags["models"][0];
    assert_eq!((&model["name"], &model["model"]), (&json!("tiny"), &json!("tiny")));
    assert_eq!(
        (&model["details"]["family"], &model["details"]["parameter_size"]),
        (&json!("tiny"), &json!("135M"))
    );
    assert_eq!(server.post("/api/generate", &json!({ "model": "tiny" })).status, 200);
    assert!(server.get("/api/ps").json()["models"][0]["expires_at"].is_string());
    let show = server.post("/api/show", &json!({ "name": "tiny:latest" })).json();
    assert_eq!(
        (&show["capabilities"], &show["model_info"]["general.architecture"]),
        (&json!(["completion"]), &json!("tiny"))
    );
    assert!(server.get("/api/version").json()["version"].is_string());
}

#[test]
fn a_message_streams_blocks_between_start_and_stop() {
    let server = Running::new();
    let ask = json!({
        "model": "tiny", "max_tokens": 100, "stream": true, "system": [{ "type": "text", "text": "S" }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "say <think>hm</think>Hi" }] }],
        "thinking": { "type": "enabled", "budget_tokens": 1024 },
    });
    let events = server.post("/v1/messages", &ask).events();
    let wanted = [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names(&events), wanted);
    assert!(events.iter().all(|(name, data)| data["type"] == *name), "each has its name twice");
    let start = &events[0].1["message"];
    assert_eq!(
        (&start["role"], &start["content"], &start["stop_reason"]),
        (&json!("assistant"), &json!([]), &Value::Null)
    );
    assert!(start["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!((&events[2].1["index"], &events[6].1["index"]), (&json!(0), &json!(1)));
    assert_eq!(events[3].1["delta"], json!({ "type": "thinking_delta", "thinking": "h" }));
    assert_eq!(events[7].1["delta"], json!({ "type": "text_delta", "text": "H" }));
    assert_eq!(events[10].1["delta"], json!({ "stop_reason": "end_turn", "stop_sequence": null }));
    assert!(events[10].1["usage"]["output_tokens"].as_u64().unwrap() > 0);
    let whole = server.post("/v1/messages", &with(ask, json!({ "stream": false }))).json();
    assert_eq!(whole["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "" }));
    assert_eq!((&whole["content"][1]["text"], &whole["stop_reason"]), (&json!("Hi"), &json!("end_turn")));
}

#[test]
fn a_message_tells_why_it_ended() {
    let server = Running::new();
    let ask = with(chat("say abc"), json!({ "max_tokens": 2 }));
    assert_eq!(server.post("/v1/messages", &ask).json()["stop_reason"], "max_tokens");
    let stop = json!({ "max_tokens": 20, "stop_sequences": ["b"] });
    let reply = server.post("/v1/messages", &with(ask, stop)).json();
    assert_eq!((&reply["stop_reason"], &reply["stop_sequence"]), (&json!("stop_sequence"), &json!("b")));
    assert_eq!(reply["content"], json!([{ "type": "text", "text": "a", "citations": null }]));
    // As Anthropic's OpenAPI document has them.
    let of_usage =
        ["cache_creation", "output_tokens_details", "server_tool_use", "service_tier", "inference_geo"];
    assert!(of_usage.iter().all(|field| reply["usage"].get(field).is_some()), "{reply}");
    assert!(["stop_details", "container"].iter().all(|field| reply.get(field).is_some()), "{reply}");
}

#[test]
fn tokens_are_counted_as_they_would_be_read() {
    let server = Running::new();
    let count = server.post("/v1/messages/count_tokens", &chat("say abc")).json();
    let read = server.post("/v1/messages", &with(chat("say abc"), json!({ "max_tokens": 9 }))).json();
    let usage = &read["usage"];
    let read = usage["input_tokens"].as_u64().unwrap() + usage["cache_read_input_tokens"].as_u64().unwrap();
    assert_eq!(count["input_tokens"], read);
}

#[test]
fn failures_of_messages_have_their_form() {
    let server = Running::new();
    let cases = [
        (chat("no max_tokens"), 400, "invalid_request_error"),
        (with(chat("x"), json!({ "max_tokens": 5, "model": "other" })), 404, "not_found_error"),
        (with(chat("x"), json!({ "max_tokens": 5, "tools": [{}] })), 400, "invalid_request_error"),
        (with(chat("fail"), json!({ "max_tokens": 5 })), 500, "api_error"),
    ];
    for (ask, status, kind) in cases {
        let reply = server.post("/v1/messages", &ask);
        let error = reply.json();
        assert_eq!(
            (reply.status, &error["type"], &error["error"]["type"]),
            (status, &json!("error"), &json!(kind))
        );
    }
    let ask = with(chat("fail ab"), json!({ "max_tokens": 50, "stream": true }));
    let events = server.post("/v1/messages", &ask).events();
    assert_eq!(names(&events).last(), Some(&"error"));
}
