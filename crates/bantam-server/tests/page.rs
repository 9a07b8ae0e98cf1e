//! The page as a browser gets it, and its scripts' own tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Reply, Running};

fn get(server: &Running, path: &str, headers: &str) -> Reply {
    Reply::read(
        server.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n")),
    )
}

#[test]
fn the_page_may_load_nothing_but_its_own_files() {
    let server = Running::new();
    let page = server.get("/");
    assert_eq!(
        (page.status, page.headers["content-type"].as_str().unwrap()),
        (200, "text/html; charset=utf-8")
    );
    let policy = page.headers["content-security-policy"].as_str().unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.split("; ").any(|other| other == rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(server.get("/v1/models").headers["content-security-policy"], "default-src 'none'");
}

/// All that the page's files name is there and of the type that a browser wants for it.
#[test]
fn what_the_page_names_is_there() {
    let server = Running::new();
    let page = server.get("/").body;
    let mut open: Vec<String> =
        page.split('"').filter(|text| text.starts_with("page/")).map(|path| format!("/{path}")).collect();
    let mut seen = Vec::new();
    while let Some(path) = open.pop() {
        if seen.contains(&path) {
            continue;
        }
        let reply = server.get(&path);
        let wanted = match path.rsplit_once('.').unwrap().1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!((reply.status, reply.headers["content-type"].as_str().unwrap()), (200, wanted), "{path}");
        let folder = path.rsplit_once('/').unwrap().0;
        let imports = reply.body.lines().filter_map(|line| line.split_once(" from \""));
        open.extend(imports.map(|(_, rest)| beside(folder, rest.trim_end_matches("\";"))));
        seen.push(path);
    }
    assert!(seen.len() > 20, "{seen:?}");
}

/// The path of a module as another in a folder names it.
fn beside(folder: &str, name: &str) -> String {
    match name.strip_prefix("../") {
        Some(rest) => format!("{}/{rest}", folder.rsplit_once('/').unwrap().0),
        None => format!("{folder}/{}", name.strip_prefix("./").unwrap()),
    }
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let server = Running::new();
    let first = get(&server, "/page/app.js", "");
    let tag = first.headers["etag"].as_str().unwrap();
    assert_eq!((first.status, first.headers["cache-control"].as_str().unwrap()), (200, "no-cache"));
    let again = get(&server, "/page/app.js", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.as_str(), again.headers["etag"].as_str().unwrap()), (304, "", tag));
    assert_eq!(get(&server, "/page/app.js", "If-None-Match: \"other\"\r\n").status, 200);
    assert_ne!(server.get("/").headers["etag"], first.headers["etag"]);
}

#[test]
fn no_path_leads_out_of_the_list() {
    let server = Running::new();
    let paths = [
        "/page",
        "/page/",
        "/page/index.html",
        "/page/package.json",
        "/page/tests/core.test.js",
        "/page/../Cargo.toml",
        "/page/..%2fCargo.toml",
        "/page/%2e%2e/%2e%2e/etc/passwd",
        "/page//etc/passwd",
        "/page/core/../app.js",
        "/page/app.js/",
        "/page/app.js%00",
        "/index.html",
    ];
    for path in paths {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.post("/page/app.js", &serde_json::json!({})).status, 405);
}

/// The scripts' own tests. They need Node, which nothing else here does: without it they are left out.
#[test]
fn the_scripts_pass_their_tests() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    let mut tests: Vec<_> =
        std::fs::read_dir(page.join("tests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    tests.sort();
    let Ok(run) = Command::new("node").arg("--test").args(&tests).current_dir(&page).output() else {
        eprintln!("left out: there is no `node` on this machine");
        return;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
