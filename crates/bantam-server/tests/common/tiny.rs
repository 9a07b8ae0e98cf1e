//! An engine over a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;
use std::sync::Arc;

use bantam_engine::{Engine, Settings};
use bantam_model::{KvStorage, Model};
use bantam_tensor::format::safetensors;
use bantam_tensor::{Checkpoint, Tensor};
use serde_json::Value;

/// Tokens that a sequence may have.
pub(crate) const CONTEXT_LENGTH: usize = 64;

#[path = "../../../../testdata/golden/weights.rs"]
mod golden_weights;

/// Two layers, 96 tokens, weights that are a function of their names.
pub(crate) fn model() -> Arc<Model> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let truth = std::fs::read(golden.join("tinyllama.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let tensor = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let values = golden_weights::tensor(name, &shape);
        Tensor::from_f32(name, shape, &values).unwrap()
    };
    let tensors: Vec<Tensor> = truth["tensors"].as_object().unwrap().iter().map(tensor).collect();
    let folder = tempfile::tempdir().unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    std::fs::copy(golden.join("configs/tinyllama.json"), folder.path().join("config.json")).unwrap();
    Arc::new(Model::bind(&Checkpoint::open(folder.path()).unwrap()).unwrap())
}

pub(crate) fn engine() -> Engine {
    over(&model())
}

pub(crate) fn over(model: &Arc<Model>) -> Engine {
    let settings =
        Settings { context_length: CONTEXT_LENGTH, threads: 2, kv: KvStorage::F32, ..Settings::default() };
    Engine::start(Arc::clone(model), settings).unwrap()
}
