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
use crate::names::Names;
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
    pub(crate) names: Names,
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
