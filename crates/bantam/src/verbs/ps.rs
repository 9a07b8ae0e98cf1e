//! `bantam ps` and `bantam stop`: the models that a server has loaded.

use std::io::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::args::{PsArgs, StopArgs};
use crate::client::Client;
use crate::print::{print_json, print_table};
use crate::units;

pub(crate) fn ps(args: &PsArgs) -> Result<()> {
    let told = Client::new(&args.server)?.json("/api/ps")?;
    if args.json {
        return print_json(&told);
    }
    let models = told["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    if models.is_empty() {
        writeln!(std::io::stdout().lock(), "no model is loaded")?;
        return Ok(());
    }
    print_table(["NAME", "AT MOST", "CONTEXT", "UNTIL (UTC)"], models.iter().map(row))
}

fn row(model: &Value) -> [String; 4] {
    let name = model["name"].as_str().unwrap_or_default();
    let until = model["expires_at"].as_str().unwrap_or_default();
    // What is so far away is for ever.
    let until = match until.get(..4) {
        Some(year) if year > "2200" => "for ever".to_owned(),
        _ => until.get(..19).unwrap_or_default().replace('T', " "),
    };
    let size = units::bytes(model["size"].as_u64().unwrap_or_default());
    [name.to_owned(), size, model["context_length"].to_string(), until]
}

pub(crate) fn stop(args: &StopArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    for model in &args.models {
        let reply =
            client.post("/api/generate", &json!({ "model": model, "keep_alive": 0, "stream": false }))?;
        if args.json {
            print_json(&reply)?;
            continue;
        }
        let name = reply["model"].as_str().unwrap_or(model);
        writeln!(std::io::stdout().lock(), "{name} goes as soon as its answers have ended")?;
    }
    Ok(())
}
