//! The hub's protocol and cache, against a server on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
#[cfg(unix)]
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use bantam_hub::{Digest, Error, Hub, Reference, Source};
use support::*;

fn hub(settings: bantam_hub::Settings) -> Hub {
    Hub::new(settings).unwrap()
}

fn only_reason(error: Error) -> Error {
    match error {
        Error::AllMirrors { mut failures, .. } if failures.len() == 1 => *failures.remove(0).reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_pull_downloads_verifies_and_is_then_free() {
    let (folder, bytes) = (Folder::new(), noise(700_000));
    let server = TestHub::start(vec![
        large("m-Q4_K_M.gguf", &bytes),
        large("m-Q8_0.gguf", b"other"),
        small("README.md", b"r"),
    ]);
    let hub = hub(with_token(settings(&folder, &server.hub.address)));
    let mut listener = Listener::default();
    let reference: Reference = "org/repo:q4_k_m".parse().unwrap();
    let located = hub.pull(&reference, NOW_UNIX_S, &mut listener).unwrap();

    assert_eq!(fs::read(&located.path).unwrap(), bytes);
    assert_eq!(listener.bytes, bytes.len() as u64);
    assert_eq!(listener.started, [("m-Q4_K_M.gguf".to_string(), Some(bytes.len() as u64), 0)]);
    assert_eq!(listener.finished, 1);
    let manifest = located.manifest.unwrap();
    assert_eq!((manifest.name.as_str(), manifest.pulled_unix_s), ("hf.co/org/repo:Q4_K_M", NOW_UNIX_S));
    assert_eq!((manifest.bytes(), manifest.files[0].digest), (bytes.len() as u64, Digest::of(&bytes)));
    assert!(matches!(&manifest.source, Source::Hub { commit, .. } if commit == COMMIT));

    let before = server.hub.asked().len() + server.storage.asked().len();
    assert_eq!(pull(&hub, "hf.co/org/repo:Q4_K_M").unwrap().path, located.path);
    assert_eq!(hub.resolve(&reference).unwrap().path, located.path);
    assert_eq!(server.hub.asked().len() + server.storage.asked().len(), before);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let folder = Folder::new();
    let server = TestHub::start(vec![large("m-Q8_0.gguf", b"weights")]);
    pull(&hub(with_token(settings(&folder, &server.hub.address))), "org/repo").unwrap();
    let header = |asked: &Asked| asked.headers.get("authorization").cloned();
    assert!(server.hub.asked().iter().all(|asked| header(asked).as_deref() == Some("Bearer hf_secret")));
    assert_eq!(server.storage.count("GET"), 1);
    assert!(server.storage.asked().iter().all(|asked| header(asked).is_none()));
}

#[test]
fn a_dropped_transfer_goes_on_from_where_it_stopped() {
    let (folder, bytes) = (Folder::new(), noise(300_000));
    let server = TestHub::with_storage(vec![large("m-Q8_0.gguf", &bytes)], |n, mut reply| {
        reply.cut = (n < 2).then_some(100_000);
        reply
    });
    let mut listener = Listener::default();
    let hub = hub(settings(&folder, &server.hub.address));
    let located = hub.pull(&"org/repo".parse().unwrap(), 0, &mut listener).unwrap();
    assert_eq!(fs::read(located.path).unwrap(), bytes);
    let ranges: Vec<_> =
        server.storage.asked().iter().map(|asked| asked.headers.get("range").cloned()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=200000-".into())]);
    assert_eq!(listener.bytes, 300_000);
    assert!(server.storage.asked().iter().all(|asked| !asked.headers.contains_key("if-range")));
}

#[test]
fn a_transfer_that_never_gets_on_is_given_up_and_kept() {
    let (folder, bytes) = (Folder::new(), noise(9_000));
    let server = TestHub::with_storage(vec![large("m-Q8_0.gguf", &bytes)], |n, mut reply| {
        reply.cut = Some(if n == 0 { 1_000 } else { 0 });
        reply
    });
    let error = only_reason(pull(&hub(settings(&folder, &server.hub.address)), "org/repo").unwrap_err());
    assert!(matches!(error, Error::Broken { done: 1_000, size: 9_000, .. }), "{error}");
    let part = blob(&folder, &format!("{}.incomplete", Digest::of(&bytes).hex()));
    assert_eq!(fs::read(part).unwrap(), &bytes[..1_000]);
}

fn blob(folder: &Folder, name: &str) -> std::path::PathBuf {
    folder.join("hf/hub/models--org--repo/blobs").join(name)
}

#[test]
fn an_earlier_run_is_taken_up_and_a_spoilt_one_begun_anew() {
    let bytes = noise(50_000);
    let spoilt: Vec<u8> = bytes[..20_000].iter().map(|byte| byte ^ 1).collect();
    let too_long = noise(60_000);
    for (start, ranges) in [
        (&bytes[..20_000], vec![Some("bytes=20000-".to_string())]),
        (&spoilt[..], vec![Some("bytes=20000-".into()), None]),
        (&too_long[..], vec![None]),
    ] {
        let folder = Folder::new();
        let server = TestHub::start(vec![large("m-Q8_0.gguf", &bytes)]);
        let part = blob(&folder, &format!("{}.incomplete", Digest::of(&bytes).hex()));
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, start).unwrap();
        let located = pull(&hub(settings(&folder, &server.hub.address)), "org/repo").unwrap();
        assert_eq!(fs::read(located.path).unwrap(), bytes);
        let asked: Vec<_> =
            server.storage.asked().iter().map(|asked| asked.headers.get("range").cloned()).collect();
        assert_eq!(asked, ranges);
        assert!(!part.exists());
    }
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let (folder, bytes) = (Folder::new(), noise(50_000));
    let whole = bytes.clone();
    let server = TestHub::with_storage(vec![large("m-Q8_0.gguf", &bytes)], move |n, _| {
        let mut reply = Reply::new(200, &[], &whole);
        reply.cut = (n == 0).then_some(10_000);
        reply
    });
    let located = pull(&hub(settings(&folder, &server.hub.address)), "org/repo").unwrap();
    assert_eq!(fs::read(located.path).unwrap(), bytes);
}

#[test]
fn small_files_on_the_hub_itself_resume_under_their_etag() {
    let (folder, bytes) = (Folder::new(), noise(5_000));
    let file = small("config.json", &bytes);
    let (etag, count) = (format!("\"{}\"", file.etag()), AtomicU32::new(0));
    let quoted = etag.clone();
    let server = Server::start(move |asked| {
        let mut reply = ranged(asked, &bytes, &[("x-repo-commit", COMMIT), ("etag", &quoted)]);
        reply.cut = (asked.method == "GET" && count.fetch_add(1, Ordering::SeqCst) == 0).then_some(2_000);
        reply
    });
    pull(&hub(settings(&folder, &server.address)), "hf.co/org/repo/config.json").unwrap();
    let second = server.asked().into_iter().filter(|asked| asked.method == "GET").nth(1).unwrap();
    assert_eq!(second.headers.get("range").map(String::as_str), Some("bytes=2000-"));
    assert_eq!(second.headers.get("if-range"), Some(&etag));
}

#[test]
fn wrong_bytes_are_refused_and_not_installed() {
    let (folder, bytes) = (Folder::new(), noise(5_000));
    let server = TestHub::with_storage(vec![large("m-Q8_0.gguf", &bytes)], |_, mut reply| {
        reply.body[4_321] ^= 1;
        reply
    });
    let hub = hub(settings(&folder, &server.hub.address));
    let error = only_reason(pull(&hub, "org/repo").unwrap_err());
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
    let left: Vec<_> =
        walk(&folder.0).into_iter().filter(|path| path.extension().is_none_or(|e| e != "lock")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(hub.list().models.is_empty());
}

#[test]
fn more_bytes_than_promised_are_refused() {
    let folder = Folder::new();
    let server = TestHub::with_storage(vec![large("m-Q8_0.gguf", &noise(5_000))], |_, mut reply| {
        reply.body.extend_from_slice(b"more");
        reply
    });
    let error = only_reason(pull(&hub(settings(&folder, &server.hub.address)), "org/repo").unwrap_err());
    assert!(matches!(&error, Error::Answer { why, .. } if why.contains("5000")), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    for (status, code, wants) in [
        (403, "GatedRepo", "accept its terms"),
        (401, "RepoNotFound", "HF_TOKEN"),
        (404, "RevisionNotFound", "no such branch"),
        (404, "EntryNotFound", "no such file"),
        (401, "", "HF_TOKEN"),
        (500, "", "answered 500"),
    ] {
        let folder = Folder::new();
        let server = Server::start(move |_| Reply::new(status, &[("x-error-code", code)], b""));
        let error = only_reason(pull(&hub(settings(&folder, &server.address)), "org/repo").unwrap_err());
        assert!(error.to_string().contains(wants), "{status} {code}: {error}");
    }
}

#[test]
fn an_answer_that_is_no_hubs_is_refused() {
    let size_and_hash = [("etag", "\"abc\""), ("x-repo-commit", COMMIT)];
    let climbing =
        [("etag", "\"ce013625030ba8dba906f756967f9e9ca394464a\""), ("x-repo-commit", "../../../../etc")];
    for headers in [&size_and_hash[..], &climbing[..], &[]] {
        let folder = Folder::new();
        let headers: Vec<_> = headers.to_vec();
        let server = Server::start(move |_| Reply::new(200, &headers, b"hello\n"));
        let error =
            only_reason(pull(&hub(settings(&folder, &server.address)), "hf.co/org/repo/m.gguf").unwrap_err());
        assert!(matches!(error, Error::Answer { .. }), "{error}");
        assert!(walk(&folder.0).is_empty());
    }
}

#[test]
fn a_busy_hub_is_asked_again() {
    let (folder, count) = (Folder::new(), AtomicU32::new(0));
    let etag = format!("\"{}\"", Digest::of(b"gguf").hex());
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 2 => Reply::new(503, &[], b"busy"),
        _ => Reply::new(200, &[("x-repo-commit", COMMIT), ("etag", &etag)], b"gguf"),
    });
    let located = pull(&hub(settings(&folder, &server.address)), "hf.co/org/repo/m.gguf").unwrap();
    assert_eq!(fs::read(located.path).unwrap(), b"gguf");
    assert_eq!((server.count("HEAD"), server.count("GET")), (2, 2));
}

#[test]
fn redirects_in_a_circle_end() {
    let folder = Folder::new();
    let server = Server::start(|asked| Reply::new(307, &[("location", &asked.path)], b""));
    let error = only_reason(pull(&hub(settings(&folder, &server.address)), "org/repo").unwrap_err());
    assert!(error.to_string().contains("circle"), "{error}");
}

#[test]
fn a_renamed_repository_is_followed() {
    let folder = Folder::new();
    let etag = format!("\"{}\"", Digest::of(b"gguf").hex());
    let server = Server::start(move |asked| match asked.path.strip_prefix("/org/repo/") {
        Some(rest) => {
            Reply::new(307, &[("location", &format!("/org/new/{rest}")), ("etag", "\"redirect\"")], b"moved")
        }
        None => Reply::new(200, &[("x-repo-commit", COMMIT), ("etag", &etag)], b"gguf"),
    });
    let located = pull(&hub(settings(&folder, &server.address)), "hf.co/org/repo/m.gguf").unwrap();
    assert_eq!(fs::read(located.path).unwrap(), b"gguf");
}

#[test]
fn an_unreachable_hub_is_named_with_its_reason() {
    let folder = Folder::new();
    // A port that was free a moment ago refuses at once.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let error = pull(&hub(settings(&folder, &endpoint)), "org/repo").unwrap_err();
    let text = error.to_string();
    assert!(matches!(only_reason(error), Error::Unreachable { .. }), "{text}");
    for part in ["hf.co/org/repo", &format!("127.0.0.1:{port}"), "HF_ENDPOINT"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_folder_model_brings_what_it_needs() {
    let folder = Folder::new();
    let index = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let server = TestHub::start(vec![
        small(".gitattributes", b"x"),
        small("config.json", b"{}"),
        large("model-00001-of-00002.safetensors", b"one"),
        large("model-00002-of-00002.safetensors", b"two"),
        small("model.safetensors.index.json", index),
        large("pytorch_model.bin", b"pickle"),
        small("tokenizer.json", b"{}"),
    ]);
    let settings = settings(&folder, &server.hub.address);
    let located = pull(&hub(settings.clone()), "org/repo").unwrap();
    assert!(located.path.is_dir());
    assert_eq!(located.path, folder.join("hf/hub/models--org--repo/snapshots").join(COMMIT));
    let names: Vec<_> =
        walk(&located.path).iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_string()).collect();
    assert_eq!(names.len(), 5);
    assert!(!names.contains(&"pytorch_model.bin".into()) && !names.contains(&".gitattributes".into()));

    // The same from the cache alone, for a store that does not know it; not when a shard has gone.
    fs::remove_dir_all(folder.join("home")).unwrap();
    let asked = server.hub.asked().len();
    assert_eq!(pull(&hub(offline(settings.clone())), "org/repo").unwrap().path, located.path);
    assert_eq!(server.hub.asked().len(), asked);
    fs::remove_dir_all(folder.join("home")).unwrap();
    fs::remove_file(located.path.join("model-00002-of-00002.safetensors")).unwrap();
    assert!(matches!(pull(&hub(offline(settings)), "org/repo"), Err(Error::Offline { .. })));
}

#[test]
fn a_split_file_is_opened_by_its_first_part() {
    let folder = Folder::new();
    let (one, two) = ("q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf");
    let server = TestHub::start(vec![large(two, b"two"), large(one, b"one")]);
    let located = pull(&hub(settings(&folder, &server.hub.address)), "org/repo:Q8_0").unwrap();
    assert!(located.path.ends_with(one));
    assert_eq!(fs::read(located.path.with_file_name("m-Q8_0-00002-of-00002.gguf")).unwrap(), b"two");
}

#[cfg(unix)]
#[test]
fn the_cache_is_laid_out_as_other_programs_do() {
    let folder = Folder::new();
    let (weights, config) = (large("sub/m-Q8_0.gguf", b"weights"), small("config.json", b"hello\n"));
    let server = TestHub::start(vec![weights.clone(), config.clone()]);
    let hub = hub(settings(&folder, &server.hub.address));
    pull(&hub, "org/repo:Q8_0").unwrap();
    pull(&hub, "hf.co/org/repo/config.json").unwrap();
    let repo = folder.join("hf/hub/models--org--repo");
    assert_eq!(fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    let snapshot = repo.join("snapshots").join(COMMIT);
    let link = |path: &str| fs::read_link(snapshot.join(path)).unwrap();
    assert_eq!(link("sub/m-Q8_0.gguf"), Path::new("../../../blobs").join(weights.etag()));
    assert_eq!(link("config.json"), Path::new("../../blobs/ce013625030ba8dba906f756967f9e9ca394464a"));
    assert!(
        folder.join("hf/hub/.locks/models--org--repo").join(format!("{}.lock", weights.etag())).is_file()
    );
    assert_eq!(walk(&repo).len(), 5);
}

/// As a newer program leaves it: the blob itself is a link into a place shared by all repositories.
#[cfg(unix)]
#[test]
fn a_file_of_another_program_is_used_through_two_links() {
    use std::os::unix::fs::symlink;
    let (folder, bytes) = (Folder::new(), noise(3_000));
    let repo = folder.join("hf/hub/models--org--repo");
    let shared = folder.join("hf/hub/blobs/ab").join("ab".repeat(32));
    let snapshot = repo.join("snapshots").join(COMMIT);
    for place in [shared.parent().unwrap(), &repo.join("blobs"), &repo.join("refs"), &snapshot] {
        fs::create_dir_all(place).unwrap();
    }
    fs::write(&shared, &bytes).unwrap();
    let etag = Digest::of(&bytes).hex();
    symlink(format!("../../blobs/ab/{}", "ab".repeat(32)), repo.join("blobs").join(&etag)).unwrap();
    symlink(format!("../../blobs/{etag}"), snapshot.join("m-Q8_0.gguf")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();

    let offline = hub(offline(settings(&folder, "http://127.0.0.1:1")));
    let located = pull(&offline, "org/repo:Q8_0").unwrap();
    assert_eq!(fs::read(&located.path).unwrap(), bytes);
    let removal = offline.remove(&"org/repo:Q8_0".parse().unwrap()).unwrap();
    assert_eq!((removal.freed_bytes, removal.kept), (0, vec![located.path]));
    assert!(shared.exists() && repo.join("blobs").join(&etag).exists());

    // A file that does not have the hash in its name is not taken.
    fs::write(&shared, noise(2_999)).unwrap();
    assert!(matches!(pull(&offline, "org/repo:Q8_0"), Err(Error::Offline { .. })));
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let (folder, bytes) = (Folder::new(), noise(2_000_000));
    let server = TestHub::start(vec![large("m-Q8_0.gguf", &bytes)]);
    let settings = settings(&folder, &server.hub.address);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let located = pull(&hub(settings.clone()), "org/repo").unwrap();
                assert_eq!(fs::read(located.path).unwrap(), bytes);
            });
        }
    });
    assert_eq!(server.storage.count("GET"), 1);
}

