//! The vectors of a model as its checkpoint has them: what binding changed is undone.

use crate::Model;
use crate::description::*;
use crate::weights::{LayerWeights, NormWeights, Vector};

impl Model {
    /// Every vector by the name of its tensor, with the numbers that its checkpoint would hold. Of a weight that is
    /// stored as one less the last bit may differ.
    pub fn stored_vectors(&self) -> Vec<(String, Vec<f32>)> {
        let mut out = Vec::new();
        let (d, weights) = (&self.description, &self.weights);
        push_norm(&mut out, Some(&d.norm), Some(&weights.norm));
        push(&mut out, weights.head.bias.as_ref(), 0.0);
        for (layer, weights) in d.layers.iter().zip(&weights.layers) {
            push_layer(&mut out, layer, weights);
        }
        out
    }
}

fn push_layer(out: &mut Vec<(String, Vec<f32>)>, layer: &Layer, weights: &LayerWeights) {
    let (mixer, mlp) = match &layer.wiring {
        Wiring::Sequential { mixer, mlp } => (*mixer, Some(*mlp)),
        Wiring::Parallel { before } => (BranchNorms::Before(*before), None),
    };
    push_norm(out, mixer.before(), weights.mixer_before.as_ref());
    push_norm(out, mixer.after(), weights.mixer_after.as_ref());
    push_norm(out, mlp.as_ref().and_then(BranchNorms::before), weights.mlp_before.as_ref());
    push_norm(out, mlp.as_ref().and_then(BranchNorms::after), weights.mlp_after.as_ref());
    let Mixer::Attention(attention) = &layer.mixer;
    let qk_norm = attention.qk_norm.as_ref().map(|qk| &qk.norm);
    push_norm(out, qk_norm, weights.mixer.query_norm.as_ref());
    push_norm(out, qk_norm, weights.mixer.key_norm.as_ref());
    weights.linears().for_each(|linear| push(out, linear.bias.as_ref(), 0.0));
}

fn push_norm(out: &mut Vec<(String, Vec<f32>)>, norm: Option<&Norm>, weights: Option<&NormWeights>) {
    let (Some(norm), Some(weights)) = (norm, weights) else { return };
    let added = match norm.weight {
        NormWeight::OnePlus => 1.0,
        NormWeight::None | NormWeight::Stored => 0.0,
    };
    push(out, weights.weight.as_ref(), added);
    push(out, weights.bias.as_ref(), 0.0);
}

/// One entry for each tensor that a vector was put together from.
fn push(out: &mut Vec<(String, Vec<f32>)>, vector: Option<&Vector>, added: f32) {
    let Some(Vector { values, names }) = vector else { return };
    let each = values.len() / names.len().max(1);
    for (name, part) in names.iter().zip(values.chunks_exact(each.max(1))) {
        out.push((name.clone(), part.iter().map(|x| x - added).collect()));
    }
}
