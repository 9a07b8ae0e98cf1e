//! Folders of MLX-LM.
//!
//! Tensors are called `MODULE.lora_a` `[inputs, rank]` and `MODULE.lora_b` `[rank, outputs]`, both transposed against
//! PEFT's; the product is multiplied with `lora_parameters.scale` whatever the rank. With DoRA `MODULE.m` `[outputs]` are the
//! lengths of rows. Source: `tuner/lora.py` and `tuner/dora.py` of MLX-LM.

use std::path::Path;

use bantam_kernels::matmul::Layout;
use serde_json::Value;

use super::peft::{read_config, with_lengths};
use super::{AdapterFile, AdapterForm, CONFIG, Half, pair, pair_up};
use crate::error::{Error, Quoted};
use crate::format::{json as json_format, map, safetensors};
use crate::{Bytes, Tensor};

pub(super) const WEIGHTS: &str = "adapters.safetensors";

pub(super) fn read(folder: &Path) -> Result<AdapterFile, Error> {
    let path = folder.join(CONFIG);
    let config = read_config(&path)?;
    let (scale, is_dora) = settings(&config).map_err(|error| error.in_file(&path))?;
    let path = folder.join(WEIGHTS);
    let bytes = map::map(&path)?;
    let read = || {
        let file = safetensors::File::parse(&bytes)?;
        file.refuse_unreadable()?;
        let (lengths, halves) =
            file.tensors().partition::<Vec<_>, _>(|tensor| lengths_of(tensor.name()).is_some());
        let modules = pair_up(halves.into_iter(), half_of)?.into_iter();
        let pairs = modules.map(|(module, [a, b])| pair(module, transposed(&a)?, transposed(&b)?, scale));
        with_lengths(pairs.collect::<Result<_, _>>()?, &lengths, lengths_of, is_dora)
    };
    Ok(AdapterFile {
        form: AdapterForm::Mlx,
        pairs: read().map_err(|error: Error| error.in_file(&path))?,
        prefix: None,
        fingerprint: None,
        base_name: config.get("model").and_then(Value::as_str).map(str::to_owned),
        architecture: None,
        base_layout: Layout::OutIn,
    })
}

/// The scale, and whether rows have lengths of their own.
fn settings(config: &Value) -> Result<(f64, bool), Error> {
    let kind = config.get("fine_tune_type").and_then(Value::as_str).unwrap_or("lora");
    if !["lora", "dora"].contains(&kind) {
        let reason = format!("its fine_tune_type is {}; bantam applies lora and dora", Quoted(kind));
        return Err(Error::adapter(reason));
    }
    let scale = config.get("lora_parameters").and_then(|parameters| parameters.get("scale"));
    let scale = scale.and_then(json_format::number);
    let scale = scale.ok_or_else(|| Error::adapter("its config has no number lora_parameters.scale"))?;
    Ok((scale, kind == "dora"))
}

/// The module whose rows are given lengths by a tensor of this name.
fn lengths_of(name: &str) -> Option<&str> {
    name.strip_suffix(".m")
}

fn half_of(name: &str) -> Result<(&str, Half), Error> {
    let halves = [(".lora_a", Half::A), (".lora_b", Half::B)];
    let found = halves.iter().find_map(|(end, half)| Some((name.strip_suffix(end)?, *half)));
    found.ok_or_else(|| {
        Error::tensor(name, "it is none of lora_a, lora_b and m; fuse the adapter with MLX-LM")
    })
}

/// The other axis first.
fn transposed(tensor: &Tensor) -> Result<Tensor, Error> {
    let (rows, cols, width) = (tensor.rows(), tensor.cols(), tensor.storage().block_bytes());
    let from = tensor.bytes();
    let mut bytes = Vec::with_capacity(from.len());
    for col in 0..cols {
        for row in 0..rows {
            bytes.extend_from_slice(&from[(row * cols + col) * width..][..width]);
        }
    }
    Tensor::new(tensor.name(), vec![cols, rows], tensor.storage(), Bytes::from(bytes))
}
