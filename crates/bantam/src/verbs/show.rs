//! `bantam show`: where a model came from and what it is.

use std::io::Write;

use anyhow::{Result, anyhow};
use bantam::{Defaults, Loaded};
use bantam_hub::{Located, Manifest, Reference, Source};
use serde_json::{Value, json};

use crate::args::ShowArgs;
use crate::models::Models;
use crate::print::{print_json, print_pairs};
use crate::units;

pub(crate) fn run(args: &ShowArgs, models: &Models) -> Result<()> {
    let located = find(&args.model, models)?;
    let loaded = Loaded::open(&located.path)?;
    let template = loaded.chat_template();
    if args.template {
        let template = template.ok_or_else(|| anyhow!("{} has no chat template", args.model))?;
        writeln!(std::io::stdout().lock(), "{template}")?;
        return Ok(());
    }
    let report = json!({
        "name": located.manifest.as_ref().map(|manifest| &manifest.name),
        "path": located.path,
        "source": located.manifest.as_ref().map(|manifest| source(&manifest.source)),
        "licence": located.manifest.as_ref().and_then(|manifest| manifest.licence.as_ref()),
        "bytes": located.manifest.as_ref().map_or(loaded.checkpoint.file_bytes(), Manifest::bytes),
        "digests": located.manifest.as_ref().map(digests),
        "architecture": loaded.model.architecture,
        "parameters": loaded.parameters(),
        "context_length": loaded.model.description.context_length,
        "sampling": Defaults::of(&loaded).to_json(),
        "chat_template": template,
    });
    if args.json { print_json(&report) } else { print(&report) }
}

/// Without a download: `show` looks at what is here.
fn find(model: &str, models: &Models) -> Result<Located> {
    let reference: Reference = model.parse()?;
    let mut located = models.hub.resolve(&reference)?;
    if located.manifest.is_none() {
        located.manifest = models.hub.show(&reference).ok();
    }
    Ok(located)
}

pub(super) fn source(source: &Source) -> String {
    match source {
        Source::Hub { repo, commit, .. } => format!("hf.co/{repo} at {commit}"),
        Source::Packages { packages } => packages.join(", "),
        Source::Made => "made on this machine".into(),
        Source::Ollama => "Ollama's store on this machine".into(),
    }
}

fn digests(manifest: &Manifest) -> Value {
    manifest.files.iter().map(|file| (file.path.clone(), json!(file.digest.to_string()))).collect()
}

fn print(report: &Value) -> Result<()> {
    let number = |key: &str| report[key].as_u64().unwrap_or_default();
    let text = |key: &str| report[key].as_str().unwrap_or("unknown").to_owned();
    let mut pairs = vec![
        ("name", text("name")),
        ("path", text("path")),
        ("source", text("source")),
        ("licence", text("licence")),
        ("size", units::bytes(number("bytes"))),
        ("architecture", text("architecture")),
        ("parameters", units::grouped(number("parameters"))),
        ("context", format!("{} tokens", number("context_length"))),
        ("sampling", report["sampling"].to_string()),
    ];
    for (file, digest) in report["digests"].as_object().into_iter().flatten() {
        pairs.push(("digest", format!("{file}  {}", digest.as_str().unwrap_or_default())));
    }
    let template = match report["chat_template"].as_str() {
        Some(template) => format!("{} lines; --template prints it", template.lines().count()),
        None => "none: it continues text".into(),
    };
    pairs.push(("template", template));
    print_pairs(&pairs)
}
