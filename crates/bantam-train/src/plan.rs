//! The memory of a run, before it begins.

use bantam_model::description::{Attention, GateUp, Layer, Mixer, Mlp, Wiring};
use bantam_model::weights::{LayerWeights, QkvWeights};
use bantam_model::{Adapter, Model};

use crate::optimizer::{Memory, beginning};
use crate::pass::rows_at_once;
use crate::pool::Pool;
use crate::{Recompute, Settings, parameters};

/// What a run holds at most, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Frozen weights in their own bits, mapped from their file or held.
    pub frozen: usize,
    /// Tensors that learn.
    pub learning: usize,
    /// Their gradients.
    pub gradients: usize,
    /// What the optimiser remembers.
    pub optimizer: usize,
    /// An adapter's matrices once more and turned, for products.
    pub turned: usize,
    /// Activations and their gradients.
    pub activations: usize,
}

impl Plan {
    /// The memory that a trainer with these settings needs, in micro-batches of `settings.micro_tokens`.
    pub fn new(model: &Model, adapter: Option<&Adapter>, settings: &Settings) -> Self {
        const NUMBER: usize = size_of::<f32>();
        let parameters = parameters::list(model, adapter, &settings.wanted);
        let numbers: usize = parameters.iter().map(|one| one.shape.iter().product::<usize>()).sum();
        let memory = |parameter| match beginning(&settings.rule, parameter) {
            Memory::Moments([first, second]) => (first.len() + second.len()) * NUMBER,
            Memory::Momentum(momentum) => momentum.len() * NUMBER,
            Memory::Coded(both) => both.iter().map(|one| one.codes.len() + one.scales.len() * NUMBER).sum(),
        };
        let frozen = model.tensors().into_iter().filter(|(name, _)| !settings.wanted.weight(name));
        Plan {
            frozen: frozen.map(|(_, tensor)| tensor.bytes().len()).sum(),
            learning: numbers * NUMBER,
            gradients: numbers * NUMBER,
            optimizer: parameters.iter().map(memory).sum(),
            turned: adapter.map_or(0, |adapter| turned(model, adapter, settings.recompute)) * NUMBER,
            activations: activations(model, adapter, settings) * NUMBER,
        }
    }

    /// Bytes of activations that are kept of so many tokens where all layers lie on the way back and nothing is computed
    /// again; what adapters add to them is not counted.
    pub fn kept_bytes(model: &Model, tokens: usize) -> usize {
        let hidden = model.description.hidden_size;
        let layers = model.description.layers.iter().zip(&model.weights.layers);
        let of_token =
            layers.map(|(layer, weights)| kept(hidden, &OfLayer::new(hidden, layer, weights, None)));
        of_token.sum::<usize>() * tokens * size_of::<f32>()
    }

    /// All of it.
    pub fn bytes(&self) -> usize {
        self.frozen + self.learning + self.gradients + self.optimizer + self.turned + self.activations
    }
}

/// Numbers of an adapter's matrices and of the same turned, as long as the way back needs them: those of all layers
/// where nothing is computed again.
fn turned(model: &Model, adapter: &Adapter, recompute: Recompute) -> usize {
    let of_layer = |layer: &LayerWeights| -> usize {
        let sites = layer.linears().filter_map(|linear| adapter.sites.get(&linear.site));
        sites.map(|site| 2 * site.a.outputs * (site.a.inputs + site.b.outputs)).sum()
    };
    let layers = model.weights.layers.iter().map(of_layer);
    match recompute {
        Recompute::Layers => layers.max().unwrap_or(0),
        Recompute::Nothing => layers.sum(),
    }
}

