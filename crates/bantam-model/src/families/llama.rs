//! Llama 2, 3, 3.1, 3.2 and all that kept its shape: TinyLlama, SmolLM, SmolLM2, R1-Distill-Llama.

use super::dense::{Dense, bias_of};
use super::{Described, Family};
use crate::description::Mlp;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["llama"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read_permuted(c)?;
    let attention = bias_of(c, "blk.0.attn_q.bias", "attention_bias")?;
    d.attention.qkv_bias = attention;
    d.attention.output_bias = attention;
    if let Mlp::Gated { bias, .. } = &mut d.mlp {
        *bias = bias_of(c, "blk.0.ffn_gate.bias", "mlp_bias")?;
    }
    d.finish()
}
