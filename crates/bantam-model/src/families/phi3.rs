//! Phi-3, 3.5, 4 and 4-mini: Llama with fused projections; LongRoPE for long contexts.

use super::dense::Dense;
use super::{Described, Family};
use crate::description::{GateUp, Mlp, Pairing, Projections};
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["phi3"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read(c, Pairing::HalfSplit)?;
    let window = c.optional_usize("sliding_window")?;
    if c.value("layer_types").is_none() {
        d.window_where(window, |_| true);
    }
    d.attention.projections = Projections::Fused;
    if let Mlp::Gated { projections, .. } = &mut d.mlp {
        *projections = GateUp::Fused;
    }
    d.finish()
}
