//! `bantam rm`: takes models out of the store.

use std::io::Write;

use anyhow::Result;
use serde_json::json;

use crate::args::RemoveArgs;
use crate::models::Models;
use crate::print::print_json;
use crate::units;

pub(crate) fn run(args: &RemoveArgs, models: &Models) -> Result<()> {
    for name in &args.names {
        let removal = models.hub.remove(&name.parse()?)?;
        if args.json {
            let kept = &removal.kept;
            print_json(&json!({ "name": removal.name, "freed_bytes": removal.freed_bytes, "kept": kept }))?;
            continue;
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "removed {}, {} freed", removal.name, units::bytes(removal.freed_bytes))?;
        for path in &removal.kept {
            writeln!(out, "  {} stays: other programs may use it", path.display())?;
        }
    }
    Ok(())
}
