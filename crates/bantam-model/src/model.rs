//! A model: a description bound to weights.

use bantam_tensor::{Checkpoint, Source};
use serde_json::{Map, Value};

use crate::bind::BlankTensor;
use crate::description::Description;
use crate::families::Described;
use crate::names::Naming;
use crate::weights::{Linear, NormWeights, Weights};
use crate::{Config, Error, bind, families, fnv1a};

/// A description bound to the weights of a checkpoint, which stay where and as they are.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it computes.
    pub description: Description,
    /// With which numbers.
    pub weights: Weights,
    /// What the checkpoint calls its architecture.
    pub architecture: String,
    /// Keys of the config that bantam does not know; if one of them changes what the model computes,
    /// results are wrong.
    pub unknown_keys: Vec<String>,
    /// Which kind of checkpoint the weights are from.
    pub source: Source,
    /// What the parts are called in both kinds.
    pub(crate) naming: Naming,
}

impl Model {
    /// The model in an opened checkpoint.
    ///
    /// # Errors
    ///
    /// An architecture that is not known, a config that contradicts itself or asks for what the family
    /// does not know, a tensor that is missing, left over, or of another shape.
    pub fn bind(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let config = Config::of(checkpoint)?;
        let architecture = config.architecture()?.to_owned();
        let family = families::find(&architecture)?;
        let config = config.renamed(family.keys);
        let described = (family.describe)(&config)?;
        let unknown_keys = config.check_read(&architecture)?;
        let Described { description, naming } = described;
        let source = checkpoint.source();
        let weights = bind::bind(&description, naming.of(source), checkpoint)?;
        Ok(Model { description, weights, architecture, unknown_keys, source, naming })
    }

    /// The tensors of a new model with this config, in the words of Hugging Face configs, named as in such checkpoints.
    ///
    /// # Errors
    ///
    /// As [`Model::bind`] for the config alone; a model that is too large to begin from nothing.
    pub fn blank(config: Map<String, Value>) -> Result<Vec<BlankTensor>, Error> {
        let config = Config::from_values(config);
        let architecture = config.architecture()?.to_owned();
        let family = families::find(&architecture)?;
        let config = config.renamed(family.keys);
        let Described { description, naming } = (family.describe)(&config)?;
        if let Some(key) = config.check_read(&architecture)?.first() {
            let reason = format!("is unknown to the family {architecture}; wanted keys of its configs");
            return Err(Error::Config { key: key.clone(), reason });
        }
        bind::blank(&description, naming.of(Source::Folder))
    }

    /// Every matrix of the model once, by name.
    pub fn tensors(&self) -> std::collections::BTreeMap<&str, &bantam_tensor::Tensor> {
        self.weights.matrices().map(|matrix| (matrix.tensor.name(), &matrix.tensor)).collect()
    }

    /// Every projection that an adapter may change, the head last.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        let layers = self.weights.layers.iter().flat_map(|layer| layer.linears());
        layers.chain([&self.weights.head])
    }

    /// Whether the head and the table of tokens are one matrix.
    pub fn is_tied(&self) -> bool {
        self.weights.head.matrix.tensor.name() == self.weights.embed.tensor.name()
    }

    /// What GGUF files call its architecture.
    pub fn gguf_architecture(&self) -> &str {
        families::gguf_architecture(&self.architecture)
    }

    /// A text that is the same for all checkpoints of this model, in either format and however its matrices are
    /// quantised, and another for other models: architecture, layers, hidden size, and a hash of the weights of the
    /// norms, which converters and quantisers keep in full.
    pub fn fingerprint(&self) -> String {
        let vectors = self.norms().flat_map(|norm| [&norm.weight, &norm.bias]).flatten();
        let values = vectors.flat_map(|vector| vector.values.iter());
        let hash = fnv1a(values.flat_map(|value| value.to_le_bytes()));
        let (architecture, description) = (self.gguf_architecture(), &self.description);
        format!("{architecture}-{}x{}-{hash:016x}", description.layers.len(), description.hidden_size)
    }

    /// The norms of the residual stream.
    fn norms(&self) -> impl Iterator<Item = &NormWeights> {
        let layers = self.weights.layers.iter().flat_map(|layer| {
            [&layer.mixer_before, &layer.mixer_after, &layer.mlp_before, &layer.mlp_after]
                .into_iter()
                .flatten()
        });
        layers.chain([&self.weights.norm])
    }

    /// Bytes of all matrices.
    pub fn weights_bytes(&self) -> u64 {
        self.tensors().values().map(|tensor| tensor.bytes().len() as u64).sum()
    }
}
