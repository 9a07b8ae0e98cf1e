//! Answers whose time is over: they end with what there is, and say so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Reply, Running, chat, with};
use serde_json::{Value, json};

const SOON: u64 = 1;

#[test]
fn an_answer_ends_with_what_there_is() {
    let server = Running::new();
    // The script waits until it is cancelled: only its time can end it.
    let held = with(chat("hold ab"), json!({ "timeout_ms": SOON }));
    let choice = server.post("/v1/chat/completions", &held).json()["choices"][0].clone();
    assert_eq!((&choice["finish_reason"], &choice["expired"]), (&json!("length"), &json!(true)));
    let events = server.post("/v1/chat/completions", &with(held, json!({ "stream": true }))).events();
    assert_eq!((&events.last().unwrap().1, events.len() > 2), (&json!("[DONE]"), true));
    let last = &events[events.len() - 2].1["choices"][0];
    assert_eq!((&last["finish_reason"], &last["expired"]), (&json!("length"), &json!(true)));
    server.signals.wait_cancelled(2);
}

#[test]
fn every_protocol_has_it() {
    let server = Running::new();
    let asks: [(&str, Value, &str, &str); 4] = [
        ("/v1/completions", json!({ "prompt": "hold ab" }), "/choices/0/finish_reason", "length"),
        ("/v1/responses", json!({ "input": "hold ab" }), "/status", "incomplete"),
        ("/v1/messages", with(chat("hold ab"), json!({ "max_tokens": 9 })), "/stop_reason", "max_tokens"),
        ("/api/chat", with(chat("hold ab"), json!({ "stream": false })), "/done_reason", "length"),
    ];
    for (path, ask, place, wanted) in asks {
        let reply = server.post(path, &with(ask, json!({ "timeout_ms": SOON }))).json();
        assert_eq!(reply.pointer(place), Some(&json!(wanted)), "{path}: {reply}");
    }
    let reply =
        Reply::read(server.open("/v1/chat/completions", &chat("hold a"), "X-Timeout-Ms: 1\r\n")).json();
    assert_eq!(reply["choices"][0]["expired"], true, "a header says the same");
}

#[test]
fn one_whose_turn_never_comes_ends_too() {
    let server = Running::new();
    let running: Vec<_> = (0..2).map(|_| server.open("/v1/chat/completions", &chat("hold a"), "")).collect();
    server.signals.wait_submitted(2);
    let late =
        server.post("/v1/chat/completions", &with(chat("say b"), json!({ "timeout_ms": SOON }))).json();
    let choice = &late["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["expired"]), (&json!(""), &json!(true)));
    assert_eq!(server.signals.submitted(), 2);
    drop(running);
}

#[test]
fn no_time_is_no_limit_and_other_things_are_wrong() {
    let server = Running::new();
    for none in [json!(0), json!(-1), json!(null)] {
        let reply =
            server.post("/v1/chat/completions", &with(chat("say a"), json!({ "timeout_ms": none }))).json();
        assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    }
    let wrong = server.post("/v1/chat/completions", &with(chat("say a"), json!({ "timeout_ms": "soon" })));
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &json!("timeout_ms")));
}
