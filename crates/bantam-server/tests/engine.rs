//! The server over a real engine: a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_engine::{Event, Request};
use common::{Reply, Running, served, settings, tokenizer, with};
use serde_json::json;
use tiny::engine;

#[path = "common/tiny.rs"]
mod tiny;

fn server() -> Running {
    set(settings())
}

fn set(settings: bantam_server::Settings) -> Running {
    let mut served = served(Box::new(engine()));
    (served.context_length, served.sequences_max) = (64, 4);
    Running::serve(settings, served, Default::default())
}

/// The text of the likeliest tokens behind a prompt.
fn truth(prompt: &str, count: usize) -> String {
    let tokenizer = tokenizer();
    let prompt = tokenizer.to_ids(prompt, bantam_text::Special::Parse).unwrap();
    let stop_tokens = tokenizer.stops().to_vec();
    let ask = Request { prompt, max_tokens: Some(count), stop_tokens, ..Request::default() };
    let ids: Vec<u32> = engine()
        .submit(ask)
        .unwrap()
        .filter_map(|event| match event {
            Event::Token { id, .. } => Some(id),
            _ => None,
        })
        .collect();
    let mut stream = tokenizer.stream(bantam_text::Shown::Text).continuing();
    ids.into_iter().map(|id| stream.push(id)).collect()
}

#[test]
fn answers_are_the_engines() {
    let server = server();
    let ask = json!({ "prompt": "hello", "max_tokens": 20, "temperature": 0 });
    let reply = server.post("/v1/completions", &ask).json();
    assert_eq!(reply["choices"][0]["text"], truth("hello", 20));
    assert_eq!(reply["usage"]["prompt_tokens"], 5);
    let longer = with(ask, json!({ "prompt": "hello you" }));
    let cached = server.post("/v1/completions", &longer).json()["usage"]["prompt_tokens_details"].clone();
    assert_eq!(cached["cached_tokens"], 5, "what begins alike is not computed again");
}

#[test]
fn many_clients_at_once_get_what_each_gets_alone() {
    let server = server();
    let ask = |seed: u64| {
        let ask = json!({ "prompt": format!("say {seed}"), "max_tokens": 20, "temperature": 1.0, "seed": seed, "n": 2 });
        let choices = server.post("/v1/completions", &ask).json()["choices"].clone();
        choices.as_array().unwrap_or(&Vec::new()).iter().map(|c| c["text"].clone()).collect::<Vec<_>>()
    };
    let alone: Vec<_> = (0..6).map(ask).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|seed| scope.spawn(move || ask(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
    assert!(alone.iter().all(|texts| texts.len() == 2 && texts[0] != texts[1]));
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_with_both_numbers() {
    let server = server();
    let reply = server.post("/v1/completions", &json!({ "prompt": "x".repeat(65) }));
    let error = &reply.json()["error"];
    let message = error["message"].as_str().unwrap();
    assert!(reply.status == 400 && message.contains("65") && message.contains("64"), "{message}");
    assert_eq!(error["code"], "context_length_exceeded");
    let full = server
        .post("/v1/completions", &json!({ "prompt": "x".repeat(60), "max_tokens": 100, "temperature": 0 }));
    assert_eq!(full.json()["choices"][0]["finish_reason"], "length");
}

#[test]
fn the_engines_figures_are_told() {
    let server = server();
    server.post("/v1/completions", &json!({ "prompt": "hello you", "max_tokens": 2, "temperature": 0 }));
    let told = server.get("/metrics").body;
    let figure = |name: &str| -> f64 {
        let line = told.lines().find(|line| line.starts_with(&format!("{name}{{model_name=\"tiny\"}}")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {told}"))
    };
    let (now, peak, max) = ("bantam:state_bytes", "bantam:state_bytes_peak", "bantam:state_bytes_max");
    assert!(0.0 < figure(now) && figure(now) <= figure(peak) && figure(peak) <= figure(max), "{told}");
    let part = figure("vllm:kv_cache_usage_perc");
    assert!((0.0..=1.0).contains(&part), "{told}");
    assert_eq!(figure("vllm:num_preemptions_total"), 0.0);
}

/// Else the time to the first token would tell what others asked.
#[test]
fn keys_share_no_states() {
    let mut locked = settings();
    let keys = ["first-key", "second-key"];
    keys.iter().for_each(|key| locked.keys.add(key).unwrap());
    let server = set(locked);
    let ask = json!({ "prompt": "hello you", "max_tokens": 2, "temperature": 0 });
    let cached = |key: &str| {
        let stream = server.open("/v1/completions", &ask, &format!("Authorization: Bearer {key}\r\n"));
        let usage = Reply::read(stream).json()["usage"].clone();
        usage["prompt_tokens_details"]["cached_tokens"].as_u64()
    };
    assert_eq!([keys[0], keys[1], keys[0], keys[1]].map(cached), [Some(0), Some(0), Some(8), Some(8)]);
}
