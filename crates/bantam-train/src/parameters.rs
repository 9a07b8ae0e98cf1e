//! Every tensor of a model and its adapter that can learn, to be looked at and replaced.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bantam_model::weights::*;
use bantam_model::{Adapter, KvPrefixLayer, Model};
use bantam_tensor::{Storage, Tensor};

use crate::{Error, Wanted};

/// What kind of tensor learns; optimisers treat them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Multiplies activations.
    Matrix,
    /// One row for each token or position, a virtual one perhaps, or each logit.
    Table,
    /// A norm's weight, or a bias.
    Vector,
}

/// A tensor that learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As in the checkpoint, or of the adapter.
    pub name: String,
    /// Slowest axis first.
    pub shape: Vec<usize>,
    /// Which kind.
    pub kind: Kind,
}

/// Gives `change` the numbers of each tensor that learns, once, in order; what it leaves there is what the model
/// computes with from then on. Matrices that are not f32 become it.
///
/// # Errors
///
/// What `change` says; the model is then changed in part.
pub(crate) fn update(
    model: &mut Model,
    adapter: Option<&mut Adapter>,
    wanted: &Wanted,
    mut change: impl FnMut(&Parameter, &mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(adapter) = adapter.filter(|_| wanted.adapter()) {
        for low_rank in adapter.sites.values_mut() {
            for matrix in [&mut low_rank.a, &mut low_rank.b] {
                matrix.tensor = changed(&matrix.tensor, Kind::Matrix, &mut change)?;
            }
            if let Some(magnitude) = &mut low_rank.magnitude {
                magnitude.lengths = changed(&magnitude.lengths, Kind::Vector, &mut change)?;
            }
        }
        for layer in adapter.prefix.iter_mut().flat_map(|prefix| &mut prefix.layers) {
            for tensor in [&mut layer.keys, &mut layer.values] {
                *tensor = changed(tensor, Kind::Table, &mut change)?;
            }
        }
    }
    let mut done: BTreeMap<String, Tensor> = BTreeMap::new();
    for (kind, matrix) in matrices(&mut model.weights) {
        let tensor = &matrix.tensor;
        if !wanted.weight(tensor.name()) {
            continue;
        }
        matrix.tensor = match done.entry(tensor.name().to_owned()) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(place) => place.insert(changed(tensor, kind, &mut change)?).clone(),
        };
    }
    for vector in vectors(&mut model.weights) {
        if wanted.vector(vector) {
            change_vector(vector, wanted, &mut change)?;
        }
    }
    Ok(())
}

fn changed(
    tensor: &Tensor,
    kind: Kind,
    change: &mut impl FnMut(&Parameter, &mut [f32]) -> Result<(), Error>,
) -> Result<Tensor, Error> {
    let mut values = tensor.to_f32();
    let parameter = Parameter { name: tensor.name().to_owned(), shape: tensor.shape().to_vec(), kind };
    change(&parameter, &mut values)?;
    Ok(from_f32(tensor, &values)?)
}

/// A tensor of the same name and shape with these numbers.
fn from_f32(tensor: &Tensor, values: &[f32]) -> Result<Tensor, bantam_tensor::Error> {
    let mut bytes = Vec::with_capacity(size_of_val(values));
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    Tensor::new(tensor.name(), tensor.shape().to_vec(), Storage::F32, bytes.into())
}

