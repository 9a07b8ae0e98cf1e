//! `bantam inspect`: what a model is made of and the memory it needs.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use bantam::{Loaded, MemoryNeed};
use bantam_engine::{Engine, Event, Request, Settings};
use bantam_model::description::{Attention, Layer, Mixer, Mlp};
use bantam_model::rope::Frequencies;
use bantam_tensor::format::adapter::AdapterFile;
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::models::Models;
use crate::print::{print_json, print_pairs, print_table};
use crate::units;
use crate::verbs::bench::peak_rss_bytes;

pub(crate) fn run(args: &InspectArgs, models: &Models) -> Result<()> {
    let path = models.locate(&args.model)?;
    if AdapterFile::is_at(&path) {
        return super::adapter::inspect(&path, args.json);
    }
    let loaded = Loaded::open(&path)?;
    let settings = Settings {
        context_length: args.context.length(&loaded),
        sequences_max: 1,
        kept_bytes_max: 0,
        ..args.machine.settings()
    };
    let need =
        MemoryNeed::predict(&loaded.model, settings.kv, settings.context_length, settings.step_rows_max);
    let measured = if args.measure { measure(&loaded, settings.clone())? } else { None };
    let report = json!({
        "path": loaded.checkpoint.path(),
        "architecture": loaded.model.architecture,
        "parameters": loaded.parameters(),
        "file_bytes": loaded.checkpoint.file_bytes(),
        "vocab_size": loaded.model.description.vocab_size,
        "hidden_size": loaded.model.description.hidden_size,
        "context_length": loaded.model.description.context_length,
        "layers": layers(&loaded.model.description.layers),
        "storages": storages(&loaded),
        "unknown_keys": loaded.model.unknown_keys,
        "memory": {
            "context": settings.context_length,
            "kv": format!("{:?}", settings.kv).to_lowercase(),
            "weights_bytes": need.weights_bytes,
            "state_bytes": need.state_bytes,
            "work_bytes": need.work_bytes,
            "predicted_bytes": need.total_bytes(),
            "measured_peak_rss_bytes": measured,
        },
    });
    if args.json { print_json(&report) } else { print(&report) }
}

/// How the weights are stored, the storage with most bytes first.
fn storages(loaded: &Loaded) -> Value {
    let mut totals: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for tensor in loaded.checkpoint.tensors() {
        let total = totals.entry(tensor.storage().to_string()).or_default();
        let more = [1, tensor.elements() as u64, tensor.bytes().len() as u64];
        total.iter_mut().zip(more).for_each(|(total, more)| *total += more);
    }
    let mut totals: Vec<(String, [u64; 3])> = totals.into_iter().collect();
    totals.sort_by_key(|(_, [_, _, bytes])| std::cmp::Reverse(*bytes));
    let entry = |(storage, [tensors, weights, bytes]): (String, [u64; 3])| {
        let bits = bytes as f64 * 8.0 / weights as f64;
        json!({ "storage": storage, "tensors": tensors, "weights": weights, "bytes": bytes, "bits_per_weight": bits })
    };
    totals.into_iter().map(entry).collect()
}

/// Runs of equal layers.
fn layers(layers: &[Layer]) -> Value {
    let mut runs: Vec<(usize, usize, Value)> = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let summary = summary(layer);
        match runs.last_mut() {
            Some((_, last, same)) if *same == summary => *last = number,
            _ => runs.push((number, number, summary)),
        }
    }
    let entry = |(first, last, mut summary): (usize, usize, Value)| {
        summary["first"] = json!(first);
        summary["last"] = json!(last);
        summary
    };
    runs.into_iter().map(entry).collect()
}

fn summary(layer: &Layer) -> Value {
    let Mixer::Attention(attention) = &layer.mixer;
    let (kind, width) = match &layer.mlp {
        Mlp::Gated { activation, intermediate_size, .. } => {
            (format!("gated {activation:?}"), intermediate_size)
        }
        Mlp::Plain { activation, intermediate_size, .. } => (format!("{activation:?}"), intermediate_size),
    };
    json!({
        "num_heads": attention.num_heads,
        "num_kv_heads": attention.num_kv_heads,
        "head_dim": attention.head_dim,
        "window": attention.window,
        "rope": rope(attention),
        "mlp": kind.to_lowercase(),
        "intermediate_size": width,
    })
}

fn rope(attention: &Attention) -> Option<String> {
    let rope = attention.rope.as_ref()?;
    let (scaling, frequencies) = match &rope.frequencies {
        Frequencies::Fixed(frequencies) => ("", frequencies.clone()),
        Frequencies::ByLength { short, .. } => (", long", short.clone()),
        Frequencies::Dynamic { .. } => (", dynamic", rope.frequencies(0)),
    };
    Some(format!("{:?} theta {}{scaling}", rope.pairing, theta(&frequencies)).to_lowercase())
}

