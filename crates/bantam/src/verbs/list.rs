//! `bantam list`: the models on this machine, or those that can be pulled.

use std::io::Write;

use anyhow::Result;
use bantam_hub::{Entry, Manifest};
use serde_json::{Value, json};

use crate::args::ListArgs;
use crate::models::Models;
use crate::print::{print_json, print_table};
use crate::units;

pub(crate) fn run(args: &ListArgs, models: &Models) -> Result<()> {
    if args.catalogue { catalogue(args, models) } else { store(args, models) }
}

fn store(args: &ListArgs, models: &Models) -> Result<()> {
    let mut listing = models.hub.list();
    listing.models.extend(models.hub.list_borrowed().into_iter().filter_map(|located| located.manifest));
    for error in &listing.broken {
        eprintln!("warning: {error}");
    }
    if args.json {
        let models: Vec<Value> = listing.models.iter().map(stored).collect();
        return print_json(&json!({ "models": models }));
    }
    if listing.models.is_empty() {
        let mut out = std::io::stdout().lock();
        writeln!(out, "no models here yet; `bantam list --catalogue` shows what `bantam pull` can bring")?;
        return Ok(());
    }
    let rows = listing.models.iter().map(|model| {
        let licence = model.licence.clone().unwrap_or_else(|| "unknown".into());
        [model.name.clone(), units::bytes(model.bytes()), licence, units::moment(model.pulled_unix_s)]
    });
    print_table(["NAME", "SIZE", "LICENCE", "MODIFIED"], rows)
}

fn stored(model: &Manifest) -> Value {
    json!({
        "name": model.name,
        "bytes": model.bytes(),
        "licence": model.licence,
        "modified_unix_s": model.pulled_unix_s,
        "source": super::show::source(&model.source),
    })
}

fn catalogue(args: &ListArgs, models: &Models) -> Result<()> {
    let catalogue = models.hub.catalogue();
    let licence = |entry: &Entry| catalogue.licence(entry).map(|licence| licence.name.clone());
    if args.json {
        let entries = catalogue.entries().iter().map(|entry| {
            json!({
                "name": entry.name,
                "aliases": entry.aliases,
                "title": entry.title,
                "parameters": entry.parameters,
                "bytes": entry.bytes,
                "quant": entry.quant,
                "licence": licence(entry),
                "repo": entry.repo,
                "default": entry.name == catalogue.default_name(),
            })
        });
        return print_json(&json!({ "models": entries.collect::<Vec<Value>>() }));
    }
    let rows = catalogue.entries().iter().map(|entry| {
        let parameters = units::count(entry.parameters).replace(' ', "");
        let quant = entry.quant.clone().unwrap_or_else(|| "as made".into());
        let licence = licence(entry).unwrap_or_default();
        [entry.name.clone(), parameters, units::bytes(entry.bytes), quant, licence, entry.title.clone()]
    });
    print_table(["NAME", "WEIGHTS", "SIZE", "STORED", "LICENCE", "MODEL"], rows)
}
