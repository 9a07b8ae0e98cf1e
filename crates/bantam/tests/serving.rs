//! `bantam serve` and those that ask it, from the outside.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test from end to end")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A machine of its own, with one model in its store.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { folder };
        machine.add("tiny", |_| {});
        machine
    }

    /// Puts a model `NAME:x` into the store, whose folder is changed first.
    fn add(&self, name: &str, change: impl FnOnce(&Path)) {
        let folder = self.at(name);
        common::write_model(&folder);
        change(&folder);
        let record = |file: &str| {
            let path = folder.join(file);
            let bytes = std::fs::metadata(&path).unwrap().len();
            json!({ "path": file, "digest": format!("sha256:{}", "0".repeat(64)), "bytes": bytes, "place": { "outside": path } })
        };
        let manifest = json!({
            "format": 1, "name": format!("{name}:x"), "source": { "mirror": "made" }, "pulled_unix_s": 0, "is_folder": true,
            "files": [record("config.json"), record("model.safetensors"), record("tokenizer.json")],
        });
        let manifests = self.at("home/manifests").join(name);
        std::fs::create_dir_all(&manifests).unwrap();
        std::fs::write(manifests.join("x.json"), manifest.to_string()).unwrap();
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(args).env_clear().env("HOME", self.folder.path()).env("BANTAM_HOME", self.at("home"));
        command.env("BANTAM_UNIX", self.at("socket")).env("BANTAM_OFFLINE", "1");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A server that listens.
    fn serve(&self, args: &[&str]) -> Server {
        self.serve_with(args, &[])
    }

    fn serve_with(&self, args: &[&str], vars: &[(&str, &str)]) -> Server {
        let args = [&["serve", "--port", "0", "--ctx", "64"], args].concat();
        let mut command = self.command(&args);
        let mut child = command.envs(vars.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_there = lines.by_ref().any(|line| line.unwrap().starts_with("listening on http://"));
        assert!(is_there, "it does not listen");
        // What it says from now on must go somewhere.
        let log = std::thread::spawn(move || lines.map_while(Result::ok).collect());
        Server { child, log: Some(log), socket: self.at("socket") }
    }
}

struct Server {
    child: Child,
    log: Option<std::thread::JoinHandle<Vec<String>>>,
    socket: PathBuf,
}

impl Server {
    /// The status and body of a reply.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let body = body.to_string();
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, body) = self.ask("POST", path, body);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    fn terminate(&mut self) {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Its exit and what it said.
    fn wait(mut self) -> (bool, Vec<String>) {
        let status = self.child.wait().unwrap();
        (status.success(), self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_is_watched_and_ends_when_it_is_told_to() {
    let machine = Machine::new();
    let none = machine.run(&["ps"]);
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("bantam serve"));
    let mut server = machine.serve(&[]);
    assert_eq!(std::fs::symlink_metadata(machine.at("socket")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(machine.json(&["ps", "--json"])["models"], json!([]), "it is loaded when it is asked for");
    let ask = json!({ "model": "tiny:x", "prompt": "hi", "stream": false, "keep_alive": -1, "options": { "num_predict": 3, "temperature": 0 } });
    assert_eq!(server.post("/api/generate", &ask)["eval_count"], 3);
    let told = machine.json(&["ps", "--json"]);
    assert_eq!(
        (&told["models"][0]["name"], &told["models"][0]["context_length"]),
        (&json!("tiny:x"), &json!(64))
    );
    let table = String::from_utf8(machine.run(&["ps"]).stdout).unwrap();
    assert!(table.contains("tiny:x") && table.contains("for ever"), "{table}");
    let figures = machine.json(&["top", "--json"]);
    assert_eq!(figures["models"]["tiny:x"]["generation_tokens_total"], 3.0);
    assert!(machine.run(&["stop", "tiny:x"]).status.success());
    while machine.json(&["ps", "--json"])["models"] != json!([]) {}
    assert!(!machine.run(&["stop", "nothing"]).status.success());
    server.terminate();
    let (has_succeeded, log) = server.wait();
    assert!(has_succeeded, "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("POST /api/generate 200")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("hi")), "what was asked is nobody's business: {log:?}");
    assert!(!machine.at("socket").exists());
}

fn cut(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 100).unwrap();
}

/// A model that is there and cannot be read is not one that is not there: everybody is told the file and what is wrong.
#[test]
fn a_model_that_cannot_be_read_is_told_from_one_that_is_not_there() {
    let machine = Machine::new();
    machine.add("cut", |folder| cut(&folder.join("model.safetensors")));
    machine.add("odd", |folder| {
        let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&config).unwrap();
        (config["model_type"], config["architectures"]) = (json!("lamma"), json!(["LammaForCausalLM"]));
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    });
    machine.add("short", |_| {});
    cut(&machine.at("short/model.safetensors"));
    machine.add("bad", |_| {});
    std::fs::write(machine.at("home/manifests/bad/x.json"), "{").unwrap();
    let server = machine.serve(&["--quiet", "--alias", "both=cut:x,tiny:x"]);
    let listed = machine.json(&["list", "--json"]);
    let table = machine.run(&["list"]);
    let (rows, notes) = [table.stdout, table.stderr].map(|told| String::from_utf8(told).unwrap()).into();
    let cases = [
        ("cut:x", "cut/model.safetensors"),
        ("odd:x", "architecture \"lamma\" is not supported"),
        ("short:x", "where it had"),
        ("bad:x", "bad/x.json"),
    ];
    let ready = listed["models"].as_array().unwrap().iter().find(|model| model["name"] == "tiny:x").unwrap();
    assert_eq!(ready["why_not"], Value::Null);
    assert_eq!(rows.matches("ready").count(), 1, "{rows}");
    for (name, why) in cases {
        // What has no manifest has no row.
        if let Some(model) = listed["models"].as_array().unwrap().iter().find(|model| model["name"] == name) {
            assert!(model["why_not"].as_str().unwrap().contains(why), "{model}");
        }
        assert!(notes.contains(why), "{name}: {notes}");
        let ask = json!({ "model": name, "messages": [{ "role": "user", "content": "hi" }] });
        for path in ["/v1/chat/completions", "/v1/messages", "/api/chat", "/api/show"] {
            let (status, told) = server.ask("POST", path, &with(&ask, "max_tokens", 3));
            let told = told.replace("\\\"", "\"");
            assert!(
                status == 500 && told.contains(why) && !told.contains("not found"),
                "{path} {status}: {told}"
            );
        }
        let run = machine.run(&["run", name, "hi"]);
        let told = String::from_utf8(run.stderr).unwrap();
        assert!(!run.status.success() && told.contains(why), "{name}: {told}");
        assert!(told.contains(&machine.at("").display().to_string()), "{name}: where? {told}");
        let serve = machine.run(&["serve", "--port", "0", name]);
        let told = String::from_utf8(serve.stderr).unwrap();
        assert!(!serve.status.success() && told.contains(why), "{name}: {told}");
    }
    let ask = json!({ "model": "both", "prompt": "hi", "stream": false, "options": { "num_predict": 3, "temperature": 0 } });
    assert_eq!(server.post("/api/generate", &ask)["eval_count"], 3, "the other stands in for it");
    assert_eq!(server.ask("POST", "/api/show", &json!({ "model": "none:x" })).0, 404);
    assert_eq!(server.ask("DELETE", "/api/delete", &json!({ "model": "short:x" })).0, 200);
    assert_eq!(server.ask("POST", "/api/show", &json!({ "model": "short:x" })).0, 404);
    let refused = machine.run(&["serve", "--port", "0", "tiny:x", "--alias", "a=cut:x"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("--alias a=cut:x: ") && told.contains("cut/model.safetensors"), "{told}");
}

fn with(ask: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut ask = ask.clone();
    ask[field] = value.into();
    ask
}

#[test]
fn models_are_made_copied_and_removed() {
    let machine = Machine::new();
    let server = machine.serve(&["--quiet"]);
    let wanted = json!({
        "model": "brief", "from": "tiny:x", "system": "Be brief.", "stream": false,
        "parameters": { "num_predict": 2, "num_ctx": 32, "temperature": 0 },
    });
    assert_eq!(server.post("/api/create", &wanted)["status"], "success");
    let shown = server.post("/api/show", &json!({ "model": "brief:latest" }));
    assert_eq!(
        (&shown["system"], &shown["details"]["parent_model"]),
        (&json!("Be brief."), &json!("tiny:x"))
    );
    let said = json!({ "model": "brief", "messages": [{ "role": "user", "content": "hi" }] });
    let prompt = server.post("/apply-template", &said)["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.starts_with("<|begin|>system\nBe brief.<|end|>"), "{prompt}");
    let answer = server.post("/v1/chat/completions", &said);
    assert_eq!((&answer["usage"]["completion_tokens"], &answer["model"]), (&json!(2), &json!("brief")));
    assert_eq!(server.ask("POST", "/api/copy", &json!({ "source": "brief", "destination": "other" })).0, 200);
    let (_, tags) = server.ask("GET", "/api/tags", &json!({}));
    assert!(
        ["tiny:x", "brief", "other"].iter().all(|name| tags.contains(&format!("\"name\":\"{name}\""))),
        "{tags}"
    );
    assert_eq!(server.ask("DELETE", "/api/delete", &json!({ "model": "brief" })).0, 200);
    assert_eq!(server.ask("POST", "/v1/chat/completions", &said).0, 404);
    for (wrong, status) in [
        (json!({ "model": "x", "from": "absent:1" }), 404),
        (json!({ "model": "x", "from": "./model" }), 400),
        (json!({ "model": "../x", "from": "tiny:x" }), 400),
        (json!({ "model": "x", "from": "tiny:x", "template": "{{ .Prompt }}" }), 400),
        (json!({ "model": "x", "from": "tiny:x", "parameters": { "warp": 9 } }), 400),
        (json!({ "model": "x", "files": { "a.gguf": "sha256:../../x" } }), 400),
        (json!({ "model": "x" }), 400),
    ] {
        let mut ask = wrong.clone();
        ask["stream"] = json!(false);
        let (found, body) = server.ask("POST", "/api/create", &ask);
        assert_eq!(found, status, "{wrong}: {body}");
    }
    let (_, lines) = server.ask("POST", "/api/pull", &json!({ "model": "qwen3:0.6b" }));
    assert!(lines.lines().last().unwrap().contains("network is switched off"), "{lines}");
    let pull = json!({ "model": "qwen3:0.6b", "stream": false });
    assert_eq!(server.ask("POST", "/api/pull", &pull).0, 501);
    let blob = format!("/api/blobs/sha256:{}", "0".repeat(64));
    assert_eq!(
        (server.ask("HEAD", &blob, &json!({})).0, server.ask("POST", &blob, &json!({})).0),
        (404, 400)
    );
}

#[test]
fn a_hub_that_cannot_be_reached_is_named() {
    let machine = Machine::new();
    let vars =
        [("BANTAM_OFFLINE", "0"), ("HF_ENDPOINT", "http://127.0.0.1:1"), ("BANTAM_PYTHON", "/nowhere")];
    let server = machine.serve_with(&["--quiet", "tiny:x"], &vars);
    let pull = json!({ "model": "hf.co/org/repo:Q4_0", "stream": false });
    let (status, told) = server.ask("POST", "/api/pull", &pull);
    assert_eq!(status, 502, "{told}");
    assert!(told.contains("127.0.0.1:1"), "{told}");
}

#[test]
fn settings_come_from_flags_then_the_environment_then_a_file() {
    let machine = Machine::new();
    let config = machine.at("c.toml");
    std::fs::write(&config, "[serve]\nqueue = 5\nparallel = 3\ncache = 7\n").unwrap();
    let show = |vars: &[(&str, &str)]| {
        let mut command = machine.command(&["config", "show", "serve", "--origin"]);
        command.env("BANTAM_CONFIG", &config).envs(vars.iter().copied());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let told = show(&[("OLLAMA_NUM_PARALLEL", "2"), ("BANTAM_API_KEY", "very-secret")]);
    let line =
        |name: &str| told.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap().to_owned();
    assert!(line("parallel").contains(" 2 ") && line("parallel").contains("OLLAMA_NUM_PARALLEL"), "{told}");
    assert!(line("queue").contains(" 5 ") && line("queue").contains("c.toml"), "{told}");
    assert!(line("drain").contains(" 30 ") && line("drain").contains("default"), "{told}");
    assert!(!told.contains("very-secret"));
    std::fs::write(&config, "[serve]\nspeed = 5\n").unwrap();
    let refused = machine.command(&["list"]).env("BANTAM_CONFIG", &config).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("c.toml:2"));
}

/// In a network namespace of its own there is no network at all, so that whatever works there needs none.
#[test]
fn offline_needs_no_network() {
    let machine = Machine::new();
    let inside = |args: &[&str]| {
        let plain = machine.command(args);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]).arg(plain.get_program()).args(args);
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).output()
    };
    match inside(&["--version"]) {
        Ok(output) if output.status.success() => {}
        found => {
            eprintln!("skipped: no network namespace can be made here: {found:?}");
            return;
        }
    }
    let ask = ["--offline", "run", "tiny:x", "hi", "--seed", "1", "-n", "8", "--json"];
    let (outside, inside_it) = (machine.run(&ask), inside(&ask).unwrap());
    assert!(inside_it.status.success(), "{}", String::from_utf8_lossy(&inside_it.stderr));
    let text = |output: &Output| {
        let lines = String::from_utf8(output.stdout.clone()).unwrap();
        let texts =
            lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].to_string());
        texts.collect::<String>()
    };
    assert_eq!(text(&outside), text(&inside_it));
    let pulled = inside(&["--offline", "pull", "qwen3:0.6b"]).unwrap();
    let told = String::from_utf8_lossy(&pulled.stderr).into_owned();
    assert!(!pulled.status.success() && told.contains("network is switched off"), "{told}");
}
