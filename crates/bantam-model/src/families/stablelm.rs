//! StableLM 2: LayerNorm, a quarter of each head turns; the 12B is parallel with a norm on each head.

use super::dense::{Dense, bias_of, layer_norm, rotated};
use super::{Described, Family};
use crate::description::*;
use crate::names::Role;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["stablelm"], keys: &[], describe };

const NAMES: [(Role, &str); 2] = [
    (Role::QueryNorm, "model.layers.{}.self_attn.q_layernorm.norms.#"),
    (Role::KeyNorm, "model.layers.{}.self_attn.k_layernorm.norms.#"),
];

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read(c, Pairing::HalfSplit)?.named(&NAMES);
    d.set_norm(layer_norm(c.f32_or("layer_norm_eps", 1e-5)?));
    // The share that turns is one quarter where the config is silent.
    if c.value("partial_rotary_factor").is_none() && c.value("rope_parameters").is_none() {
        let dims = c.usize_or("rope_dims", rotated(c, d.attention.head_dim)? / 4)?;
        let rope = c.rope("full_attention", dims, Pairing::HalfSplit)?;
        d.ropes.fill(Some(std::sync::Arc::new(rope)));
    }
    d.attention.qkv_bias = bias_of(c, "blk.0.attn_q.bias", "use_qkv_bias")?;
    if c.flag("qk_layernorm")? || c.has_tensor("blk.0.attn_q_norm.weight") {
        let norm = Norm { bias: Bias::Absent, ..d.norm };
        d.attention.qk_norm = Some(QkNorm { norm, over: QkNormOver::EachHead });
    }
    if c.flag("use_parallel_residual")? {
        d.wiring = Wiring::Parallel { before: d.norm };
    }
    d.finish()
}
