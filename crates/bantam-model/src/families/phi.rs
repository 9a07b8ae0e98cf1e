//! Phi-1, 1.5 and 2: attention and mlp side by side on one LayerNorm, biases everywhere.

use super::dense::{Dense, activation, head_matrix, layer_norm, rotated};
use super::{Described, Family};
use crate::description::*;
use crate::names::Role;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["phi", "phi2"], keys: &[], describe };

const NAMES: [(Role, &str); 6] = [
    (Role::FinalNorm, "model.final_layernorm"),
    (Role::AttentionOutput, "model.layers.{}.self_attn.dense"),
    (Role::QueryNorm, "model.layers.{}.self_attn.q_layernorm"),
    (Role::KeyNorm, "model.layers.{}.self_attn.k_layernorm"),
    (Role::Up, "model.layers.{}.mlp.fc1"),
    (Role::Down, "model.layers.{}.mlp.fc2"),
];

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read(c, Pairing::HalfSplit)?.named(&NAMES);
    d.set_norm(layer_norm(c.f32_or("layer_norm_eps", 1e-5)?));
    d.wiring = Wiring::Parallel { before: d.norm };
    d.head.matrix = head_matrix(c, Bias::Present)?;
    // The share that turns is one half where the config is silent.
    let dims = if c.value("partial_rotary_factor").is_some() || c.value("rope_parameters").is_some() {
        rotated(c, d.attention.head_dim)?
    } else {
        c.usize_or("rope_dims", d.attention.head_dim / 2)?
    };
    let rope = std::sync::Arc::new(c.rope("full_attention", dims, Pairing::HalfSplit)?);
    d.ropes.fill(Some(rope));
    d.attention.qkv_bias = Bias::Present;
    d.attention.output_bias = Bias::Present;
    if c.has_tensor("blk.0.attn_qkv.weight") {
        d.attention.projections = Projections::Fused;
    }
    if c.flag("qk_layernorm")? {
        d.attention.qk_norm = Some(QkNorm { norm: d.norm, over: QkNormOver::Head });
    }
    d.mlp = Mlp::Plain {
        activation: activation(c, "hidden_act", Activation::GeluTanh)?,
        intermediate_size: c.usize_or("intermediate_size", 4 * d.hidden_size)?,
        bias: Bias::Present,
    };
    d.finish()
}
