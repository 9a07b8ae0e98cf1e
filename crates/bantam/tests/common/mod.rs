//! A machine of its own for the program, with a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test from end to end")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bantam_tensor::Tensor;
use bantam_tensor::format::safetensors;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

#[path = "../../../../testdata/golden/weights.rs"]
pub(crate) mod golden_weights;

/// A machine of its own: a home without models, and a model folder.
pub(crate) struct Machine {
    pub(crate) folder: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { folder };
        write_model(&machine.folder.path().join("model"));
        machine
    }

    pub(crate) fn model(&self) -> String {
        self.folder.path().join("model").display().to_string()
    }

    /// Runs the program without a network.
    pub(crate) fn run(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bantam"))
            .args(args)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("BANTAM_OFFLINE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that fails early need not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The program, to be started and watched.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(args).env_clear().env("HOME", self.folder.path()).env("BANTAM_OFFLINE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub(crate) fn text(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(args, "")).unwrap()
    }

    /// The exit code and what was said.
    pub(crate) fn failure(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args, "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn ask(&self, more: &[&str]) -> String {
        let model = self.model();
        let args: Vec<&str> =
            ["run", &model, "hello", "--seed", "3", "-n", "24"].iter().chain(more).copied().collect();
        self.text(&args, "")
    }
}

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
