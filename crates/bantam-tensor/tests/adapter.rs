//! Adapters' files as other programs write them, and files that must be refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use bantam_tensor::format::adapter::{AdapterFile, AdapterForm};
use bantam_tensor::format::{gguf, safetensors};
use bantam_tensor::{Storage, Tensor, quant};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

fn tensor(name: &str, rows: usize, cols: usize) -> Tensor {
    let values: Vec<f32> = (0..rows * cols).map(|i| (i as f32 + name.len() as f32) / 8.0).collect();
    Tensor::from_f32(name, vec![rows, cols], &values).unwrap()
}

/// A folder with a config and weights.
fn folder(config: &Value, file: &str, tensors: &[Tensor]) -> TempDir {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    safetensors::write(&folder.path().join(file), tensors).unwrap();
    folder
}

const PEFT: &str = "adapter_model.safetensors";

fn module(name: &str, rank: usize) -> [Tensor; 2] {
    let name = format!("base_model.model.{name}");
    [tensor(&format!("{name}.lora_A.weight"), rank, 5), tensor(&format!("{name}.lora_B.weight"), 7, rank)]
}

fn config() -> Value {
    json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "target_modules": "all-linear" })
}

fn refusal(path: &Path) -> String {
    AdapterFile::open(path).unwrap_err().to_string()
}

#[test]
fn the_scale_follows_ranks_alphas_and_patterns() {
    let tensors = [module("a.q", 2), module("a.v", 3), module("b.q", 2)].concat();
    let mut config = config();
    config["rank_pattern"] = json!({ "v": 3 });
    config["alpha_pattern"] = json!({ "b\\.(q|k)": 4 });
    let by_rank: [f64; 3] = [6.0 / 2.0, 6.0 / 3.0, 4.0 / 2.0];
    let by_root = [6.0 / 2.0_f64.sqrt(), 6.0 / 3.0_f64.sqrt(), 4.0 / 2.0_f64.sqrt()];
    for (use_rslora, wanted) in [(false, by_rank), (true, by_root)] {
        config["use_rslora"] = json!(use_rslora);
        let folder = folder(&config, PEFT, &tensors);
        for path in [folder.path().to_owned(), folder.path().join(PEFT)] {
            let file = AdapterFile::open(&path).unwrap();
            assert_eq!(file.form, AdapterForm::Peft);
            let names: Vec<&str> = file.pairs.iter().map(|pair| pair.module.as_str()).collect();
            assert_eq!(names, ["a.q", "a.v", "b.q"]);
            let scales: Vec<f32> = file.pairs.iter().map(|pair| pair.scale).collect();
            assert_eq!(scales, wanted.map(|scale| scale as f32));
            assert_eq!(file.pairs[1].a.to_f32(), tensors[2].to_f32());
        }
    }
}

#[test]
fn what_is_more_than_products_is_refused_by_name() {
    for (key, value, told) in [
        ("peft_type", json!("LOHA"), "LOHA"),
        ("use_dora", json!(true), "no lengths of rows"),
        ("modules_to_save", json!(["lm_head"]), "\"lm_head\" was trained and saved whole"),
        ("bias", json!("lora_only"), "biases"),
        ("init_lora_weights", json!("pissa_niter_16"), "pissa_niter_16"),
        ("alora_invocation_tokens", json!([1, 2]), "alora_invocation_tokens"),
        ("trainable_token_indices", json!({ "embed_tokens": [1] }), "trainable_token_indices"),
        ("r", json!(4), "rank 4"),
        ("lora_alpha", Value::Null, "lora_alpha"),
    ] {
        let mut config = config();
        config[key] = value;
        let folder = folder(&config, PEFT, &module("a.q", 2));
        let error = refusal(folder.path());
        assert!(error.contains(told), "{key}: {error}");
    }
    for (name, told) in [
        ("a.q.lora_magnitude_vector", "without DoRA"),
        ("a.embed.lora_embedding_A", "embeddings"),
        ("lm_head.weight", "saved whole"),
        ("a.q.lora_B.bias", "saved whole"),
        ("a.k.lora_A.weight", "module \"a.k\" has A but no B"),
        ("a.q.lora_A.default.weight", "twice"),
    ] {
        let mut tensors = module("a.q", 2).to_vec();
        tensors.push(tensor(&format!("base_model.model.{name}"), 2, 5));
        let error = refusal(folder(&config(), PEFT, &tensors).path());
        assert!(error.contains(told), "{name}: {error}");
    }
}