/// Numbers that exist together at most while so many tokens, all of them learnt, go forward and back.
fn activations(model: &Model, adapter: Option<&Adapter>, settings: &Settings) -> usize {
    let (d, tokens) = (&model.description, settings.micro_tokens);
    let learns =
        |layer: &usize| settings.wanted.embed(model) || settings.wanted.layer(model, adapter, *layer);
    let lowest = (0..d.layers.len()).find(learns).unwrap_or(d.layers.len());
    let layers = d.layers.iter().zip(&model.weights.layers).skip(lowest);
    let layers: Vec<OfLayer> =
        layers.map(|(layer, weights)| OfLayer::new(d.hidden_size, layer, weights, adapter)).collect();
    let most = |of: fn(&OfLayer) -> usize| layers.iter().map(of).max().unwrap_or(0);
    let (borders, on_top) = match settings.recompute {
        Recompute::Layers => (layers.len() * d.hidden_size, most(|layer| layer.kept + layer.on_top)),
        Recompute::Nothing => {
            (layers.iter().map(|layer| kept(d.hidden_size, layer)).sum(), most(|layer| layer.on_top))
        }
    };
    // The stream and its gradient; of the rows at a time what goes in, its norm, and what comes out.
    let chunk = rows_at_once(model).min(tokens);
    let head = 2 * d.hidden_size * tokens + chunk * (d.vocab_size + 3 * d.hidden_size);
    borders * tokens + head.max(on_top * tokens)
}

/// Numbers that are kept of a layer that is not computed again: what went in and what came out, too.
fn kept(hidden: usize, layer: &OfLayer) -> usize {
    layer.kept + 2 * hidden
}

/// Numbers of a layer for each token.
struct OfLayer {
    /// What its derivatives read.
    kept: usize,
    /// What comes on top where most is there on the way back: in the middle of the mlp.
    on_top: usize,
}

impl OfLayer {
    fn new(hidden: usize, layer: &Layer, weights: &LayerWeights, adapter: Option<&Adapter>) -> Self {
        let Mixer::Attention(attention) = &layer.mixer;
        let norms = [&weights.mixer_before, &weights.mixer_after, &weights.mlp_before, &weights.mlp_after];
        // What norms read or give, and the stream between the branches where they follow each other.
        let between = usize::from(matches!(layer.wiring, Wiring::Sequential { .. }));
        let stream = (norms.into_iter().flatten().count() + between) * hidden;
        let ranks = weights.linears().filter_map(|linear| adapter?.sites.get(&linear.site));
        let ranks: usize = ranks.map(|site| site.a.outputs).sum();
        let (mlp, gradients) = match layer.mlp {
            // The gate, its factors and what comes of them; the gradients of two of them.
            Mlp::Gated { intermediate_size, projections: GateUp::Separate, .. } => {
                (3 * intermediate_size, 2 * intermediate_size)
            }
            // Gate and factors once more together, and their gradient.
            Mlp::Gated { intermediate_size, projections: GateUp::Fused, .. } => {
                (3 * intermediate_size, 5 * intermediate_size)
            }
            // What goes into the function and what comes out; the gradient.
            Mlp::Plain { intermediate_size, .. } => (2 * intermediate_size, intermediate_size),
        };
        let kept = stream + of_attention(attention) + mlp + ranks;
        // The gradient of the stream, and two buffers of its width that were used and are not wanted yet.
        OfLayer { kept, on_top: 3 * hidden + gradients + left_over(layer, weights) }
    }
}

/// Queries, keys and values as one, once they are taken apart: rows too wide for those of the stream, which wait for
/// the way back unless the mlp's can lie in their memory.
fn left_over(layer: &Layer, weights: &LayerWeights) -> usize {
    let QkvWeights::Fused(all) = &weights.mixer.input else { return 0 };
    let width = all.matrix.outputs;
    let (Mlp::Gated { intermediate_size, .. } | Mlp::Plain { intermediate_size, .. }) = layer.mlp;
    let is_used = Pool::fits(width, intermediate_size) || Pool::fits(width, 2 * intermediate_size);
    if is_used { 0 } else { width }
}

/// Queries, keys, values and what comes of them; what is normed or clipped is kept before it and after.
fn of_attention(attention: &Attention) -> usize {
    let (queries, keys) = (attention.query_width(), attention.kv_width());
    let normed = if attention.qk_norm.is_some() { queries + keys } else { 0 };
    let clipped = if attention.clip.is_some() { queries + 2 * keys } else { 0 };
    2 * (queries + keys) + normed + clipped
}
