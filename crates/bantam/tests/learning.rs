//! `bantam finetune`, `data` and `train` from the outside.
#![allow(clippy::unwrap_used, reason = "a test from end to end")]

mod common;

use std::path::Path;

use serde_json::{Value, json};

use common::Machine;

impl Machine {
    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn losses(&self, args: &[&str]) -> [f64; 2] {
        let result = self.json(args);
        serde_json::from_value(result["validation_loss"].clone()).unwrap()
    }
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
    let args = learn(&killed, &[]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut child = machine.command(&args).spawn().unwrap();
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
fn all_weights_are_learnt_and_become_a_checkpoint() {
    let machine = Machine::new();
    let (model, data, run) = (machine.model(), machine.at("echoes.jsonl"), machine.at("run"));
    write_echoes(Path::new(&data));
    let learn =
        ["finetune", &model, &data, "-o", &run, "--method", "full", "--steps", "40", "--rate", "0.01"];
    let more = ["--tensorboard", "--sample", "say", "--order", "length", "--json"];
    let losses = machine.losses(&[&learn[..], &more].concat());
    assert!(losses[1] < 0.8 * losses[0], "{losses:?}");
    let ask = |model: &str| machine.text(&["run", model, "say b", "--temp", "0", "-n", "8"], "");
    assert_ne!(ask(&model), ask(&machine.at("run/model")));
    let metrics = std::fs::read_to_string(machine.at("run/metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"texts\""), "{metrics}");
    let events: Vec<_> = std::fs::read_dir(machine.at("run/tensorboard")).unwrap().collect();
    assert_eq!(events.len(), 1);
    let (code, error) = machine.failure(&[&learn[..], &["--rank", "4"]].concat());
    assert!(code == 1 && error.contains("--rank"), "{error}");
}

#[test]
fn the_better_of_two_answers_is_learnt() {
    let machine = Machine::new();
    let (model, data) = (machine.model(), machine.at("pairs.jsonl"));
    let pair =
        |letter: char| json!({ "prompt": format!("say {letter}"), "chosen": letter, "rejected": "zzz" });
    let lines: Vec<String> = ('a'..='y').chain('A'..='Y').map(|letter| pair(letter).to_string()).collect();
    std::fs::write(&data, lines.join("\n")).unwrap();
    for loss in ["dpo", "orpo"] {
        let run = machine.at(loss);
        let args = ["finetune", &model, &data, "-o", &run, "--steps", "30", "--rate", "0.01", "--json"];
        let losses = machine.losses(&[&args[..], &["--loss", loss]].concat());
        assert!(losses[1] < 0.9 * losses[0], "{loss}: {losses:?}");
    }
}

#[test]
fn a_teacher_is_learnt_from_live_or_as_it_was_stored() {
    let machine = Machine::new();
    let (model, data) = (machine.model(), machine.at("echoes.jsonl"));
    write_echoes(Path::new(&data));
    let learn = |folder: &str, more: &[&str]| {
        let args = ["finetune", &model, &data, "-o", folder, "--method", "full", "--steps", "30", "--json"];
        machine.losses(&[&args, more].concat())
    };
    learn(&machine.at("taught"), &["--rate", "0.01"]);
    let (teacher, stored) = (machine.at("taught/model"), machine.at("taught.logits"));
    machine.text(&["data", "logits", &teacher, &data, "-o", &stored, "--draws", "24"], "");
    let from: [(&str, &[&str]); 2] =
        [("live", &["--teacher", &teacher, "--divergence", "js"]), ("stored", &["--logits", &stored])];
    for (name, more) in from {
        let losses = learn(&machine.at(name), &[more, &["--rate", "0.01"]].concat());
        assert!(losses[1] < 0.9 * losses[0], "{name}: {losses:?}");
    }
    // Written by another model with the same vocabulary, but of other examples.
    std::fs::write(machine.at("other.jsonl"), json!({ "prompt": "x", "completion": "y" }).to_string())
        .unwrap();
    let other =
        ["finetune", &model, &machine.at("other.jsonl"), "-o", &machine.at("no"), "--logits", &stored];
    let (code, error) = machine.failure(&other);
    assert!(code == 1 && error.contains("none of the 1 examples"), "{error}");
}

#[test]
fn a_model_answers_what_is_asked_in_files() {
    let machine = Machine::new();
    let (model, data, answers) = (machine.model(), machine.at("echoes.jsonl"), machine.at("answers.jsonl"));
    write_echoes(Path::new(&data));
    let args = ["data", "answer", &model, &data, "-o", &answers, "--temperature", "1", "--max-tokens", "200"];
    machine.text(&args, "");
    let lines = std::fs::read_to_string(&answers).unwrap();
    let roles = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let roles =
            line["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap().to_owned());
        roles.collect::<Vec<_>>()
    };
    assert!(
        lines.lines().count() > 0 && lines.lines().all(|line| roles(line) == ["user", "assistant"]),
        "{lines}"
    );
}

/// A config of a tiny model that reads `texts.jsonl` beside it.
fn write_config(machine: &Machine, more: &str) -> String {
    let words = ["low", "lower", "lowest", "new", "newer", "newest", "wide", "wider", "widest"];
    let text = |i: usize| {
        let words: Vec<&str> = (0..20).map(|j| words[(i * 7 + j * (i % 5 + 1)) % words.len()]).collect();
        json!({ "text": words.join(" "), "grade": i % 10 }).to_string()
    };
    std::fs::write(machine.at("texts.jsonl"), (0..200).map(text).collect::<Vec<_>>().join("\n")).unwrap();
    let config = format!(
        "[model]\nmodel_type = \"llama\"\nhidden_size = 32\nintermediate_size = 64\nnum_hidden_layers = 2\n\
         num_attention_heads = 2\nnum_key_value_heads = 1\ntie_word_embeddings = true\n[tokenizer]\nvocab_size = 300\n\
         [data]\nfiles = [\"texts.jsonl\"]\nlength = 64\nvalidation = 0.1\n{more}"
    );
    std::fs::write(machine.at("tiny.toml"), config).unwrap();
    machine.at("tiny.toml")
}

#[test]
fn a_model_is_trained_from_nothing() {
    let machine = Machine::new();
    let more = "rank_column = \"grade\"\norder = \"best-last\"\n[course]\nepochs = 30\nbatch_tokens = 512\n\
                micro_tokens = 512\noptimizer = \"muon\"\nrate = 1e-2\n[samples]\nprompts = [\"low\"]\ntokens = 8\n[result]\ngguf = \"f32\"\n";
    let (config, run) = (write_config(&machine, more), machine.at("run"));
    machine.text(&["train", &config, "-o", &run, "--dry-run"], "");
    assert!(!Path::new(&run).exists());
    let losses = machine.losses(&["train", &config, "-o", &run, "--json"]);
    // The words come in few orders.
    assert!(losses[0] > 5.0 && losses[1] < 0.6 * losses[0], "{losses:?}");
    let answer = machine.text(&["run", &machine.at("run/model"), "low", "--temp", "0", "-n", "8"], "");
    let of_file = machine.text(&["run", &machine.at("run/model.gguf"), "low", "--temp", "0", "-n", "8"], "");
    assert_eq!(of_file, answer);
    assert!(["low", "new", "wid"].iter().any(|word| answer.contains(word)), "{answer}");
    let files: Vec<String> = std::fs::read_dir(machine.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(files.iter().all(|name| !name.ends_with(".trial")), "{files:?}");
}

#[test]
fn a_prefix_takes_its_positions_from_the_examples() {
    let machine = Machine::new();
    let config = write_config(&machine, "[course]\nbatch_tokens = 512\ntokens = 1024\nevaluations = 2\n");
    let learned_positions = "model_type = \"gpt2\"\nn_embd = 32\nn_layer = 2\nn_head = 2\n[tokenizer]";
    let text = std::fs::read_to_string(&config).unwrap();
    let (_, rest) = text.split_once("[tokenizer]").unwrap();
    std::fs::write(&config, format!("[model]\n{learned_positions}{rest}")).unwrap();
    machine.text(&["train", &config, "-o", &machine.at("run")], "");

    let (model, data) = (machine.at("run/model"), machine.at("texts.jsonl"));
    let learn = ["finetune", &model, &data, "--method", "prefix", "--steps", "2"];
    machine.json(&[&learn[..], &["-o", &machine.at("prefix"), "--max-length", "64", "--json"]].concat());
    let none = ["-o", &machine.at("none"), "--virtual-tokens", "63"];
    let (code, error) = machine.failure(&[&learn[..], &none].concat());
    assert!(code == 1 && error.contains("63 virtual tokens"), "{error}");
}

#[test]
fn training_that_was_killed_goes_on_with_the_same_bits() {
    let machine = Machine::new();
    let config = write_config(&machine, "[course]\nepochs = 8\nbatch_tokens = 512\nevaluations = 8\n");
    let (whole, killed) = (machine.at("whole"), machine.at("killed"));
    machine.text(&["train", &config, "-o", &whole], "");
    let mut child = machine.command(&["train", &config, "-o", &killed]).spawn().unwrap();
    while !Path::new(&machine.at("killed/metrics.jsonl")).exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    machine.text(&["train", &config, "-o", &killed, "--resume"], "");
    for name in ["state.bin", "model/model.safetensors", "model/tokenizer.json"] {
        let [one, other] = [&whole, &killed].map(|run| std::fs::read(Path::new(run).join(name)).unwrap());
        assert!(one == other, "{name} differs");
    }
}

#[test]
fn configs_that_mean_nothing_are_refused() {
    let machine = Machine::new();
    for (more, said) in [
        ("[model.rope_scaling]\nrope_type = \"odd\"\n", "odd"),
        ("[course]\nsteps = 3\n", "steps"),
        ("[samples]\ntokens = -1\n", "tokens"),
    ] {
        let config = write_config(&machine, more);
        let (code, error) = machine.failure(&["train", &config, "-o", &machine.at("no")]);
        assert!(code == 1 && error.contains(said), "{more}: {error}");
        let _ = std::fs::remove_dir_all(machine.at("no"));
    }
    let (code, error) = machine.failure(&["train", "nothing.toml", "-o", &machine.at("no")]);
    assert!(code == 1 && error.contains("nothing.toml"), "{error}");
}

/// A model so large that what learning takes is more than the program itself does; texts to learn beside it.
#[cfg(target_os = "linux")]
fn write_larger(machine: &Machine) -> String {
    let config = write_config(machine, "[course]\nbatch_tokens = 64\ntokens = 64\nevaluations = 1\n");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("hidden_size = 32", "hidden_size = 256").replace("_layers = 2", "_layers = 6");
    let text =
        text.replace("intermediate_size = 64", "intermediate_size = 768").replace("heads = 2", "heads = 4");
    std::fs::write(&config, text.replace("[data]", "[data]\ntext_column = \"text\"")).unwrap();
    machine.text(&["train", &config, "-o", &machine.at("larger")], "");
    machine.at("larger/model")
}

/// Questions of many lengths with short answers, and pairs.
#[cfg(target_os = "linux")]
fn write_questions(machine: &Machine) -> [String; 2] {
    let words = |count: usize| (0..count).map(|i| format!("low{}", i % 7)).collect::<Vec<_>>().join(" ");
    let question = |i: usize| (words(3 + i * 5 % 37), format!("new{}", i % 3));
    let line = |i: usize| {
        let (prompt, completion) = question(i);
        json!({ "prompt": format!("{i} {prompt}"), "completion": completion }).to_string()
    };
    let pair = |i: usize| {
        let (prompt, chosen) = question(i);
        json!({ "prompt": format!("{i} {prompt}"), "chosen": chosen, "rejected": "wide" }).to_string()
    };
    let write = |name: &str, lines: Vec<String>| {
        std::fs::write(machine.at(name), lines.join("\n")).unwrap();
        machine.at(name)
    };
    [write("asked.jsonl", (0..160).map(line).collect()), write("pairs.jsonl", (0..160).map(pair).collect())]
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_promised_is_the_memory_used() {
    let machine = Machine::new();
    let model = write_larger(&machine);
    let [asked, pairs] = write_questions(&machine);
    let mut wrong = Vec::new();
    let mut learn = |name: &str, data: &str, more: &[&str]| {
        let args = ["finetune", &model, data, "-o", &machine.at(name), "--steps", "3"];
        let result = machine.json(&[&args[..], &["--raw", "--json"], more].concat());
        let [promised, used] =
            ["promised_bytes", "peak_resident_bytes"].map(|key| result[key].as_f64().unwrap());
        if !(0.9..1.1).contains(&(used / promised)) {
            wrong.push(format!("{name}: {promised} promised, {used} used"));
        }
    };
    let half = ["--validation", "0.5"];
    learn("kept", &asked, &[&half[..], &["--recompute", "nothing", "--sample", "low"]].concat());
    learn("private", &asked, &[&half[..], &["--dp", "8"]].concat());
    learn("pairs", &pairs, &half);
    let of: [(&str, &[&str]); 5] = [
        ("layers", &["--recompute", "layers"]),
        ("full", &["--method", "full"]),
        ("coded", &["--method", "full", "--optimizer", "adamw8bit"]),
        ("prefix", &["--method", "prefix"]),
        ("taught", &["--teacher", &model]),
    ];
    for (name, more) in of {
        learn(name, &asked, &[&half[..], more].concat());
    }
    let rewarded = ["--loss", "grpo", "--reward", "exact", "--answer-tokens", "8", "--batch", "4"];
    learn("rewarded", &asked, &rewarded);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A model of 448 GiB, all zeros, in a file that takes no room on the disk.
#[cfg(target_os = "linux")]
fn write_hollow(machine: &Machine) -> String {
    use std::io::Write;
    let (size, layers) = (1_usize << 16, 4);
    let square = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];
    let square = square.into_iter().chain(["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]);
    let norms = ["input_layernorm", "post_attention_layernorm"];
    let of_layer: Vec<(&str, Vec<usize>)> =
        square.map(|name| (name, vec![size, size])).chain(norms.map(|name| (name, vec![size]))).collect();
    let ends =
        [("model.embed_tokens.weight".to_owned(), vec![96, size]), ("model.norm.weight".into(), vec![size])];
    let layers_of = (0..layers).flat_map(|layer| {
        let name = move |name: &str| format!("model.layers.{layer}.{name}.weight");
        of_layer.iter().map(move |(of, shape)| (name(of), shape.clone()))
    });
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in ends.into_iter().chain(layers_of) {
        let begin = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] }));
    }
    let mut header = Value::Object(header).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let folder = machine.folder.path().join("hollow");
    common::write_model(&folder);
    let mut file = std::fs::File::create(folder.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": size, "intermediate_size": size,
        "num_hidden_layers": layers, "num_attention_heads": size / 128, "num_key_value_heads": size / 128,
        "max_position_embeddings": 128, "tie_word_embeddings": true, "rms_norm_eps": 1e-5,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder.display().to_string()
}

/// Its weights were widened before their sizes were asked.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_fit_is_refused_by_its_sizes() {
    let machine = Machine::new();
    let (model, data) = (write_hollow(&machine), machine.at("echoes.jsonl"));
    write_echoes(Path::new(&data));
    let learn = ["finetune", &model, &data, "-o", &machine.at("no"), "--method", "full"];
    let (code, error) = machine.failure(&learn);
    assert!(code == 1 && error.contains("--method lora") && error.contains("1.9 TB"), "{error}");
}

#[test]
fn enough_is_held_out_to_stop_by() {
    let machine = Machine::new();
    let (model, at) = (machine.model(), |name: &str| machine.folder.path().join(name).display().to_string());
    // Letters without an order, so that no two lines are nearly the same.
    let letter =
        |i: usize, j: usize| char::from(b'a' + ((i * 31 + j * 17 + i * j * j) * 7919 / 64 % 26) as u8);
    let line = |i: usize| json!({ "prompt": (0..12).map(|j| letter(i + 1, j)).collect::<String>(), "completion": "x" });
    let held_out = |lines: usize, more: &[&str]| {
        let lines: Vec<String> = (0..lines).map(|i| line(i).to_string()).collect();
        std::fs::write(at("lines.jsonl"), lines.join("\n")).unwrap();
        let learn = ["finetune", &model, &at("lines.jsonl"), "-o", &at("no"), "--dry-run"];
        let output = machine.run(&[&learn[..], more].concat(), "");
        let told = String::from_utf8(output.stderr).unwrap();
        told.lines()
            .find(|line| line.starts_with("held out"))
            .unwrap()
            .split_whitespace()
            .nth(2)
            .unwrap()
            .to_owned()
    };
    assert_eq!([20, 60, 100, 200].map(|lines| held_out(lines, &[])), ["0", "12", "20", "20"]);
    assert_eq!(held_out(200, &["--validation", "0.1"]), "20");
    assert_eq!(held_out(200, &["--validation", "0"]), "0");
}
