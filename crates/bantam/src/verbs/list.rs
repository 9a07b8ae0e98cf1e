//! `bantam list`: the models on this machine, or those that can be pulled.

use std::io::Write;

use anyhow::Result;
use bantam::Loaded;
use bantam_hub::{Entry, Manifest};
use serde_json::{Value, json};

use crate::args::ListArgs;
use crate::models::{Models, advised};
use crate::print::{print_json, print_table, told};
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
    let why_not = |model: &Manifest| why_not(models, &model.name);
    if args.json {
        let models: Vec<Value> =
            listing.models.iter().map(|model| stored(model, why_not(model).as_deref())).collect();
        return print_json(&json!({ "models": models }));
    }
    if listing.models.is_empty() {
        let mut out = std::io::stdout().lock();
        writeln!(out, "no models here yet; `bantam list --catalogue` shows what `bantam pull` can bring")?;
        return Ok(());
    }
    let mut notes = Vec::new();
    let rows = listing.models.iter().map(|model| {
        let licence = model.licence.clone().unwrap_or_else(|| "unknown".into());
        let why_not = why_not(model);
        let state = if why_not.is_some() { "cannot be used" } else { "ready" }.to_owned();
        notes.extend(why_not.map(|why| format!("{} cannot be used: {why}", model.name)));
        [model.name.clone(), units::bytes(model.bytes()), licence, units::moment(model.pulled_unix_s), state]
    });
    print_table(["NAME", "SIZE", "LICENCE", "MODIFIED", "STATE"], rows)?;
    notes.iter().for_each(|note| eprintln!("warning: {note}"));
    Ok(())
}

/// Why a model of the store cannot be used: a file is damaged, or says what is not supported. Headers are read, weights
/// are not.
fn why_not(models: &Models, name: &str) -> Option<String> {
    match models.hub.stored(name) {
        Ok(Some(located)) => {
            let error = Loaded::open(&located.path).err()?;
            Some(told(&advised(error.into(), &located)))
        }
        Ok(None) => Some(told(&models.hub.why_not(name)?.into())),
        Err(error) => Some(told(&error.into())),
    }
}

fn stored(model: &Manifest, why_not: Option<&str>) -> Value {
    json!({
        "name": model.name,
        "bytes": model.bytes(),
        "licence": model.licence,
        "modified_unix_s": model.pulled_unix_s,
        "source": super::show::source(&model.source),
        "why_not": why_not,
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