fn change_vector(
    vector: &mut Vector,
    wanted: &Wanted,
    change: &mut impl FnMut(&Parameter, &mut [f32]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut values = vector.values.to_vec();
    let each = values.len() / vector.names.len().max(1);
    for (name, values) in vector.names.iter().zip(values.chunks_exact_mut(each)) {
        if wanted.weight(name) {
            let parameter = Parameter { name: name.clone(), shape: vec![each], kind: Kind::Vector };
            change(&parameter, values)?;
        }
    }
    vector.values = Arc::from(values);
    Ok(())
}

/// The numbers of a tensor that learns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    /// A matrix or a table.
    Of(&'a Tensor),
    /// A part of a vector.
    Numbers(&'a [f32]),
}

impl Values<'_> {
    /// As f32.
    pub(crate) fn to_f32(self) -> Vec<f32> {
        match self {
            Values::Of(tensor) => tensor.to_f32(),
            Values::Numbers(numbers) => numbers.to_vec(),
        }
    }
}

/// The tensors that learn, in the order of [`update`].
pub(crate) fn list(model: &Model, adapter: Option<&Adapter>, wanted: &Wanted) -> Vec<Parameter> {
    let mut list = Vec::new();
    show(model, adapter, wanted, |parameter, _| list.push(parameter));
    list
}

/// Shows the tensors that learn, in the order of [`update`], without a copy of any.
pub(crate) fn show(
    model: &Model,
    adapter: Option<&Adapter>,
    wanted: &Wanted,
    mut show: impl FnMut(Parameter, Values<'_>),
) {
    let mut tensor = |tensor: &Tensor, kind| {
        let parameter = Parameter { name: tensor.name().to_owned(), shape: tensor.shape().to_vec(), kind };
        show(parameter, Values::Of(tensor));
    };
    let adapter = adapter.filter(|_| wanted.adapter());
    for low_rank in adapter.iter().flat_map(|adapter| adapter.sites.values()) {
        tensor(&low_rank.a.tensor, Kind::Matrix);
        tensor(&low_rank.b.tensor, Kind::Matrix);
        if let Some(magnitude) = &low_rank.magnitude {
            tensor(&magnitude.lengths, Kind::Vector);
        }
    }
    let prefix = adapter.and_then(|adapter| adapter.prefix.as_ref());
    for values in prefix.iter().flat_map(|prefix| &prefix.layers).flat_map(KvPrefixLayer::both) {
        tensor(values, Kind::Table);
    }
    // A copy shares all numbers, and spares a second way through the weights.
    let mut weights = model.weights.clone();
    let mut done = BTreeSet::new();
    for (kind, matrix) in matrices(&mut weights) {
        if wanted.weight(matrix.tensor.name()) && done.insert(matrix.tensor.name().to_owned()) {
            tensor(&matrix.tensor, kind);
        }
    }
    for vector in vectors(&mut weights) {
        let each = vector.values.len() / vector.names.len().max(1);
        let parts = vector.names.iter().zip(vector.values.chunks_exact(each));
        for (name, values) in parts.filter(|(name, _)| wanted.weight(name)) {
            let parameter = Parameter { name: name.clone(), shape: vec![each], kind: Kind::Vector };
            show(parameter, Values::Numbers(values));
        }
    }
}

/// Every matrix, a tied one twice.
pub(crate) fn matrices(weights: &mut Weights) -> impl Iterator<Item = (Kind, &mut Matrix)> {
    let ends = [Some(&mut weights.embed), weights.positions.as_mut(), Some(&mut weights.head.matrix)];
    let layers = weights.layers.iter_mut().flat_map(|layer| {
        let LayerWeights { mixer, mlp, .. } = layer;
        linears(&mut mixer.input, &mut mixer.output, mlp)
    });
    let ends = ends.into_iter().flatten().map(|matrix| (Kind::Table, matrix));
    ends.chain(layers.map(|linear| (Kind::Matrix, &mut linear.matrix)))
}

/// Every vector.
pub(crate) fn vectors(weights: &mut Weights) -> impl Iterator<Item = &mut Vector> {
    let ends = [weights.head.bias.as_mut(), weights.norm.weight.as_mut(), weights.norm.bias.as_mut()];
    ends.into_iter().flatten().chain(weights.layers.iter_mut().flat_map(layer_vectors))
}

fn layer_vectors(layer: &mut LayerWeights) -> impl Iterator<Item = &mut Vector> {
    let LayerWeights { mixer, mlp, mixer_before, mixer_after, mlp_before, mlp_after } = layer;
    let AttentionWeights { input, query_norm, key_norm, output } = mixer;
    let norms = [mixer_before, mixer_after, mlp_before, mlp_after, query_norm, key_norm];
    let norms = norms.into_iter().flatten().flat_map(|norm| [norm.weight.as_mut(), norm.bias.as_mut()]);
    norms.flatten().chain(linears(input, output, mlp).filter_map(|linear| linear.bias.as_mut()))
}

/// Every projection of a layer.
fn linears<'a>(
    input: &'a mut QkvWeights,
    output: &'a mut Linear,
    mlp: &'a mut MlpWeights,
) -> impl Iterator<Item = &'a mut Linear> {
    let input: &mut [Linear] = match input {
        QkvWeights::Separate(three) => three,
        QkvWeights::Fused(one) => std::slice::from_mut(one),
    };
    let mlp: &mut [Linear] = match mlp {
        MlpWeights::Gated(three) => three,
        MlpWeights::GatedFused(two) | MlpWeights::Plain(two) => two,
    };
    input.iter_mut().chain([output]).chain(mlp)
}
