//! What went wrong in other servers, tried on this one. Each test names what it replays.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::io::Write;

use common::{Reply, Running, chat, settings, with, with_key};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

fn is_alive(server: &Running) -> bool {
    server.post(CHAT, &chat("say ab")).json()["choices"][0]["message"]["content"] == "ab"
}

/// Ollama CVE-2024-37032, CVE-2026-7020, CVE-2024-39719: digests and names that climb out of their folder, and replies
/// that tell whether a file is there.
#[test]
fn no_name_leads_out_of_the_store() {
    let server = Running::new();
    let climb =
        ["../../etc/passwd", "sha256:../../etc/passwd", "/etc/passwd", "sha256-..%2f..%2fetc%2fpasswd"];
    for digest in climb {
        for method in ["GET", "HEAD", "POST"] {
            let request = format!(
                "{method} /api/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let reply = Reply::read(server.send(&request));
            assert!(
                (400..=501).contains(&reply.status) && reply.status != 500,
                "{method} {digest}: {reply:?}"
            );
            assert!(!reply.body.contains("root:"));
        }
    }
    for path in ["/api/show", "/api/pull", "/api/create"] {
        for name in climb {
            let reply = server.post(path, &json!({ "model": name, "from": name, "stream": false }));
            assert!(reply.status >= 400 && reply.status != 500, "{path} {name}: {reply:?}");
        }
    }
    let here = server.post("/v1/load_lora_adapter", &json!({ "lora_name": "a", "lora_path": "/etc/passwd" }));
    let nowhere =
        server.post("/v1/load_lora_adapter", &json!({ "lora_name": "a", "lora_path": "/etc/nothing" }));
    assert_eq!(here.status, nowhere.status, "what is there is not told from what is not");
}

/// vLLM CVE-2026-34756, CVE-2025-48956: numbers of answers, and headers, without a bound.
#[test]
fn what_multiplies_work_has_a_bound() {
    let server = Running::new();
    for n in [json!(129), json!(1_000_000_000), json!(-1), json!(u64::MAX)] {
        assert_eq!(server.post(CHAT, &with(chat("say a"), json!({ "n": n }))).status, 400, "{n}");
    }
    let prompts: Vec<String> = vec!["x".into(); 200];
    assert_eq!(server.post("/v1/completions", &json!({ "prompt": prompts })).status, 400);
    let header = "x".repeat(10 << 20);
    let mut stream = server.send(&format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: {header}"));
    let _ = stream.write_all(b"\r\n\r\n");
    assert!(is_alive(&server));
}

/// llama.cpp CVE-2026-21869: a negative count from JSON that became an index.
#[test]
fn no_count_is_below_zero() {
    let server = Running::new();
    for field in ["n", "top_logprobs", "max_completion_tokens"] {
        let ask = with(chat("say a"), json!({ "logprobs": true, field: -5 }));
        assert_eq!(server.post(CHAT, &ask).status, 400, "{field}");
    }
    for field in ["n_discard", "n_keep", "n_probs", "id_slot"] {
        assert_eq!(server.post(CHAT, &with(chat("say a"), json!({ field: -5 }))).status, 200, "{field}");
    }
}

/// vLLM CVE-2025-62426: switches of the template that stand for what the server gives it.
#[test]
fn switches_of_a_template_replace_nothing_of_the_servers() {
    let server = Running::new();
    let own = json!({ "chat_template_kwargs": {
        "messages": [{ "role": "user", "content": "say hijacked" }],
        "add_generation_prompt": false, "chat_template": "hijacked", "tokenize": false, "range": 1, "raise_exception": 2,
    }});
    let reply = server.post(CHAT, &with(chat("say ab"), own)).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "ab", "{reply}");
}

/// vLLM CVE-2025-6242, LMDeploy CVE-2026-33626: images that the server fetches. Nothing is fetched here.
#[test]
fn nothing_is_fetched_for_a_request() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x.png", listener.local_addr().unwrap());
    let server = Running::new();
    let parts = json!([{ "type": "image_url", "image_url": { "url": url } }]);
    let message = |content: &Value| json!([{ "role": "user", "content": content }]);
    assert_eq!(server.post(CHAT, &json!({ "messages": message(&parts) })).status, 400);
    let source = json!([{ "type": "image", "source": { "type": "url", "url": url } }]);
    let ask = json!({ "model": "tiny", "max_tokens": 5, "messages": message(&source) });
    assert_eq!(server.post("/v1/messages", &ask).status, 400);
    assert!(listener.accept().is_err(), "somebody came");
}

