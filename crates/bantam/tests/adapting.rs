//! Private runs and their audit, rewards, and other kinds of adapters, from the outside.
#![allow(clippy::unwrap_used, reason = "a test from end to end")]

mod common;

use std::path::Path;

use serde_json::json;

use common::Machine;

/// Prompts of a letter, each with the letter as its answer.
fn write_echoes(path: &Path) {
    let line = |letter: char| json!({ "prompt": format!("say {letter}"), "completion": format!("{letter}{letter}") });
    let lines: Vec<String> = ('a'..='z').chain('A'..='Z').map(|letter| line(letter).to_string()).collect();
    std::fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn a_private_run_is_audited() {
    let machine = Machine::new();
    let (model, at) = (machine.model(), |name: &str| machine.folder.path().join(name).display().to_string());
    write_echoes(Path::new(&at("echoes.jsonl")));
    let (echoes, planted, secrets) = (at("echoes.jsonl"), at("planted.jsonl"), at("secrets.json"));
    machine.text(
        &[
            "data",
            "canaries",
            &echoes,
            "-o",
            &planted,
            "--secrets",
            &secrets,
            "--repeats",
            "0,2",
            "--digits",
            "3",
        ],
        "",
    );
    assert_eq!(std::fs::read_to_string(&planted).unwrap().lines().count(), 52 + 4);
    let learn = |folder: &str, more: &[&str]| {
        let args = ["finetune", &model, &planted, "-o", folder, "--validation", "0", "--json"];
        let private = ["--steps", "12", "--dp", "4", "--dp-delta", "1e-3"];
        machine.json(&[&args, &private[..], more].concat())
    };
    let (one, other) = (at("one"), at("other"));
    let result = learn(&one, &["--dp-seed", "5"]);
    let promised = &result["privacy"];
    let epsilon = promised["epsilon"].as_f64().unwrap();
    assert!(epsilon <= 4.0 && epsilon > 3.9 && promised["delta"] == 1e-3, "{promised}");
    assert!(promised["noise_multiplier"].as_f64().unwrap() > 0.3, "{promised}");
    // Lines that are equal are one example: 52 echoes, and one canary of those planted twice.
    assert_eq!(promised["examples"], 52 + 2, "{promised}");
    // The same seed gives the same bits, and no seed gives others and leaves no key.
    learn(&other, &["--dp-seed", "5"]);
    let weights = |run: &str| std::fs::read(Path::new(run).join("adapter_model.safetensors")).unwrap();
    assert!(weights(&one) == weights(&other));
    let secret = at("secret");
    learn(&secret, &[]);
    assert!(weights(&one) != weights(&secret) && !Path::new(&secret).join("noise.key").exists());

    let eval = ["eval", "privacy", &model, "--adapter", &secret, "--json", "--fills", "16"];
    let found = machine
        .json(&[&eval[..], &["--secrets", &secrets, "--members", &echoes, "--others", &planted]].concat());
    let canaries = found["canaries"].as_array().unwrap();
    assert_eq!(canaries.len(), 4);
    for canary in canaries {
        let exposure = canary["exposure"].as_f64().unwrap();
        assert!((0.0..=3.0 * 10_f64.log2() + 1e-9).contains(&exposure), "{canary}");
    }
    assert!(found["membership"]["auc"].as_f64().unwrap() < 0.9, "{found}");
    let (code, error) = machine.failure(&["eval", "privacy", &model, "--secrets", &echoes]);
    assert!(code == 1 && error.contains("echoes.jsonl"), "{error}");
    let (code, error) = machine.failure(&["finetune", &model, &planted, "-o", &at("x"), "--dp", "0"]);
    assert!(code == 2 && error.contains("above 0"), "{error}");
    let keep = ["finetune", &model, &planted, "-o", &at("x"), "--dp", "8", "--duplicates", "keep"];
    let (code, error) = machine.failure(&keep);
    assert!(code == 1 && error.contains("--duplicates keep"), "{error}");
}

#[test]
fn rewards_and_other_kinds_of_adapters_are_learnt() {
    let machine = Machine::new();
    let (model, at) = (machine.model(), |name: &str| machine.folder.path().join(name).display().to_string());
    write_echoes(Path::new(&at("echoes.jsonl")));
    let data = at("echoes.jsonl");
    let learn = |folder: &str, more: &[&str]| {
        let args = ["finetune", &model, &data, "-o", folder, "--rate", "0.02", "--json"];
        machine.json(&[&args, more].concat())
    };
    let grpo = [
        "--loss",
        "grpo",
        "--reward",
        "regex",
        "--reward-pattern",
        "[a-z]",
        "--answer-tokens",
        "6",
        "--batch",
        "4",
    ];
    let more = |steps: &'static str| [&grpo[..], &["--steps", steps]].concat();
    let result = learn(&at("grpo"), &more("12"));
    let rewards: Vec<f64> = serde_json::from_value(result["reward_of_steps"].clone()).unwrap();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    assert!(rewards.len() == 12 && mean(&rewards[8..]) > mean(&rewards[..2]), "{result}");
    let page = std::fs::read_to_string(at("grpo/report.html")).unwrap();
    assert!(page.contains("<h2>Reward") && page.contains("<h2>Answers"), "{page}");
    let (code, error) = machine.failure(&["finetune", &model, &data, "-o", &at("x"), "--loss", "grpo"]);
    assert!(code == 1 && error.contains("--reward"), "{error}");

    for (name, kind) in [("dora", &["--dora"][..]), ("pissa", &["--start", "pissa"])] {
        let result = learn(&at(name), &[&["--steps", "20"], kind].concat());
        let losses: [f64; 2] = serde_json::from_value(result["validation_loss"].clone()).unwrap();
        assert!(losses[1] < 0.9 * losses[0], "{name}: {result}");
        assert_ne!(machine.ask(&["--temp", "0"]), machine.ask(&["--temp", "0", "--adapter", &at(name)]));
    }
    assert!(!Path::new(&at("dora/adapter.gguf")).exists() && Path::new(&at("pissa/adapter.gguf")).exists());
}

#[test]
fn a_prefix_is_learnt_and_used() {
    let machine = Machine::new();
    let (model, at) = (machine.model(), |name: &str| machine.folder.path().join(name).display().to_string());
    write_echoes(Path::new(&at("echoes.jsonl")));
    let (data, run) = (at("echoes.jsonl"), at("run"));
    let learn = ["finetune", &model, &data, "-o", &run, "--method", "prefix", "--virtual-tokens", "8"];
    let result = machine.json(&[&learn[..], &["--rate", "0.05", "--steps", "40", "--json"]].concat());
    let losses: [f64; 2] = serde_json::from_value(result["validation_loss"].clone()).unwrap();
    assert!(losses[1] < 0.95 * losses[0], "{result}");
    assert!(!Path::new(&run).join("adapter.gguf").exists());
    let told = machine.json(&["inspect", &run, "--json"]);
    assert_eq!((&told["kind"], &told["virtual_tokens"]), (&json!("adapter"), &json!(8)));
    assert_ne!(machine.ask(&["--temp", "0"]), machine.ask(&["--temp", "0", "--adapter", &run]));
    let (code, error) = machine.failure(&["merge", &model, "--adapter", &run, "-o", &at("merged")]);
    assert!(code == 1 && error.contains("prefix"), "{error}");
    for (more, named) in [("--rslora", "--rslora"), ("--dp=4", "--prefix-text")] {
        let args = [&learn[..], &["--resume", more]].concat();
        let (code, error) = machine.failure(&args);
        assert!(code == 1 && error.contains(named), "{error}");
    }
}
