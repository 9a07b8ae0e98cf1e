//! Texts as vectors, and what is made of them, in all their protocols.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_text::Special;
use common::{Running, chat, tokenizer, with};
use serde_json::{Value, json};

fn embed(server: &Running, more: Value) -> Value {
    server.post("/v1/embeddings", &with(json!({ "model": "tiny" }), more)).json()
}

/// The first numbers of each embedding.
fn firsts(reply: &Value) -> Vec<Vec<f64>> {
    let data = reply["data"].as_array().unwrap_or_else(|| panic!("{reply}"));
    let numbers = data.iter().map(|entry| entry["embedding"].as_array().unwrap());
    numbers
        .map(|all| all.iter().take(3).map(|x| (x.as_f64().unwrap() * 1e4).round() / 1e4).collect())
        .collect()
}

#[test]
fn every_form_of_input_has_its_vector_in_its_place() {
    let server = Running::new();
    // The script counts `!`, `\"`, `#` and so on, which are tokens 2, 3 and 4.
    let reply = embed(&server, json!({ "input": ["!!!\"\"\"\"", "#"] }));
    assert_eq!(firsts(&reply), [vec![0.6, 0.8, 0.0], vec![0.0, 0.0, 1.0]]);
    let entry = &reply["data"][1];
    assert_eq!((&entry["index"], &entry["object"]), (&json!(1), &json!("embedding")));
    assert_eq!(entry["embedding"].as_array().unwrap().len(), 32);
    assert_eq!(reply["usage"], json!({ "prompt_tokens": 8, "total_tokens": 8 }));
    assert_eq!(firsts(&embed(&server, json!({ "input": "#" }))), [vec![0.0, 0.0, 1.0]]);
    assert_eq!(firsts(&embed(&server, json!({ "input": [2, 2, 2, 3, 3, 3, 3] }))), [vec![0.6, 0.8, 0.0]]);
    let lists = embed(&server, json!({ "input": [[2], [3, 3]] }));
    assert_eq!(firsts(&lists), [vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0]]);
}

#[test]
fn vectors_are_cut_and_written_as_is_wanted() {
    let server = Running::new();
    let ask = json!({ "input": "!!!\"\"\"\"####", "dimensions": 2, "encoding_format": "base64" });
    // struct.pack("<2f", 0.6, 0.8)
    assert_eq!(embed(&server, ask)["data"][0]["embedding"], "mpkZP83MTD8=");
}

#[test]
fn what_is_wrong_with_an_input_is_named() {
    let server = Running::new();
    let cases = [
        (json!({}), "input"),
        (json!({ "input": [] }), "input"),
        (json!({ "input": [1.5] }), "input"),
        (json!({ "input": {} }), "input"),
        (json!({ "input": vec!["x"; 2049] }), "input"),
        (json!({ "input": "x", "encoding_format": "float16" }), "encoding_format"),
        (json!({ "input": "x", "dimensions": 0 }), "dimensions"),
        (json!({ "input": "x", "dimensions": 33 }), "dimensions"),
        (json!({ "input": "x", "pooling": "max" }), "pooling"),
        (json!({ "input": [[96]] }), "input"),
        (json!({ "input": "" }), "input"),
        (json!({ "input": "x".repeat(201) }), "input"),
    ];
    for (ask, param) in cases {
        let reply = server.post("/v1/embeddings", &ask);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, error["param"].as_str().unwrap_or_default()), (400, param), "{error}");
    }
    assert_eq!(server.signals.submitted(), 0);
}

#[test]
fn ollama_has_two_forms() {
    let server = Running::new();
    let ask = json!({ "model": "tiny", "input": ["!!!\"\"\"\"", "x".repeat(300)], "dimensions": 3 });
    let reply = server.post("/api/embed", &ask).json();
    assert_eq!(reply["prompt_eval_count"], 207, "the second is cut to the context");
    let first: Vec<f64> = serde_json::from_value(reply["embeddings"][0].clone()).unwrap();
    assert!((first[0] - 0.6).abs() < 1e-6 && (first[1] - 0.8).abs() < 1e-6 && first[2] == 0.0);
    let refused = server.post("/api/embed", &with(ask, json!({ "truncate": false })));
    assert!(refused.status == 400 && refused.json()["error"].as_str().unwrap().contains("300"));
    assert_eq!(server.post("/api/embed", &json!({ "model": "tiny" })).json()["embeddings"], json!([]));
    let old = server.post("/api/embeddings", &json!({ "model": "tiny", "prompt": "!!!" })).json();
    assert_eq!(old["embedding"][0], 3.0);
}

#[test]
fn documents_are_ordered_by_their_likeness() {
    let server = Running::new();
    let ask =
        json!({ "query": "!!\"", "documents": ["###", "!\"", { "text": "!!\"" }], "return_documents": true });
    for path in ["/rerank", "/v1/rerank", "/v2/rerank"] {
        let reply = server.post(path, &ask).json();
        let results = reply["results"].as_array().unwrap();
        let order: Vec<u64> = results.iter().map(|result| result["index"].as_u64().unwrap()).collect();
        assert_eq!(order, [2, 1, 0]);
        assert!((results[0]["relevance_score"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        assert!((results[1]["relevance_score"].as_f64().unwrap() - 3.0 / 10f64.sqrt()).abs() < 1e-6);
        assert_eq!(
            (&results[2]["relevance_score"], &results[2]["document"]["text"]),
            (&json!(0.0), &json!("###"))
        );
    }
    let two = server.post("/rerank", &with(ask.clone(), json!({ "top_n": 2 }))).json();
    assert_eq!(two["results"].as_array().unwrap().len(), 2);
    for bad in [
        json!({ "documents": [] }),
        json!({ "documents": [3] }),
        json!({ "method": "guess" }),
        json!({ "query": 1 }),
    ] {
        assert_eq!(server.post("/rerank", &with(ask.clone(), bad)).status, 400);
    }
}

#[test]
fn texts_have_a_list_of_scores() {
    let server = Running::new();
    let ask = json!({ "query": "!!\"", "texts": ["###", "!\"", "!!\""], "return_text": true });
    let reply = server.post("/rerank", &ask).json();
    let told: Vec<_> =
        reply.as_array().unwrap().iter().map(|r| (r["index"].as_u64(), r["text"].as_str())).collect();
    assert_eq!(told, [(Some(2), Some("!!\"")), (Some(1), Some("!\"")), (Some(0), Some("###"))]);
    assert!((reply[0]["score"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    let one = server.post("/rerank", &with(ask.clone(), json!({ "top_n": 1, "return_text": false }))).json();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["text"]), (1, &json!(null)));
    let refused = server.post("/rerank", &with(ask, json!({ "texts": [] })));
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("texts")));
}

#[test]
fn a_model_that_chats_may_be_asked() {
    // Its tokeniser has no `yes` in one token: neither answer can be told, and all documents are alike.
    let server = Running::new();
    assert!(tokenizer().to_ids("yes", Special::AsText).unwrap().len() > 1);
    let ask = json!({ "query": "q", "documents": ["a", "b"], "method": "yes_no" });
    let reply = server.post("/rerank", &ask).json();
    let scores: Vec<f64> =
        reply["results"].as_array().unwrap().iter().map(|r| r["relevance_score"].as_f64().unwrap()).collect();
    assert_eq!(scores, [0.5, 0.5]);
    assert_eq!(server.post("/v1/chat/completions", &chat("say ok")).status, 200);
}
