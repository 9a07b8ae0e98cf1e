//! Which tensors learn: nothing is computed for the others.

use std::collections::BTreeSet;

use bantam_model::weights::{LayerWeights, NormWeights, Vector};
use bantam_model::{Adapter, Model};

/// The tensors whose gradients are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: the forward pass alone.
    Nothing,
    /// Those of the adapter; the model is frozen.
    Adapter,
    /// All of the model, and those of an adapter if there is one.
    All,
    /// Those of the model with these names.
    Named(BTreeSet<String>),
}

impl Wanted {
    /// Whether a tensor of the model learns.
    pub fn weight(&self, name: &str) -> bool {
        match self {
            Wanted::Nothing | Wanted::Adapter => false,
            Wanted::All => true,
            Wanted::Named(names) => names.contains(name),
        }
    }

    /// Whether an adapter learns.
    pub fn adapter(&self) -> bool {
        matches!(self, Wanted::Adapter | Wanted::All)
    }

    pub(crate) fn vector(&self, vector: &Vector) -> bool {
        vector.names.iter().any(|name| self.weight(name))
    }

    /// Whether something that leads to the residual stream before the first layer learns.
    pub(crate) fn embed(&self, model: &Model) -> bool {
        let tables = [Some(&model.weights.embed), model.weights.positions.as_ref()];
        tables.into_iter().flatten().any(|table| self.weight(table.tensor.name()))
    }

    /// Whether something in a layer learns.
    pub(crate) fn layer(&self, model: &Model, adapter: Option<&Adapter>, layer: usize) -> bool {
        let weights = &model.weights.layers[layer];
        let is_adapted =
            |of: &Adapter| of.prefix.is_some() || of.sites.keys().any(|site| site.layer == layer);
        let adapted = self.adapter() && adapter.is_some_and(is_adapted);
        adapted
            || weights.linears().any(|linear| {
                self.weight(linear.matrix.tensor.name())
                    || linear.bias.as_ref().is_some_and(|b| self.vector(b))
            })
            || norms(weights).any(|norm| {
                [&norm.weight, &norm.bias].into_iter().flatten().any(|vector| self.vector(vector))
            })
    }
}

fn norms(weights: &LayerWeights) -> impl Iterator<Item = &NormWeights> {
    let LayerWeights { mixer, mixer_before, mixer_after, mlp_before, mlp_after, .. } = weights;
    let all = [mixer_before, mixer_after, mlp_before, mlp_after, &mixer.query_norm, &mixer.key_norm];
    all.into_iter().flatten()
}