#[test]
fn a_cancelled_pull_keeps_what_it_has_and_the_next_goes_on() {
    let (folder, bytes) = (Folder::new(), noise(3_000_000));
    let server = TestHub::start(vec![large("m-Q8_0.gguf", &bytes)]);
    let hub = hub(settings(&folder, &server.hub.address));
    let mut listener = Listener { cancel_after_bytes: Some(1), ..Listener::default() };
    let reference: Reference = "org/repo".parse().unwrap();
    assert!(matches!(hub.pull(&reference, 0, &mut listener), Err(Error::Cancelled)));
    let kept =
        fs::metadata(blob(&folder, &format!("{}.incomplete", Digest::of(&bytes).hex()))).unwrap().len();
    assert!(kept > 0 && kept < 3_000_000);
    assert_eq!(fs::read(pull(&hub, "org/repo").unwrap().path).unwrap(), bytes);
    assert_eq!(server.storage.asked()[1].headers["range"], format!("bytes={kept}-"));
}

#[test]
fn a_gone_cache_is_fetched_again() {
    let folder = Folder::new();
    let server = TestHub::start(vec![large("m-Q8_0.gguf", b"weights")]);
    let hub = hub(settings(&folder, &server.hub.address));
    let reference: Reference = "org/repo".parse().unwrap();
    pull(&hub, "org/repo").unwrap();
    fs::remove_dir_all(folder.join("hf")).unwrap();
    assert!(matches!(hub.resolve(&reference), Err(Error::NotHere { .. })));
    assert_eq!(fs::read(pull(&hub, "org/repo").unwrap().path).unwrap(), b"weights");
}
