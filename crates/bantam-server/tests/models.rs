//! Several models: loaded on demand, let go when their time is over or their place is needed, within a budget.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bantam_engine::{Error, Request};
use bantam_server::{Fit, Generate, KeepAlive, Need, Running as Answering, Served, Settings};
use common::shelf::SMALL;
use common::{Reply, Running, Script, Shelf, Signals, alias, chat, named, settings, tokenizer, with};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// Models that take 120 bytes each, or 110 with one answer at a time.
fn server(settings: Settings, names: &[&'static str]) -> (Running, Arc<Mutex<Vec<String>>>) {
    let (mut shelf, signals) = (Shelf::default(), Signals::default());
    for &name in names {
        let signals = signals.clone();
        shelf.add(name, SMALL, move |fit| Served {
            sequences_max: fit.sequences_max,
            ..named(name, &signals)
        });
    }
    let loads = Arc::clone(&shelf.loads);
    (Running::over(Settings { aliases: vec![], ..settings }, shelf, signals), loads)
}

fn to(model: &str, said: &str) -> Value {
    with(chat(said), json!({ "model": model }))
}

fn loaded(server: &Running) -> Vec<Value> {
    let told = server.get("/api/ps").json();
    told["models"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect()
}

#[test]
fn the_list_tells_what_is_in_memory() {
    let (server, _) = server(Settings { memory_max: 200, ..settings() }, &["a", "b"]);
    server.post(CHAT, &to("b", "say x"));
    let told = server.get("/v1/models").json();
    let memory: Vec<&Value> = told["data"].as_array().unwrap().iter().map(|model| &model["memory"]).collect();
    let wanted = [Value::Null, json!(120)].map(|bytes| json!({ "loaded_bytes": bytes, "max_bytes": 200 }));
    assert_eq!(memory, wanted.iter().collect::<Vec<_>>());
}

#[test]
fn a_model_that_cannot_be_used_is_told_from_one_that_is_not_here() {
    let (mut shelf, signals) = (Shelf::default(), Signals::default());
    let own = signals.clone();
    shelf.add("a", SMALL, move |_| named("a", &own));
    shelf.unusable.insert("b".into(), "b.gguf may be truncated".into());
    let aliases = vec![alias("first", &["b", "a"]), alias("second", &["a", "b"])];
    let server = Running::over(Settings { aliases, ..settings() }, shelf, signals);
    for (path, ask) in [(CHAT, to("b", "say x")), ("/api/show", json!({ "model": "b" }))] {
        let refused = server.post(path, &ask);
        assert_eq!(refused.status, 500, "{}", refused.body);
        assert!(refused.body.contains("b.gguf may be truncated"), "{}", refused.body);
    }
    let error = server.post(CHAT, &to("b", "say x")).json()["error"].clone();
    assert_eq!((&error["param"], &error["code"]), (&json!("model"), &json!("model_unusable")));
    for name in ["first", "second"] {
        assert_eq!(server.post(CHAT, &to(name, "say x")).json()["model"], "a");
    }
    let unknown = server.post(CHAT, &to("c", "say x"));
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[test]
fn models_are_loaded_when_they_are_asked_for() {
    let (server, loads) = server(settings(), &["a", "b"]);
    assert_eq!(server.get("/v1/models").json()["data"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/api/tags").json()["models"][1]["name"], "b");
    assert_eq!(server.post("/api/show", &json!({ "model": "b" })).json()["details"]["family"], "tiny");
    assert!(loads.lock().unwrap().is_empty() && loaded(&server).is_empty());
    for _ in 0..2 {
        let reply = server.post(CHAT, &to("b", "say xy")).json();
        assert_eq!(
            (&reply["model"], &reply["choices"][0]["message"]["content"]),
            (&json!("b"), &json!("xy"))
        );
    }
    assert_eq!(*loads.lock().unwrap(), ["b"]);
    let told = server.get("/api/ps").json()["models"][0].clone();
    assert_eq!((&told["size"], &told["model"]), (&json!(120), &json!("b")));
    assert!(told["expires_at"].as_str().unwrap() > "2026");
    let without = server.post(CHAT, &json!({ "messages": [{ "role": "user", "content": "say z" }] })).json();
    assert_eq!(without["model"], "a", "the first is for requests that name none");
    assert_eq!(server.post(CHAT, &to("c", "say x")).status, 404);
}

#[test]
fn many_requests_at_once_load_a_model_once() {
    let (server, loads) = server(Settings { waiting_max: 64, ..settings() }, &["a"]);
    std::thread::scope(|scope| {
        (0..8)
            .for_each(|_| drop(scope.spawn(|| assert_eq!(server.post(CHAT, &to("a", "say x")).status, 200))));
    });
    assert_eq!(*loads.lock().unwrap(), ["a"]);
}

#[test]
fn the_one_asked_for_longest_ago_goes_first() {
    for settings in [Settings { models_max: 2, ..settings() }, Settings { memory_max: 240, ..settings() }] {
        let (server, loads) = server(settings, &["a", "b", "c"]);
        for name in ["a", "b", "a", "c", "a", "b"] {
            assert_eq!(server.post(CHAT, &to(name, "say x")).status, 200);
        }
        assert_eq!(*loads.lock().unwrap(), ["a", "b", "c", "b"]);
        assert_eq!(loaded(&server), ["a", "b"]);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let (server, loads) = server(Settings { memory_max: 109, ..settings() }, &["a"]);
    for (path, ask) in
        [(CHAT, chat("say x")), ("/v1/messages", with(chat("say x"), json!({ "max_tokens": 5 })))]
    {
        let reply = server.post(path, &with(ask, json!({ "model": "a" })));
        assert_eq!(reply.status, 507, "{reply:?}");
        assert!(reply.body.contains("110") || reply.body.contains("0 kB"), "{reply:?}");
    }
    assert!(loads.lock().unwrap().is_empty());
}

#[test]
fn answers_on_their_way_are_not_cut_off_for_others() {
    let (server, loads) = server(Settings { models_max: 1, ..settings() }, &["a", "b"]);
    let held = server.open(CHAT, &to("a", "hold xy"), "");
    server.signals.wait_submitted(1);
    let other = server.open(CHAT, &to("b", "say z"), "");
    // A client that goes away while it waits leaves no trace.
    drop(server.open(CHAT, &to("b", "say z"), ""));
    assert_eq!(*loads.lock().unwrap(), ["a"]);
    server.signals.release();
    assert!(Reply::read(held).body.contains("\"xy\""));
    assert!(Reply::read(other).body.contains("\"z\""));
    assert_eq!(*loads.lock().unwrap(), ["a", "b"]);
}

#[test]
fn beside_one_in_use_a_model_makes_do_with_less() {
    let fits = Arc::new(Mutex::new(Vec::new()));
    let (mut shelf, signals) = (Shelf::default(), Signals::default());
    for name in ["a", "b"] {
        let (fits, signals) = (Arc::clone(&fits), signals.clone());
        shelf.add(name, SMALL, move |fit: Fit| {
            fits.lock().unwrap().push((name, fit.sequences_max));
            Served { sequences_max: fit.sequences_max, ..named(name, &signals) }
        });
    }
    let settings = Settings { memory_max: 230, aliases: vec![], ..settings() };
    let server = Running::over(settings, shelf, signals);
    let held = server.open(CHAT, &to("a", "hold xy"), "");
    server.signals.wait_submitted(1);
    assert_eq!(server.post(CHAT, &to("b", "say z")).status, 200);
    assert_eq!(*fits.lock().unwrap(), [("a", 2), ("b", 1)]);
    server.signals.release();
    assert!(Reply::read(held).body.contains("\"xy\""));
}

#[test]
fn a_model_goes_when_nothing_keeps_it() {
    let (server, loads) = server(settings(), &["a", "b"]);
    let gone = with(to("a", "say x"), json!({ "keep_alive": 0, "stream": false }));
    assert_eq!(server.post("/api/chat", &gone).json()["message"]["content"], "x");
    server.signals.wait_dropped(1);
    assert_eq!(
        server.post("/api/generate", &json!({ "model": "b", "stream": false })).json()["done_reason"],
        "load"
    );
    let told = server.post("/api/generate", &json!({ "model": "b", "keep_alive": "0s" })).json();
    assert_eq!(told["done_reason"], "unload");
    server.signals.wait_dropped(2);
    assert!(loaded(&server).is_empty());
    assert_eq!(*loads.lock().unwrap(), ["a", "b"]);
    let forever = server.post("/api/generate", &json!({ "model": "b", "keep_alive": -1 }));
    assert_eq!(forever.status, 200);
    assert!(server.get("/api/ps").json()["models"][0]["expires_at"].as_str().unwrap().starts_with("23"));
    assert_eq!(server.post("/api/generate", &json!({ "model": "b", "keep_alive": "soon" })).status, 400);
}

#[test]
fn models_stand_in_for_each_other() {
    let (mut shelf, signals) = (Shelf::default(), Signals::default());
    for name in ["large", "small"] {
        let signals = signals.clone();
        let weights_bytes = if name == "large" { 1000 } else { 100 };
        shelf.add(name, Need { weights_bytes, ..SMALL }, move |_| named(name, &signals));
    }
    let aliases = vec![alias("best", &["large", "small"]), alias("only", &["large"])];
    let server = Running::over(Settings { memory_max: 500, aliases, ..settings() }, shelf, signals);
    assert_eq!(server.post(CHAT, &to("BEST", "say x")).json()["model"], "small");
    assert_eq!(server.post(CHAT, &to("only", "say x")).status, 507);
}

#[test]
fn what_is_to_be_there_from_the_start_makes_it_ready() {
    let start = Settings { load_first: vec!["b".into()], keep_alive: KeepAlive::Forever, ..settings() };
    let (server, loads) = server(start, &["a", "b"]);
    // However long it takes: health is told before, and readiness then.
    assert_eq!(server.get("/health").status, 200);
    while server.get("/ready").status != 200 {}
    assert_eq!(
        (loads.lock().unwrap().as_slice(), loaded(&server)),
        (&["b".to_owned()][..], vec![json!("b")])
    );
}

/// Counts its bytes while it lives.
struct Weighed {
    script: Script,
    bytes: u64,
    all: Arc<AtomicU64>,
}

impl Weighed {
    fn new(script: Script, bytes: u64, all: &Arc<AtomicU64>, most: u64) -> Self {
        let before = all.fetch_add(bytes, Ordering::SeqCst);
        assert!(before + bytes <= most, "{bytes} more than {before}");
        Weighed { script, bytes, all: Arc::clone(all) }
    }
}

impl Generate for Weighed {
    fn submit(&self, request: Request) -> Result<Answering, Error> {
        self.script.submit(request)
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[test]
fn whatever_is_asked_the_budget_holds() {
    const MOST: u64 = 1000;
    let (mut shelf, signals, all) = (Shelf::default(), Signals::default(), Arc::new(AtomicU64::new(0)));
    for (place, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let need = Need { weights_bytes: 150 * (place as u64 + 1), sequences_max: 9, ..SMALL };
        let (signals, all) = (signals.clone(), Arc::clone(&all));
        shelf.add(name, need, move |fit| {
            let script = Script::new(tokenizer(), signals.clone());
            let generator = Box::new(Weighed::new(script, need.bytes(fit), &all, MOST));
            Served { generator, sequences_max: fit.sequences_max, ..named(name, &signals) }
        });
    }
    let settings = Settings { memory_max: MOST, waiting_max: 64, aliases: vec![], ..settings() };
    let server = Running::over(settings, shelf, signals);
    let client = |client: usize| {
        for round in 0..25 {
            let name = ["a", "b", "c", "d", "e"][(client * 7 + round * 3) % 5];
            let ask = with(to(name, "say xyz"), json!({ "keep_alive": if round % 4 == 0 { 0 } else { 60 } }));
            let reply = server.post("/api/chat", &ask);
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    };
    let client = &client;
    std::thread::scope(|scope| (0..6).for_each(|number| drop(scope.spawn(move || client(number)))));
}