#[test]
fn ranks_of_both_halves_must_agree() {
    let [a, _] = module("a.q", 2);
    let b = tensor("base_model.model.a.q.lora_B.weight", 7, 3);
    assert!(refusal(folder(&config(), PEFT, &[a, b]).path()).contains("the rank must be the same in both"));
}

#[test]
fn mlx_halves_are_transposed() {
    let config = json!({ "fine_tune_type": "lora", "lora_parameters": { "rank": 2, "scale": 20.0 } });
    let halves = [tensor("model.layers.0.q.lora_a", 5, 2), tensor("model.layers.0.q.lora_b", 2, 7)];
    let folder = folder(&config, "adapters.safetensors", &halves);
    let file = AdapterFile::open(folder.path()).unwrap();
    let pair = &file.pairs[0];
    assert_eq!((pair.module.as_str(), pair.scale), ("model.layers.0.q", 20.0));
    assert_eq!((pair.a.shape(), pair.b.shape()), (&[2, 5][..], &[7, 2][..]));
    let (from, to) = (halves[1].to_f32(), pair.b.to_f32());
    assert!((0..7).all(|i| (0..2).all(|r| to[i * 2 + r] == from[r * 7 + i])));
}

#[test]
fn gguf_files_have_one_alpha() {
    let mut writer = gguf::Writer::new();
    for (key, value) in
        [("general.architecture", "llama"), ("general.type", "adapter"), ("adapter.type", "lora")]
    {
        writer.set(key, value);
    }
    writer.set("adapter.lora.alpha", 16.0_f32);
    let b = tensor("", 7, 32).to_f32();
    let b = quant::quantize(Storage::Q8_0, &b).unwrap();
    writer.push(tensor("blk.0.attn_q.weight.lora_a", 32, 5)).unwrap();
    let b = Tensor::new("blk.0.attn_q.weight.lora_b", vec![7, 32], Storage::Q8_0, b.into()).unwrap();
    writer.push(b).unwrap();
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.gguf");
    writer.write(&path).unwrap();
    let file = AdapterFile::open(&path).unwrap();
    assert_eq!((file.pairs[0].module.as_str(), file.pairs[0].scale), ("blk.0.attn_q", 0.5));
    assert_eq!(file.pairs[0].b.storage(), Storage::Q8_0);
    writer.set("adapter.lora.alpha", 0.0_f32);
    writer.write(&path).unwrap();
    assert_eq!(AdapterFile::open(&path).unwrap().pairs[0].scale, 1.0);
    writer.set("adapter.type", "control_vector");
    writer.write(&path).unwrap();
    assert!(refusal(&path).contains("control_vector"));
}

#[test]
fn what_is_written_is_read_again() {
    let tensors = [module("l.0.q", 2), module("l.1.q", 2), module("l.0.v", 3), module("l.1.v", 3)].concat();
    let mut config = config();
    config["rank_pattern"] = json!({ "v": 3 });
    config["alpha_pattern"] = json!({ "l.1.q": 5 });
    let from = AdapterFile::open(folder(&config, PEFT, &tensors).path()).unwrap();
    for form in [AdapterForm::Peft, AdapterForm::Gguf] {
        let folder = tempdir().unwrap();
        let path = folder.path().join(if form == AdapterForm::Gguf { "a.gguf" } else { "deep/a" });
        let file = AdapterFile {
            form,
            fingerprint: Some("x".into()),
            base_name: Some("base".into()),
            architecture: Some("llama".into()),
            ..from.clone()
        };
        file.write(&path).unwrap();
        let read = AdapterFile::open(&path).unwrap();
        assert_eq!((read.fingerprint.as_deref(), read.base_name.as_deref()), (Some("x"), Some("base")));
        for (read, wanted) in read.pairs.iter().zip(&from.pairs) {
            assert_eq!(read.module, wanted.module);
            let product =
                |scale: f32, b: &Tensor| -> Vec<f32> { b.to_f32().iter().map(|x| x * scale).collect() };
            let (found, wanted) = (product(read.scale, &read.b), product(wanted.scale, &wanted.b));
            assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{}", read.module);
        }
    }
    let folder = tempdir().unwrap();
    from.write(folder.path()).unwrap();
    let config = std::fs::read(folder.path().join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["target_modules"], json!(["q", "v"]));
    assert_eq!((&config["r"], &config["rank_pattern"]["l.1.v"]), (&json!(2), &json!(3)));
    assert_eq!(config["alpha_pattern"], json!({ "l.1.q": 5 }));
}

