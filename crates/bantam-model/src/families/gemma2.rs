//! Gemma 2: norms on both sides of each branch, every other layer slides, logits and scores are capped.

use super::dense::Dense;
use super::{Described, Family, gemma};
use crate::description::{BranchNorms, Wiring};
use crate::names::Role;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["gemma2"], keys: &[], describe };

pub(super) const NAMES: [(Role, &str); 1] =
    [(Role::MlpNormBefore, "model.layers.{}.pre_feedforward_layernorm")];

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = read(c)?;
    let window = c.usize_or("sliding_window", 4096)?;
    if c.value("layer_types").is_none() {
        d.window_where(Some(window), |layer| layer % 2 == 0);
    }
    // The 27B divides by hidden_size / heads, which GGUF has no key for: it is known by its layers.
    let whole =
        if d.windows.len() == 46 { d.hidden_size / d.attention.num_heads } else { d.attention.head_dim };
    let divisor = c.f32_or("query_pre_attn_scalar", whole as f32)?;
    d.attention.scale = 1.0 / divisor.sqrt();
    d.finish()
}

/// What Gemma 2 and 3 have in common.
pub(super) fn read(c: &Config) -> Result<Dense, Error> {
    let mut d = gemma::read(c)?.named(&NAMES);
    let norms = BranchNorms::Both(d.norm, d.norm);
    d.wiring = Wiring::Sequential { mixer: norms, mlp: norms };
    d.attention.soft_cap = c.optional_f32("attn_logit_softcapping")?;
    d.head.soft_cap = c.optional_f32("final_logit_softcapping")?;
    Ok(d)
}
