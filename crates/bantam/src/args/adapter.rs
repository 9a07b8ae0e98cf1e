//! Arguments that have to do with adapters.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bantam::model::{Adapter, BaseCheck};
use bantam::tensor::Storage;
use bantam::{Loaded, WantedAdapter};
use clap::{Args, Subcommand};

use super::MachineArgs;

/// Which adapters change the model.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct AdapterArgs {
    /// Change the model by an adapter (LoRA, prefix): a PEFT or MLX folder, or a GGUF file; =SCALE behind it makes it count more or
    /// less; several are added up
    #[arg(long = "adapter", visible_alias = "lora", value_name = "PATH[=SCALE]", value_parser = parse_adapter)]
    pub(crate) adapters: Vec<WantedAdapter>,
    /// Take adapters that were made for another base, if their shapes fit
    #[arg(long)]
    pub(crate) any_base: bool,
}

impl AdapterArgs {
    /// What the wanted adapters make together.
    pub(crate) fn open(&self, loaded: &Loaded) -> Result<Option<Arc<Adapter>>> {
        Ok(loaded.adapter(&self.adapters, self.check())?)
    }

    pub(crate) fn check(&self) -> BaseCheck {
        if self.any_base { BaseCheck::Shapes } else { BaseCheck::Fingerprint }
    }
}

/// A path, or a path and a scale with `=` between them.
pub(crate) fn parse_adapter(text: &str) -> Result<WantedAdapter, String> {
    let with_scale = text.rsplit_once('=').and_then(|(path, scale)| Some((path, scale.parse::<f32>().ok()?)));
    let (path, scale) = with_scale.unwrap_or((text, 1.0));
    if path.is_empty() || !scale.is_finite() {
        return Err("wanted PATH or PATH=SCALE, as in ./my-adapter=0.5".into());
    }
    Ok(WantedAdapter { path: path.into(), scale })
}

/// `bantam merge`
#[derive(Args, Debug)]
pub(crate) struct MergeArgs {
    /// The base: a file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Where to write: a GGUF file where the base is one, else a folder
    #[arg(long, short = 'o', value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Storage of the matrices that change: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0; default: their own if that is
    /// floating point, else f16
    #[arg(long, value_parser = parse_storage)]
    pub(crate) storage: Option<Storage>,
    /// Measure on this text; without one, on what the adapted model says
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<String>,
    /// Keep the result even if merging loses much of what the adapter does
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

pub(crate) fn parse_storage(text: &str) -> Result<Storage, String> {
    const KNOWN: [Storage; 8] = [
        Storage::F32,
        Storage::F16,
        Storage::BF16,
        Storage::Q8_0,
        Storage::Q5_1,
        Storage::Q5_0,
        Storage::Q4_1,
        Storage::Q4_0,
    ];
    let found = KNOWN.into_iter().find(|storage| storage.name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let names = KNOWN.map(|storage| storage.name().to_lowercase());
        format!("wanted one of {}", names.join(", "))
    })
}

/// `bantam adapter`
#[derive(Subcommand, Debug)]
pub(crate) enum AdapterVerb {
    /// Write an adapter in the other form: a GGUF file if the output ends in .gguf, else a PEFT folder
    Convert(ConvertArgs),
}

/// `bantam adapter convert`
#[derive(Args, Debug)]
pub(crate) struct ConvertArgs {
    /// The adapter: a PEFT or MLX folder, or a GGUF file; with =SCALE its effect is multiplied
    #[arg(value_parser = parse_adapter)]
    pub(crate) adapter: WantedAdapter,
    /// The model that it changes, in either form: a file, a folder, or a name
    #[arg(long, value_name = "MODEL")]
    pub(crate) base: String,
    /// Where to write
    #[arg(long, short = 'o', value_name = "PATH")]
    pub(crate) output: PathBuf,
    /// Take an adapter that was made for another base, if its shapes fit
    #[arg(long)]
    pub(crate) any_base: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_stands_behind_the_last_equals_sign() {
        let parsed = |text: &str| parse_adapter(text).map(|one| (one.path.display().to_string(), one.scale));
        assert_eq!(parsed("a/b"), Ok(("a/b".into(), 1.0)));
        assert_eq!(parsed("a=b=0.5"), Ok(("a=b".into(), 0.5)));
        assert_eq!(parsed("lr=1e-4/x"), Ok(("lr=1e-4/x".into(), 1.0)));
        assert!(parsed("=2").is_err() && parsed("").is_err() && parsed("a=inf").is_err());
    }
}
