//! OpenAI's conversations: what they consist of, what responses add to them and when, who may see them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_server::{Settings, Storing};
use common::{Reply, Running, settings, with};
use serde_json::{Value, json};

const PATH: &str = "/v1/conversations";

fn delete(server: &Running, path: &str) -> Reply {
    let head = format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    Reply::read(server.send(&head))
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

/// The path of a new conversation, and its name.
fn begin(server: &Running, body: &Value) -> (String, Value) {
    let made = server.post(PATH, body).json();
    assert_eq!(made["object"], "conversation", "{made}");
    (format!("{PATH}/{}", made["id"].as_str().unwrap()), made["id"].clone())
}

fn ask(input: &str, conversation: &Value) -> Value {
    json!({ "model": "tiny", "input": input, "conversation": conversation })
}

/// What was said in a conversation, the oldest first.
fn said(server: &Running, path: &str) -> Vec<String> {
    let list = server.get(&format!("{path}/items?order=asc&limit=100")).json();
    let text = |item: &Value| item["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    list["data"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_conversation_is_made_told_changed_and_deleted() {
    let server = Running::new();
    let (path, id) = begin(&server, &json!({ "metadata": { "topic": "x" }, "items": [user("a")] }));
    let told = server.get(&path).json();
    assert_eq!((&told["id"], &told["metadata"]), (&id, &json!({ "topic": "x" })));
    assert!(told["created_at"].is_u64() && id.as_str().unwrap().starts_with("conv_"));
    let changed = server.post(&path, &json!({ "metadata": { "topic": "y" } })).json();
    assert_eq!((&changed["metadata"]["topic"], server.get(&path).json()), (&json!("y"), changed.clone()));
    assert_eq!(server.post(&path, &json!({ "metadata": null })).json()["metadata"], json!({}));
    assert_eq!(said(&server, &path), ["a"]);
    assert_eq!(
        delete(&server, &path).json(),
        json!({ "id": id, "object": "conversation.deleted", "deleted": true })
    );
    assert_eq!((server.get(&path).status, delete(&server, &path).status), (404, 404));
    assert_eq!(server.get(&format!("{path}/items")).status, 404);
    assert_eq!(server.post("/v1/responses", &ask("say x", &id)).status, 404);
}

#[test]
fn items_come_and_go_one_by_one() {
    let server = Running::new();
    let (path, id) = begin(&server, &json!({}));
    let empty = server.get(&format!("{path}/items")).json();
    assert_eq!(
        (&empty["data"], &empty["has_more"], &empty["last_id"]),
        (&json!([]), &json!(false), &Value::Null)
    );
    let output = json!({ "type": "function_call_output", "call_id": "c", "output": "4" });
    let added =
        server.post(&format!("{path}/items"), &json!({ "items": [user("a"), output, user("b")] })).json();
    let ids: Vec<&str> =
        added["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(
        (&added["object"], &added["first_id"], &added["last_id"]),
        (&json!("list"), &json!(ids[0]), &json!(ids[2]))
    );
    let newest = server.get(&format!("{path}/items?limit=2&include[]=x")).json();
    assert_eq!((&newest["first_id"], &newest["has_more"]), (&json!(ids[2]), &json!(true)));
    let rest = server.get(&format!("{path}/items?limit=2&after={}", ids[1])).json();
    assert_eq!((&rest["first_id"], &rest["has_more"]), (&json!(ids[0]), &json!(false)));
    assert_eq!(server.get(&format!("{path}/items/{}", ids[1])).json()["output"], "4");
    assert_eq!(delete(&server, &format!("{path}/items/{}", ids[1])).json()["id"], id);
    assert_eq!(server.get(&format!("{path}/items/{}", ids[1])).status, 404);
    assert_eq!(said(&server, &path), ["a", "b"]);
}

#[test]
fn a_response_goes_on_from_a_conversation_and_is_added_to_it() {
    let server = Running::new();
    let (path, id) =
        begin(&server, &json!({ "items": [user("say one"), { "role": "assistant", "content": "one" }] }));
    let whole = server.post("/v1/responses", &ask("say two", &id)).json();
    assert_eq!(whole["conversation"], json!({ "id": id }));
    let tokens = ["user\nsay one", "assistant\none", "user\nsay two"].map(|message| message.len() + 3);
    assert_eq!(
        whole["usage"]["input_tokens"],
        tokens.iter().sum::<usize>() + 11,
        "what was said comes first"
    );
    assert_eq!(said(&server, &path), ["say one", "one", "say two", "two"]);
    let streamed = with(ask("say ab", &json!({ "id": id })), json!({ "stream": true, "store": false }));
    let events = server.post("/v1/responses", &streamed).events();
    let last = &events.last().unwrap().1["response"];
    assert_eq!((&events[0].1["response"]["conversation"]["id"], &last["store"]), (&id, &json!(false)));
    assert_eq!(said(&server, &path).split_off(4), ["say ab", "ab"]);
    let own = last["output"][0]["id"].as_str().unwrap();
    assert_eq!(server.get(&format!("{path}/items/{own}")).json(), last["output"][0]);
    assert_eq!(server.get(&format!("/v1/responses/{}", last["id"].as_str().unwrap())).status, 404);
    // Without anything new, what is there is answered.
    server.post(&format!("{path}/items"), &json!({ "items": [user("say c")] }));
    let more = json!({ "model": "tiny", "conversation": id });
    assert_eq!(server.post("/v1/responses", &more).json()["output"][0]["content"][0]["text"], "c");
    assert_eq!(said(&server, &path).split_off(6), ["say c", "c"]);
}

#[test]
fn only_what_has_ended_is_added_and_one_at_a_time() {
    let server = Running::new();
    let (path, id) = begin(&server, &json!({}));
    assert_eq!(server.post("/v1/responses", &ask("fail ab", &id)).status, 500);
    let failed = with(ask("fail ab", &id), json!({ "stream": true }));
    assert_eq!(server.post("/v1/responses", &failed).events().last().unwrap().0, "response.failed");
    assert_eq!(said(&server, &path), [""; 0]);
    // It goes on until somebody lets it.
    let held = server.open("/v1/responses", &with(ask("hold ab", &id), json!({ "stream": true })), "");
    server.signals.wait_submitted(3);
    let locked = server.post("/v1/responses", &ask("say x", &id));
    assert_eq!((locked.status, &locked.json()["error"]["code"]), (400, &json!("conversation_locked")));
    assert_eq!(server.post(&format!("{path}/items"), &json!({ "items": [user("x")] })).status, 400);
    assert_eq!((said(&server, &path).len(), server.get(&path).status), (0, 200), "it can be looked at");
    server.signals.release();
    assert_eq!(Reply::read(held).events().last().unwrap().0, "response.completed");
    assert_eq!(said(&server, &path), ["hold ab", "ab"]);
    // One that was cut short has ended, too.
    let cut = with(ask("say abc", &id), json!({ "max_output_tokens": 1 }));
    assert_eq!(server.post("/v1/responses", &cut).json()["status"], "incomplete");
    assert_eq!(said(&server, &path).split_off(2), ["say abc", "a"]);
}

#[test]
fn a_call_and_its_result_are_items_of_a_conversation() {
    let server = Running::with(settings(), |served| served.context_length = 4000);
    let (path, id) = begin(&server, &json!({}));
    let a = json!({ "type": "object", "properties": { "a": { "type": "integer" } } });
    let tools = json!([{ "type": "function", "name": "add", "parameters": a }]);
    let must = json!({ "tools": tools, "tool_choice": "required" });
    let called = server.post("/v1/responses", &with(ask("held a\"7}", &id), must)).json();
    let call = &called["output"][0];
    assert_eq!(call["type"], "function_call", "{called}");
    let result = json!([{ "type": "function_call_output", "call_id": call["call_id"], "output": "8" }]);
    let answer = with(ask("", &id), json!({ "input": result, "tools": tools }));
    let answer = server.post("/v1/responses", &answer).json();
    let all = json!([user("held a\"7}"), call, result[0]]);
    let sent = json!({ "model": "tiny", "input": all, "tools": tools });
    assert_eq!(server.post("/v1/responses", &sent).json()["usage"], answer["usage"]);
    let list = server.get(&format!("{path}/items?order=asc")).json();
    let kinds: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["message", "function_call", "function_call_output", "message"]);
}

#[test]
fn what_is_wrong_is_named() {
    let server = Running::new();
    let (path, id) = begin(&server, &json!({ "items": [with(user("a"), json!({ "id": "msg_a" }))] }));
    let items = format!("{path}/items");
    let image = json!([{ "role": "user", "content": [{ "type": "input_image" }] }]);
    let twice = json!([with(user("a"), json!({ "id": "msg_a" }))]);
    let cases = [
        (PATH, json!({ "items": "a" }), "items"),
        (PATH, json!({ "items": image }), "items[0].content[0].type"),
        (PATH, json!({ "items": [user("a"), with(user("b"), json!({ "id": "a b" }))] }), "items[1].id"),
        (PATH, json!({ "items": [with(user("b"), json!({ "id": 5 }))] }), "items[0].id"),
        (PATH, json!({ "metadata": [] }), "metadata"),
        (&path, json!({}), "metadata"),
        (&path, json!({ "metadata": { "a": 5 } }), "metadata.a"),
        (&items, json!({}), "items"),
        (&items, json!({ "items": [] }), "items"),
        (&items, json!({ "items": twice }), "items[0].id"),
        ("/v1/responses", json!({ "model": "tiny", "conversation": id, "input": twice }), "input[0].id"),
    ];
    for (path, body, param) in cases {
        let reply = server.post(path, &body);
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{path} {body}");
    }
    for query in ["limit=0", "order=up", "after=msg_b"] {
        assert_eq!(server.get(&format!("{items}?{query}")).status, 400, "{query}");
    }
    assert_eq!((server.signals.submitted(), said(&server, &path)), (0, vec!["a".to_owned()]));
}

#[test]
fn what_one_key_made_is_not_there_for_another() {
    let mut settings = common::with_key("first-key");
    settings.keys.add("second-key").unwrap();
    let server = Running::with(settings, |_| {});
    let send = |method: &str, path: &str, key: &str, body: &Value| {
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close"
        );
        let length = body.len();
        Reply::read(
            server.send(&format!("{head}\r\nx-api-key: {key}\r\nContent-Length: {length}\r\n\r\n{body}")),
        )
    };
    let made =
        send("POST", PATH, "first-key", &json!({ "items": [with(user("a"), json!({ "id": "i" }))] })).json();
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let all = [
        ("GET", path.clone(), json!({})),
        ("POST", path.clone(), json!({ "metadata": {} })),
        ("GET", format!("{path}/items"), json!({})),
        ("POST", format!("{path}/items"), json!({ "items": [user("b")] })),
        ("GET", format!("{path}/items/i"), json!({})),
        ("POST", "/v1/responses".into(), ask("say x", &made["id"])),
        ("DELETE", format!("{path}/items/i"), json!({})),
        ("DELETE", path, json!({})),
    ];
    for (method, path, body) in &all {
        assert_eq!(send(method, path, "second-key", body).status, 404, "{method} {path}");
    }
    for (method, path, body) in &all {
        assert_eq!(send(method, path, "first-key", body).status, 200, "{method} {path}");
    }
}

#[test]
fn a_server_that_keeps_nothing_says_so() {
    let server = Running::set(Settings { storing: Storing::Off, ..settings() });
    let made =
        server.post("/v1/responses", &json!({ "model": "tiny", "input": "say a", "store": true })).json();
    assert_eq!((&made["status"], &made["store"]), (&json!("completed"), &json!(false)));
    assert_eq!(server.get(&format!("/v1/responses/{}", made["id"].as_str().unwrap())).status, 404);
    let refused = server.post(PATH, &json!({}));
    assert_eq!(refused.status, 501);
    assert!(refused.body.contains("--no-store"), "{}", refused.body);
    assert_eq!(server.post("/v1/responses", &ask("say a", &json!("conv_1"))).status, 501);
}
