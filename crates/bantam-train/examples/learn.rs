//! Learns from token ids and prints a JSON line for each step: for checks against other trainers, and for timing.
//!
//! `cargo run --release -p bantam-train --example learn -- MODEL IDS.jsonl [SETTINGS.json]`
//!
//! A line of IDS is `{"ids": [..], "learn": [..]}`; without `learn` all tokens are learnt. SETTINGS may hold, with the
//! defaults below: `full`, `rank`, `alpha`, `rslora`, `adapter` (a folder of PEFT to begin with), `optimizer`
//! (`adamw`, `adamw8`, `muon`), `rate`, `weight_decay`, `beta2`, `steps`, `warmup`, `batch` (examples in a step),
//! `micro_tokens`, `clip`, `exact`, `keep` (activations, rather than compute them twice), `threads`, `resume` (steps after
//! which another trainer goes on from the state of the first).
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use bantam_model::{Adapter, BaseCheck, Isa, Machine, Model, Numerics};
use bantam_tensor::Checkpoint;
use bantam_tensor::format::adapter::AdapterFile;
use bantam_train::{
    AdamW, Decay, Example, Lora, Muon, Precision, Recompute, Rule, Scaling, Schedule, Settings, Trainer,
    Wanted,
};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, settings @ ..] = arguments.as_slice() else {
        return Err("wanted MODEL IDS.jsonl [SETTINGS.json]".into());
    };
    let settings: Value = match settings.first() {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => json!({}),
    };
    let number = |name: &str, default: f64| settings[name].as_f64().unwrap_or(default);
    let examples = read_examples(data)?;
    let open = || -> Result<Model> { Ok(Model::bind(&Checkpoint::open(Path::new(model))?)?) };
    let machine = Machine::new(Isa::best(), number("threads", 0.0) as usize);
    let mut trainer = begin(open()?, &settings)?;
    let batch = number("batch", 4.0) as usize;
    for step in 0..number("steps", 20.0) as usize {
        if settings["resume"].as_u64() == Some(step as u64) {
            trainer = resumed(&trainer, begin(open()?, &settings)?)?;
        }
        let chosen: Vec<&Example> =
            (0..batch).map(|i| &examples[(step * batch + i) % examples.len()]).collect();
        let begin = Instant::now();
        let report = trainer.step(&machine, &chosen)?;
        let seconds = begin.elapsed().as_secs_f64();
        let line = json!({
            "step": step, "loss": report.loss, "grad_norm": report.grad_norm, "rate": report.rate,
            "tokens_per_second": report.tokens as f64 / seconds, "seconds": seconds,
            "activation_bytes": trainer.activation_bytes(), "peak_resident_bytes": peak_resident_bytes(),
        });
        println!("{line}");
    }
    Ok(())
}

fn read_examples(path: &str) -> Result<Vec<Example>> {
    let lines = std::fs::read_to_string(path)?;
    let one = |line: &str| -> Result<Example> {
        let value: Value = serde_json::from_str(line)?;
        let ids: Vec<u32> = serde_json::from_value(value["ids"].clone())?;
        Ok(match &value["learn"] {
            Value::Null => Example::whole(ids),
            learn => Example { ids, learn: serde_json::from_value(learn.clone())? },
        })
    };
    lines.lines().filter(|line| !line.is_empty()).map(one).collect()
}

/// The second trainer, in the state of the first.
fn resumed(first: &Trainer, mut second: Trainer) -> Result<Trainer> {
    let mut state = Vec::new();
    first.write_state(&mut state)?;
    second.read_state(&mut state.as_slice())?;
    Ok(second)
}

fn begin(model: Model, settings: &Value) -> Result<Trainer> {
    let number = |name: &str, default: f64| settings[name].as_f64().unwrap_or(default);
    let is = |name: &str| settings[name].as_bool().unwrap_or(false);
    let full = is("full");
    let lora = Lora {
        rank: number("rank", 16.0) as usize,
        alpha: number("alpha", 32.0) as f32,
        scaling: if is("rslora") { Scaling::RootOfRank } else { Scaling::Rank },
        ..Lora::default()
    };
    let adapter = match settings["adapter"].as_str() {
        _ if full => None,
        Some(path) => Some(read_adapter(path, &model)?),
        None => Some(lora.start(&model)?),
    };
    let settings = Settings {
        wanted: if full { Wanted::All } else { Wanted::Adapter },
        rule: rule(settings),
        schedule: Schedule {
            rate: number("rate", 2e-4) as f32,
            warmup_steps: number("warmup", 0.0) as u64,
            steps: number("steps", 20.0) as u64,
            decay: Decay::Constant,
        },
        clip: settings["clip"].as_f64().map(|clip| clip as f32),
        micro_tokens: number("micro_tokens", 1024.0) as usize,
        numerics: if is("exact") { Numerics::Exact } else { Numerics::Default },
        recompute: if is("keep") { Recompute::Nothing } else { Recompute::Layers },
    };
    Ok(Trainer::new(model, adapter, settings)?)
}

fn rule(settings: &Value) -> Rule {
    let number = |name: &str, default: f64| settings[name].as_f64().unwrap_or(default);
    let weight_decay = number("weight_decay", 0.0) as f32;
    let adamw = AdamW { beta2: number("beta2", 0.999) as f32, weight_decay, ..AdamW::default() };
    match settings["optimizer"].as_str() {
        Some("muon") => Rule::Muon(Muon { weight_decay, adamw, ..Muon::default() }),
        Some("adamw8") => Rule::AdamW(AdamW { precision: Precision::EightBits, ..adamw }),
        _ => Rule::AdamW(adamw),
    }
}

/// An adapter as PEFT writes it.
fn read_adapter(path: &str, model: &Model) -> Result<Adapter> {
    Ok(Adapter::bind(&AdapterFile::open(Path::new(path))?, model, BaseCheck::Shapes)?)
}

/// The most memory that this process ever had, where the system says so.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
