//! Adapters that requests choose, over a real engine: a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;

use bantam_engine::{Engine, Request};
use bantam_model::{Adapter, BaseCheck, Model};
use bantam_server::{AdapterPart, Generate, NamedAdapter, Refusal, Running as Answering, Served, Settings};
use common::shelf::{SMALL, Shelf};
use common::{Running, served, settings, with};
use serde_json::{Value, json};

#[path = "../../../testdata/golden/adapter.rs"]
mod golden_adapter;
#[path = "common/tiny.rs"]
mod tiny;

/// The tiny model, and adapters by numbers.
struct Adapted {
    engine: Engine,
    model: Arc<Model>,
}

impl Generate for Adapted {
    fn submit(&self, request: Request) -> Result<Answering, bantam_engine::Error> {
        Generate::submit(&self.engine, request)
    }

    fn adapter(&self, parts: &[AdapterPart]) -> Result<Arc<Adapter>, Refusal> {
        let bound = parts.iter().map(|part| (adapter(&self.model, part.place.parse().unwrap()), part.scale));
        let bound: Vec<(Adapter, f32)> = bound.collect();
        let parts: Vec<(&Adapter, f32)> = bound.iter().map(|(adapter, scale)| (adapter, *scale)).collect();
        Ok(Arc::new(Adapter::sum(&parts).unwrap()))
    }
}

/// An adapter that changes all projections of the model's first layer.
fn adapter(model: &Model, seed: usize) -> Adapter {
    let file = golden_adapter::of_first_layer(model, seed);
    Adapter::bind(&file, model, BaseCheck::Fingerprint).unwrap()
}

/// A server of the tiny model with eight adapters, `a1` to `a8`.
fn adapted(settings: Settings) -> Running {
    let mut shelf = Shelf::with_adapters(30);
    let model = tiny::model();
    shelf.add("tiny", SMALL, move |_| {
        let generator = Box::new(Adapted { engine: tiny::over(&model), model: Arc::clone(&model) });
        Served { context_length: tiny::CONTEXT_LENGTH, sequences_max: 16, ..served(generator) }
    });
    let named =
        |number: usize| NamedAdapter { name: format!("a{number}"), model: None, place: number.to_string() };
    let adapters = (1..=8).map(named).collect();
    Running::over(Settings { adapters, waiting_max: 64, ..settings }, shelf, Default::default())
}

#[test]
fn requests_of_eight_adapters_and_the_base_run_together() {
    let server = adapted(settings());
    let name =
        |place: usize| if place.is_multiple_of(9) { "tiny".to_owned() } else { format!("a{}", place % 9) };
    let ask = |place: usize, by_field: bool| {
        let ask = json!({ "prompt": "hello you", "max_tokens": 20, "temperature": 1.0, "seed": place % 9 });
        let which = match by_field {
            true if !place.is_multiple_of(9) => {
                json!({ "model": "tiny", "lora": [{ "id": place % 9 - 1, "scale": 1.0 }] })
            }
            true => json!({ "model": "tiny", "adapter": "" }),
            false => json!({ "model": name(place) }),
        };
        let reply = server.post("/v1/completions", &with(ask, which)).json();
        assert_eq!(reply["model"], name(place), "{reply}");
        reply["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    let alone: Vec<String> = (0..9).map(|place| ask(place, false)).collect();
    assert!((1..9).all(|place| alone[place] != alone[0]), "{alone:?}");
    let together: Vec<String> = std::thread::scope(|scope| {
        let ask = &ask;
        let threads: Vec<_> = (0..16).map(|place| scope.spawn(move || ask(place, place % 2 == 0))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (place, text) in together.iter().enumerate() {
        assert_eq!(*text, alone[place % 9], "{place}");
    }
}

#[test]
fn adapters_are_listed_loaded_and_unloaded() {
    let server = adapted(settings());
    let models = server.get("/v1/models").json();
    let of = |id: &str| {
        models["data"].as_array().unwrap().iter().find(|model| model["id"] == id).cloned().unwrap()
    };
    assert_eq!((&of("a3")["parent"], &of("tiny")["parent"]), (&json!("tiny"), &Value::Null));
    assert_eq!(server.get("/v1/models/a3").json()["id"], "a3");
    assert_eq!(
        server.get("/lora-adapters").json()[7],
        json!({ "id": 7, "name": "a8", "model": "tiny", "scale": 0.0 })
    );
    let load = |name: &str, place: &str| {
        server.post("/v1/load_lora_adapter", &json!({ "lora_name": name, "lora_path": place }))
    };
    let ask = |model: &str| {
        server.post(
            "/v1/completions",
            &json!({ "model": model, "prompt": "hi", "max_tokens": 9, "temperature": 0 }),
        )
    };
    assert_eq!(ask("new").status, 404);
    assert_eq!(load("new", "3").status, 200);
    assert_eq!(ask("new").json()["choices"][0]["text"], ask("a3").json()["choices"][0]["text"]);
    assert_eq!(
        (load("new", "4").status, load("tiny", "4").status, load("x", "nowhere").status),
        (400, 400, 404)
    );
    let unload = |name: &str| server.post("/v1/unload_lora_adapter", &json!({ "lora_name": name })).status;
    assert_eq!((unload("new"), unload("new"), unload("tiny")), (200, 404, 404));
    assert_eq!(ask("new").status, 404);
    let field = |field: Value| {
        server.post(
            "/v1/completions",
            &with(json!({ "prompt": "hi", "max_tokens": 9, "temperature": 0 }), field),
        )
    };
    let half = field(json!({ "lora": [{ "id": 2, "scale": 0.5 }, { "id": 3, "scale": 0.5 }] }));
    assert_eq!((half.status, &half.json()["model"]), (200, &json!("tiny")));
    assert_eq!(field(json!({ "lora": [{ "id": 2, "scale": 0.0 }] })).json()["model"], "tiny");
    assert_eq!(
        (field(json!({ "adapter": "none" })).status, field(json!({ "lora": [{ "id": 99 }] })).status),
        (404, 404)
    );
    assert_eq!((field(json!({ "adapter": 5 })).status, field(json!({ "lora": [{}] })).status), (400, 400));
}

#[test]
fn adapters_stay_within_the_budget() {
    // The model takes 120, and each adapter 30.
    let server = adapted(Settings { memory_max: 200, ..settings() });
    let ask = |model: &str| {
        server.post("/v1/completions", &json!({ "model": model, "prompt": "hi", "max_tokens": 3 })).status
    };
    assert_eq!((ask("a1"), ask("a2"), ask("a1"), ask("a3")), (200, 200, 200, 507));
    assert_eq!(server.get("/api/ps").json()["models"][0]["size"], 180);
    assert_eq!(ask("tiny"), 200);
}
