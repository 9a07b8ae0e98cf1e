//! The document of what there is to ask, held against the router.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::BTreeSet;

use common::{Reply, Running};
use serde_json::Value;

const ROUTES: &str = include_str!("../src/routes.rs");

/// The paths that the router has, with a name for any rest of them.
fn routed() -> BTreeSet<String> {
    let after_route = ROUTES.split(".route(").skip(1);
    let path = |text: &str| text.split('"').nth(1).unwrap().replace("{*", "{");
    after_route.map(path).collect()
}

fn document(server: &Running) -> Value {
    server.get("/openapi.json").json()
}

#[test]
fn every_path_is_described_and_no_other() {
    let document = document(&Running::new());
    let described: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let missing: Vec<_> = routed().difference(&described).cloned().collect();
    let unknown: Vec<_> = described.difference(&routed()).cloned().collect();
    assert_eq!(
        (missing, unknown),
        (vec![], vec![]),
        "openapi/operations.rs lacks the first, routes.rs the second"
    );
}

#[test]
fn every_method_is_what_the_router_takes() {
    let server = Running::new();
    let document = document(&server);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = ["{name}", "{id}", "{digest}", "{item}"]
            .iter()
            .fold(path.clone(), |path, name| path.replace(name, "none"));
        for method in ["get", "post", "delete"] {
            let head = format!("{} {path} HTTP/1.1\r\nHost: localhost\r\n", method.to_uppercase());
            let body = "Connection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";
            let status = Reply::read(server.send(&(head + body))).status;
            assert_eq!(methods.get(method).is_none(), status == 405, "{method} {path}: {status}");
        }
    }
}

#[test]
fn bodies_and_replies_are_described() {
    let document = document(&Running::new());
    let chat = &document["paths"]["/v1/chat/completions"]["post"];
    let schema = &chat["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(schema["required"], serde_json::json!(["messages"]));
    assert!(schema["properties"]["temperature"]["anyOf"][0]["maximum"].is_number());
    assert!(chat["responses"]["200"]["content"]["text/event-stream"].is_object());
    let parameter = &document["paths"]["/v1/responses/{id}"]["delete"]["parameters"][0];
    assert_eq!((&parameter["name"], &parameter["in"]), (&"id".into(), &"path".into()));
    assert_eq!(document["security"], Value::Null);
    let locked = Running::with(common::with_key("a-long-key"), |_| {});
    assert_eq!(locked.get("/openapi.json").status, 401);
}
