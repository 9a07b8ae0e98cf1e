//! Qwen 3: a norm on each head of queries and keys in place of biases.

use super::dense::bias_of;
use super::{Described, Family, qwen2};
use crate::description::{QkNorm, QkNormOver};
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["qwen3"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = qwen2::read(c)?;
    let bias = bias_of(c, "blk.0.attn_q.bias", "attention_bias")?;
    d.attention.qkv_bias = bias;
    d.attention.output_bias = bias;
    d.attention.qk_norm = Some(QkNorm { norm: d.norm, over: QkNormOver::Head });
    d.finish()
}
