//! One file for each verb: typed arguments in, work through the library, results printed.

pub(crate) mod bench;
pub(crate) mod logits;
pub(crate) mod perplexity;
pub(crate) mod tokenize;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

/// The file or folder that a model's name stands for.
pub(crate) fn locate(model: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(model))
}

/// Prints one line of JSON.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}
