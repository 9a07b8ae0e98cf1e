//! The server over a real engine: a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::path::Path;
use std::sync::Arc;

use bantam_engine::{Engine, Event, Request, Settings};
use bantam_model::{KvStorage, Model};
use bantam_tensor::format::safetensors;
use bantam_tensor::{Checkpoint, Tensor};
use common::{Reply, Running, served, settings, tokenizer, with};
use serde_json::{Value, json};

#[path = "../../../testdata/golden/weights.rs"]
mod golden_weights;

/// Two layers, 96 tokens, weights that are a function of their names.
fn model() -> Arc<Model> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let truth = std::fs::read(golden.join("tinyllama.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let tensor = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let values = golden_weights::tensor(name, &shape);
        Tensor::from_f32(name, shape, &values).unwrap()
    };
    let tensors: Vec<Tensor> = truth["tensors"].as_object().unwrap().iter().map(tensor).collect();
    let folder = tempfile::tempdir().unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    std::fs::copy(golden.join("configs/tinyllama.json"), folder.path().join("config.json")).unwrap();
    Arc::new(Model::bind(&Checkpoint::open(folder.path()).unwrap()).unwrap())
}

fn engine() -> Engine {
    let settings = Settings { context_length: 64, threads: 2, kv: KvStorage::F32, ..Settings::default() };
    Engine::start(model(), settings).unwrap()
}

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
