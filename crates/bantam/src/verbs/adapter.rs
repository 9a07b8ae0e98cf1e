//! `bantam adapter`: adapters in other forms, and what one is.

use std::path::Path;

use anyhow::{Result, bail};
use bantam::Loaded;
use bantam::model::{Adapter, BaseCheck};
use bantam_tensor::format::adapter::{AdapterFile, AdapterForm, AdapterPrefix};
use serde_json::json;

use crate::args::{AdapterVerb, ConvertArgs};
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::units;

pub(crate) fn run(verb: &AdapterVerb, models: &Models) -> Result<()> {
    match verb {
        AdapterVerb::Convert(args) => convert(args, models),
    }
}

fn convert(args: &ConvertArgs, models: &Models) -> Result<()> {
    let loaded = Loaded::open(&models.locate(&args.base)?)?;
    let file = AdapterFile::open(&args.adapter.path)?;
    let check = if args.any_base { BaseCheck::Shapes } else { BaseCheck::Fingerprint };
    let adapter = Adapter::bind(&file, &loaded.model, check)?;
    let adapter = Adapter::sum(&[(&adapter, args.adapter.scale)])?;
    let is_gguf = args.output.extension().is_some_and(|extension| extension == "gguf");
    let form = if is_gguf { AdapterForm::Gguf } else { AdapterForm::Peft };
    if args.output.exists() && is_gguf != args.output.is_file() {
        bail!("{} is there and is of the other kind: choose another name", args.output.display());
    }
    let converted = AdapterFile { base_name: file.base_name, ..adapter.to_file(&loaded.model, form)? };
    Ok(converted.write(&args.output)?)
}

/// What an adapter is.
pub(crate) fn inspect(path: &Path, as_json: bool) -> Result<()> {
    let file = AdapterFile::open(path)?;
    match &file.prefix {
        Some(prefix) => inspect_prefix(path, &file, prefix, as_json),
        None => inspect_products(path, &file, as_json),
    }
}

fn inspect_prefix(path: &Path, file: &AdapterFile, prefix: &AdapterPrefix, as_json: bool) -> Result<()> {
    if as_json {
        return print_json(&json!({
            "path": path, "kind": "adapter", "form": file.form.name(), "base_name": file.base_name,
            "fingerprint": file.fingerprint, "parameters": file.parameters(),
            "virtual_tokens": prefix.rows.rows(), "layers": prefix.num_layers,
        }));
    }
    print_pairs(&[
        ("adapter", format!("keys and values before the first token (prefix tuning), {}", file.form.name())),
        ("base", or_unknown(file.base_name.as_ref())),
        ("fingerprint", or_unknown(file.fingerprint.as_ref())),
        ("parameters", units::grouped(file.parameters())),
        ("virtual tokens", prefix.rows.rows().to_string()),
        ("layers", prefix.num_layers.to_string()),
    ])
}

fn or_unknown(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "not told".into())
}

fn inspect_products(path: &Path, file: &AdapterFile, as_json: bool) -> Result<()> {
    let mut modules: Vec<&str> = file.pairs.iter().map(|pair| leaf(&pair.module)).collect();
    modules.sort_unstable();
    modules.dedup();
    let range = |of: &dyn Fn(usize) -> f64| {
        let values = (0..file.pairs.len()).map(of);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), x| (least.min(x), most.max(x)))
    };
    let ranks = range(&|place| file.pairs[place].rank() as f64);
    let scales = range(&|place| f64::from(file.pairs[place].scale));
    if as_json {
        return print_json(&json!({
            "path": path, "kind": "adapter", "form": file.form.name(), "architecture": file.architecture,
            "base_name": file.base_name, "fingerprint": file.fingerprint, "parameters": file.parameters(),
            "projections": file.pairs.len(), "modules": modules, "rank": [ranks.0, ranks.1],
            "scale": [scales.0, scales.1],
        }));
    }
    let is_dora = file.pairs.iter().any(|pair| pair.magnitude.is_some());
    let kind = if is_dora { "DoRA" } else { "LoRA" };
    let span = |(least, most): (f64, f64)| {
        if least == most { format!("{least}") } else { format!("{least} to {most}") }
    };
    print_pairs(&[
        ("adapter", format!("low-rank ({kind}), {}", file.form.name())),
        ("base", or_unknown(file.base_name.as_ref())),
        ("fingerprint", or_unknown(file.fingerprint.as_ref())),
        ("parameters", units::grouped(file.parameters())),
        ("projections", format!("{}: {}", file.pairs.len(), modules.join(", "))),
        ("rank", span(ranks)),
        ("scale", span(scales)),
    ])
}

/// The last part of a module's name.
fn leaf(module: &str) -> &str {
    module.rsplit('.').next().unwrap_or(module)
}
