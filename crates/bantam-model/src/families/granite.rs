//! Granite 3: Llama with four multipliers.

use super::dense::{Dense, bias_of};
use super::{Described, Family};
use crate::description::Mlp;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["granite"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read_permuted(c)?;
    d.embed.scale = c.f32_or("embedding_multiplier", 1.0)?;
    d.attention.scale = c.f32_or("attention_multiplier", 1.0)?;
    d.residual_scale = c.f32_or("residual_multiplier", 1.0)?;
    d.head.scale = 1.0 / c.f32_or("logits_scaling", 1.0)?;
    let attention = bias_of(c, "blk.0.attn_q.bias", "attention_bias")?;
    d.attention.qkv_bias = attention;
    d.attention.output_bias = attention;
    if let Mlp::Gated { bias, .. } = &mut d.mlp {
        *bias = bias_of(c, "blk.0.ffn_gate.bias", "mlp_bias")?;
    }
    d.finish()
}
