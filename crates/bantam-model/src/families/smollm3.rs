//! SmolLM3: Llama in which every fourth layer knows no positions.

use super::dense::{Dense, bias_of};
use super::{Described, Family, qwen2};
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["smollm3"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let layers = c.usize("num_hidden_layers")?;
    let every = c.usize_or("no_rope_layer_interval", 4)?;
    // The list's name is the wrong way round: one means rope.
    let turns: Vec<bool> = match c.per_layer("no_rope_layers", layers)? {
        Some(list) => list.iter().map(|flag| flag.as_u64() != Some(0)).collect(),
        None => (1..=layers).map(|layer| !layer.is_multiple_of(every)).collect(),
    };
    let mut d = Dense::read_permuted(c)?;
    d.windows = qwen2::read(c)?.windows;
    d.attention.qkv_bias = bias_of(c, "blk.0.attn_q.bias", "attention_bias")?;
    d.attention.output_bias = d.attention.qkv_bias;
    for (rope, turns) in d.ropes.iter_mut().zip(turns) {
        *rope = rope.take().filter(|_| turns);
    }
    d.finish()
}
