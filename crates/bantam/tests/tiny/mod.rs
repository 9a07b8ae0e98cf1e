//! A tiny model of random weights, as a folder.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;

use bantam_tensor::Tensor;
use bantam_tensor::format::safetensors;
use serde_json::{Map, Value, json};

#[path = "../../../../testdata/golden/weights.rs"]
pub(crate) mod golden_weights;

/// Two layers, 96 tokens, weights that are a function of their names.
pub(crate) fn write_model(folder: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let truth: Value =
        serde_json::from_slice(&std::fs::read(golden.join("tinyllama.json")).unwrap()).unwrap();
    let tensor = |(name, shape): (&String, &Value)| {
        let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
        let values = golden_weights::tensor(name, &shape);
        Tensor::from_f32(name, shape, &values).unwrap()
    };
    let tensors: Vec<Tensor> = truth["tensors"].as_object().unwrap().iter().map(tensor).collect();
    std::fs::create_dir(folder).unwrap();
    safetensors::write(&folder.join("model.safetensors"), &tensors).unwrap();
    std::fs::copy(golden.join("configs/tinyllama.json"), folder.join("config.json")).unwrap();
    let write = |name: &str, value: Value| std::fs::write(folder.join(name), value.to_string()).unwrap();
    write("tokenizer.json", tokenizer());
    write("tokenizer_config.json", json!({ "eos_token": "<|end|>", "chat_template": TEMPLATE }));
    write("generation_config.json", json!({ "temperature": 0.7, "top_p": 0.9, "eos_token_id": 1 }));
}

pub(crate) const TEMPLATE: &str = "{% for m in messages %}<|begin|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}\
                        {% if add_generation_prompt %}<|begin|>assistant\n{% endif %}";

/// Two special tokens, then one for each of 94 characters.
fn tokenizer() -> Value {
    let chars = ('!'..='|').chain(['Ġ', 'Ċ']);
    let vocab: Map<String, Value> = chars.zip(2..).map(|(c, id)| (c.to_string(), json!(id))).collect();
    json!({
        "added_tokens": [
            {"id": 0, "content": "<|begin|>", "special": true},
            {"id": 1, "content": "<|end|>", "special": true},
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    })
}