/// Open WebUI CVE-2026-45339: a second header for the key that skipped the checks of the first.
#[test]
fn every_header_is_held_against_the_same_keys() {
    let server = Running::with(with_key("correct-horse"), |_| {});
    let wrong = ["Authorization: Bearer wrong-horse", "x-api-key: wrong-horse", "api-key: wrong-horse", ""];
    for header in wrong {
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        for path in [CHAT, "/api/chat", "/v1/messages", "/api/pull", "/v1/load_lora_adapter"] {
            assert_eq!(
                Reply::read(server.open(path, &chat("say a"), &header)).status,
                401,
                "{path} {header}"
            );
        }
    }
}

/// Ollama's gzip bomb: a body that says it is packed is not unpacked.
#[test]
fn bodies_are_not_unpacked() {
    let server = Running::new();
    let reply = Reply::read(server.open(CHAT, &chat("say ab"), "Content-Encoding: gzip\r\n"));
    assert!(reply.status == 200 || reply.status == 400 || reply.status == 415, "{reply:?}");
    assert!(is_alive(&server));
}

/// vLLM CVE-2025-48944: a request that took the worker with it.
#[test]
fn one_request_that_breaks_takes_no_other_with_it() {
    let server = Running::new();
    for (path, ask) in [(CHAT, chat("panic")), ("/api/chat", chat("panic")), (CHAT, chat("fail ab"))] {
        assert!(server.post(path, &ask).status >= 200);
    }
    assert!(is_alive(&server));
}

/// Routes that change what there is need more than the right to ask.
#[test]
fn an_ordinary_key_changes_no_models() {
    let mut keyed = with_key("ordinary-key");
    keyed.admin_keys.add("admins-own-key").unwrap();
    let server = Running::with(keyed, |_| {});
    let status = |path: &str, key: &str| {
        Reply::read(server.open(path, &json!({ "model": "x" }), &format!("x-api-key: {key}\r\n"))).status
    };
    for path in ["/api/pull", "/api/create", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/api/copy"]
    {
        assert_eq!((status(path, "nobodys-key"), status(path, "ordinary-key")), (401, 403), "{path}");
        assert!(![401, 403].contains(&status(path, "admins-own-key")), "{path}");
    }
    assert_eq!((status("/tokenize", "ordinary-key"), status("/tokenize", "admins-own-key")), (404, 404));
    let plain = Running::with(with_key("ordinary-key"), |_| {});
    let refused =
        Reply::read(plain.open("/api/pull", &json!({ "model": "x" }), "x-api-key: ordinary-key\r\n"));
    assert_eq!(refused.status, 403, "without an admin key there are no admins");
    let open = Running::set(settings());
    assert_eq!(
        open.post("/api/pull", &json!({ "model": "x", "stream": false })).status,
        501,
        "nobody is kept out"
    );
}

/// Ollama's OLLAMA_ORIGINS: pages that were named may ask and read the reply, and no others.
#[test]
fn only_named_pages_read_replies() {
    let mut named = with_key("ordinary-key");
    named.origins.add("https://*.example").unwrap();
    let server = Running::with(named, |_| {});
    let ask = |head: &str| {
        let head = format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n");
        Reply::read(server.send(&(head + "Access-Control-Request-Method: POST\r\n\r\n")))
    };
    let preflight = ask(
        "OPTIONS /api/chat HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Headers: x-api-key",
    );
    let header = |reply: &Reply, name: &str| reply.headers.get(name).cloned().unwrap_or_default();
    assert_eq!(
        (preflight.status, header(&preflight, "access-control-allow-headers")),
        (204, json!("x-api-key"))
    );
    let listed = ask("GET /v1/models HTTP/1.1\r\nOrigin: https://a.example\r\nx-api-key: ordinary-key");
    assert_eq!(
        (listed.status, header(&listed, "access-control-allow-origin")),
        (200, json!("https://a.example"))
    );
    let without = ask("GET /v1/models HTTP/1.1\r\nOrigin: https://a.example");
    assert_eq!(without.status, 401, "a named page needs a key, too");
    for head in ["OPTIONS /api/chat", "GET /v1/models"] {
        let other = ask(&format!("{head} HTTP/1.1\r\nOrigin: https://evil.test\r\nx-api-key: ordinary-key"));
        assert_eq!(
            (other.status, header(&other, "access-control-allow-origin")),
            (403, Value::Null),
            "{head}"
        );
    }
}

/// Pages of other sites may not change models either, with or without a body's type.
#[test]
fn no_page_changes_models() {
    let server = Running::new();
    for (method, path) in [("DELETE", "/api/delete"), ("POST", "/api/blobs/sha256:0"), ("POST", "/api/pull")]
    {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        assert_eq!(Reply::read(server.send(&request)).status, 403, "{path}");
    }
}
