//! Configs and weights that do not fit together are refused by name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{golden_dir, open, read_json, tensors, write_folder};
use serde_json::{Value, json};

/// The error of a golden Llama whose config was changed.
fn refusal(change: impl Fn(&mut Value)) -> String {
    let golden = read_json(&golden_dir().join("llama2.json"));
    let mut config = read_json(&golden_dir().join("configs/llama2.json"));
    change(&mut config);
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &config, &tensors(&golden));
    open(folder.path()).expect_err("it should be refused").to_string()
}

#[test]
fn a_config_of_impossible_values_is_refused_by_key() {
    for (key, value) in [
        ("hidden_size", json!(0)),
        ("hidden_size", json!(-64)),
        ("hidden_size", json!(1e300)),
        ("hidden_size", json!("many")),
        ("num_hidden_layers", json!(1_000_000_000)),
        ("num_attention_heads", json!(7)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(1_000_000)),
        ("rope_theta", json!(0.5)),
        ("hidden_act", json!("cosine")),
        ("rope_scaling", json!({"rope_type": "spiral", "factor": 2.0})),
        ("rope_scaling", json!({"rope_type": "linear", "factor": 0.0})),
        ("rope_scaling", json!({"rope_type": "longrope", "long_factor": [1.0], "short_factor": [1.0]})),
        ("layer_types", json!(["full_attention"])),
    ] {
        let message = refusal(|config| config[key] = value.clone());
        assert!(message.contains(key), "{key} = {value}: {message}");
    }
}

#[test]
fn what_changes_the_numbers_and_is_not_known_is_refused_by_name() {
    for (key, value) in [
        ("num_experts", json!(8)),
        ("attn_logit_softcapping", json!(50.0)),
        ("quantization_config", json!({"quant_method": "gptq"})),
        ("kv_lora_rank", json!(512)),
    ] {
        let message = refusal(|config| config[key] = value.clone());
        assert!(message.contains(key) && message.contains("does not know"), "{message}");
    }
}

#[test]
fn keys_that_nobody_knows_are_told() {
    let golden = read_json(&golden_dir().join("llama2.json"));
    let mut config = read_json(&golden_dir().join("configs/llama2.json"));
    config["moon_phase"] = json!("waxing");
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &config, &tensors(&golden));
    assert_eq!(open(folder.path()).unwrap().unknown_keys, ["moon_phase"]);
}

#[test]
fn an_architecture_that_is_not_known_is_named_with_those_that_are() {
    let message = refusal(|config| config["model_type"] = json!("rwkv9"));
    assert!(message.contains("rwkv9") && message.contains("llama") && message.contains("qwen3"), "{message}");
}

#[test]
fn missing_misshapen_and_superfluous_tensors_are_named() {
    let golden = read_json(&golden_dir().join("llama2.json"));
    let config = read_json(&golden_dir().join("configs/llama2.json"));
    let all = tensors(&golden);
    let refusal = |tensors: &[bantam_tensor::Tensor]| {
        let folder = tempfile::tempdir().unwrap();
        write_folder(folder.path(), &config, tensors);
        open(folder.path()).expect_err("it should be refused").to_string()
    };
    let name = "model.layers.1.mlp.down_proj.weight";
    let without: Vec<_> = all.iter().filter(|t| t.name() != name).cloned().collect();
    assert!(refusal(&without).contains(name), "a missing tensor");

    let mut misshapen = without.clone();
    misshapen.push(bantam_tensor::Tensor::from_f32(name, vec![3, 5], &[0.0; 15]).unwrap());
    let message = refusal(&misshapen);
    assert!(message.contains(name) && message.contains("[3, 5]"), "{message}");

    let mut more = all.clone();
    more.push(bantam_tensor::Tensor::from_f32("model.layers.0.mystery.weight", vec![4], &[0.0; 4]).unwrap());
    assert!(refusal(&more).contains("mystery"), "a tensor that is left over");
}

#[test]
fn weights_that_are_no_numbers_are_told_with_the_layer() {
    let golden = read_json(&golden_dir().join("llama2.json"));
    let config = read_json(&golden_dir().join("configs/llama2.json"));
    let mut all = tensors(&golden);
    let place = all.iter().position(|t| t.name() == "model.layers.1.self_attn.o_proj.weight").unwrap();
    let mut values = all[place].to_f32();
    values[7] = f32::NAN;
    all[place] =
        bantam_tensor::Tensor::from_f32(all[place].name(), all[place].shape().to_vec(), &values).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), &config, &all);
    let model = open(folder.path()).unwrap();
    use bantam_model::*;
    let mut batch = Batch::default();
    batch.push(&[1, 2, 3], 0, 3, Want::Last);
    let mut state = State::new(&model.description, KvStorage::F32, 3);
    let machine = Machine::new(Isa::best(), 1);
    let run =
        Executor::run(&machine, &model, Numerics::Exact, &batch, &mut [&mut state], &mut Scratch::default());
    let message = run.expect_err("NaN should be told").to_string();
    assert!(message.contains("layer 1"), "{message}");
}

#[test]
fn a_pass_that_is_stopped_leaves_its_state_as_it_was() {
    use bantam_model::*;
    let (model, _) = common::golden_model("llama2");
    let machine = Machine::new(Isa::best(), 1);
    let (mut batch, mut scratch) = (Batch::default(), Scratch::default());
    batch.push(&[1, 2, 3], 0, 3, Want::Last);
    let mut pass = |state: &mut State, stopped: &dyn Fn() -> bool| {
        Executor::outputs(&machine, &model, Numerics::Exact, &batch, &mut [state], &mut scratch, stopped)
    };
    let mut fresh = State::new(&model.description, KvStorage::F32, 3);
    let expected = pass(&mut fresh, &|| false).unwrap().logits;
    let (mut state, layers) = (State::new(&model.description, KvStorage::F32, 3), std::cell::Cell::new(0));
    let after_the_first = || layers.replace(layers.get() + 1) == 0;
    assert!(matches!(pass(&mut state, &after_the_first), Err(Error::Stopped)));
    assert_eq!((layers.get(), state.length()), (1, 0), "no layer behind the first");
    assert_eq!(pass(&mut state, &|| false).unwrap().logits, expected);
}

#[test]
fn tokens_and_positions_that_are_not_there_are_refused() {
    use bantam_model::*;
    let (model, _) = common::golden_model("llama2");
    let machine = Machine::new(Isa::best(), 1);
    let mut state = State::new(&model.description, KvStorage::F32, 2);
    let mut batch = Batch::default();
    batch.push(&[100_000], 0, 2, Want::Last);
    let run =
        Executor::run(&machine, &model, Numerics::Exact, &batch, &mut [&mut state], &mut Scratch::default());
    assert!(run.expect_err("no such token").to_string().contains("100000"));
    let mut batch = Batch::default();
    batch.push(&[1, 2, 3], 0, 2, Want::Last);
    let run =
        Executor::run(&machine, &model, Numerics::Exact, &batch, &mut [&mut state], &mut Scratch::default());
    assert!(run.expect_err("no room").to_string().contains("2 positions"));
    assert_eq!(state.length(), 0);
}