#[test]
fn folders_and_files_of_other_things_say_what_is_missing() {
    let folder = tempdir().unwrap();
    assert!(refusal(folder.path()).contains("adapter_config.json"));
    std::fs::write(folder.path().join("adapter_config.json"), config().to_string()).unwrap();
    assert!(refusal(folder.path()).contains(PEFT));
    std::fs::write(folder.path().join("adapter_model.bin"), b"x").unwrap();
    assert!(refusal(folder.path()).contains("pickles"));
    std::fs::write(folder.path().join(PEFT), b"\xff\xff\xff\xff\xff\xff\xff\xff").unwrap();
    assert!(refusal(folder.path()).contains("header"));
    std::fs::write(folder.path().join("adapter_config.json"), b"{").unwrap();
    assert!(refusal(folder.path()).contains("JSON"));
}

/// A prefix of 3 tokens for 2 layers of 2 heads of 4 numbers.
fn prefix() -> (Value, Tensor) {
    let config = json!({
        "peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3, "num_layers": 2, "token_dim": 8,
        "num_attention_heads": 2, "num_transformer_submodules": 1, "prefix_projection": false,
    });
    (config, tensor("prompt_embeddings", 3, 32))
}

#[test]
fn a_prefix_is_read_and_written() {
    let (mut config, rows) = prefix();
    for kind in ["PREFIX_TUNING", "CARTRIDGE"] {
        config["peft_type"] = json!(kind);
        let from = AdapterFile::open(folder(&config, PEFT, std::slice::from_ref(&rows)).path()).unwrap();
        let found = from.prefix.as_ref().unwrap();
        assert_eq!((found.num_layers, found.num_kv_heads, found.width()), (2, 2, 8));
        assert_eq!((from.pairs.len(), from.parameters()), (0, 96));
        let again = tempdir().unwrap();
        AdapterFile { fingerprint: Some("x".into()), ..from.clone() }.write(again.path()).unwrap();
        let read = AdapterFile::open(again.path()).unwrap();
        assert_eq!(read.prefix.unwrap().rows.to_f32(), rows.to_f32());
        assert_eq!(read.fingerprint.as_deref(), Some("x"));
        let gguf = AdapterFile { form: AdapterForm::Gguf, ..from };
        assert!(gguf.write(&again.path().join("a.gguf")).unwrap_err().to_string().contains("prefix tuning"));
    }
}

#[test]
fn prefixes_of_other_shapes_are_refused() {
    for (key, value, told) in [
        ("num_virtual_tokens", json!(4), "4 tokens"),
        ("num_virtual_tokens", json!(0), "num_virtual_tokens"),
        ("num_layers", json!(u64::MAX), "layers"),
        ("token_dim", Value::Null, "token_dim"),
        ("num_transformer_submodules", json!(2), "an encoder and a decoder"),
    ] {
        let (mut config, rows) = prefix();
        config[key] = value;
        let error = refusal(folder(&config, PEFT, &[rows]).path());
        assert!(error.contains(told), "{key}: {error}");
    }
    let (config, rows) = prefix();
    assert!(refusal(folder(&config, PEFT, &[rows, tensor("more", 1, 1)]).path()).contains("more"));
    assert!(refusal(folder(&config, PEFT, &[]).path()).contains("prompt_embeddings"));
}
