//! `bantam pull`: brings models to this machine.

use std::io::Write;

use anyhow::Result;
use bantam_hub::{Located, Manifest};
use serde_json::{Value, json};

use crate::args::PullArgs;
use crate::models::Models;
use crate::print::print_json;
use crate::units;

pub(crate) fn run(args: &PullArgs, models: &Models) -> Result<()> {
    for name in &args.names {
        let located = models.pull(name)?;
        if args.json {
            print_json(&report(name, &located))?;
            continue;
        }
        let bytes = located.manifest.as_ref().map(|m| units::bytes(m.bytes())).unwrap_or_default();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{name}  {bytes}  {}", located.path.display())?;
    }
    Ok(())
}

fn report(name: &str, located: &Located) -> Value {
    let bytes = located.manifest.as_ref().map(Manifest::bytes);
    json!({ "name": name, "path": located.path, "bytes": bytes })
}
