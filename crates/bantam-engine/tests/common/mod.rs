//! A tiny model with random weights, and ways to ask it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::sync::Arc;

use bantam_engine::{Error, Event, Reason, Request, Sampling, Settings, Usage};
use bantam_model::{KvStorage, Model};
use bantam_tensor::format::safetensors;
use bantam_tensor::{Checkpoint, Tensor};
use serde_json::Value;

#[path = "../../../../testdata/golden/weights.rs"]
mod golden_weights;

/// A golden model of two layers and 96 tokens; `damage` is a tensor whose first number is another.
pub(crate) fn golden(name: &str, damage: Option<(&str, f32)>) -> Model {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let golden = std::fs::read(dir.join(format!("{name}.json"))).unwrap();
    let golden: Value = serde_json::from_slice(&golden).unwrap();
    let shapes = golden["tensors"].as_object().unwrap().iter();
    let tensors: Vec<Tensor> = shapes
        .map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let mut values = golden_weights::tensor(name, &shape);
            if let Some((_, value)) = damage.filter(|(damaged, _)| damaged == name) {
                values[0] = value;
            }
            Tensor::from_f32(name, shape, &values).unwrap()
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join(format!("configs/{name}.json")), folder.path().join("config.json")).unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    Model::bind(&Checkpoint::open(folder.path()).unwrap()).unwrap()
}

/// The golden Llama.
pub(crate) fn llama() -> Arc<Model> {
    Arc::new(golden("tinyllama", None))
}

pub(crate) fn settings() -> Settings {
    Settings { context_length: 64, threads: 2, kv: KvStorage::F32, ..Settings::default() }
}

/// A request whose tokens are drawn.
pub(crate) fn request(seed: u64, prompt: &[u32], max_tokens: usize) -> Request {
    let sampling = Sampling { temperature: 1.0, top_p: 0.95, seed, ..Sampling::default() };
    let (prompt, max_tokens) = (prompt.to_vec(), Some(max_tokens));
    Request { prompt, max_tokens, sampling, top_logprobs: Some(0), ..Request::default() }
}

/// What came of a request.
pub(crate) struct Answer {
    /// Ids and log-probabilities, to the bit.
    pub(crate) tokens: Vec<(u32, Option<u32>)>,
    pub(crate) shifts: usize,
    pub(crate) end: Result<(Reason, Usage), Error>,
}

impl Answer {
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|(id, _)| *id).collect()
    }

    pub(crate) fn reason(&self) -> Reason {
        self.end.as_ref().unwrap().0
    }

    pub(crate) fn usage(&self) -> Usage {
        self.end.as_ref().unwrap().1
    }
}

/// Reads a stream to its end, which must come once and last.
pub(crate) fn collect(mut stream: impl Iterator<Item = Event>) -> Answer {
    let (mut tokens, mut shifts) = (Vec::new(), 0);
    while let Some(event) = stream.next() {
        let end = match event {
            Event::Token { id, logprob, .. } => {
                tokens.push((id, logprob.map(f32::to_bits)));
                continue;
            }
            Event::Shifted { .. } => {
                shifts += 1;
                continue;
            }
            Event::Prompt { .. } | Event::Pooled(_) => continue,
            Event::Done { reason, usage } => Ok((reason, usage)),
            Event::Failed(error) => Err(error),
        };
        assert!(stream.next().is_none(), "nothing comes after the end");
        return Answer { tokens, shifts, end };
    }
    panic!("a stream without an end");
}
