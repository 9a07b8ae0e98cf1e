//! A hub for tests: threads on loopback that speak just enough HTTP, and a storage host beside it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bantam_hub::{
    Catalogue, Digest, Error, Event, Hub, Located, Network, Observer, Progress, Proxying, Reference,
    Settings, Terms, Token,
};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const NOW_UNIX_S: u64 = 1_700_000_000;

/// A folder that goes away with its owner.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("bantam-hub-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// What to answer. `cut` closes the connection after so many bytes of the body.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) cut: Option<usize>,
}

impl Reply {
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Reply { status, headers, body: body.into(), cut: None }
    }
}

/// A server that keeps what it was asked.
pub(crate) struct Server {
    pub(crate) address: String,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (log.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Server { address, log }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.asked().iter().filter(|asked| asked.method == method).count()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Reply) {
    let Some(asked) = read_request(&stream) else { return };
    log.lock().unwrap().push(asked.clone());
    let reply = answer(&asked);
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !reply.headers.iter().any(|(name, _)| name == "content-length") {
        head += &format!("content-length: {}\r\n", reply.body.len());
    }
    let body =
        if asked.method == "HEAD" { &[][..] } else { &reply.body[..reply.cut.unwrap_or(reply.body.len())] };
    let _ = (&stream).write_all(format!("{head}\r\n").as_bytes()).and_then(|()| (&stream).write_all(body));
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = BTreeMap::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    Some(Asked { method, path, headers })
}

/// A file of the test hub.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) path: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Large files are named by sha256 and lie on the storage host.
    pub(crate) is_large: bool,
}

pub(crate) fn large(path: &'static str, bytes: &[u8]) -> Stored {
    Stored { path, bytes: bytes.into(), is_large: true }
}

pub(crate) fn small(path: &'static str, bytes: &[u8]) -> Stored {
    Stored { path, bytes: bytes.into(), is_large: false }
}

/// The git blob id of some bytes.
pub(crate) fn git_blob_id(bytes: &[u8]) -> String {
    use sha1::{Digest as _, Sha1};
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Stored {
    pub(crate) fn etag(&self) -> String {
        if self.is_large { Digest::of(&self.bytes).hex() } else { git_blob_id(&self.bytes) }
    }
}

/// A hub with one repository `org/repo` and, on another port, its storage. `storage` may change what is sent.
pub(crate) struct TestHub {
    pub(crate) hub: Server,
    pub(crate) storage: Arc<Server>,
}

impl TestHub {
    pub(crate) fn start(files: Vec<Stored>) -> TestHub {
        TestHub::with_storage(files, |_, reply| reply)
    }

    /// `alter(n, reply)` sees the n-th request to the storage host.
    pub(crate) fn with_storage(
        files: Vec<Stored>,
        alter: impl Fn(u32, Reply) -> Reply + Send + Sync + 'static,
    ) -> TestHub {
        let (stored, count) = (files.clone(), AtomicU32::new(0));
        let storage = Arc::new(Server::start(move |asked| {
            let path = asked.path.trim_start_matches('/');
            let file = stored.iter().find(|file| file.path == path).unwrap();
            alter(count.fetch_add(1, Ordering::SeqCst), ranged(asked, &file.bytes, &[]))
        }));
        let place = storage.address.clone();
        let hub = Server::start(move |asked| answer(asked, &files, &place));
        TestHub { hub, storage }
    }
}

fn answer(asked: &Asked, files: &[Stored], storage: &str) -> Reply {
    if asked.path.starts_with("/api/models/org/repo/tree/main") {
        return tree(asked, files);
    }
    let resolved =
        ["main", COMMIT].iter().find_map(|rev| asked.path.strip_prefix(&format!("/org/repo/resolve/{rev}/")));
    let Some(path) = resolved else { return Reply::new(404, &[("x-error-code", "RepoNotFound")], b"") };
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Reply::new(404, &[("x-error-code", "EntryNotFound")], b"");
    };
    let etag = format!("\"{}\"", file.etag());
    if !file.is_large {
        return ranged(asked, &file.bytes, &[("x-repo-commit", COMMIT), ("etag", &etag)]);
    }
    let (size, location) = (file.bytes.len().to_string(), format!("{storage}/{path}"));
    let headers = [
        ("x-repo-commit", COMMIT),
        ("x-linked-etag", &etag),
        ("x-linked-size", &size),
        ("location", &location),
        ("etag", "\"x\""),
    ];
    Reply::new(302, &headers, b"")
}

