//! llama.cpp's server's own paths.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Running, chat};
use serde_json::{Value, json};

#[test]
fn a_text_goes_on_and_is_told_with_how_it_went() {
    let server = Running::new();
    let reply = server.post("/completion", &json!({ "prompt": "say ab\nc" })).json();
    assert_eq!(
        (&reply["content"], &reply["stop"], &reply["stop_type"]),
        (&json!("ab\nc"), &json!(true), &json!("eos"))
    );
    assert_eq!((&reply["has_new_line"], &reply["truncated"]), (&json!(true), &json!(false)));
    assert_eq!((&reply["tokens"], &reply["completion_probabilities"]), (&json!([]), &Value::Null));
    assert_eq!(reply["generation_settings"]["n_predict"], -1);
    let cut =
        json!({ "prompt": "say abc", "n_predict": 2, "seed": 7, "temperature": 0.5, "return_tokens": true });
    let reply = server.post("/completions", &cut).json();
    assert_eq!(
        (&reply["content"], &reply["stop_type"], &reply["tokens_predicted"]),
        (&json!("ab"), &json!("limit"), &json!(2))
    );
    assert_eq!(reply["tokens"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&reply["timings"]["predicted_n"], &reply["generation_settings"]["seed"]),
        (&json!(2), &json!(7))
    );
    let stopped = server.post("/completion", &json!({ "prompt": "say abc", "stop": ["b"] })).json();
    assert_eq!((&stopped["content"], &stopped["stopping_word"]), (&json!("a"), &json!("b")));
}

#[test]
fn several_prompts_have_a_list_of_answers_in_their_order() {
    let server = Running::new();
    let ids = server.post("/tokenize", &json!({ "content": "say b" })).json()["tokens"].clone();
    let replies = server.post("/completion", &json!({ "prompt": ["say a", ids] })).json();
    let told: Vec<(&Value, &Value)> =
        replies.as_array().unwrap().iter().map(|r| (&r["index"], &r["content"])).collect();
    assert_eq!(told, [(&json!(0), &json!("a")), (&json!(1), &json!("b"))]);
    let one = server.post("/completion", &json!({ "prompt": ["say a"] })).json();
    assert_eq!(one["content"], "a");
}

#[test]
fn a_stream_has_parts_with_their_tokens_and_ends_with_how_it_went() {
    let server = Running::new();
    let ask = json!({ "prompt": "say ab\nc", "stream": true, "n_probs": 2 });
    let events = server.post("/completion", &ask).events();
    let (last, parts) = events.split_last().unwrap();
    let text: String = parts.iter().map(|(_, part)| part["content"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), &last.1["stop"], &last.1["content"]), ("ab\nc", &json!(true), &json!("")));
    assert_eq!((&last.1["has_new_line"], &last.1["timings"]["predicted_n"]), (&json!(true), &json!(4)));
    for (_, part) in parts {
        let (tokens, told) = (&part["tokens"], part["completion_probabilities"].as_array().unwrap());
        assert_eq!((part["stop"] == false, tokens.as_array().unwrap().len()), (true, told.len()));
        assert!(told.iter().zip(tokens.as_array().unwrap()).all(|(entry, id)| entry["id"] == *id));
    }
}

#[test]
fn biases_come_as_pairs_too() {
    let server = Running::new();
    let ask = json!({ "prompt": "say a", "logit_bias": [[5, 1.5], [6, false]] });
    assert_eq!(server.post("/completion", &ask).status, 200);
    assert_eq!(server.signals.last().sampling.logit_bias, [(5, 1.5), (6, f32::NEG_INFINITY)]);
    for wrong in [json!([5]), json!([[5, "x"]]), json!([[-1, 1]]), json!("5"), json!([[1, 1e300]])] {
        let refused = server.post("/completion", &json!({ "prompt": "say a", "logit_bias": wrong }));
        assert_eq!(
            (refused.status, &refused.json()["error"]["param"]),
            (400, &json!("logit_bias")),
            "{wrong}"
        );
    }
}

#[test]
fn what_is_wrong_is_refused_by_its_name() {
    let server = Running::new();
    let cases = [
        (json!({}), "prompt"),
        (json!({ "prompt": [] }), "prompt"),
        (json!({ "prompt": { "a": 1 } }), "prompt"),
        (json!({ "prompt": "a", "n_predict": 0 }), "n_predict"),
        (json!({ "prompt": "a", "n_probs": 21 }), "n_probs"),
        (json!({ "prompt": "a", "n": 2 }), "n"),
        (json!({ "prompt": "a", "temperature": -1 }), "temperature"),
    ];
    for (ask, param) in cases {
        let refused = server.post("/completion", &ask);
        assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!(param)), "{ask}");
    }
}

#[test]
fn paths_without_a_version_are_those_with_one() {
    let server = Running::new();
    let (short, long) = (
        server.post("/chat/completions", &chat("say hi")),
        server.post("/v1/chat/completions", &chat("say hi")),
    );
    assert_eq!(short.json()["choices"], long.json()["choices"]);
    assert_eq!(server.get("/models").json(), server.get("/v1/models").json());
    let props = server.get("/props").json();
    assert_eq!(props["model_alias"], "tiny");
    assert!(
        props["default_generation_settings"]["n_ctx"].as_u64().unwrap() > 0 && props["total_slots"].is_u64()
    );
}

#[test]
fn an_answer_cannot_both_go_on_and_begin() {
    let server = Running::new();
    let both = json!({ "continue_final_message": true, "add_generation_prompt": true });
    let refused = server.post("/v1/chat/completions", &common::with(chat("say hi"), both));
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("continue_final_message")));
    let one = json!({ "continue_final_message": true, "add_generation_prompt": false });
    assert_eq!(server.post("/v1/chat/completions", &common::with(chat("say hi"), one)).status, 200);
}
