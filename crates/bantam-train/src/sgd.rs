//! Plain gradient descent on weights in f32.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bantam_model::Model;
use bantam_model::weights::*;
use bantam_tensor::Tensor;

use crate::{Error, Gradients};

/// A copy of a model whose matrices are f32 in memory of its own, exactly dequantised.
///
/// # Errors
///
/// A matrix that is too large for f32 in memory.
pub fn trainable(model: &Model) -> Result<Model, Error> {
    replace_matrices(model.clone(), |tensor| Ok(tensor.to_f32()))
}

/// One step of descent, `w -= rate * gradient` for every weight. Matrices that are not yet f32 become it.
///
/// # Errors
///
/// [`Error::MissingGradient`] where the gradients are of another model; the model is unchanged then.
pub fn descend(model: &mut Model, gradients: &Gradients, rate: f32) -> Result<(), Error> {
    let mut next = replace_matrices(model.clone(), |tensor| {
        let mut values = tensor.to_f32();
        subtract(&mut values, gradient(gradients, tensor.name(), tensor.elements())?, rate);
        Ok(values)
    })?;
    for vector in vectors(&mut next.weights) {
        let mut values = vector.values.to_vec();
        let each = values.len() / vector.names.len().max(1);
        for (name, values) in vector.names.iter().zip(values.chunks_exact_mut(each)) {
            subtract(values, gradient(gradients, name, each)?, rate);
        }
        vector.values = Arc::from(values);
    }
    *model = next;
    Ok(())
}

fn gradient<'a>(gradients: &'a Gradients, name: &str, wanted: usize) -> Result<&'a [f32], Error> {
    let found = gradients.of.get(name).filter(|of| of.len() == wanted);
    found.map(Vec::as_slice).ok_or_else(|| Error::MissingGradient { name: name.to_owned(), wanted })
}

fn subtract(values: &mut [f32], gradient: &[f32], rate: f32) {
    for (value, gradient) in values.iter_mut().zip(gradient) {
        *value -= rate * gradient;
    }
}

/// Gives each matrix other numbers; one that is used twice stays one.
fn replace_matrices(
    mut model: Model,
    numbers: impl Fn(&Tensor) -> Result<Vec<f32>, Error>,
) -> Result<Model, Error> {
    let mut done: BTreeMap<String, Tensor> = BTreeMap::new();
    for matrix in matrices(&mut model.weights) {
        let tensor = &matrix.tensor;
        matrix.tensor = match done.entry(tensor.name().to_owned()) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(place) => {
                let new = Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &numbers(tensor)?)?;
                place.insert(new).clone()
            }
        };
    }
    Ok(model)
}

/// Every matrix, a tied one twice.
fn matrices(weights: &mut Weights) -> impl Iterator<Item = &mut Matrix> {
    let ends = [Some(&mut weights.embed), weights.positions.as_mut(), Some(&mut weights.head.matrix)];
    let layers = weights.layers.iter_mut().flat_map(|layer| {
        let LayerWeights { mixer, mlp, .. } = layer;
        linears(&mut mixer.input, &mut mixer.output, mlp)
    });
    ends.into_iter().flatten().chain(layers.map(|linear| &mut linear.matrix))
}

/// Every vector.
fn vectors(weights: &mut Weights) -> impl Iterator<Item = &mut Vector> {
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
