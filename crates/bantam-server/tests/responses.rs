//! OpenAI's Responses: the order of events, what they hold, what is kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Reply, Running, settings, with};
use serde_json::{Value, json};

fn ask(input: Value) -> Value {
    json!({ "model": "tiny", "input": input })
}

fn text(response: &Value) -> &str {
    let message = response["output"].as_array().unwrap().iter().find(|item| item["type"] == "message");
    message.unwrap()["content"][0]["text"].as_str().unwrap()
}

/// A request without a body.
fn delete(server: &Running, path: &str) -> Reply {
    let head = format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Reply::read(server.send(&head))
}

#[test]
fn events_come_in_their_order_and_hold_what_the_whole_reply_holds() {
    let server = Running::new();
    let said = ask(json!("say <think>hm </think>ab"));
    let whole = server.post("/v1/responses", &said).json();
    let events = server.post("/v1/responses", &with(said, json!({ "stream": true }))).events();
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    let item = |kind: &str| {
        let part = |end: &str| format!("response.{kind}.{end}");
        let [added, done] = ["added", "done"].map(|end| format!("response.content_part.{end}"));
        vec![
            "response.output_item.added".into(),
            added,
            part("delta"),
            part("done"),
            done,
            "response.output_item.done".into(),
        ]
    };
    let mut wanted: Vec<String> = vec!["response.created".into(), "response.in_progress".into()];
    wanted.extend(item("reasoning_text"));
    wanted.extend(item("output_text"));
    wanted.push("response.completed".into());
    assert_eq!(names, wanted);
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
    }
    let last = &events.last().unwrap().1["response"];
    assert_eq!((text(last), text(&whole)), ("ab", "ab"));
    assert_eq!((&last["status"], &last["usage"]), (&json!("completed"), &whole["usage"]));
    assert_eq!(events[0].1["response"]["status"], "in_progress");
    assert_eq!(last["output"][0]["content"][0], json!({ "type": "reasoning_text", "text": "hm" }));
    let deltas = events.iter().filter(|(name, _)| name == "response.output_text.delta");
    assert_eq!(deltas.map(|(_, data)| data["delta"].as_str().unwrap()).collect::<String>(), "ab");
    let fields: Vec<&String> = whole.as_object().unwrap().keys().collect();
    assert_eq!(last.as_object().unwrap().keys().collect::<Vec<_>>(), fields);
}

#[test]
fn an_answer_that_is_cut_or_fails_says_so() {
    let server = Running::new();
    let cut =
        server.post("/v1/responses", &with(ask(json!("say abc")), json!({ "max_output_tokens": 2 }))).json();
    assert_eq!((&cut["status"], text(&cut)), (&json!("incomplete"), "ab"));
    assert_eq!(cut["incomplete_details"], json!({ "reason": "max_output_tokens", "expired": false }));
    let failed = with(ask(json!("fail ab")), json!({ "stream": true }));
    let events = server.post("/v1/responses", &failed).events();
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["response"]["status"]), ("response.failed", &json!("failed")));
    assert!(last["response"]["error"]["message"].as_str().unwrap().contains("as ordered"));
    let empty = server.post("/v1/responses", &ask(json!("say "))).json();
    assert_eq!((&empty["status"], text(&empty)), (&json!("completed"), ""));
}

#[test]
fn items_of_all_kinds_become_messages() {
    let server = Running::with(settings(), |served| served.context_length = 400);
    let items = json!([
        { "role": "user", "content": "a" },
        { "type": "reasoning", "id": "rs_1", "summary": [] },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "b" }] },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "4" },
        { "type": "message", "role": "assistant", "content": "c" },
        { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "say ok" }] },
    ]);
    let more = json!({ "instructions": "Be brief.", "include": ["message.output_text.logprobs"], "top_logprobs": 1 });
    let reply = server.post("/v1/responses", &with(ask(items), more)).json();
    assert_eq!(text(&reply), "ok");
    // The messages, instructions among them, as the template has them: it knows neither calls nor results.
    let said = "assistant\nb\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
    let result = "user\n<tool_response>\n4\n</tool_response>";
    let prompt = ["system\nBe brief.", "user\na", said, result, "assistant\nc", "user\nsay ok"];
    let tokens: usize =
        prompt.iter().map(|message| message.len() + 3).sum::<usize>() + "assistant\n".len() + 1;
    assert_eq!(reply["usage"]["input_tokens"], tokens);
    let logprobs = reply["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    assert_eq!((logprobs.len(), logprobs[0]["top_logprobs"].as_array().unwrap().len()), (2, 1));
}

