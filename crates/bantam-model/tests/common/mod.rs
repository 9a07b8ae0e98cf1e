//! Tiny checkpoints for tests: a config and weights made from names and shapes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_model::{
    Adapter, Batch, Executor, Isa, KvStorage, Machine, Model, Numerics, Scratch, State, Want,
};
use bantam_tensor::format::{gguf, safetensors};
use bantam_tensor::{Checkpoint, Tensor};
use serde_json::Value;

#[path = "../../../../testdata/golden/weights.rs"]
pub(crate) mod golden_weights;

pub(crate) fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden")
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The tensors that a golden file lists.
pub(crate) fn tensors(golden: &Value) -> Vec<Tensor> {
    let shapes = golden["tensors"].as_object().unwrap();
    let one = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        Tensor::from_f32(name, shape.clone(), &golden_weights::tensor(name, &shape)).unwrap()
    };
    shapes.iter().map(one).collect()
}

/// Writes a folder with a config and tensors.
pub(crate) fn write_folder(folder: &Path, config: &Value, tensors: &[Tensor]) {
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    safetensors::write(&folder.join("model.safetensors"), tensors).unwrap();
}

/// The model of a golden file, and the file.
pub(crate) fn golden_model(family: &str) -> (Model, Value) {
    let golden = read_json(&golden_dir().join(format!("{family}.json")));
    let config = read_json(&golden_dir().join(format!("configs/{family}.json")));
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &config, &tensors(&golden));
    (open(folder.path()).unwrap(), golden)
}

/// GGUF's names of the golden Llama's tensors.
fn gguf_name(name: &str) -> String {
    let whole = [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];
    let parts = [
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    whole.iter().chain(&parts).fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The golden Llama as a GGUF file, each tensor, under its new name, converted.
pub(crate) fn gguf_model(convert: impl Fn(Tensor) -> Tensor) -> Model {
    let config = read_json(&golden_dir().join("configs/tinyllama.json"));
    let mut writer = gguf::Writer::new();
    writer.set("general.architecture", "llama");
    for (key, of) in [
        ("block_count", "num_hidden_layers"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
        ("context_length", "max_position_embeddings"),
    ] {
        writer.set(&format!("llama.{key}"), config[of].as_u64().unwrap() as u32);
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    for tensor in tensors(&read_json(&golden_dir().join("tinyllama.json"))) {
        let (name, shape) = (gguf_name(tensor.name()), tensor.shape().to_vec());
        let named = Tensor::new(name, shape, tensor.storage(), tensor.bytes().clone()).unwrap();
        writer.push(convert(named)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    writer.write(&path).unwrap();
    open(&path).unwrap()
}

pub(crate) fn open(path: &Path) -> Result<Model, bantam_model::Error> {
    Model::bind(&Checkpoint::open(path)?)
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// How a model is run in a test.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    pub(crate) numerics: Numerics,
}

impl Default for Run {
    fn default() -> Self {
        Run { isa: Isa::best(), threads: 2, numerics: Numerics::Exact }
    }
}

impl Run {
    /// Logits of all positions, the sequence cut into calls of these lengths.
    pub(crate) fn in_parts(self, model: &Model, tokens: &[u32], parts: &[usize]) -> Vec<Vec<f32>> {
        let machine = Machine::new(self.isa, self.threads);
        let mut state = State::new(&model.description, KvStorage::F32, tokens.len());
        let mut scratch = Scratch::default();
        let (mut logits, mut begin) = (Vec::new(), 0);
        for part in parts {
            let mut batch = Batch::default();
            batch.push(&tokens[begin..begin + part], begin, tokens.len(), Want::All);
            let states = &mut [&mut state];
            logits
                .extend(Executor::run(&machine, model, self.numerics, &batch, states, &mut scratch).unwrap());
            begin += part;
        }
        assert_eq!(begin, tokens.len());
        rows(model, &logits)
    }

    /// Logits of all positions in one call.
    pub(crate) fn whole(self, model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
        self.in_parts(model, tokens, &[tokens.len()])
    }

    /// Logits of all positions of sequences in one batch, each changed by its adapter.
    pub(crate) fn adapted(
        self,
        model: &Model,
        sequences: &[(&[u32], Option<&Arc<Adapter>>)],
    ) -> Vec<Vec<Vec<f32>>> {
        let machine = Machine::new(self.isa, self.threads);
        let state = |tokens: &[u32]| State::new(&model.description, KvStorage::F32, tokens.len());
        let mut states: Vec<State> = sequences.iter().map(|(tokens, _)| state(tokens)).collect();
        let mut batch = Batch::default();
        for (tokens, adapter) in sequences {
            batch.push(tokens, 0, tokens.len(), Want::All);
            adapter.iter().for_each(|adapter| batch.adapt(adapter));
        }
        let mut taking: Vec<&mut State> = states.iter_mut().collect();
        let mut scratch = Scratch::default();
        let all = Executor::run(&machine, model, self.numerics, &batch, &mut taking, &mut scratch).unwrap();
        let mut all = rows(model, &all).into_iter();
        sequences.iter().map(|(tokens, _)| all.by_ref().take(tokens.len()).collect()).collect()
    }

    /// Logits of all positions of the first sequence, with the others in the same batches, token by token.
    pub(crate) fn among_others(self, model: &Model, sequences: &[&[u32]]) -> Vec<Vec<f32>> {
        let machine = Machine::new(self.isa, self.threads);
        let room = |tokens: &&[u32]| State::new(&model.description, KvStorage::F32, tokens.len());
        let mut states: Vec<State> = sequences.iter().map(room).collect();
        let (mut scratch, mut logits) = (Scratch::default(), Vec::new());
        for step in 0..sequences[0].len() {
            let mut batch = Batch::default();
            let mut taking: Vec<&mut State> = Vec::new();
            // The first goes last, so that its rows do not begin the batch.
            for (tokens, state) in sequences.iter().zip(&mut states).rev() {
                // The others come two at a time, and end earlier or later than the first.
                let begin = state.length();
                let count = if std::ptr::eq(*tokens, sequences[0]) { 1 } else { 2 };
                let end = (begin + count).min(tokens.len());
                if step >= begin / count && begin < end {
                    batch.push(&tokens[begin..end], begin, tokens.len(), Want::All);
                    taking.push(state);
                }
            }
            let all =
                Executor::run(&machine, model, self.numerics, &batch, &mut taking, &mut scratch).unwrap();
            logits.extend(rows(model, &all).pop());
        }
        logits
    }
}

fn rows(model: &Model, logits: &[f32]) -> Vec<Vec<f32>> {
    logits.chunks_exact(model.description.vocab_size).map(<[f32]>::to_vec).collect()
}

pub(crate) fn greatest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
