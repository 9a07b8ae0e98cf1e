//! Clients that go away, queues that are full, panics, and the end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::io::{BufRead, BufReader};

use bantam_server::Settings;
use common::{Reply, Running, chat, settings, with};
use serde_json::json;

fn hold(stream: bool) -> serde_json::Value {
    with(chat("hold ab"), json!({ "stream": stream }))
}

#[test]
fn a_client_that_goes_away_ends_its_answer() {
    let server = Running::new();
    for (count, path) in [(1, "/v1/chat/completions"), (2, "/api/chat")] {
        let mut reader = BufReader::new(server.open(path, &hold(true), ""));
        let mut line = String::new();
        while !line.contains("\"b\"") {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0);
        }
        drop(reader);
        server.signals.wait_cancelled(count);
    }
}

#[test]
fn a_client_that_goes_away_before_the_reply_ends_its_answers_too() {
    let server = Running::new();
    let client = server.open("/v1/chat/completions", &with(hold(false), json!({ "n": 2 })), "");
    server.signals.wait_submitted(2);
    drop(client);
    server.signals.wait_cancelled(2);
}

#[test]
fn a_stop_string_ends_the_work_behind_it() {
    let server = Running::new();
    let ask = with(hold(false), json!({ "stop": "b" }));
    let reply = server.post("/v1/chat/completions", &ask).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "a");
    server.signals.wait_cancelled(1);
}

#[test]
fn a_full_queue_is_told_and_gets_room_again() {
    // Two run, one waits.
    let server = Running::with(Settings { waiting_max: 1, ..settings() }, |_| {});
    let held: Vec<_> = (0..2).map(|_| server.open("/v1/chat/completions", &hold(true), "")).collect();
    server.signals.wait_submitted(2);
    let waiting = server.open("/v1/chat/completions", &with(chat("say ab"), json!({ "stream": true })), "");
    // Its head comes at once; from then on it has its place.
    let mut reader = BufReader::new(waiting);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");
    let refused = server.post("/v1/chat/completions", &chat("say ab"));
    assert_eq!(refused.status, 503);
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    assert_eq!(server.post("/api/chat", &chat("say ab")).status, 503);
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("vllm:num_requests_running{model_name=\"tiny\"} 2"), "{metrics}");
    assert!(metrics.contains("vllm:num_requests_waiting{model_name=\"tiny\"} 1"), "{metrics}");
    assert_eq!(server.signals.submitted(), 2, "what waits is not yet the engine's");
    server.signals.release();
    for client in held {
        assert!(Reply::read(client).body.contains("[DONE]"));
    }
    let rest: String = reader.lines().map(|line| line.unwrap()).collect();
    assert!(rest.contains("[DONE]"), "{rest}");
}

#[test]
fn a_panic_is_one_requests_failure() {
    let server = Running::new();
    let held = server.open("/v1/chat/completions", &hold(true), "");
    server.signals.wait_submitted(1);
    for _ in 0..3 {
        let reply = server.post("/v1/chat/completions", &chat("panic"));
        assert_eq!((reply.status, &reply.json()["error"]["type"]), (500, &json!("server_error")));
    }
    let events =
        server.post("/v1/chat/completions", &with(chat("panic"), json!({ "stream": true }))).events();
    assert!(events.last().unwrap().1["error"].is_object());
    server.signals.release();
    assert!(Reply::read(held).body.contains("[DONE]"));
}

#[test]
fn many_answers_to_one_request_leave_turns_for_others() {
    let server = Running::new();
    let greedy = server.open("/v1/chat/completions", &with(hold(false), json!({ "n": 20 })), "");
    server.signals.wait_submitted(2);
    let other = server.open("/v1/chat/completions", &chat("say ab"), "");
    server.signals.release();
    assert!(Reply::read(other).body.contains("\"ab\""));
    assert_eq!(Reply::read(greedy).json()["choices"].as_array().unwrap().len(), 20);
}

#[test]
fn at_the_end_running_answers_are_finished() {
    let server = Running::new();
    let held = server.open("/v1/chat/completions", &hold(true), "");
    server.signals.wait_submitted(1);
    server.stop();
    server.signals.release();
    assert!(Reply::read(held).body.contains("[DONE]"));
    server.join();
}

#[test]
fn answers_that_take_too_long_at_the_end_are_cut_off() {
    let server = Running::with(Settings { drain_time: std::time::Duration::ZERO, ..settings() }, |_| {});
    let held = server.open("/v1/chat/completions", &hold(true), "");
    server.signals.wait_submitted(1);
    server.stop();
    assert!(!Reply::read(held).body.contains("[DONE]"));
    server.signals.wait_cancelled(1);
    server.join();
}
