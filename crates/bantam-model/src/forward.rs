//! The forward pass, once for everyone who runs or records it.
//!
//! [`forward`] is all of it; [`embed`], [`layer`] and [`head`] are its parts, for those who keep the residual stream
//! between layers and come back to a layer later.

use crate::description::*;
use crate::model::Model;
use crate::ops::Ops;
use crate::weights::*;

/// Logits of the rows that the batch wants, `[wanted rows][vocab_size]`.
pub fn forward<O: Ops>(ops: &mut O, model: &Model) -> Option<O::T> {
    let mut x = embed(ops, model);
    for i in 0..model.description.layers.len() {
        x = layer(ops, model, i, x);
        if ops.is_stopped() {
            return None;
        }
    }
    ops.layers_done(&x, &model.weights.norm);
    let x = ops.wanted_rows(x);
    Some(head(ops, model, x))
}

/// The residual stream before the first layer, `[rows][hidden_size]`.
pub fn embed<O: Ops>(ops: &mut O, model: &Model) -> O::T {
    let (embed, weights) = (&model.description.embed, &model.weights);
    let mut x = ops.embed(&weights.embed);
    if embed.scale != 1.0 {
        x = ops.scale(x, embed.scale);
    }
    if let Some(table) = &weights.positions {
        let positions = ops.embed_positions(table);
        x = ops.add(x, &positions, 1.0);
        ops.release(positions);
    }
    x
}

/// The residual stream after layer `i`, from the one before it.
pub fn layer<O: Ops>(ops: &mut O, model: &Model, i: usize, x: O::T) -> O::T {
    let x = run_layer(ops, i, &model.description.layers[i], &model.weights.layers[i], x);
    ops.layer_done(i, &x);
    x
}

/// Logits of rows of the residual stream after the last layer, `[rows][vocab_size]`.
pub fn head<O: Ops>(ops: &mut O, model: &Model, x: O::T) -> O::T {
    let (head, weights) = (&model.description.head, &model.weights);
    let normed = ops.norm(&x, &weights.norm);
    ops.release(x);
    let mut logits = ops.linear(&normed, &weights.head);
    ops.release(normed);
    if head.scale != 1.0 {
        logits = ops.scale(logits, head.scale);
    }
    match head.soft_cap {
        Some(cap) => ops.soft_cap(logits, cap),
        None => logits,
    }
}

fn run_layer<O: Ops>(ops: &mut O, i: usize, layer: &Layer, w: &LayerWeights, x: O::T) -> O::T {
    match layer.wiring {
        Wiring::Sequential { .. } => {
            let branch = mixer(ops, i, layer, w, &x);
            let x = join(ops, x, branch, w.mixer_after.as_ref(), layer.residual_scale);
            let branch = match &w.mlp_before {
                Some(norm) => {
                    let normed = ops.norm(&x, norm);
                    let branch = mlp(ops, &layer.mlp, &w.mlp, &normed);
                    ops.release(normed);
                    branch
                }
                None => mlp(ops, &layer.mlp, &w.mlp, &x),
            };
            join(ops, x, branch, w.mlp_after.as_ref(), layer.residual_scale)
        }
        Wiring::Parallel { .. } => parallel(ops, i, layer, w, x),
    }
}

fn mixer<O: Ops>(ops: &mut O, i: usize, layer: &Layer, w: &LayerWeights, x: &O::T) -> O::T {
    let Mixer::Attention(description) = &layer.mixer;
    let Some(norm) = &w.mixer_before else { return attention(ops, i, description, &w.mixer, x) };
    let normed = ops.norm(x, norm);
    let branch = attention(ops, i, description, &w.mixer, &normed);
    ops.release(normed);
    branch
}

fn parallel<O: Ops>(ops: &mut O, i: usize, layer: &Layer, w: &LayerWeights, x: O::T) -> O::T {
    let Mixer::Attention(description) = &layer.mixer;
    let Some(norm) = &w.mixer_before else { return x };
    let normed = ops.norm(&x, norm);
    let mixed = attention(ops, i, description, &w.mixer, &normed);
    let branch = mlp(ops, &layer.mlp, &w.mlp, &normed);
    ops.release(normed);
    let x = join(ops, x, mixed, None, layer.residual_scale);
    join(ops, x, branch, None, layer.residual_scale)
}

/// Adds a branch to the residual stream.
fn join<O: Ops>(ops: &mut O, x: O::T, branch: O::T, after: Option<&NormWeights>, scale: f32) -> O::T {
    let branch = match after {
        Some(norm) => {
            let normed = ops.norm(&branch, norm);
            ops.release(branch);
            normed
        }
        None => branch,
    };
    let x = ops.add(x, &branch, scale);
    ops.release(branch);
    x
}

fn attention<O: Ops>(ops: &mut O, i: usize, a: &Attention, w: &AttentionWeights, x: &O::T) -> O::T {
    let [q, k, v] = queries_keys_values(ops, a, w, x);
    let mut q = normed(ops, q, w.query_norm.as_ref());
    let mut k = normed(ops, k, w.key_norm.as_ref());
    if let Some(rope) = &a.rope {
        q = ops.rope(q, a.head_dim, rope);
        k = ops.rope(k, a.head_dim, rope);
    }
    if let Some(scale) = &a.position_scale {
        q = ops.scale_by_position(q, scale);
    }
    let mixed = ops.attend(i, a, &q, &k, &v);
    let y = ops.linear(&mixed, &w.output);
    for done in [q, k, v, mixed] {
        ops.release(done);
    }
    y
}

fn queries_keys_values<O: Ops>(ops: &mut O, a: &Attention, w: &AttentionWeights, x: &O::T) -> [O::T; 3] {
    let parts = match &w.input {
        QkvWeights::Separate([q, k, v]) => ops.linears(x, [q, k, v]),
        QkvWeights::Fused(qkv) => {
            let (queries, keys) = (a.query_width(), a.kv_width());
            let all = ops.linear(x, qkv);
            let places = [(0, queries), (queries, keys), (queries + keys, keys)];
            let parts = places.map(|(begin, count)| ops.columns(&all, begin, count));
            ops.release(all);
            parts
        }
    };
    match a.clip {
        Some(limit) => parts.map(|part| ops.clamp(part, limit)),
        None => parts,
    }
}

fn normed<O: Ops>(ops: &mut O, x: O::T, norm: Option<&NormWeights>) -> O::T {
    let Some(norm) = norm else { return x };
    let y = ops.norm(&x, norm);
    ops.release(x);
    y
}

fn mlp<O: Ops>(ops: &mut O, mlp: &Mlp, w: &MlpWeights, x: &O::T) -> O::T {
    let (activation, width) = match *mlp {
        Mlp::Gated { activation, intermediate_size, .. }
        | Mlp::Plain { activation, intermediate_size, .. } => (activation, intermediate_size),
    };
    let (between, down) = match w {
        MlpWeights::Gated([gate, up, down]) => {
            let [gate, up] = ops.linears(x, [gate, up]);
            let y = ops.activate_gated(gate, &up, activation);
            ops.release(up);
            (y, down)
        }
        MlpWeights::GatedFused([both, down]) => {
            let both = ops.linear(x, both);
            let [gate, up] = [0, width].map(|begin| ops.columns(&both, begin, width));
            ops.release(both);
            let y = ops.activate_gated(gate, &up, activation);
            ops.release(up);
            (y, down)
        }
        MlpWeights::Plain([up, down]) => {
            let up = ops.linear(x, up);
            (ops.activate(up, activation), down)
        }
    };
    let y = ops.linear(&between, down);
    ops.release(between);
    y
}