/// The base, from the step between the fastest frequencies, which scalings leave alone; to four digits.
fn theta(frequencies: &[f32]) -> f64 {
    let [first, second, ..] = *frequencies else { return f64::NAN };
    let theta = (f64::from(first) / f64::from(second)).powi(frequencies.len() as i32);
    let digit = 10_f64.powi(theta.log10().floor() as i32 - 3);
    (theta / digit).round() * digit
}

/// Fills the context and takes what the system counted.
fn measure(loaded: &Loaded, settings: Settings) -> Result<Option<u64>> {
    let count = settings.context_length.saturating_sub(1).max(1);
    let vocab_size = loaded.model.description.vocab_size as u32;
    let prompt = (0..count as u32).map(|place| place.wrapping_mul(2_654_435_761) % vocab_size).collect();
    eprintln!("reading {count} tokens to measure memory");
    let engine = Engine::start(loaded.model.clone(), settings)?;
    for event in engine.submit(Request { prompt, max_tokens: Some(1), ..Request::default() })? {
        if let Event::Failed(error) = event {
            return Err(error.into());
        }
    }
    Ok(peak_rss_bytes())
}

fn print(report: &Value) -> Result<()> {
    let number = |key: &str| report[key].as_u64().unwrap_or_default();
    let bits = number("file_bytes") as f64 * 8.0 / number("parameters").max(1) as f64;
    print_pairs(&[
        ("architecture", report["architecture"].as_str().unwrap_or_default().to_owned()),
        ("parameters", units::grouped(number("parameters"))),
        ("on disk", format!("{}, {bits:.2} bits per parameter", units::bytes(number("file_bytes")))),
        ("vocabulary", units::grouped(number("vocab_size"))),
        ("hidden size", number("hidden_size").to_string()),
        ("context", format!("{} tokens", units::grouped(number("context_length")))),
    ])?;
    if let Some(keys) = report["unknown_keys"].as_array().filter(|keys| !keys.is_empty()) {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        eprintln!("config keys that bantam does not know: {}", keys.join(", "));
    }
    print_layers(report)?;
    print_storages(report)?;
    print_memory(&report["memory"])
}

fn print_layers(report: &Value) -> Result<()> {
    writeln!(std::io::stdout().lock())?;
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = report["layers"].as_array().into_iter().flatten().map(|run| {
        let heads = format!("{}/{} of {}", run["num_heads"], run["num_kv_heads"], run["head_dim"]);
        let window = if run["window"].is_null() { "all".into() } else { cell(&run["window"]) };
        let rope = if run["rope"].is_null() { "none".into() } else { cell(&run["rope"]) };
        let mlp = format!("{} {}", cell(&run["mlp"]), run["intermediate_size"]);
        [format!("{}-{}", run["first"], run["last"]), heads, window, rope, mlp]
    });
    print_table(["LAYERS", "HEADS/KV", "WINDOW", "ROPE", "MLP"], rows)
}

fn print_storages(report: &Value) -> Result<()> {
    writeln!(std::io::stdout().lock())?;
    let rows = report["storages"].as_array().into_iter().flatten().map(|entry| {
        let number = |key: &str| entry[key].as_u64().unwrap_or_default();
        let bits = format!("{:.2}", entry["bits_per_weight"].as_f64().unwrap_or_default());
        let storage = entry["storage"].as_str().unwrap_or_default().to_owned();
        let weights = units::grouped(number("weights"));
        [storage, number("tensors").to_string(), weights, units::bytes(number("bytes")), bits]
    });
    print_table(["STORAGE", "TENSORS", "WEIGHTS", "SIZE", "BITS/WEIGHT"], rows)
}

fn print_memory(memory: &Value) -> Result<()> {
    writeln!(std::io::stdout().lock())?;
    let size = |key: &str| units::bytes(memory[key].as_u64().unwrap_or_default());
    let kv = memory["kv"].as_str().unwrap_or_default();
    let mut pairs = vec![
        ("memory", format!("{} with {} tokens of context", size("predicted_bytes"), memory["context"])),
        ("  weights", format!("{}, mapped from the file", size("weights_bytes"))),
        ("  keys, values", format!("{} in {kv}", size("state_bytes"))),
        ("  work", size("work_bytes")),
    ];
    if memory["measured_peak_rss_bytes"].is_u64() {
        pairs.push(("  measured", format!("{} at the peak", size("measured_peak_rss_bytes"))));
    }
    print_pairs(&pairs)
}
