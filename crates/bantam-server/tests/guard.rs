//! Who may come in: hosts, origins, keys, content types, limits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::io::Read;

use bantam_server::{Error, Server, Settings};
use common::{Reply, Running, chat, settings, with_key};
use serde_json::json;

/// The status of a request with these headers.
fn status(server: &Running, line: &str, headers: &str, body: &str) -> u16 {
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    Reply::read(server.send(&request)).status
}

#[test]
fn a_name_that_is_not_this_machines_is_refused() {
    let settings = Settings { hosts: vec!["box.lan".into()], ..settings() };
    let server = Running::with(settings, |_| {});
    let get = |headers: &str| status(&server, "GET /v1/models", headers, "");
    for host in ["localhost", "127.0.0.1:1234", "[::1]:9", "box.lan:80"] {
        assert_eq!(get(&format!("Host: {host}\r\n")), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
        assert_eq!(get(&format!("Host: {host}\r\n")), 403, "{host}");
    }
    assert_eq!(get(""), 400, "without a host");
    assert_eq!(status(&server, "GET http://evil.example/v1/models", "Host: localhost\r\n", ""), 403);
    assert_eq!(status(&server, "GET /health", "Host: evil.example\r\n", ""), 403);
}

#[test]
fn pages_of_other_sites_are_refused_and_no_page_is_told_that_it_may() {
    let server = Running::new();
    let get = |origin: &str| {
        status(&server, "GET /v1/models", &format!("Host: localhost\r\nOrigin: {origin}\r\n"), "")
    };
    assert_eq!([get("https://evil.example"), get("null"), get("http://localhost.evil.example")], [403; 3]);
    assert_eq!([get("http://localhost:3000"), get("vscode-webview://abc")], [200; 2]);
    let preflight = "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n\
                     Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n";
    let reply = Reply::read(server.send(preflight));
    assert_eq!(reply.status, 405);
    assert!(reply.headers.keys().all(|name| !name.starts_with("access-control")), "{reply:?}");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
}

#[test]
fn only_json_is_taken() {
    let server = Running::new();
    let body = chat("say ok").to_string();
    let post = |kind: &str| {
        status(&server, "POST /v1/chat/completions", &format!("Host: localhost\r\n{kind}"), &body)
    };
    assert_eq!(post("Content-Type: application/json; charset=utf-8\r\n"), 200);
    assert_eq!(post("Content-Type: APPLICATION/JSON\r\n"), 200);
    for kind in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: text/plain; a=application/json\r\n",
    ] {
        assert_eq!(post(kind), 415, "{kind:?}");
    }
    assert_eq!(server.signals.submitted(), 2);
}

#[test]
fn a_key_is_asked_for_everywhere_in_every_style() {
    let server = Running::with(with_key("correct-horse"), |_| {});
    let paths = [
        "/v1/models",
        "/v1/models/tiny",
        "/api/tags",
        "/api/version",
        "/api/ps",
        "/metrics",
        "/tokenizer_info",
        "/nothing",
    ];
    let get = |path: &str, header: &str| {
        status(&server, &format!("GET {path}"), &format!("Host: localhost\r\n{header}"), "")
    };
    for path in paths {
        assert_eq!(get(path, ""), 401, "{path}");
        assert_ne!(get(path, "x-api-key: correct-horse\r\n"), 401, "{path}");
    }
    for post in
        ["/v1/chat/completions", "/v1/messages", "/api/chat", "/api/generate", "/tokenize", "/api/show"]
    {
        assert_eq!(server.post(post, &chat("say x")).status, 401, "{post}");
    }
    let good = [
        "Authorization: Bearer correct-horse\r\n",
        "authorization: bearer correct-horse\r\n",
        "x-api-key: correct-horse\r\n",
        "api-key: correct-horse\r\n",
        "Authorization: Basic eDp5\r\nx-api-key: correct-horse\r\n",
    ];
    let bad = [
        "Authorization: Bearer correct-hors\r\n",
        "Authorization: correct-horse\r\n",
        "Authorization: Bearer \r\n",
        "x-api-key: \r\n",
        "Cookie: x-api-key=correct-horse\r\n",
    ];
    assert!(good.iter().all(|header| get("/v1/models", header) == 200));
    for header in bad {
        assert_eq!(get("/v1/models", header), 401, "{header:?}");
    }
    assert_eq!([get("/health", ""), get("/ready", ""), get("/", ""), get("/page/app.js", "")], [200; 4]);
}

