//! GGUF files of adapters, as llama.cpp reads them.
//!
//! Tensors are called `TENSOR.lora_a` `[rank, inputs]` and `TENSOR.lora_b` `[outputs, rank]`, `TENSOR` being that of
//! the base with its `.weight`. There is one alpha for all: the scale is alpha by the rank of B, or 1 where alpha is 0.
//! Source: `llama-adapter.cpp`.

use std::path::Path;

use bantam_kernels::matmul::Layout;

use super::{AdapterFile, AdapterForm, AdapterPair, FINGERPRINT, Half, Quantized, pair, pair_up, renamed};
use crate::error::{Error, Quoted};
use crate::format::gguf::{File, Metadata, Writer};
use crate::format::map;
use crate::{Bytes, Tensor};

pub(super) fn is_at(path: &Path) -> bool {
    let metadata = map::map(path).and_then(|bytes| File::parse(&bytes)).map(|file| file.metadata);
    metadata.is_ok_and(|metadata| metadata.string("general.type").is_ok_and(|kind| kind == "adapter"))
}

pub(super) fn read(bytes: &Bytes) -> Result<AdapterFile, Error> {
    let file = File::parse(bytes)?;
    let metadata = &file.metadata;
    let kinds = ["general.type", "adapter.type"].map(|key| metadata.string(key).unwrap_or_default());
    if kinds != ["adapter", "lora"] {
        let reason = format!("it is of type {}, {}", Quoted(kinds[0]), Quoted(kinds[1]));
        return Err(Error::adapter(format!("{reason}; wanted \"adapter\", \"lora\"")));
    }
    if metadata.get("adapter.alora.invocation_tokens").is_some() {
        return Err(Error::adapter(
            "it wants to be switched on by a text (activated LoRA), which bantam cannot",
        ));
    }
    let alpha = metadata.find::<f64>("adapter.lora.alpha")?.unwrap_or_default();
    let modules = pair_up(file.tensors(), half_of)?.into_iter();
    let scaled = |(module, [a, b]): (String, [Tensor; 2])| {
        let scale = if alpha == 0.0 { 1.0 } else { alpha / b.cols() as f64 };
        pair(module, a, b, scale)
    };
    Ok(AdapterFile {
        form: AdapterForm::Gguf,
        pairs: modules.map(scaled).collect::<Result<_, _>>()?,
        prefix: None,
        fingerprint: metadata.find::<&str>(FINGERPRINT)?.map(str::to_owned),
        base_name: metadata.find::<&str>("general.base_model.0.name")?.map(str::to_owned),
        architecture: metadata.find::<&str>("general.architecture")?.map(str::to_owned),
        base_layout: Layout::OutIn,
    })
}

fn half_of(name: &str) -> Result<(&str, Half), Error> {
    let halves = [(".weight.lora_a", Half::A), (".weight.lora_b", Half::B)];
    let found = halves.iter().find_map(|(end, half)| Some((name.strip_suffix(end)?, *half)));
    found.ok_or_else(|| Error::tensor(name, "wanted a name that ends in .weight.lora_a or .weight.lora_b"))
}

pub(super) fn write(file: &AdapterFile, path: &Path) -> Result<(), Error> {
    if file.prefix.is_some() {
        return Err(Error::adapter(
            "GGUF adapters hold products alone, and this one is keys and values (prefix tuning): keep it as a PEFT folder",
        ));
    }
    if let Some(pair) = file.pairs.iter().find(|pair| pair.magnitude.is_some()) {
        return Err(Error::adapter(format!(
            "GGUF adapters hold products alone, and {} gives rows lengths (DoRA): keep it as a PEFT folder, or merge it",
            Quoted(&pair.module)
        )));
    }
    // An alpha of 0 would stand for a scale of 1.
    let alpha = file.pairs.iter().map(AdapterPair::alpha).find(|alpha| *alpha != 0.0).unwrap_or(1.0);
    let mut writer = Writer::with_metadata(metadata(file, alpha));
    for pair in &file.pairs {
        let name = |half: &str| format!("{}.weight.lora_{half}", pair.module);
        writer.push(renamed(&pair.a, name("a"), Quantized::Q8_0)?)?;
        // What one alpha for all cannot say goes into B.
        let factor = if pair.alpha() == alpha { 1.0 } else { pair.alpha() / alpha };
        writer.push(match factor {
            1.0 => renamed(&pair.b, name("b"), Quantized::Q8_0)?,
            factor => {
                let values: Vec<f32> =
                    pair.b.to_f32().iter().map(|x| (f64::from(*x) * factor) as f32).collect();
                Tensor::from_f32(name("b"), pair.b.shape().to_vec(), &values)?
            }
        })?;
    }
    writer.write(path)
}

fn metadata(file: &AdapterFile, alpha: f64) -> Metadata {
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", file.architecture.as_deref().unwrap_or_default());
    metadata.set("general.type", "adapter");
    metadata.set("adapter.type", "lora");
    metadata.set("adapter.lora.alpha", alpha as f32);
    if let Some(name) = &file.base_name {
        metadata.set("general.base_model.count", 1_u32);
        metadata.set("general.base_model.0.name", name.as_str());
    }
    if let Some(fingerprint) = &file.fingerprint {
        metadata.set(FINGERPRINT, fingerprint.as_str());
    }
    metadata
}
