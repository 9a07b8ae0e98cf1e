//! The program from the outside, with a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test from end to end")]

mod common;

use std::path::Path;

use bantam_tensor::Tensor;
use bantam_tensor::format::safetensors;
use serde_json::{Value, json};

use common::{Machine, TEMPLATE, golden_weights};

#[test]
fn an_answer_is_the_same_in_every_form() {
    let machine = Machine::new();
    let plain = machine.ask(&[]);
    assert_eq!(plain, machine.ask(&["--threads", "1"]));
    let lines = machine.ask(&["--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (done, chunks) = lines.split_last().unwrap();
    let text: String = chunks.iter().map(|chunk| chunk["text"].as_str().unwrap()).collect();
    assert_eq!(plain.trim_end_matches('\n'), text.trim_end_matches('\n'));
    assert_eq!((&done["seed"], &done["done"]), (&json!(3), &json!("length")));
    assert_eq!(done["usage"]["generated_tokens"], 24);
    // <|begin|>user\nhello<|end|>\n<|begin|>assistant\n
    assert_eq!(done["usage"]["prompt_tokens"], 24);
}

#[test]
fn a_stop_string_ends_the_answer_and_is_not_printed() {
    let machine = Machine::new();
    let plain = machine.ask(&[]);
    let chars: Vec<char> = plain.chars().collect();
    let stop: String = chars[6..9].iter().collect();
    let before = &plain[..plain.find(&stop).unwrap()];
    let stopped = machine.ask(&["--stop", &stop]);
    assert_eq!(stopped.trim_end_matches('\n'), before.trim_end_matches('\n'));
}

#[test]
fn standard_input_is_part_of_the_prompt() {
    let machine = Machine::new();
    let model = machine.model();
    let args = ["run", &model, "--seed", "1", "-n", "8"];
    let typed = machine.text(&[&args[..], &["ab\n\ncd"]].concat(), "");
    let piped = machine.text(&[&args[..], &["ab"]].concat(), "cd");
    assert_eq!(typed, piped);
    let (code, error) = machine.failure(&["run", &model]);
    assert_eq!(code, 1);
    assert!(error.contains("nothing to ask"), "{error}");
}

#[test]
fn special_tokens_in_a_prompt_are_text() {
    let machine = Machine::new();
    let model = machine.model();
    let tokens = |prompt: &str| {
        let out = machine.text(&["run", &model, prompt, "-n", "1", "--json"], "");
        let done: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        done["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    // Seven characters instead of five.
    assert_eq!(tokens("<|end|>"), tokens("hello") + 2);
}

#[test]
fn training_data_is_shown_as_it_would_be_learnt() {
    let machine = Machine::new();
    let model = machine.model();
    let file = machine.folder.path().join("train.csv");
    std::fs::write(&file, "question,reply\nab,c\nab,c\nd,\n").unwrap();
    let file = file.display().to_string();
    let columns = ["--prompt-column", "question", "--completion-column", "reply"];
    let args = [&["data", "inspect", &model, &file][..], &columns].concat();
    let text = machine.text(&args, "");
    assert!(text.ends_with("<|begin|>user\nab<|end|>\n<|begin|>assistant\n⟦c⟧⟦<|end|>⟧\n"), "{text}");
    assert!(text.contains("train.csv:4: ") && text.contains("train.csv:3 repeats"), "{text}");
    let json = machine.json(&[&args[..], &["--json"]].concat());
    let report = &json["report"];
    let counts =
        ["lines", "examples", "bad", "duplicates", "learnt_tokens"].map(|name| report[name].as_u64());
    assert_eq!(counts, [3, 1, 1, 1, 2].map(Some));
    assert_eq!(json["example"]["pieces"].as_array().unwrap().last(), Some(&json!("<|end|>")));
    let (code, error) = machine.failure(&[&args[..], &["--example", "2"]].concat());
    assert!(code == 1 && error.contains("wanted a number from 1 to 1, found 2"), "{error}");
    let (code, error) = machine.failure(&["data", "inspect", &model, &file]);
    assert!(code == 1 && error.contains("found `question`, `reply`"), "{error}");
}

#[test]
fn ids_and_logits_agree() {
    let machine = Machine::new();
    let model = machine.model();
    let tokens = machine.json(&["tokenize", &model, "ab c", "--json"]);
    assert_eq!(tokens, json!({ "ids": [66, 67, 94, 68], "pieces": ["a", "b", " ", "c"] }));
    let logits = machine.json(&["logits", &model, "--tokens", "66,67", "--json"]);
    let last: Vec<f64> = serde_json::from_value(logits["logits"][1].clone()).unwrap();
    let best = (0..last.len()).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
    let args = ["generate", &model, "--tokens", "66,67", "-n", "3", "--greedy", "--ignore-eos", "--json"];
    let ids = machine.json(&args)["ids"].clone();
    assert_eq!((ids[0].as_u64(), ids.as_array().unwrap().len()), (Some(best as u64), 3));
}

#[test]
fn a_model_is_looked_into() {
    let machine = Machine::new();
    let model = machine.model();
    let report = machine.json(&["inspect", &model, "--ctx", "64", "--json"]);
    let stored = report["storages"][0]["weights"].as_u64().unwrap();
    assert_eq!(report["parameters"], stored);
    assert_eq!(
        (&report["storages"][0]["bits_per_weight"], &report["vocab_size"]),
        (&json!(32.0), &json!(96))
    );
    assert_eq!(report["memory"]["weights_bytes"].as_u64().unwrap() % 4, 0);
    let shown = machine.json(&["show", &model, "--json"]);
    assert_eq!(
        (&shown["sampling"]["temperature"], &shown["sampling"]["from"]),
        (&json!(0.7_f32), &json!("model"))
    );
    assert_eq!(machine.text(&["show", &model, "--template"], "").trim_end(), TEMPLATE.trim_end());
}

/// A PEFT folder that changes the queries of both layers.
fn write_adapter(folder: &Path) {
    let tensor = |layer: usize, half: &str, shape: [usize; 2]| {
        let name = format!("base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{half}.weight");
        let values: Vec<f32> = golden_weights::tensor(&name, &shape).iter().map(|x| 3.0 * x).collect();
        Tensor::from_f32(name, shape.to_vec(), &values).unwrap()
    };
    let tensors: Vec<Tensor> =
        (0..2).flat_map(|layer| [tensor(layer, "A", [4, 32]), tensor(layer, "B", [32, 4])]).collect();
    std::fs::create_dir(folder).unwrap();
    safetensors::write(&folder.join("adapter_model.safetensors"), &tensors).unwrap();
    let config = json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"] });
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
}

#[test]
fn adapters_change_the_model_in_every_verb_and_form() {
    let machine = Machine::new();
    let path = |name: &str| machine.folder.path().join(name).display().to_string();
    let (model, adapter, gguf, merged) = (machine.model(), path("a"), path("a.gguf"), path("merged"));
    write_adapter(Path::new(&adapter));
    let logits = |model: &str, adapters: &[&str]| -> Vec<Vec<f64>> {
        let mut args = vec!["logits", model, "--tokens", "66,67,68,69", "--json"];
        args.extend(adapters.iter().flat_map(|adapter| ["--adapter", adapter]));
        serde_json::from_value(machine.json(&args)["logits"].clone()).unwrap()
    };
    let far = |a: &[Vec<f64>], b: &[Vec<f64>]| {
        a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let (plain, changed) = (logits(&model, &[]), logits(&model, &[&adapter]));
    assert!(far(&plain, &changed) > 0.01);
    let (half, none) = (format!("{adapter}=0.5"), format!("{adapter}=-1"));
    assert!(far(&changed, &logits(&model, &[&half, &half])) < 1e-4);
    assert!(far(&plain, &logits(&model, &[&adapter, &none])) < 1e-4);
    machine.text(&["adapter", "convert", &adapter, "--base", &model, "-o", &gguf], "");
    assert!(far(&changed, &logits(&model, &[&gguf])) < 1e-4);
    let shown = machine.json(&["inspect", &gguf, "--json"]);
    assert_eq!(
        (&shown["form"], &shown["rank"], &shown["scale"][0]),
        (&json!("GGUF"), &json!([4.0, 4.0]), &json!(2.0))
    );
    let report = machine.json(&["merge", &model, "--adapter", &adapter, "-o", &merged, "--json"]);
    assert!(report["kl_before"].as_f64() > report["kl_after"].as_f64(), "{report}");
    assert!(far(&changed, &logits(&merged, &[])) < 1e-4);
    let answers = [&machine.ask(&["--adapter", &adapter]), &machine.ask(&[])];
    assert_ne!(answers[0], answers[1]);
    // The merged model has norms like its base's, so only another base is refused.
    let (code, told) = machine.failure(&["merge", &model, "--adapter", &adapter, "-o", &merged]);
    assert!(code == 1 && told.contains("there already"), "{told}");
    let names: Vec<_> = std::fs::read_dir(machine.folder.path()).unwrap().collect();
    assert!(
        names.iter().all(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().contains("merging"))
    );
}

#[test]
fn errors_say_what_to_do() {
    let machine = Machine::new();
    let model = machine.model();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["run", "smolm2:135m"], 1, "did you mean smollm2:135m"),
        (&["run", "smollm2:135m", "hi"], 1, "--offline"),
        (&["run", "./nothing.gguf", "hi"], 1, "no such file"),
        (&["run", &model, "hi", "--temp", "warm"], 2, "--temperature"),
        (&["run", &model, "hi", "--ctx", "8"], 1, "--ctx"),
        (&["rm", "smollm2:135m"], 1, "smollm2:135m"),
        (&["walk"], 2, "walk"),
    ];
    for (args, code, said) in cases {
        let (found, error) = machine.failure(args);
        assert_eq!(found, code, "{args:?}: {error}");
        assert!(error.contains(said), "{args:?}: {error}");
    }
}

#[test]
fn the_program_describes_itself() {
    let machine = Machine::new();
    assert_eq!(machine.json(&["list", "--json"]), json!({ "models": [] }));
    let catalogue = machine.json(&["list", "--catalogue", "--json"]);
    let default = |entry: &&Value| entry["default"] == true;
    assert_eq!(catalogue["models"].as_array().unwrap().iter().find(default).unwrap()["name"], "smollm2:135m");
    assert!(machine.text(&["completions", "bash"], "").contains("complete -F"));
    let pages = machine.folder.path().join("man");
    machine.text(&["man", pages.to_str().unwrap()], "");
    assert!(pages.join("bantam-run.1").is_file());
    // Inner verbs are for checks and stay out of sight.
    assert!(!machine.text(&["--help"], "").contains("grads"));
}