#[test]
fn a_conversation_goes_on_from_what_is_kept() {
    let server = Running::new();
    let first = with(ask(json!("say one")), json!({ "instructions": "x".repeat(10) }));
    let first = server.post("/v1/responses", &first).json();
    let id = first["id"].as_str().unwrap();
    let path = format!("/v1/responses/{id}");
    assert_eq!(server.get(&path).json(), first);
    let more = with(ask(json!("say two")), json!({ "previous_response_id": id }));
    let events = server.post("/v1/responses", &with(more.clone(), json!({ "stream": true }))).events();
    let second = &events.last().unwrap().1["response"];
    let tokens = ["user\nsay one", "assistant\none", "user\nsay two"].map(|message| message.len() + 3);
    assert_eq!(second["usage"]["input_tokens"], tokens.iter().sum::<usize>() + 11, "instructions are gone");
    assert_eq!(server.get(&format!("/v1/responses/{}", second["id"].as_str().unwrap())).json(), *second);
    let items = server.get(&format!("{path}/input_items?order=asc&limit=1")).json();
    assert_eq!(items["data"][0]["content"][0]["text"], "say one");
    assert_eq!(delete(&server, &path).json()["deleted"], true);
    assert_eq!((server.get(&path).status, delete(&server, &path).status), (404, 404));
    assert_eq!(server.post("/v1/responses", &more).status, 404);
    let passing = server.post("/v1/responses", &with(ask(json!("say x")), json!({ "store": false }))).json();
    assert_eq!(server.get(&format!("/v1/responses/{}", passing["id"].as_str().unwrap())).status, 404);
}

#[test]
fn items_that_are_kept_can_be_named_in_place_of_being_said_again() {
    let server = Running::new();
    let first = server.post("/v1/responses", &ask(json!("say one"))).json();
    let path = format!("/v1/responses/{}", first["id"].as_str().unwrap());
    let given = server.get(&format!("{path}/input_items")).json()["data"][0].clone();
    let named = |item: &Value| json!({ "type": "item_reference", "id": item["id"] });
    let said = json!({ "role": "user", "content": "say two" });
    let more = ask(json!([named(&given), { "id": first["output"][0]["id"] }, said]));
    let second = server.post("/v1/responses", &more).json();
    let tokens = ["user\nsay one", "assistant\none", "user\nsay two"].map(|message| message.len() + 3);
    assert_eq!(second["usage"]["input_tokens"], tokens.iter().sum::<usize>() + 11);
    let path = format!("/v1/responses/{}/input_items", second["id"].as_str().unwrap());
    assert_eq!(server.get(&path).json()["data"][2], given, "what is named is told as it is");
    let items =
        server.post("/v1/conversations", &json!({ "items": [{ "role": "user", "content": "say c" }] }));
    let items =
        server.get(&format!("/v1/conversations/{}/items", items.json()["id"].as_str().unwrap())).json();
    let reply = server.post("/v1/responses", &ask(json!([named(&items["data"][0])]))).json();
    assert_eq!(reply["output"][0]["content"][0]["text"], "c");
    delete(&server, &format!("/v1/responses/{}", first["id"].as_str().unwrap()));
    delete(&server, &format!("/v1/responses/{}", second["id"].as_str().unwrap()));
    let gone = server.post("/v1/responses", &more);
    assert_eq!((gone.status, &gone.json()["error"]["param"]), (404, &json!("input[0].id")));
}

