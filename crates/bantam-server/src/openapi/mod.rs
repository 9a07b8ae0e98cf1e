//! `GET /openapi.json`: what there is to ask, as OpenAPI 3.1 says it, made from one list of operations.
//!
//! A test holds the list against the router's paths. Fields that only other servers have are taken too and looked at
//! by nobody; the document names those that mean something here.

mod fields;
mod operations;

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::dialect::json_reply;
use crate::state::App;

use fields::{Field, Presence, schema};
use operations::OPERATIONS;

/// One thing to ask.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Fields of the query.
    query: &'static [Field],
    /// Fields of a JSON object; where one can be posted and has none, it is bytes.
    body: &'static [&'static [Field]],
    /// What replies are, besides failures.
    reply: Reply,
}

/// What kind a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// One JSON value.
    Json,
    /// One JSON value, or server-sent events where `stream` is true.
    Events,
    /// Lines of JSON, or one value where `stream` is false.
    Lines,
    /// Text.
    Text,
    /// Nothing.
    Nothing,
    /// Nothing, for what is there now.
    Created,
}

/// The document.
pub(crate) fn openapi(app: &App) -> Response {
    json_reply(&document(!app.settings.keys.is_empty()))
}

fn document(wants_key: bool) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = operation.to_json();
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "bantam",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Models on this machine, in the protocols of OpenAI, Anthropic, Ollama and llama.cpp.",
        },
        "paths": paths,
        "components": { "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } } },
    });
    if wants_key {
        document["security"] = json!([{ "key": [] }]);
    }
    document
}

impl Operation {
    fn to_json(&self) -> Value {
        let status = if self.reply == Reply::Created { "201" } else { "200" };
        let mut replies = json!({ status: { "description": "It is answered.", "content": self.content() } });
        for (status, description) in FAILURES {
            replies[status] = json!({ "description": description, "content": { "application/json": {} } });
        }
        if self.path == "/api/pull" {
            replies["502"] = json!({ "description": UPSTREAM, "content": { "application/json": {} } });
        }
        if self.path == "/ready" {
            replies["503"]["description"] = json!("It takes no requests.");
        }
        let mut operation = json!({ "summary": self.summary, "responses": replies });
        let names = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path = names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }));
        let in_query = self.query.iter().map(|(name, kind, presence)| {
            json!({ "name": name, "in": "query", "required": *presence == Presence::Needed, "schema": kind.schema() })
        });
        let parameters: Vec<Value> = in_path.chain(in_query).collect();
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if self.method == "post" || !self.body.is_empty() {
            let content = match self.body {
                [] => json!({ "application/octet-stream": {} }),
                fields => json!({ "application/json": { "schema": schema(fields) } }),
            };
            operation["requestBody"] = json!({ "required": true, "content": content });
        }
        operation
    }

    fn content(&self) -> Value {
        let value = match MAY_BE_LISTS.contains(&self.path) {
            true => json!({ "schema": { "type": ["object", "array"] } }),
            false => json!({ "schema": { "type": "object" } }),
        };
        match self.reply {
            Reply::Json => json!({ "application/json": value }),
            Reply::Events => json!({ "application/json": value, "text/event-stream": {} }),
            Reply::Lines => json!({ "application/json": value, "application/x-ndjson": {} }),
            Reply::Text => json!({ "text/plain": {} }),
            Reply::Nothing | Reply::Created => json!({}),
        }
    }
}

/// What replies with a list where it is asked for several answers, or in the way of another server.
const MAY_BE_LISTS: [&str; 6] =
    ["/completion", "/completions", "/lora-adapters", "/rerank", "/v1/rerank", "/v2/rerank"];

const UPSTREAM: &str =
    "The model cannot be fetched: the message names each place that was asked, with its reason.";

/// How requests fail.
const FAILURES: [(&str, &str); 11] = [
    ("400", "The request is wrong; the message names the field, what was wanted and what was found."),
    ("401", "A key is missing or wrong."),
    ("403", "Not from there, or not to there."),
    ("404", "There is no such thing."),
    ("405", "The path has other methods."),
    ("408", "The body took too long to come."),
    ("413", "The body is too large."),
    ("415", "The body is no JSON by its header."),
    ("501", "This server does not do that."),
    ("503", "Too many wait, or the server is being stopped: `Retry-After` says when to try again."),
    ("507", "The model does not fit into memory."),
];
