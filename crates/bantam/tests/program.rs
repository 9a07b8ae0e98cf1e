//! The program from the outside, with a tiny model of random weights.
#![allow(clippy::unwrap_used, reason = "a test from end to end")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bantam_tensor::Tensor;
use bantam_tensor::format::safetensors;
use serde_json::{Value, json};
use tempfile::TempDir;
use tiny::{TEMPLATE, golden_weights, write_model};

mod tiny;

/// A machine of its own: a home without models, and a model folder.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine { folder };
        write_model(&machine.folder.path().join("model"));
        machine
    }

    fn model(&self) -> String {
        self.folder.path().join("model").display().to_string()
    }

    /// Runs the program without a network.
    fn run(&self, args: &[&str], input: &str) -> Output {
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

    fn text(&self, args: &[&str], input: &str) -> String {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(args, "")).unwrap()
    }

    /// The exit code and what was said.
    fn failure(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args, "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn ask(&self, more: &[&str]) -> String {
        let model = self.model();
        let args: Vec<&str> =
            ["run", &model, "hello", "--seed", "3", "-n", "24"].iter().chain(more).copied().collect();
        self.text(&args, "")
    }
}

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

/// Prompts of a letter, each with the letter as its answer.
fn write_echoes(path: &Path) {
    let line = |letter: char| json!({ "prompt": format!("say {letter}"), "completion": format!("{letter}{letter}") });
    let lines: Vec<String> = ('a'..='z').chain('A'..='Z').map(|letter| line(letter).to_string()).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn an_adapter_is_learnt_and_used() {
    let machine = Machine::new();
    let (model, at) = (machine.model(), |name: &str| machine.folder.path().join(name).display().to_string());
    write_echoes(Path::new(&at("echoes.jsonl")));
    let (data, run) = (at("echoes.jsonl"), at("run"));
    let learn = ["finetune", &model, &data, "-o", &run, "--steps", "40", "--rate", "0.02", "--json"];
    let result = machine.json(&learn);
    let losses: [f64; 2] = serde_json::from_value(result["validation_loss"].clone()).unwrap();
    assert!(losses[1] < 0.8 * losses[0], "{result}");
    let page = std::fs::read_to_string(at("run/report.html")).unwrap();
    assert!(page.contains("<polyline") && !page.contains("<script"), "{page}");
    let metrics = std::fs::read_to_string(at("run/metrics.jsonl")).unwrap();
    assert!(metrics.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let plain = machine.ask(&["--temp", "0"]);
    assert_ne!(plain, machine.ask(&["--temp", "0", "--adapter", &run]));
    assert_eq!(
        machine.ask(&["--temp", "0", "--adapter", &run]),
        machine.ask(&["--temp", "0", "--adapter", &at("run/adapter.gguf")]),
    );

    let (code, error) = machine.failure(&learn);
    assert!(code == 1 && error.contains("--resume"), "{error}");
    let (code, error) = machine.failure(&["finetune", &model, &data, "-o", &at("new"), "--resume"]);
    assert!(code == 1 && error.contains("no run to go on with"), "{error}");
    let (code, error) = machine.failure(&["finetune", &model, &data, "-o", "/dev/null/x", "--steps", "1"]);
    assert!(code == 1 && error.contains("/dev/null/x"), "{error}");
}

#[test]
fn a_killed_run_goes_on_with_the_same_bits() {
    let machine = Machine::new();
    let (model, at) = (machine.model(), |name: &str| machine.folder.path().join(name).display().to_string());
    write_echoes(Path::new(&at("echoes.jsonl")));
    let data = at("echoes.jsonl");
    let learn = |folder: &str, more: &[&str]| {
        let args = ["finetune", &model, &data, "-o", folder, "--steps", "400", "--patience", "0", "--json"];
        [&args, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = at("whole");
    let args = learn(&whole, &[]);
    machine.text(&args.iter().map(String::as_str).collect::<Vec<_>>(), "");

    let killed = at("killed");
    let mut child = Command::new(env!("CARGO_BIN_EXE_bantam"))
        .args(learn(&killed, &[]))
        .env_clear()
        .env("HOME", machine.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // At some moment behind its first evaluation.
    while !Path::new(&at("killed/metrics.jsonl")).exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let args = learn(&killed, &["--resume"]);
    machine.text(&args.iter().map(String::as_str).collect::<Vec<_>>(), "");
    for name in ["state.bin", "adapter_model.safetensors", "adapter.gguf"] {
        let [one, other] = [&whole, &killed].map(|run| std::fs::read(Path::new(run).join(name)).unwrap());
        assert!(one == other, "{name} differs");
    }
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