/// One entry a page, to be followed by `Link`.
fn tree(asked: &Asked, files: &[Stored]) -> Reply {
    let page: usize = asked.path.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
    let entry =
        |file: &Stored| format!(r#"[{{"type":"file","path":"{}","size":{}}}]"#, file.path, file.bytes.len());
    let body = files.get(page).map_or("[]".into(), entry);
    let next = format!("<http://elsewhere/api?recursive=true&cursor={}>; rel=\"next\"", page + 1);
    let headers: &[(&str, &str)] = if page + 1 < files.len() { &[("link", &next)] } else { &[] };
    Reply::new(200, headers, body.as_bytes())
}

/// The bytes, or the part of them that `Range` asks for.
pub(crate) fn ranged(asked: &Asked, bytes: &[u8], headers: &[(&str, &str)]) -> Reply {
    let range = asked
        .headers
        .get("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let Some(start) = range else { return Reply::new(200, headers, bytes) };
    let start: usize = start;
    let mut reply = Reply::new(206, headers, &bytes[start..]);
    reply
        .headers
        .push(("content-range".into(), format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())));
    reply
}

/// Keeps everything it hears.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) refuses_terms: bool,
    pub(crate) cancel_after_bytes: Option<u64>,
    pub(crate) terms: Vec<String>,
    pub(crate) events: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) started: Vec<(String, Option<u64>, u64)>,
    pub(crate) finished: usize,
}

impl Progress for Listener {
    fn start(&mut self, name: &str, total_bytes: Option<u64>, done_bytes: u64) {
        self.started.push((name.into(), total_bytes, done_bytes));
    }

    fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn finish(&mut self) {
        self.finished += 1;
    }
}

impl Observer for Listener {
    fn accept_terms(&mut self, terms: &Terms<'_>) -> bool {
        self.terms.push(format!("{} {} {}", terms.model, terms.licence, terms.url));
        !self.refuses_terms
    }

    fn event(&mut self, event: &Event<'_>) {
        self.events.push(format!("{event:?}"));
    }

    fn is_cancelled(&self) -> bool {
        self.cancel_after_bytes.is_some_and(|limit| self.bytes >= limit)
    }
}

/// Settings that touch nothing but `folder` and `endpoint`.
pub(crate) fn settings(folder: &Folder, endpoint: &str) -> Settings {
    let nowhere = folder.join("no-python").into_os_string();
    let set = [("BANTAM_HOME", folder.join("home")), ("HF_HOME", folder.join("hf"))];
    let lookup = |name: &str| match name {
        "HF_ENDPOINT" => Some(endpoint.into()),
        "BANTAM_PYTHON" => Some(nowhere.clone()),
        _ => set.iter().find(|(n, _)| *n == name).map(|(_, path)| path.into()),
    };
    let mut settings = Settings::from_lookup(lookup).unwrap();
    settings.proxying = Proxying::Direct;
    settings
}

pub(crate) fn with_token(mut settings: Settings) -> Settings {
    settings.token = Some(Token::new("hf_secret").unwrap());
    settings
}

pub(crate) fn offline(mut settings: Settings) -> Settings {
    settings.network = Network::Forbidden;
    settings
}

pub(crate) fn pull(hub: &Hub, reference: &str) -> Result<Located, Error> {
    hub.pull(&reference.parse::<Reference>()?, NOW_UNIX_S, &mut Listener::default())
}

/// A catalogue of one model `tiny:1` at `org/repo`, its default the file `m-Q8_0.gguf`.
pub(crate) fn catalogue(extra: &str) -> Catalogue {
    let text = format!(
        r#"{{"default": "tiny:1", "licences": {{"free": {{"name": "Free", "url": "https://free"}},
        "bound": {{"name": "Bound Terms", "url": "https://bound", "notice": "Mind the terms."}}}},
        "models": [{{"name": "tiny:1", "title": "Tiny", "parameters": 1, "bytes": 1, "repo": "org/repo",
        "quant": "Q8_0", {extra}}}]}}"#
    );
    Catalogue::from_json(&text).unwrap()
}

/// Bytes that do not repeat soon.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Every path below a folder.
pub(crate) fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A program named `python` that plays pip: `download` copies a wheel (any file), `-c` prints the wheel as its member.
/// It appends its arguments to `calls`.
#[cfg(unix)]
pub(crate) fn fake_python(folder: &Folder, download: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script = format!(
        r#"#!/bin/sh
echo "$@" >> "{calls}"
case "$1 $3" in
"-m --version") echo pip ;;
"-m download") for last; do :; done
  while [ "$1" != --dest ]; do shift; done
  mkdir -p "$2"
  {download} ;;
-I*) cat "$4" ;;
*) exit 9 ;;
esac
"#,
        calls = folder.join("calls").display()
    );
    let path = folder.join("python");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    // While another test's child still holds the file open for writing, the system refuses to run it.
    while !Command::new(&path)
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        thread::yield_now();
    }
    fs::remove_file(folder.join("calls")).unwrap();
    path
}
