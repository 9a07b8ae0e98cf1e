//! A tiny model with random weights whose 96 tokens spell JSON.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod validator;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use bantam_engine::{Constraint, Engine, Event, Reason, Request, Sampling, Settings, Stream, Usage};
use bantam_grammar::Vocabulary;
use bantam_model::Model;
use bantam_tensor::format::safetensors;
use bantam_tensor::{Checkpoint, Tensor};
use bantam_text::{Shown, Special, Tokenizer};
use serde_json::{Map, Value, json};

pub(crate) use validator::holds;

#[path = "../../../../testdata/golden/weights.rs"]
mod golden_weights;

/// The token that ends an answer.
pub(crate) const END: u32 = 1;

/// The golden Llama, of 96 tokens.
pub(crate) fn llama() -> Arc<Model> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let golden: Value = serde_json::from_slice(&std::fs::read(dir.join("tinyllama.json")).unwrap()).unwrap();
    let tensor = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let values = golden_weights::tensor(name, &shape);
        Tensor::from_f32(name, shape, &values).unwrap()
    };
    let tensors: Vec<Tensor> = golden["tensors"].as_object().unwrap().iter().map(tensor).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join("configs/tinyllama.json"), folder.path().join("config.json")).unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    Arc::new(Model::bind(&Checkpoint::open(folder.path()).unwrap()).unwrap())
}

/// Four special tokens, single characters, and a few pairs that words are merged of; ids from 0 to 95.
pub(crate) fn tokenizer() -> Tokenizer {
    let merges = [["{", "\""], ["\"", ":"], [",", "Ġ"], ["a", "g"], ["ag", "e"], ["n", "a"], ["na", "m"]];
    let left_out = "'`^~#$%&*<=>?@GHJKQVWXYZ";
    let chars = ('!'..='~').filter(|c| !left_out.contains(*c)).chain(['Ġ', 'Ċ']);
    let pieces = chars.map(String::from).chain(merges.iter().map(|pair| pair.concat()));
    let vocab: Map<String, Value> = pieces.zip(4..).map(|(piece, id)| (piece, json!(id))).collect();
    assert!(vocab.len() <= 92, "{} pieces", vocab.len());
    let special = ["<|begin|>", "<|end|>", "<think>", "</think>"];
    let added = special.iter().zip(0..).map(|(text, id)| json!({"id": id, "content": text, "special": true}));
    let json = json!({
        "added_tokens": added.collect::<Vec<_>>(),
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    });
    let config = json!({ "eos_token": "<|end|>" });
    Tokenizer::from_tokenizer_json(json.to_string().as_bytes(), Some(&config)).unwrap()
}

pub(crate) fn vocabulary() -> Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| Vocabulary::new(&tokenizer(), 96, &[END])).clone()
}

pub(crate) fn engine(settings: Settings) -> Engine {
    let settings = Settings { context_length: 600, threads: 2, ..settings };
    Engine::start(llama(), settings).unwrap()
}

/// A request whose tokens are drawn, under a constraint.
pub(crate) fn request(seed: u64, constraint: Box<dyn Constraint>) -> Request {
    Request {
        prompt: tokenizer().to_ids("say: ", Special::AsText).unwrap(),
        max_tokens: Some(400),
        sampling: Sampling { temperature: 0.8, seed, ..Sampling::default() },
        stop_tokens: vec![END],
        constraint: Some(constraint),
        ..Request::default()
    }
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ids: Vec<u32>,
    pub(crate) text: String,
    pub(crate) reason: Reason,
    pub(crate) usage: Usage,
}

impl Answer {
    /// Whether it ended by itself.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.reason, Reason::Complete | Reason::Stop(_))
    }
}

pub(crate) fn collect(stream: Stream) -> Answer {
    let mut ids = Vec::new();
    for event in stream {
        match event {
            Event::Token { id, .. } => ids.push(id),
            Event::Done { reason, usage } => {
                let text = tokenizer().to_text(&ids, Shown::Text);
                return Answer { ids, text, reason, usage };
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("a stream without an end");
}