#[test]
fn failures_come_in_the_form_of_their_path() {
    let server = Running::with(with_key("correct-horse"), |_| {});
    assert_eq!(server.get("/v1/models").json()["error"]["code"], "invalid_api_key");
    assert_eq!(server.post("/v1/messages", &json!({})).json()["error"]["type"], "authentication_error");
    assert!(server.get("/api/tags").json()["error"].is_string());
    let open = Running::new();
    assert_eq!((open.get("/v1/nothing").status, open.get("/v1/chat/completions").status), (404, 405));
    assert!(open.get("/api/nothing").json()["error"].is_string());
}

#[test]
fn what_is_too_large_is_refused_early() {
    let server = Running::new();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let announced = format!("{head}Content-Length: 99999999999\r\n\r\n");
    assert_eq!(Reply::read(server.send(&announced)).status, 413);
    for (length, status) in
        [(65_000, "200 OK"), (66_000, "431 Request Header Fields Too Large"), (200_000, "431 ")]
    {
        let long = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(length));
        let line = first_line(&server, &long);
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{length}: {line}");
    }
    let many = "a: b\r\n".repeat(200);
    let many = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    assert_eq!(first_line(&server, &many), "HTTP/1.1 431 Request Header Fields Too Large");
    let chunk = "x".repeat(1 << 20);
    let chunked = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(33);
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}0\r\n\r\n");
    assert_eq!(first_line(&server, &chunked), "HTTP/1.1 413 Payload Too Large");
    assert_eq!(server.get("/health").status, 200);
}

fn first_line(server: &Running, request: &str) -> String {
    let mut start = [0; 64];
    let mut stream = server.send(request);
    let read = stream.read(&mut start).unwrap();
    String::from_utf8_lossy(&start[..read]).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn bodies_that_are_no_requests_are_told_so() {
    let server = Running::new();
    for body in
        ["", "{", "[]", "null", "\"x\"", "{\"messages\": 5}", "{\"messages\": [5]}", &"[".repeat(100_000)]
    {
        let headers = "Host: localhost\r\nContent-Type: application/json\r\n";
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/api/chat", "/tokenize"] {
            let found = status(&server, &format!("POST {path}"), headers, body);
            // A body without a prompt continues nothing, which is a request.
            assert!(
                found == 400 || (found == 200 && path == "/v1/completions"),
                "{path} {found}: {body:.20}"
            );
        }
    }
}

#[test]
fn a_server_for_others_needs_a_key() {
    let settings = Settings { address: "0.0.0.0:0".parse().unwrap(), ..settings() };
    let served = || common::served(Box::new(common::Script::new(common::tokenizer(), Default::default())));
    let refused = Server::bind(settings, Box::new(common::Shelf::of(vec![served()]))).err().unwrap();
    assert!(matches!(refused, Error::KeyNeeded { .. }), "{refused}");
    let twice = Server::bind(common::settings(), Box::new(common::Shelf::of(vec![served(), served()])))
        .err()
        .unwrap();
    assert!(matches!(twice, Error::SameName { .. }), "{twice}");
}

