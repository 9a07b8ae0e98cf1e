//! The families: how a config's keys become a description, and what the tensors are called.
//!
//! A family is one file that starts from [`dense::Dense`], the decoder that most of them are, and says
//! what is different. Nothing outside this folder knows a family's name.

mod dense;

mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod granite;
mod llama;
mod mistral;
mod olmo;
mod olmo2;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;
mod stablelm;

use crate::description::Description;
use crate::names::Naming;
use crate::{Config, Error};

/// A family: the architectures that it describes, by their names in configs and in GGUF files.
pub(crate) struct Family {
    pub(crate) architectures: &'static [&'static str],
    /// Keys of its configs that have other names than most, with the common name behind.
    pub(crate) keys: &'static [(&'static str, &'static str)],
    pub(crate) describe: fn(&Config) -> Result<Described, Error>,
}

/// What a family makes of a config.
pub(crate) struct Described {
    pub(crate) description: Description,
    pub(crate) naming: Naming,
}

/// Every family.
const FAMILIES: [&Family; 15] = [
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &gpt2::FAMILY,
    &granite::FAMILY,
    &llama::FAMILY,
    &mistral::FAMILY,
    &olmo::FAMILY,
    &olmo2::FAMILY,
    &phi::FAMILY,
    &phi3::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &smollm3::FAMILY,
    &stablelm::FAMILY,
];

/// The family of an architecture.
pub(crate) fn find(architecture: &str) -> Result<&'static Family, Error> {
    let found = FAMILIES.iter().copied().find(|family| family.architectures.contains(&architecture));
    found.ok_or_else(|| Error::UnknownFamily {
        found: architecture.into(),
        known: FAMILIES.iter().flat_map(|family| family.architectures.iter().copied()).collect(),
    })
}

/// What GGUF files call an architecture, which configs may call otherwise.
pub(crate) fn gguf_architecture(architecture: &str) -> &str {
    let found = GGUF_ARCHITECTURES.iter().find(|(config, _)| *config == architecture);
    found.map_or(architecture, |(_, gguf)| gguf)
}

/// As llama.cpp's converter has it; the others have one name.
const GGUF_ARCHITECTURES: [(&str, &str); 6] = [
    ("gemma3_text", "gemma3"),
    ("ministral", "llama"),
    ("ministral3", "mistral3"),
    ("mistral", "llama"),
    ("olmo3", "olmo2"),
    ("phi", "phi2"),
];
