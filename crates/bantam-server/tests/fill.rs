//! Gaps, filled by models that were made for it, in all protocols that ask for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_text::Special;
use common::{Running, settings, tokenizer, tokenizer_with};
use serde_json::json;

const MARKS: [&str; 4] = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"];

fn server() -> Running {
    Running::with(settings(), |served| {
        (served.tokenizer, served.vocab_size) = (tokenizer_with(&MARKS), 100);
    })
}

fn ids(text: &str) -> Vec<u32> {
    tokenizer().to_ids(text, Special::AsText).unwrap()
}

#[test]
fn the_parts_stand_behind_their_marks() {
    let server = server();
    let asks = [
        ("/infill", json!({ "input_prefix": "say ab", "input_suffix": "c<|end|>" })),
        ("/v1/completions", json!({ "prompt": "say ab", "suffix": "c<|end|>" })),
        (
            "/api/generate",
            json!({ "model": "tiny", "prompt": "say ab", "suffix": "c<|end|>", "stream": false }),
        ),
    ];
    let wanted = [vec![96], ids("say ab"), vec![97], ids("c<|end|>"), vec![98]].concat();
    for (path, ask) in asks {
        assert_eq!(server.post(path, &ask).status, 200, "{path}");
        let request = server.signals.last();
        assert_eq!(request.prompt, wanted, "{path}: a mark in a text is text");
        assert_eq!(request.stop_tokens, [1, 96, 97, 98, 99]);
    }
}

#[test]
fn files_come_before_and_the_middle_may_have_begun() {
    let server = server();
    let ask = json!({
        "input_prefix": "a", "input_suffix": "b", "prompt": "c", "n_predict": 2, "temperature": 0.5, "stop": ["x"],
        "input_extra": [{ "filename": "f.rs", "text": "t" }],
    });
    let reply = server.post("/infill", &ask).json();
    assert_eq!((&reply["stop"], &reply["tokens_predicted"]), (&json!(true), &json!(2)));
    assert_eq!((&reply["stop_type"], &reply["expired"]), (&json!("limit"), &json!(false)));
    let request = server.signals.last();
    let wanted =
        [vec![99], ids("f.rs\nt\n"), vec![96], ids("a"), vec![97], ids("b"), vec![98], ids("c")].concat();
    assert_eq!((request.prompt, request.max_tokens), (wanted, Some(2)));
    let events = server.post("/infill", &json!({ "input_prefix": "say ab", "stream": true })).events();
    let (last, parts) = events.split_last().unwrap();
    let text: String = parts.iter().map(|(_, part)| part["content"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), &last.1["stop"], &last.1["stop_type"]), ("ab", &json!(true), &json!("eos")));
}

#[test]
fn models_that_fill_no_gaps_say_so() {
    let server = Running::new();
    let asks = [
        ("/infill", json!({ "input_prefix": "a" }), "input_suffix"),
        ("/v1/completions", json!({ "prompt": "a", "suffix": "b" }), "suffix"),
        ("/v1/completions", json!({ "prompt": [5], "suffix": "b" }), "suffix"),
    ];
    for (path, ask, field) in asks {
        let refused = server.post(path, &ask);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(field)));
    }
    let refused = server.post("/api/generate", &json!({ "model": "tiny", "prompt": "a", "suffix": "b" }));
    assert!(refused.status == 400 && refused.json()["error"].as_str().unwrap().contains("fim_prefix"));
    assert_eq!(server.post("/v1/completions", &json!({ "prompt": "say a", "suffix": "" })).status, 200);
}
