//! Gemma 1: scaled embeddings, norms of one plus the weight, gelu in the gate.

use bantam_tensor::Source;

use super::dense::Dense;
use super::{Described, Family};
use crate::description::{Activation, HeadMatrix, Mlp, NormWeight, Pairing};
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["gemma"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    read(c)?.finish()
}

/// What the Gemmas have in common.
pub(super) fn read(c: &Config) -> Result<Dense, Error> {
    let mut d = Dense::read(c, Pairing::HalfSplit)?;
    let mut norm = d.norm;
    // GGUF files hold the sum already.
    norm.weight = if c.source() == Source::Folder { NormWeight::OnePlus } else { NormWeight::Stored };
    d.set_norm(norm);
    d.embed.scale = (d.hidden_size as f32).sqrt();
    d.head.matrix = HeadMatrix::Tied;
    // Older files say "gelu" and were trained with the tanh form all the same.
    c.string("hidden_activation")?;
    if let Mlp::Gated { activation, .. } = &mut d.mlp {
        *activation = Activation::GeluTanh;
    }
    Ok(d)
}
