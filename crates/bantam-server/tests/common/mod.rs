//! A server over a script, and a client that sees every byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses a part of it")]

mod script;
pub(crate) mod shelf;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use bantam_engine::{Pooling, Sampling};
use bantam_server::{Alias, Details, Keys, Served, Server, Settings, Stopper};
use bantam_text::{ChatTemplate, Tokenizer};
use serde_json::{Map, Value, json};

pub(crate) use script::{Script, Signals};
pub(crate) use shelf::Shelf;

/// A server in a thread of its own.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) signals: Signals,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self::set(settings())
    }

    /// A server with these settings.
    pub(crate) fn set(settings: Settings) -> Self {
        let (mut shelf, signals) = (Shelf::default(), Signals::default());
        let own = signals.clone();
        shelf.add("tiny", shelf::SMALL, move |_| named("tiny", &own));
        Self::over(settings, shelf, signals)
    }

    /// A server whose model is changed before it starts.
    pub(crate) fn with(settings: Settings, change: impl FnOnce(&mut Served)) -> Self {
        let signals = Signals::default();
        let mut served = served(Box::new(Script::new(tokenizer(), signals.clone())));
        change(&mut served);
        Self::serve(settings, served, signals)
    }

    pub(crate) fn serve(settings: Settings, served: Served, signals: Signals) -> Self {
        Self::over(settings, Shelf::of(vec![served]), signals)
    }

    /// A server of several models.
    pub(crate) fn over(settings: Settings, shelf: Shelf, signals: Signals) -> Self {
        let server = Server::bind(settings, Box::new(shelf)).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Running { address, signals, stopper, thread: Some(thread) }
    }

    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }

    /// Waits for its end.
    pub(crate) fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        Reply::read(
            self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")),
        )
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::read(self.open(path, body, ""))
    }

    /// Sends a request with more headers and does not wait for the reply.
    pub(crate) fn open(&self, path: &str, body: &Value, headers: &str) -> TcpStream {
        let body = body.to_string();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
             {headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        // A server that refuses the head need not read the rest.
        let _ = stream.write_all(request.as_bytes());
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signals.release();
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: String,
}

impl Reply {
    /// Reads all of it.
    pub(crate) fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "no reply: {head:?}");
        }
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Map<String, Value> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), json!(value)))
            .collect();
        let mut body = Vec::new();
        // A connection that is cut off shows what came before.
        let _ = match headers.get("transfer-encoding") {
            Some(_) => read_chunks(&mut reader, &mut body),
            None => reader.read_to_end(&mut body).map(drop),
        };
        Reply { status, headers, body: String::from_utf8(body).unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The data of each server-sent event, with its name.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        let frames = self.body.split("\n\n").filter(|frame| !frame.is_empty() && !frame.starts_with(':'));
        frames
            .map(|frame| {
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                let data = field("data: ").unwrap_or_else(|| panic!("no data: {frame:?}"));
                let data = serde_json::from_str(data).unwrap_or_else(|_| json!(data));
                (field("event: ").unwrap_or_default().to_owned(), data)
            })
            .collect()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..size]);
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        address: "127.0.0.1:0".parse().unwrap(),
        waiting_max: 4,
        aliases: vec![alias("gpt-x", &[])],
        ..Settings::default()
    }
}

pub(crate) fn alias(name: &str, models: &[&str]) -> Alias {
    Alias { name: name.into(), models: models.iter().map(|&model| model.to_owned()).collect() }
}

pub(crate) fn with_key(key: &str) -> Settings {
    let mut keys = Keys::default();
    keys.add(key).unwrap();
    Settings { keys, ..settings() }
}

/// A model that plays scripts.
pub(crate) fn named(name: &str, signals: &Signals) -> Served {
    Served { name: name.into(), ..served(Box::new(Script::new(tokenizer(), signals.clone()))) }
}

pub(crate) fn served(generator: Box<dyn bantam_server::Generate>) -> Served {
    let tokenizer = tokenizer();
    Served {
        name: "tiny".into(),
        generator,
        opening: Vec::new(),
        stops: Vec::new(),
        max_tokens: None,
        template: Some(ChatTemplate::compile(TEMPLATE, "", "<|end|>").unwrap()),
        sampling: Sampling::default(),
        seed: Some(1),
        stop_tokens: tokenizer.stops().to_vec(),
        context_length: 200,
        vocab_size: 96,
        embedding_size: 32,
        pooling: Pooling::Mean,
        sequences_max: 2,
        details: Details { architecture: "tiny".into(), parameters: 135_000_000, ..Details::default() },
        tokenizer,
    }
}

pub(crate) const TEMPLATE: &str = "{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content }}<|end|>\n\
                                   {% endfor %}{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}";

/// Two special tokens, then one for each of 94 characters, with `}` in the place of `^`.
pub(crate) fn tokenizer() -> Tokenizer {
    tokenizer_with(&[])
}

/// With more special tokens behind them, from 96 on.
pub(crate) fn tokenizer_with(more: &[&str]) -> Tokenizer {
    let chars = ('!'..='|').map(|c| if c == '^' { '}' } else { c }).chain(['Ġ', 'Ċ']);
    let vocab: Map<String, Value> = chars.zip(2..).map(|(c, id)| (c.to_string(), json!(id))).collect();
    let special = (0..).zip(["<|begin|>", "<|end|>"]).chain((96..).zip(more.iter().copied()));
    let special = special.map(|(id, text)| json!({ "id": id, "content": text, "special": true }));
    let json = json!({
        "added_tokens": special.collect::<Vec<Value>>(),
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    let config = json!({ "eos_token": "<|end|>" });
    Tokenizer::from_tokenizer_json(json.to_string().as_bytes(), Some(&config)).unwrap()
}

/// A chat of one message.
pub(crate) fn chat(said: &str) -> Value {
    json!({ "model": "tiny", "messages": [{ "role": "user", "content": said }] })
}

/// The value with more fields.
pub(crate) fn with(mut value: Value, more: Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}
