//! A model: a description bound to weights.

use bantam_tensor::Checkpoint;

use crate::description::Description;
use crate::weights::Weights;
use crate::{Config, Error, bind, families};

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
        let weights = bind::bind(&described.description, &described.names, checkpoint)?;
        Ok(Model { description: described.description, weights, architecture, unknown_keys })
    }

    /// Every matrix of the model once, by name.
    pub fn tensors(&self) -> std::collections::BTreeMap<&str, &bantam_tensor::Tensor> {
        self.weights.matrices().map(|matrix| (matrix.tensor.name(), &matrix.tensor)).collect()
    }

    /// Bytes of all matrices.
    pub fn weights_bytes(&self) -> u64 {
        self.tensors().values().map(|tensor| tensor.bytes().len() as u64).sum()
    }
}