#[test]
fn what_is_wrong_is_named() {
    let server = Running::new();
    let cases = [
        (json!({ "input": null }), "input"),
        (json!({ "input": [] }), "input"),
        (json!({ "input": [{ "role": "robot", "content": "x" }] }), "input[0].role"),
        (json!({ "input": [{ "type": "odd", "id": "x" }] }), "input[0].type"),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image" }] }] }),
            "input[0].content[0].type",
        ),
        (json!({ "tools": [{ "type": "web_search" }] }), "tools[0].type"),
        (json!({ "text": { "format": { "type": "json_schema" } } }), "text.format.schema"),
        (json!({ "background": true }), "background"),
        (json!({ "conversation": 5 }), "conversation"),
        (json!({ "conversation": {} }), "conversation.id"),
        (json!({ "conversation": "c", "previous_response_id": "r" }), "conversation"),
        (json!({ "metadata": { "a": 1 } }), "metadata.a"),
        (json!({ "max_output_tokens": 0 }), "max_output_tokens"),
        (json!({ "temperature": "warm" }), "temperature"),
        (json!({ "include": [1] }), "include[0]"),
    ];
    for (more, param) in cases {
        let reply = server.post("/v1/responses", &with(ask(json!("x")), more));
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)));
    }
    assert_eq!(server.signals.submitted(), 0);
}

#[test]
fn what_one_key_made_is_not_there_for_another() {
    let mut settings = common::with_key("first-key");
    settings.keys.add("second-key").unwrap();
    let server = Running::with(settings, |_| {});
    let post = |key: &str, body: &Value| {
        let header = format!("Authorization: Bearer {key}\r\n");
        Reply::read(server.open("/v1/responses", body, &header))
    };
    for stream in [false, true] {
        let made = post("first-key", &with(ask(json!("say one")), json!({ "stream": stream })));
        let made = if stream { made.events().pop().unwrap().1["response"].clone() } else { made.json() };
        let more = with(ask(json!("say two")), json!({ "previous_response_id": made["id"] }));
        assert_eq!((post("second-key", &more).status, post("first-key", &more).status), (404, 200));
    }
}

#[test]
fn a_call_is_an_item_and_its_result_comes_back_as_one() {
    let server = Running::with(settings(), |served| served.context_length = 4000);
    let a = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    let tools = json!([{ "type": "function", "name": "add", "parameters": a }, { "type": "function", "name": "now" }]);
    let must = json!({ "tools": tools, "tool_choice": "required", "parallel_tool_calls": false });
    let said = with(ask(json!("held a\"7}")), must);
    let whole = server.post("/v1/responses", &said).json();
    let call = whole["output"][0].clone();
    assert_eq!(
        (&call["type"], &call["name"], &call["status"]),
        (&json!("function_call"), &json!("add"), &json!("completed"))
    );
    assert_eq!((&call["arguments"], whole["output"].as_array().unwrap().len()), (&json!("{\"a\": 7}"), 1));
    assert_eq!((&whole["tools"][1]["name"], &whole["tools"][1]["parameters"]), (&json!("now"), &Value::Null));
    let events = server.post("/v1/responses", &with(said, json!({ "stream": true }))).events();
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    let call_names = [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ];
    let wanted = ["created", "in_progress"].into_iter().chain(call_names).chain(["completed"]);
    assert_eq!(names, wanted.map(|name| format!("response.{name}")).collect::<Vec<_>>());
    let deltas = events.iter().filter(|(name, _)| name == "response.function_call_arguments.delta");
    let arguments: String = deltas.map(|(_, data)| data["delta"].as_str().unwrap()).collect();
    assert_eq!(arguments, "{\"a\": 7}");
    let result = json!([{ "type": "function_call_output", "call_id": call["call_id"], "output": "8" }]);
    let more = json!({ "previous_response_id": whole["id"], "tools": tools });
    let kept = server.post("/v1/responses", &with(ask(result.clone()), more)).json();
    // The same without what is kept.
    let items = json!([{ "role": "user", "content": "held a\"7}" }, call, result[0]]);
    let sent = server.post("/v1/responses", &with(ask(items), json!({ "tools": tools }))).json();
    assert_eq!((&kept["status"], &kept["usage"]), (&json!("completed"), &sent["usage"]), "{kept}");
}