/// Every field of every request with values of every kind: an answer or a refusal, never a failure of the server's.
#[test]
fn no_value_of_a_field_makes_the_server_fail() {
    let server = Running::new();
    let odd = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("\u{0}\u{fffd}"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!(["x", 1]),
        json!({}),
        json!({ "type": "x" }),
        json!({ "0": 1e39 }),
        json!({ "temperature": [], "stop": {} }),
    ];
    let common = "model messages stream stop seed temperature top_p top_k min_p options thinking think";
    let requests = [
        (
            "/v1/chat/completions",
            "n logprobs top_logprobs logit_bias max_tokens max_completion_tokens tools \
          tool_choice response_format stream_options chat_template_kwargs reasoning_effort repeat_last_n \
          presence_penalty frequency_penalty repetition_penalty typical_p ignore_eos",
        ),
        ("/v1/completions", "prompt n best_of logprobs echo suffix max_tokens logit_bias stream_options"),
        ("/v1/messages", "system max_tokens stop_sequences tools tool_choice output_config"),
        ("/v1/messages/count_tokens", "system tools"),
        ("/api/chat", "format tools keep_alive logprobs top_logprobs"),
        ("/api/generate", "prompt system suffix template context raw images format keep_alive"),
        ("/api/show", "name"),
        ("/tokenize", "content prompt add_special with_pieces parse_special"),
        ("/detokenize", "tokens"),
        ("/apply-template", "chat_template_kwargs"),
    ];
    for (path, own) in requests {
        for field in common.split_whitespace().chain(own.split_whitespace()) {
            for value in &odd {
                let base =
                    common::with(chat("say ok"), json!({ "max_tokens": 5, "content": "ok", "tokens": [66] }));
                let reply = server.post(path, &common::with(base, json!({ field: value })));
                assert!(reply.status < 500, "{path} {field} = {value}: {} {}", reply.status, reply.body);
            }
        }
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_connection_ends_behind_a_body_that_nobody_reads_and_goes_on_behind_others() {
    let server = Running::with(with_key("a-long-key"), |_| {});
    // Another request comes behind each, on the same connection.
    let ask = |line: &str, headers: &str, body: &str| {
        let host = "HTTP/1.1\r\nHost: localhost\r\n";
        let first = format!("{line} {host}{headers}Content-Length: {}\r\n\r\n{body}", body.len());
        let reply =
            Reply::read(server.send(&(first + &format!("GET /health {host}Connection: close\r\n\r\n"))));
        let is_closed = reply.headers.get("connection").is_some_and(|connection| connection == "close");
        assert_ne!(is_closed, reply.body.contains("HTTP/1.1 200 OK"), "{line} {}", reply.body);
        (reply.status, is_closed)
    };
    let (key, json) = ("x-api-key: a-long-key\r\n", "Content-Type: application/json\r\n");
    let both = format!("{key}{json}");
    assert_eq!(ask("POST /v1/completions", json, "{}"), (401, true));
    assert_eq!(ask("POST /v1/completions", key, "{}"), (415, true));
    assert_eq!(ask("POST /none", &both, "{}"), (404, true));
    assert_eq!(ask("POST /v1/models", &both, "{}"), (405, true));
    assert_eq!(ask("POST /v1/completions", &both, "[]"), (400, false));
    assert_eq!(ask("GET /none", key, ""), (404, false));
}

static LINES: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

#[test]
fn a_line_for_each_request_tells_its_path_if_that_is_there() {
    let log = |line: &str| LINES.lock().unwrap().push(line.to_owned());
    let server = Running::set(Settings { log, ..settings() });
    server.post("/v1/chat/completions", &json!({ "model": "none", "messages": [] }));
    let unknown = server.get("/v1/secret-word").json();
    assert!(unknown["error"]["message"].as_str().unwrap().contains("/openapi.json"), "{unknown}");
    server.get("/health");
    let lines = LINES.lock().unwrap();
    let lines: Vec<&str> =
        lines.iter().map(|line| line.rsplit_once(' ').unwrap().0.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(lines, ["POST /v1/chat/completions 404", "GET (unknown) 404", "GET /health 200"]);
}

#[test]
fn a_path_that_is_no_text_is_refused_as_all_is() {
    let server = Running::new();
    for path in ["/v1/models/%ff", "/v1/responses/%c3%28", "/v1/conversations/%ff/items/%00"] {
        let reply = server.get(path);
        assert_eq!(
            (reply.status, &reply.json()["error"]["type"]),
            (400, &json!("invalid_request_error")),
            "{path}"
        );
    }
    assert_eq!(server.get("/v1/models/%C3%A4").status, 404);
}
