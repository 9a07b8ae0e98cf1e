//! `bantam data canaries`: made-up secrets planted among training data.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bantam_data::Canaries;
use bantam_tensor::format::atomic;
use serde_json::json;

use crate::args::CanariesArgs;

pub(super) fn run(args: &CanariesArgs) -> Result<()> {
    let mut lines = Vec::new();
    for path in &args.files {
        lines.extend(read_lines(path)?);
    }
    let (digits, each) = (usize::from(args.digits), usize::from(args.each));
    let canaries = Canaries { repeats: args.repeats.clone(), each, digits, seed: args.seed };
    let made = canaries.make();
    let planted = canaries.plant(&made, &lines);
    write(&args.output, |file| planted.iter().try_for_each(|line| writeln!(file, "{line}")))?;
    let secrets = json!({ "digits": digits, "seed": args.seed, "canaries": made });
    write(&args.secrets, |file| writeln!(file, "{secrets:#}"))?;
    eprintln!(
        "{} lines and {} of {} canaries in {}; without --duplicates keep each is learnt once",
        lines.len(),
        planted.len() - lines.len(),
        made.len(),
        args.output.display()
    );
    Ok(())
}

/// The lines of a file of JSON lines.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read {} as text in UTF-8", path.display()))?;
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if let Some(place) = lines.iter().position(|line| !line.trim_start().starts_with('{')) {
        bail!(
            "line {} of {} is no JSON object: canaries are planted among JSON lines",
            place + 1,
            path.display()
        );
    }
    Ok(lines)
}

fn write(
    path: &Path,
    fill: impl FnOnce(&mut std::io::BufWriter<fs::File>) -> std::io::Result<()>,
) -> Result<()> {
    Ok(atomic::write(path, fill)?)
}
